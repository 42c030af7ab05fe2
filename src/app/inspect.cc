// SPDX-License-Identifier: Apache-2.0
// openautoglm inspect: what a model is; and for machines its tokens, its rendered prompts and its logits.
#include <fmt/format.h>

#include <bit>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <limits>
#include <memory>
#include <span>
#include <sstream>
#include <utility>
#include <variant>

#include "app/model_choice.h"
#include "app/prompt.h"
#include "app/running_model.h"
#include "app/template_request.h"
#include "app/text_file.h"
#include "app/verb.h"
#include "base/json.h"
#include "base/log.h"
#include "generation/chat_prompt.h"
#include "model/evaluate.h"
#include "model/inspect.h"
#include "model/load.h"
#include "model/load_encoder.h"
#include "protocol/openai_request.h"

namespace autoglm::app {
namespace {

struct InspectFlags {
  std::string model;
  bool may_pull = false;
  std::string compute = "fast";
  std::string kv_type = "f16";
  std::string isa;
  int threads = 0;
  bool as_jsonl = false;
  bool no_special = false;
  bool parse_special = false;
  std::string request;
  bool as_served = false;
  std::vector<std::int32_t> ids;
  std::string output;
};

Result<std::filesystem::path> checkpoint_path(const InspectFlags& flags) {
  const ModelChoice choice = TRY(choose_model(flags.model, flags.may_pull));
  if (choice.kind == ModelKind::kScript)
    return fail(Code::kInvalidArgument, "a script has no checkpoint to inspect", "--model");
  return choice.path;
}

Result<model::LoadOptions> load_options(const InspectFlags& flags) {
  model::LoadOptions options;
  options.isa = TRY(chosen_isa(flags.isa));
  TRY(choose_precision(flags.compute, flags.kv_type, options));
  options.threads = chosen_threads(flags.threads);
  return options;
}

Status inspect_checkpoint(const InspectFlags& flags) {
  const auto options = TRY(load_options(flags));
  const auto path = TRY(checkpoint_path(flags));
  fmt::print("{}", model::format_facts(TRY(model::inspect_model(path, options))));
  return {};
}

// JSON allows U+0085, U+2028 and U+2029 as they are, but many readers of lines end a line at them.
void escape_line_ends(std::string& out, std::size_t begin) {
  for (const auto& [bytes, escape] : {std::pair<std::string_view, std::string_view>{"\xc2\x85", "\\u0085"},
                                      {"\xe2\x80\xa8", "\\u2028"},
                                      {"\xe2\x80\xa9", "\\u2029"}}) {
    for (auto at = out.find(bytes, begin); at != std::string::npos; at = out.find(bytes, at)) {
      out.replace(at, bytes.size(), escape);
    }
  }
}

// {"ids":[...],"decoded":"..."} of one text.
Result<std::string> token_line(const text::Tokenizer& tokenizer, std::string_view text, const InspectFlags& flags) {
  const auto ids = TRY(
      tokenizer.encode(text, {.add_special = !flags.no_special, .parse_special = flags.parse_special, .plain = {}}));
  std::string out = "{\"ids\":[";
  for (std::size_t i = 0; i < ids.size(); ++i) out += fmt::format("{}{}", i == 0 ? "" : ",", ids[i]);
  out += "],\"decoded\":";
  const std::size_t begin = out.size();
  json::append_string(out, TRY(tokenizer.decode(ids, false)));
  escape_line_ends(out, begin);
  return out + "}\n";
}

Status print_tokens_of_text(const text::Tokenizer& tokenizer, const InspectFlags& flags) {
  std::ostringstream text;
  text << std::cin.rdbuf();
  const auto ids = TRY(tokenizer.encode(
      text.str(), {.add_special = !flags.no_special, .parse_special = flags.parse_special, .plain = {}}));
  for (const auto id : ids) {
    std::string line = fmt::format("{:>8}  ", id);
    json::append_string(line, tokenizer.token_bytes(id));
    fmt::print("{}\n", line);
  }
  return {};
}

Status inspect_tokens(const InspectFlags& flags) {
  const auto path = TRY(checkpoint_path(flags));
  const auto loaded = TRY(model::load_text(path));
  const text::Tokenizer& tokenizer = *loaded.tokenizer;
  if (!flags.as_jsonl) return print_tokens_of_text(tokenizer, flags);
  std::size_t number = 0;
  for (std::string line; std::getline(std::cin, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    base::Budget budget;
    const auto value = json::parse(line, budget);
    if (!value || !value->is_string()) {
      return fail(Code::kInvalidArgument, fmt::format("stdin, line {}: one JSON string a line was expected", number));
    }
    auto out = token_line(tokenizer, value->as_string(), flags);
    if (!out) return fail_in(fmt::format("stdin, line {}", number), out.error());
    std::fwrite(out->data(), 1, out->size(), stdout);
    std::fflush(stdout);  // so that two programs can talk line by line
  }
  return {};
}

// What the server would give to the model: the same reader, the same tools, told in words where the template shows
// none.
Result<text::RenderedPrompt> served_prompt(const model::LoadedText& loaded, const protocol::ChatRequest& chat) {
  generation::ModelCard card;
  card.chat_template = loaded.chat_template;
  card.template_shows_tools = loaded.tool_format.has_value();
  card.control_spellings = text::control_spellings(*loaded.tokenizer);
  return generation::render(card, {.messages = &chat.messages,
                                   .tools = &chat.tools.tools,
                                   .template_fields = &chat.template_fields,
                                   .add_generation_prompt = chat.add_generation_prompt});
}

Result<text::RenderedPrompt> template_prompt(const model::LoadedText& loaded, const TemplateRequest& request) {
  text::ChatTemplate::Inputs inputs;
  inputs.messages = &request.messages;
  inputs.tools = request.tools ? &*request.tools : nullptr;
  inputs.kwargs = &request.kwargs;
  inputs.add_generation_prompt = request.add_generation_prompt;
  inputs.special = text::control_spellings(*loaded.tokenizer);
  return loaded.chat_template->render(inputs);
}

// `model` may be missing, as nothing here asks for it: /tokenize reads a chat so.
Result<protocol::ChatRequest> read_served_request(std::string_view body) {
  auto request = TRY(protocol::parse_tokenize_request(body));
  if (auto* chat = std::get_if<protocol::ChatRequest>(&request.input)) return std::move(*chat);
  return fail(Code::kInvalidArgument, "the request must have messages", "messages");
}

Status inspect_prompt(const InspectFlags& flags) {
  const std::string body = TRY(read_text_file(flags.request, "the request", "--request"));
  std::variant<TemplateRequest, protocol::ChatRequest> request;
  const auto read = [&](auto parsed) -> Status {
    if (!parsed) return fail_in("the request in " + base::printable(flags.request), parsed.error());
    request = std::move(*parsed);
    return {};
  };
  TRY(flags.as_served ? read(read_served_request(body)) : read(read_template_request(body)));
  const auto path = TRY(checkpoint_path(flags));
  const auto loaded = TRY(model::load_text(path));
  if (loaded.chat_template == nullptr)
    return fail(Code::kInvalidArgument, "this model has no chat template", "--model");
  const auto* served = std::get_if<protocol::ChatRequest>(&request);
  const text::RenderedPrompt prompt = TRY(
      served != nullptr ? served_prompt(loaded, *served) : template_prompt(loaded, std::get<TemplateRequest>(request)));
  std::fwrite(prompt.text.data(), 1, prompt.text.size(), stdout);
  return {};
}

// Seen before the work, not after it.
Status check_output_folder(const std::string& output) {
  const auto folder = std::filesystem::absolute(output).parent_path();
  if (std::filesystem::is_directory(folder)) return {};
  return fail(Code::kInvalidArgument, fmt::format("no folder {}", base::printable(folder.string())), "--output");
}

Status write_floats(const std::string& output, std::span<const float> values) {
  static_assert(std::endian::native == std::endian::little, "the file is little-endian float32");
  std::ofstream file(output, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size_bytes()));
  file.close();
  if (file) return {};
  return fail(Code::kExhausted, fmt::format("{} cannot be written", base::printable(output)), "--output");
}

Status inspect_embedding(const InspectFlags& flags) {
  const auto options = TRY(load_options(flags));
  TRY(check_output_folder(flags.output));
  const auto path = TRY(checkpoint_path(flags));
  auto encoder = TRY(model::load_encoder(path, options));
  const auto vector = TRY(model::compute_embedding(encoder, flags.ids));
  TRY(write_floats(flags.output, vector));
  fmt::print("{} dimensions of {} tokens, {}, float32 little-endian\n", vector.size(), flags.ids.size(),
             encoder.settings.is_normalised ? "normalised" : "not normalised");
  return {};
}

Status inspect_logits(const InspectFlags& flags) {
  const auto options = TRY(load_options(flags));
  TRY(check_output_folder(flags.output));
  const auto path = TRY(checkpoint_path(flags));
  model::LoadedModel loaded;
  loaded.network = TRY(model::load_network(path, options));
  const auto logits = TRY(model::compute_logits(loaded, flags.ids));
  TRY(write_floats(flags.output, logits));
  fmt::print("{} positions, {} logits each, float32 little-endian\n", flags.ids.size(),
             logits.size() / flags.ids.size());
  return {};
}

void add_computing(CLI::App& verb, InspectFlags& flags) {
  add_compute(verb, flags.compute);
  add_kv_type(verb, flags.kv_type);
  add_isa(verb, flags.isa);
  add_threads(verb, flags.threads);
}

CLI::App* add_part(CLI::App& verb, const char* name, const char* what, InspectFlags& flags) {
  auto* part = verb.add_subcommand(name, what);
  part->add_option("--model", flags.model, "A model's name or path")->required();
  add_may_pull(*part, flags.may_pull);
  return part;
}

void add_tokens(CLI::App& verb, const std::shared_ptr<InspectFlags>& flags) {
  auto* part =
      add_part(verb, "tokens", "Text from stdin as token ids; a folder with only tokenizer.json is enough", *flags);
  part->add_flag("--jsonl", flags->as_jsonl, "One JSON string a line in, {\"ids\":[...],\"decoded\":\"...\"} out");
  part->add_flag("--no-special", flags->no_special, "Add no bos and eos");
  part->add_flag("--parse-special", flags->parse_special, "Special-token text becomes the token");
  set_action(*part, [flags] { return inspect_tokens(*flags); });
}

void add_prompt(CLI::App& verb, const std::shared_ptr<InspectFlags>& flags) {
  auto* part = add_part(verb, "prompt",
                        "What the chat template makes of a chat request, with its tools as they stand there", *flags);
  part->add_option("--request", flags->request, "A JSON file: the body of a chat request")
      ->required()
      ->type_name("FILE");
  part->add_flag("--as-served", flags->as_served,
                 "As `serve` gives it to the model: what it refuses is refused, and tools are told in words where the "
                 "template shows none");
  set_action(*part, [flags] { return inspect_prompt(*flags); });
}

void add_ids(CLI::App& part, InspectFlags& flags) {
  part.add_option("--ids", flags.ids, "Token ids, as 1,2,3")
      ->required()
      ->delimiter(',')
      ->check(CLI::Range(0, std::numeric_limits<std::int32_t>::max()));
}

void add_embedding(CLI::App& verb, const std::shared_ptr<InspectFlags>& flags) {
  auto* part = add_part(verb, "embedding", "The vector that an encoder makes of one text, to a file", *flags);
  add_ids(*part, *flags);
  part->add_option("--output", flags->output, "float32 little-endian, [dimensions]; of length 1 when the model says so")
      ->required()
      ->type_name("FILE");
  add_computing(*part, *flags);
  set_action(*part, [flags] { return inspect_embedding(*flags); });
}

void add_logits(CLI::App& verb, const std::shared_ptr<InspectFlags>& flags) {
  auto* part = add_part(verb, "logits", "Logits of every position of one sequence, to a file", *flags);
  add_ids(*part, *flags);
  part->add_option("--output", flags->output, "float32 little-endian, [positions, vocab]")
      ->required()
      ->type_name("FILE");
  add_computing(*part, *flags);
  set_action(*part, [flags] { return inspect_logits(*flags); });
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto* verb = app.add_subcommand("inspect", "What a model is; its tokens, prompts, logits and embeddings");
  auto flags = std::make_shared<InspectFlags>();
  verb->add_option("MODEL", flags->model,
                   "A model's name or path: prints architecture, tensors, formats, memory needed");
  add_may_pull(*verb, flags->may_pull);
  verb->require_subcommand(0, 1);
  add_tokens(*verb, flags);
  add_prompt(*verb, flags);
  add_logits(*verb, flags);
  add_embedding(*verb, flags);
  set_action(*verb, [verb, flags]() -> Status {
    if (!verb->get_subcommands().empty()) return {};
    return inspect_checkpoint(*flags);
  });
}

}  // namespace autoglm::app
