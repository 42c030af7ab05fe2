// SPDX-License-Identifier: Apache-2.0
// The four bodies that this server reads.
#include "protocol/openai_request.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "protocol/field_reader.h"
#include "protocol/openai_parameters.h"

namespace autoglm::protocol {
namespace {

// What OpenAI's API knows and what cannot change a word of the answer.
constexpr std::array<std::string_view, 7> kHarmless = {
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
};

// Text parts, joined as other servers join them: with a line break.
Result<std::string> join_parts(const json::Array& parts, const std::string& place) {
  if (parts.size() > kMaxContentParts) {
    return fail(Code::kInvalidArgument, place + " must have at most " + std::to_string(kMaxContentParts) + " parts",
                place);
  }
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string here = place + "[" + std::to_string(i) + "]";
    if (!parts[i].is_object()) return fail(Code::kInvalidArgument, here + " must be an object", here);
    FieldReader part(parts[i].get_object(), here);
    const std::string type = TRY(part.string("type", kMaxNameBytes)).value_or("");
    if (type != "text") return part.wrong("type", "text: images, audio and files are not supported");
    auto piece = TRY(part.string("text", kMaxTextBytes));
    if (!piece) return part.wrong("text", "a string");
    TRY(part.refuse_rest());
    if (i > 0) text.push_back('\n');
    text += *piece;
  }
  return text;
}

Result<std::string> read_content(FieldReader& message, const std::string& role, const std::string& place) {
  const json::Value* content = message.take("content");
  if (content == nullptr) {
    if (role == "assistant") return std::string();
    return message.wrong("content", "a string or a list of text parts");
  }
  std::string text;
  if (content->is_array()) {
    text = TRY(join_parts(content->get_array(), place + ".content"));
  } else if (content->is_string()) {
    text = std::string(content->get_string());
  } else {
    return message.wrong("content", "a string or a list of text parts");
  }
  if (text.size() > kMaxTextBytes)
    return message.wrong("content", "at most " + std::to_string(kMaxTextBytes) + " bytes");
  return text;
}

Result<json::Object> read_message(const json::Value& value, std::size_t index) {
  const std::string place = "messages[" + std::to_string(index) + "]";
  if (!value.is_object()) return fail(Code::kInvalidArgument, place + " must be an object", place);
  FieldReader message(value.get_object(), place);
  std::string role = TRY(message.string("role", kMaxNameBytes)).value_or("");
  static constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant", "tool"};
  if (std::ranges::find(kRoles, role) == kRoles.end()) {
    return message.wrong("role", "system, developer, user, assistant or tool");
  }
  json::Object out;
  out["role"] = role == "developer" ? "system" : role;  // templates know the older name
  out["content"] = TRY(read_content(message, role, place));
  if (auto name = TRY(message.string("name", kMaxNameBytes))) out["name"] = *name;
  if (role == "tool") {
    auto id = TRY(message.string("tool_call_id", kMaxNameBytes));
    if (!id) return message.wrong("tool_call_id", "a string");
    out["tool_call_id"] = *id;
  }
  auto calls = TRY(read_tool_calls(message));
  if (calls && role != "assistant") return message.wrong("tool_calls", "absent but in an assistant's message");
  if (calls) out["tool_calls"] = std::move(*calls);
  // An answer of ours, sent back as history by the official clients, carries these.
  const json::Array* annotations = TRY(message.array("annotations", kMaxContentParts));
  if (annotations != nullptr && !annotations->empty()) return message.wrong("annotations", "absent or empty");
  if (role == "assistant") message.take("parsed");  // by the clients' helpers: what they read in the text, once more
  if (auto reasoning = TRY(message.string("reasoning_content", kMaxTextBytes)); reasoning && role == "assistant") {
    out["reasoning_content"] = *reasoning;
  }
  TRY(message.refuse_rest());
  return out;
}

Status read_messages(FieldReader& reader, ChatRequest& out) {
  const json::Array* messages = TRY(reader.array("messages", kMaxMessages));
  if (messages == nullptr || messages->empty()) return reader.wrong("messages", "a list of at least one message");
  for (std::size_t i = 0; i < messages->size(); ++i) out.messages.emplace_back(TRY(read_message((*messages)[i], i)));
  return {};
}

Result<ChatRequest> read_chat(FieldReader& reader) {
  ChatRequest out;
  out.parameters = TRY(read_parameters(reader, true));
  TRY(read_messages(reader, out));
  out.tools = TRY(read_tools(reader));
  const json::Array* modalities = TRY(reader.array("modalities", 1));
  if (modalities != nullptr && *modalities != json::Array{"text"}) return reader.wrong("modalities", "[\"text\"]");
  const json::Object* fields = TRY(reader.object("chat_template_kwargs"));
  if (fields != nullptr) {
    if (fields->size() > kMaxTemplateFields) {
      return reader.wrong("chat_template_kwargs",
                          "an object of at most " + std::to_string(kMaxTemplateFields) + " members");
    }
    out.template_fields = *fields;
  }
  out.add_generation_prompt = TRY(reader.boolean("add_generation_prompt")).value_or(true);
  TRY(reader.refuse_rest(kHarmless));
  return out;
}

Result<CompletionRequest> read_completion(FieldReader& reader) {
  CompletionRequest out;
  out.parameters = TRY(read_parameters(reader, false));
  out.prompts = TRY(read_prompts(reader, "prompt", kMaxPrompts));
  if (out.prompts.size() * out.parameters.n > kMaxSequences) {
    return reader.wrong("n", "such that n times the prompts is at most " + std::to_string(kMaxSequences));
  }
  auto best_of = TRY(reader.integer("best_of", 1, static_cast<std::int64_t>(kMaxChoices)));
  if (best_of && static_cast<std::size_t>(*best_of) != out.parameters.n)
    return reader.wrong("best_of", "the same as n");
  if (!TRY(reader.string("suffix", kMaxTextBytes)).value_or("").empty())
    return reader.wrong("suffix", "empty: it is not supported here");
  out.echo = TRY(reader.boolean("echo")).value_or(false);
  out.add_special_tokens = TRY(reader.boolean("add_special_tokens")).value_or(true);
  out.parse_special = TRY(reader.boolean("parse_special")).value_or(false);
  if (out.parameters.max_tokens == std::size_t{0} && !out.echo)
    return reader.wrong("max_tokens", "at least 1, or 0 together with echo");
  TRY(reader.refuse_rest(kHarmless));
  return out;
}

// What a reader looks for is what it knows: the least body is read to its end.
std::vector<std::string_view> names_read(const json::Object& least_body, auto read) {
  FieldReader reader(least_body, "");
  CHECK(read(reader));
  return reader.known();
}

Status check_model(FieldReader& reader, std::string& model) {
  model = TRY(reader.string("model", kMaxNameBytes)).value_or("");
  return {};
}

}  // namespace

