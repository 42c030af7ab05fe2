// SPDX-License-Identifier: Apache-2.0
// Everything a scripted model brings besides its logits: a byte-level tokenizer, made as a tokenizer.json so that
// grammars work on it as on any other, and a plain chat template. Called once at start.
#include <fmt/format.h>

#include "base/json.h"
#include "engine/engine.h"
#include "engine/scripted_model.h"

namespace autoglm::engine {
namespace {

// The printable stand-in of a byte in a byte-level vocabulary: bytes that are printable in Latin-1 stand for
// themselves, the others for U+0100 and up in order. Source: the byte map of GPT-2's tokenizer, Radford et al. 2019.
char32_t stand_in(int byte) {
  const auto prints = [](int b) { return (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae; };
  if (prints(byte)) return static_cast<char32_t>(byte);
  char32_t next = 0x100;
  for (int b = 0; b < byte; ++b) next += prints(b) ? 0 : 1;
  return next;
}

std::string utf8(char32_t c) {
  if (c < 0x80) return {static_cast<char>(c)};
  return {static_cast<char>(0xc0 | (c >> 6)), static_cast<char>(0x80 | (c & 0x3f))};  // all are below U+0800
}

std::string tokenizer_json() {
  json::Object vocab;
  for (int byte = 0; byte < 256; ++byte) vocab[utf8(stand_in(byte))] = byte;
  json::Array added;
  for (std::size_t id = 256; id < kScriptVocab; ++id) {
    added.push_back(json::Object{{"id", id},
                                 {"content", script_token_text(static_cast<text::TokenId>(id))},
                                 {"single_word", false},
                                 {"lstrip", false},
                                 {"rstrip", false},
                                 {"normalized", false},
                                 {"special", true}});
  }
  const json::Object byte_level{
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  const std::string_view reply = script_token_text(kReplyToken);
  const json::Object piece{{"Sequence", json::Object{{"id", "A"}, {"type_id", 0}}}};
  const json::Object marker{{"SpecialToken", json::Object{{"id", reply}, {"type_id", 0}}}};
  const json::Object second{{"Sequence", json::Object{{"id", "B"}, {"type_id", 1}}}};
  const json::Object marker_ids{{"id", reply}, {"ids", json::Array{kScriptVocab - 1}}, {"tokens", json::Array{reply}}};
  const json::Object root{{"version", "1.0"},
                          {"truncation", nullptr},
                          {"padding", nullptr},
                          {"added_tokens", added},
                          {"normalizer", nullptr},
                          {"pre_tokenizer", byte_level},
                          {"post_processor", json::Object{{"type", "TemplateProcessing"},
                                                          {"single", json::Array{piece, marker}},
                                                          {"pair", json::Array{piece, second, marker}},
                                                          {"special_tokens", json::Object{{reply, marker_ids}}}}},
                          {"decoder", byte_level},
                          {"model", json::Object{{"type", "BPE"},
                                                 {"dropout", nullptr},
                                                 {"unk_token", nullptr},
                                                 {"continuing_subword_prefix", nullptr},
                                                 {"end_of_word_suffix", nullptr},
                                                 {"fuse_unk", false},
                                                 {"byte_fallback", false},
                                                 {"vocab", vocab},
                                                 {"merges", json::Array{}}}}};
  return json::format(root);
}

Result<std::string_view> marker_of(std::string_view role) {
  if (role == "system" || role == "developer") return script_token_text(kSystemToken);
  if (role == "user") return script_token_text(kUserToken);
  if (role == "assistant") return script_token_text(kAssistantToken);
  if (role == "tool") return script_token_text(kToolToken);
  return fail(Code::kInvalidArgument, "the scripted model knows the roles system, developer, user, assistant and tool");
}

// <|role|>content<|end|> for each message, then <|assistant|>.
class ScriptTemplate final : public text::ChatTemplate {
 public:
  Result<text::RenderedPrompt> render(const Inputs& inputs) const override {
    text::RenderedPrompt prompt;
    if (inputs.tools != nullptr && !inputs.tools->empty()) {
      prompt.text += script_token_text(kSystemToken);
      append_plain(prompt, json::format(json::Value(*inputs.tools)));
      prompt.text += script_token_text(kEndToken);
    }
    for (const json::Value& value : *inputs.messages) TRY(append_message(prompt, value));
    if (inputs.add_generation_prompt) prompt.text += script_token_text(kAssistantToken);
    return prompt;
  }

 private:
  static void append_plain(text::RenderedPrompt& prompt, std::string_view text) {
    if (text.empty()) return;
    prompt.plain.push_back({prompt.text.size(), prompt.text.size() + text.size()});
    prompt.text += text;
  }

  static Status append_message(text::RenderedPrompt& prompt, const json::Value& value) {
    const json::Object* message = value.if_object();
    const json::Value* role = message == nullptr ? nullptr : message->if_contains("role");
    if (role == nullptr || !role->is_string()) return fail(Code::kInvalidArgument, "a message has no role", "messages");
    const json::String& name = role->get_string();
    prompt.text += TRY(marker_of({name.data(), name.size()}));
    if (const json::Value* content = message->if_contains("content")) append_content(prompt, *content);
    if (const json::Value* calls = message->if_contains("tool_calls")) append_plain(prompt, json::format(*calls));
    prompt.text += script_token_text(kEndToken);
    return {};
  }

  static void append_content(text::RenderedPrompt& prompt, const json::Value& content) {
    if (const json::String* text = content.if_string()) append_plain(prompt, {text->data(), text->size()});
    const json::Array* parts = content.if_array();
    if (parts == nullptr) return;
    for (const json::Value& part : *parts) {
      const json::Object* object = part.if_object();
      const json::Value* text = object == nullptr ? nullptr : object->if_contains("text");
      if (text != nullptr && text->is_string()) append_content(prompt, *text);
    }
  }
};

}  // namespace

Result<EngineModel> load_script(std::string_view script_text) {
  Script script = TRY(Script::parse(script_text));
  base::Budget budget;
  EngineModel model;
  model.card.tokenizer = TRY(text::Tokenizer::from_json(tokenizer_json(), R"({"eos_token": "<|end|>"})", budget));
  model.card.chat_template = std::make_shared<ScriptTemplate>();
  model.card.template_shows_tools = true;
  model.card.name = "scripted";
  model.network = std::make_unique<ScriptedModel>(std::move(script));
  model.eos = {kEndToken};
  model.is_scripted = true;
  return model;
}

}  // namespace autoglm::engine
