// SPDX-License-Identifier: Apache-2.0
#include "binding/words.h"

#include <utility>

#include "app/template_request.h"
#include "app/text_file.h"
#include "base/json.h"
#include "binding/failure.h"
#include "engine/engine.h"
#include "generation/chat_prompt.h"
#include "model/load.h"

namespace autoglm::python {
namespace {

// One body, as a client of the API would send it, so that a chat is read by the same rules here as there.
app::TemplateRequest request_of(const Words::Chat& chat) {
  std::string body = "{\"messages\":" + chat.messages;
  if (chat.tools) body += ",\"tools\":" + *chat.tools;
  if (chat.template_fields) body += ",\"chat_template_kwargs\":" + *chat.template_fields;
  body += "}";
  app::TemplateRequest request = take(app::read_template_request(body));
  request.add_generation_prompt = chat.add_generation_prompt;
  return request;
}

generation::ChatPrompt prompt_of(const app::TemplateRequest& request) {
  return {.messages = &request.messages,
          .tools = request.tools ? &*request.tools : nullptr,
          .template_fields = &request.kwargs,
          .add_generation_prompt = request.add_generation_prompt};
}

generation::ModelCard card_of(const app::ModelChoice& choice) {
  if (choice.kind == app::ModelKind::kScript) {
    return take(engine::load_script(take(app::read_text_file(choice.path, "the script", {})))).card;
  }
  model::LoadedText loaded = take(model::load_text(choice.path));
  generation::ModelCard card;
  card.tokenizer = std::move(loaded.tokenizer);
  card.chat_template = std::move(loaded.chat_template);
  card.template_shows_tools = loaded.tool_format.has_value();
  if (loaded.tool_format) card.tool_format = *loaded.tool_format;
  return card;
}

}  // namespace

Words::Words(const app::ModelChoice& choice) : card_(card_of(choice)) {
  card_.name = choice.name;
  card_.control_spellings = text::control_spellings(*card_.tokenizer);
}

std::vector<std::int32_t> Words::encode(std::string_view text, bool add_special, bool parse_special) const {
  return take(card_.tokenizer->encode(text, {.add_special = add_special, .parse_special = parse_special}));
}

std::string Words::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  return take(card_.tokenizer->decode(ids, skip_special));
}

std::string Words::render(const Chat& chat) const {
  const app::TemplateRequest request = request_of(chat);
  return take(generation::render(card_, prompt_of(request))).text;
}

std::vector<std::int32_t> Words::encode(const Chat& chat) const {
  const app::TemplateRequest request = request_of(chat);
  return take(generation::encode(card_, prompt_of(request)));
}

}  // namespace autoglm::python
