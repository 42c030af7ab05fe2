// SPDX-License-Identifier: Apache-2.0
#include "protocol/response_request.h"

#include <array>

#include "base/check.h"
#include "protocol/field_reader.h"
#include "protocol/limits.h"
#include "protocol/openai_parameters.h"
#include "protocol/response_items.h"

namespace autoglm::protocol {
namespace {

// They tell the service who asks and how to bill it, and cannot change a word of the answer.
constexpr std::array<std::string_view, 4> kIgnored = {"service_tier", "safety_identifier", "prompt_cache_key",
                                                      "prompt_cache_retention"};
constexpr std::size_t kMaxMetadata = 16;  // OpenAI's bounds
constexpr std::size_t kMaxMetadataKeyBytes = 64;
constexpr std::size_t kMaxMetadataValueBytes = 512;

Status read_text_format(FieldReader& text, ResponseRequest& out) {
  const json::Object* format = TRY(text.object("format"));
  if (format == nullptr) return {};
  FieldReader inner(*format, "text.format");
  const std::string type = TRY(inner.string("type", kMaxNameBytes)).value_or("");
  if (type == "json_object") {
    out.format = {.kind = FormatKind::kJsonObject, .schema = {}, .pointer = "/text/format"};
  } else if (type == "json_schema") {
    TRY(inner.string("name", kMaxNameBytes));
    TRY(inner.string("description", kMaxTextBytes));
    TRY(inner.boolean("strict"));  // the grammar is always strict
    const json::Value* schema = inner.take("schema");
    if (schema == nullptr || !schema->is_object()) return inner.wrong("schema", "a JSON schema");
    out.format = {.kind = FormatKind::kJsonSchema, .schema = json::format(*schema), .pointer = "/text/format/schema"};
    if (out.format.schema.size() > kMaxSchemaBytes) {
      return inner.wrong("schema", "a JSON schema of at most " + std::to_string(kMaxSchemaBytes) + " bytes");
    }
  } else if (type != "text") {
    return inner.wrong("type", "text, json_object or json_schema");
  }
  return inner.refuse_rest();
}

Status read_text(FieldReader& reader, ResponseRequest& out) {
  out.echo["text"] = json::Object{{"format", json::Object{{"type", "text"}}}};
  const json::Object* text = TRY(reader.object("text"));
  if (text == nullptr) return {};
  FieldReader inner(*text, "text");
  TRY(read_text_format(inner, out));
  if (TRY(inner.string("verbosity", kMaxNameBytes)).value_or("medium") != "medium") {
    return inner.wrong("verbosity", "absent or medium: the model has no such setting");
  }
  TRY(inner.refuse_rest());
  if (const json::Value* format = text->if_contains("format"); format != nullptr && !format->is_null()) {
    out.echo["text"] = json::Object{{"format", *format}};
  }
  return {};
}

Status read_metadata(FieldReader& reader, ResponseRequest& out) {
  const json::Object* metadata = TRY(reader.object("metadata"));
  out.echo["metadata"] = metadata == nullptr ? json::Object{} : *metadata;
  if (metadata == nullptr) return {};
  bool fits = metadata->size() <= kMaxMetadata;
  for (const auto& member : *metadata) {
    fits = fits && member.key().size() <= kMaxMetadataKeyBytes && member.value().is_string() &&
           member.value().get_string().size() <= kMaxMetadataValueBytes;
  }
  if (!fits) return reader.wrong("metadata", "an object of at most 16 strings, of 64 bytes a key and 512 a value");
  return {};
}

// What the API has and this server has not: taken where it asks for nothing.
Status refuse_unsupported(FieldReader& reader) {
  if (TRY(reader.boolean("background")).value_or(false)) {
    return reader.wrong("background", "false: a response here is answered by its own request");
  }
  if (TRY(reader.string("truncation", kMaxNameBytes)).value_or("disabled") != "disabled") {
    return reader.wrong("truncation", "disabled: no part of a conversation is left out unsaid");
  }
  const json::Array* include = TRY(reader.array("include", kMaxTools));
  if (include != nullptr && !include->empty()) {
    const json::Value& first = include->front();
    const std::string name = first.is_string() ? " (" + std::string(first.get_string()).substr(0, 100) + ")" : "";
    return reader.wrong("include", "absent or empty: nothing more" + name + " can be included here");
  }
  if (TRY(reader.integer("top_logprobs", 0, kMaxTopLogprobs)).value_or(0) != 0)
    return reader.wrong("top_logprobs", "0");
  if (const json::Object* reasoning = TRY(reader.object("reasoning"))) {
    TRY(FieldReader(*reasoning, "reasoning").refuse_rest());  // null members ask for nothing
  }
  if (const json::Object* options = TRY(reader.object("stream_options"))) {
    FieldReader inner(*options, "stream_options");
    if (TRY(inner.boolean("include_obfuscation")).value_or(false)) return inner.wrong("include_obfuscation", "false");
    TRY(inner.refuse_rest());
  }
  return {};
}

Status read_limits(FieldReader& reader, ResponseRequest& out) {
  const auto tokens = TRY(reader.integer("max_output_tokens", 1, static_cast<std::int64_t>(kMaxTokens)));
  if (tokens) out.max_output_tokens = static_cast<std::size_t>(*tokens);
  out.echo["max_output_tokens"] = tokens ? json::Value(*tokens) : json::Value();
  const auto calls = TRY(reader.integer("max_tool_calls", 0, static_cast<std::int64_t>(kMaxToolCalls)));
  if (calls) out.max_tool_calls = static_cast<std::size_t>(*calls);
  out.echo["max_tool_calls"] = calls ? json::Value(*calls) : json::Value();
  out.temperature = TRY(reader.number("temperature", 0, kMaxTemperature)).value_or(1);
  out.top_p = TRY(reader.number("top_p", 0, 1)).value_or(1);
  out.echo["temperature"] = out.temperature;
  out.echo["top_p"] = out.top_p;
  return {};
}

Status read_conversation_fields(FieldReader& reader, ResponseRequest& out) {
  out.input = TRY(read_input(reader));
  const auto instructions = TRY(reader.string("instructions", kMaxTextBytes));
  out.instructions = instructions.value_or("");
  out.echo["instructions"] = instructions ? json::Value(*instructions) : json::Value();
  const auto previous = TRY(reader.string("previous_response_id", kMaxNameBytes));
  out.previous = previous.value_or("");
  out.echo["previous_response_id"] = previous ? json::Value(*previous) : json::Value();
  if (out.input.empty() && out.previous.empty()) return reader.wrong("input", "something to answer");
  return {};
}

Result<ResponseRequest> read_request(FieldReader& reader) {
  ResponseRequest out;
  out.model = TRY(reader.string("model", kMaxNameBytes)).value_or("");
  if (out.model.empty()) return reader.wrong("model", "the name of a model");
  TRY(read_conversation_fields(reader, out));
  out.tools = TRY(read_response_tools(reader));
  TRY(read_limits(reader, out));
  TRY(read_text(reader, out));
  TRY(read_metadata(reader, out));
  TRY(refuse_unsupported(reader));
  out.store = TRY(reader.boolean("store")).value_or(true);
  out.stream = TRY(reader.boolean("stream")).value_or(false);
  const auto user = TRY(reader.string("user", kMaxNameBytes));
  TRY(reader.refuse_rest(kIgnored));
  out.echo["user"] = user ? json::Value(*user) : json::Value();
  out.echo["tools"] = out.tools.shown;
  out.echo["tool_choice"] = out.tools.shown_choice;
  out.echo["parallel_tool_calls"] = out.tools.is_parallel;
  out.echo["store"] = out.store;
  out.echo["background"] = false;
  out.echo["truncation"] = "disabled";
  out.echo["reasoning"] = json::Object{{"effort", nullptr}, {"summary", nullptr}};
  return out;
}

}  // namespace

Result<ResponseRequest> parse_response_request(std::string_view body) {
  const json::Value value = TRY(parse_body(body));
  FieldReader reader(value.get_object(), "");
  return read_request(reader);
}

std::vector<std::string_view> response_parameters() {
  const json::Object least = {{"model", "-"}, {"input", "-"}};
  FieldReader reader(least, "");
  CHECK(read_request(reader));
  std::vector<std::string_view> names = reader.known();
  names.insert(names.end(), kIgnored.begin(), kIgnored.end());
  return names;
}

}  // namespace autoglm::protocol