Result<ChatRequest> parse_chat_request(std::string_view body) {
  const json::Value value = TRY(parse_body(body));
  FieldReader reader(value.get_object(), "");
  return read_chat(reader);
}

Result<CompletionRequest> parse_completion_request(std::string_view body) {
  const json::Value value = TRY(parse_body(body));
  FieldReader reader(value.get_object(), "");
  return read_completion(reader);
}

Result<TokenizeRequest> parse_tokenize_request(std::string_view body) {
  json::Value value = TRY(parse_body(body));
  TokenizeRequest out;
  json::Object& object = value.get_object();
  if (const json::Value* messages = object.if_contains("messages"); messages != nullptr && !messages->is_null()) {
    if (!object.contains("model")) object["model"] = "-";  // optional here
    FieldReader reader(object, "");
    out.input = TRY(read_chat(reader));
    const std::string& model = std::get<ChatRequest>(out.input).parameters.model;
    if (model != "-") out.model = model;
    return out;
  }
  FieldReader reader(object, "");
  TRY(check_model(reader, out.model));
  std::optional<std::string> text;
  for (std::string_view name : {"prompt", "content", "text"}) {  // vLLM's name, llama.cpp's, and the plain one
    auto given = TRY(reader.string(name, kMaxTextBytes));
    if (given && text) return reader.wrong(name, "absent: the text was given under another name");
    if (given) text = std::move(given);
  }
  if (!text) return reader.wrong("prompt", "a string of at most " + std::to_string(kMaxTextBytes) + " bytes");
  out.input = std::move(*text);
  out.add_special_tokens = TRY(reader.boolean("add_special_tokens")).value_or(true);
  out.parse_special = TRY(reader.boolean("parse_special")).value_or(false);
  TRY(reader.refuse_rest());
  return out;
}

Result<DetokenizeRequest> parse_detokenize_request(std::string_view body) {
  const json::Value value = TRY(parse_body(body));
  FieldReader reader(value.get_object(), "");
  DetokenizeRequest out;
  TRY(check_model(reader, out.model));
  const json::Array* tokens = TRY(reader.array("tokens", kMaxTokens));
  if (tokens == nullptr) return reader.wrong("tokens", "a list of token ids");
  out.tokens = TRY(read_token_ids(*tokens, "tokens", kMaxTokens));
  out.skip_special_tokens = TRY(reader.boolean("skip_special_tokens")).value_or(false);
  TRY(reader.refuse_rest());
  return out;
}

Status check_answer_size(std::size_t sequences, std::size_t max_tokens, std::size_t top_logprobs) {
  // None of the factors is above 2^20, 2^7 and 2^5: the product cannot overflow.
  const std::size_t values = sequences * max_tokens * (1 + top_logprobs);
  if (values <= kMaxAnswerValues) return {};
  return fail(Code::kInvalidArgument,
              "n times max_tokens times (1 + top_logprobs) is " + std::to_string(values) + ", which is more than " +
                  std::to_string(kMaxAnswerValues) + "; ask for less",
              "max_tokens");
}

std::span<const std::string_view> harmless_parameters() { return kHarmless; }

std::vector<std::string_view> chat_parameters() {
  const json::Object message = {{"role", "user"}, {"content", ""}};
  return names_read({{"model", "-"}, {"messages", json::Array{message}}}, read_chat);
}

std::vector<std::string_view> completion_parameters() {
  return names_read({{"model", "-"}, {"prompt", ""}}, read_completion);
}

}  // namespace autoglm::protocol
