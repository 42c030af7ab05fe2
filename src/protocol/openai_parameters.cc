// SPDX-License-Identifier: Apache-2.0
// Reading the shared parameters, group by group.
#include "protocol/openai_parameters.h"

#include <charconv>
#include <limits>

namespace autoglm::protocol {
namespace {

constexpr std::int64_t kMaxTokenId = std::numeric_limits<std::int32_t>::max();

// Takes an optional field into `target` when it was given.
template <typename Target, typename Given>
void set(Target& target, const std::optional<Given>& given) {
  if (given) target = static_cast<Target>(*given);
}

Status read_lengths(FieldReader& reader, bool is_chat, Parameters& out) {
  const auto most = static_cast<std::int64_t>(kMaxTokens);
  auto max_tokens = TRY(reader.integer("max_tokens", is_chat ? 1 : 0, most));
  if (is_chat) {
    auto newer = TRY(reader.integer("max_completion_tokens", 1, most));
    if (newer && max_tokens && *newer != *max_tokens) {
      return reader.wrong("max_completion_tokens", "the same as max_tokens when both are given");
    }
    if (newer) max_tokens = newer;
  }
  if (max_tokens) out.max_tokens = static_cast<std::size_t>(*max_tokens);
  set(out.min_tokens, TRY(reader.integer("min_tokens", 0, most)));
  if (out.max_tokens && out.min_tokens > *out.max_tokens) return reader.wrong("min_tokens", "at most max_tokens");
  set(out.n, TRY(reader.integer("n", 1, static_cast<std::int64_t>(kMaxChoices))));
  set(out.ignore_eos, TRY(reader.boolean("ignore_eos")));
  set(out.skip_special_tokens, TRY(reader.boolean("skip_special_tokens")));
  set(out.return_token_ids, TRY(reader.boolean("return_token_ids")));
  return {};
}

Status read_sampling(FieldReader& reader, Parameters& out) {
  set(out.temperature, TRY(reader.number("temperature", 0, kMaxTemperature)));
  set(out.top_p, TRY(reader.number("top_p", 0, 1)));
  set(out.min_p, TRY(reader.number("min_p", 0, 1)));
  auto top_k = TRY(reader.integer("top_k", -1, static_cast<std::int64_t>(kMaxTopK)));
  if (top_k) out.top_k = static_cast<std::int32_t>(std::max<std::int64_t>(*top_k, 0));  // -1 and 0 both say: all
  set(out.frequency_penalty, TRY(reader.number("frequency_penalty", -kMaxOccurrencePenalty, kMaxOccurrencePenalty)));
  set(out.presence_penalty, TRY(reader.number("presence_penalty", -kMaxOccurrencePenalty, kMaxOccurrencePenalty)));
  set(out.repetition_penalty,
      TRY(reader.number("repetition_penalty", 1 / kMaxRepetitionPenalty, kMaxRepetitionPenalty)));
  return {};
}

Status read_seed(FieldReader& reader, Parameters& out) {
  const json::Value* value = reader.take("seed");
  if (value == nullptr) return {};
  if (value->is_uint64()) {
    out.seed = value->get_uint64();
    return {};
  }
  auto seed = whole_number(*value, std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max());
  if (!seed) return reader.wrong("seed", "a whole number of 64 bits");
  out.seed = static_cast<std::uint64_t>(*seed);
  return {};
}

std::optional<std::int32_t> token_of(std::string_view key) {
  std::int32_t token = -1;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
  if (error != std::errc{} || end != key.data() + key.size() || token < 0) return std::nullopt;
  return token;
}

Status read_logit_bias(FieldReader& reader, Parameters& out) {
  const json::Object* biases = TRY(reader.object("logit_bias"));
  if (biases == nullptr) return {};
  if (biases->size() > kMaxLogitBias) {
    return reader.wrong("logit_bias", "an object of at most " + std::to_string(kMaxLogitBias) + " members");
  }
  FieldReader members(*biases, "logit_bias");
  for (const auto& member : *biases) {
    const std::string_view key = member.key();
    const auto token = token_of(key);
    if (!token || key.size() > kMaxShownBytes) {
      return fail(Code::kInvalidArgument,
                  "logit_bias must be an object whose keys are token ids; one of them is " + brief(json::Value(key)),
                  "logit_bias");
    }
    const auto bias = TRY(members.number(key, -kMaxLogitBiasValue, kMaxLogitBiasValue));
    if (!bias) {
      const std::string place = members.name_of(key);
      return fail(Code::kInvalidArgument, place + " must be a number; it is null", place);
    }
    out.logit_bias.emplace_back(*token, static_cast<float>(*bias));
  }
  return {};
}

Status read_stops(FieldReader& reader, Parameters& out) {
  const std::string expected = "a string or a list of at most " + std::to_string(kMaxStops) + " strings of 1 to " +
                               std::to_string(kMaxStopBytes) + " bytes";
  const auto add = [&](const json::Value& stop) {
    if (!stop.is_string() || stop.get_string().empty() || stop.get_string().size() > kMaxStopBytes) return false;
    out.stop.emplace_back(stop.get_string());
    return true;
  };
  if (const json::Value* stop = reader.take("stop")) {
    if (stop->is_array()) {
      if (stop->get_array().size() > kMaxStops) return reader.wrong("stop", expected);
      for (const json::Value& one : stop->get_array()) {
        if (!add(one)) return reader.wrong("stop", expected);
      }
    } else if (!add(*stop)) {
      return reader.wrong("stop", expected);
    }
  }
  const json::Array* ids = TRY(reader.array("stop_token_ids", kMaxStopTokens));
  if (ids != nullptr) out.stop_token_ids = TRY(read_token_ids(*ids, "stop_token_ids", kMaxStopTokens));
  return {};
}

Status read_logprobs(FieldReader& reader, bool is_chat, Parameters& out) {
  const auto most = static_cast<std::int64_t>(kMaxTopLogprobs);
  if (!is_chat) {
    auto top = TRY(reader.integer("logprobs", 0, most));
    out.logprobs = top.has_value();
    set(out.top_logprobs, top);
    return {};
  }
  set(out.logprobs, TRY(reader.boolean("logprobs")));
  auto top = TRY(reader.integer("top_logprobs", 0, most));
  if (top && *top > 0 && !out.logprobs) return reader.wrong("top_logprobs", "absent unless logprobs is true");
  set(out.top_logprobs, top);
  return {};
}

Status read_stream(FieldReader& reader, Parameters& out) {
  set(out.stream, TRY(reader.boolean("stream")));
  const json::Object* options = TRY(reader.object("stream_options"));
  if (options == nullptr) return {};
  if (!out.stream) return reader.wrong("stream_options", "absent unless stream is true");
  FieldReader inner(*options, "stream_options");
  set(out.include_usage, TRY(inner.boolean("include_usage")));
  if (TRY(inner.boolean("include_obfuscation")).value_or(false)) return inner.wrong("include_obfuscation", "false");
  return inner.refuse_rest();
}

Status read_json_schema(FieldReader& format, ResponseFormat& out) {
  const json::Object* wrapper = TRY(format.object("json_schema"));
  if (wrapper == nullptr) return format.wrong("json_schema", "an object with a schema");
  FieldReader inner(*wrapper, "response_format.json_schema");
  TRY(inner.string("name", kMaxNameBytes));
  TRY(inner.string("description", kMaxTextBytes));
  TRY(inner.boolean("strict"));  // the grammar is always strict
  const json::Value* schema = inner.take("schema");
  if (schema == nullptr || !(schema->is_object() || schema->is_bool())) return inner.wrong("schema", "a JSON schema");
  TRY(inner.refuse_rest());
  out.schema = json::format(*schema);
  out.pointer = "/response_format/json_schema/schema";
  if (out.schema.size() > kMaxSchemaBytes) {
    return inner.wrong("schema", "a JSON schema of at most " + std::to_string(kMaxSchemaBytes) + " bytes");
  }
  out.kind = FormatKind::kJsonSchema;
  return {};
}

Status read_format(FieldReader& reader, Parameters& out) {
  const json::Object* format = TRY(reader.object("response_format"));
  if (format == nullptr) return {};
  FieldReader inner(*format, "response_format");
  const std::string type = TRY(inner.string("type", kMaxNameBytes)).value_or("");
  if (type == "json_schema") {
    TRY(read_json_schema(inner, out.response_format));
  } else if (type == "json_object") {
    out.response_format.kind = FormatKind::kJsonObject;
    out.response_format.pointer = "/response_format";
  } else if (type != "text") {
    return inner.wrong("type", "text, json_object or json_schema");
  }
  return inner.refuse_rest();
}

Result<Prompt> read_text_prompt(const json::Value& value, const std::string& place) {
  if (value.is_string() && value.get_string().size() <= kMaxTextBytes) return Prompt(std::string(value.get_string()));
  if (value.is_array()) return Prompt(TRY(read_token_ids(value.get_array(), place, kMaxTokens)));
  return fail(Code::kInvalidArgument,
              place + " must be a string of at most " + std::to_string(kMaxTextBytes) + " bytes or a list of token ids",
              place);
}

}  // namespace

Result<json::Value> parse_body(std::string_view body) {
  base::Budget budget({.bytes = 4 * body.size() + (1u << 20), .steps = kMaxJsonValues, .depth = kMaxJsonDepth});
  auto value = json::parse(body, budget);
  if (!value) {
    Error error = value.error();
    if (error.code == Code::kExhausted) error.code = Code::kInvalidArgument;  // sending it again will not help
    return fail_in("the body", std::move(error));
  }
  if (!value->is_object()) return fail(Code::kInvalidArgument, "the body must be a JSON object");
  return value;
}

Result<std::vector<std::int32_t>> read_token_ids(const json::Array& list, std::string_view name, std::size_t max_size) {
  const std::string where(name);
  if (list.size() > max_size) {
    return fail(Code::kInvalidArgument, where + " must have at most " + std::to_string(max_size) + " token ids", where);
  }
  std::vector<std::int32_t> ids;
  ids.reserve(list.size());
  for (const json::Value& value : list) {
    const auto id = whole_number(value, 0, kMaxTokenId);
    if (!id) return fail(Code::kInvalidArgument, where + " must be a list of token ids", where);
    ids.push_back(static_cast<std::int32_t>(*id));
  }
  return ids;
}

Result<Parameters> read_parameters(FieldReader& reader, bool is_chat) {
  Parameters out;
  auto model = TRY(reader.string("model", kMaxNameBytes));
  if (!model || model->empty()) return reader.wrong("model", "the name of a model");
  out.model = std::move(*model);
  TRY(read_stream(reader, out));
  TRY(read_lengths(reader, is_chat, out));
  TRY(read_sampling(reader, out));
  TRY(read_seed(reader, out));
  TRY(read_logit_bias(reader, out));
  TRY(read_stops(reader, out));
  TRY(read_logprobs(reader, is_chat, out));
  TRY(read_format(reader, out));
  return out;
}

Result<std::vector<Prompt>> read_prompts(FieldReader& reader, std::string_view name, std::size_t most) {
  const json::Value* given = reader.take(name);
  if (given == nullptr) return reader.wrong(name, "a string, token ids, or a list of them");
  const bool is_many = given->is_array() && !given->get_array().empty() && !given->get_array().front().is_number();
  const std::string place(name);
  std::vector<Prompt> prompts;
  if (!is_many) {
    prompts.push_back(TRY(read_text_prompt(*given, place)));
    return prompts;
  }
  const json::Array& list = given->get_array();
  if (list.size() > most) {
    return reader.wrong(name, "a list of at most " + std::to_string(most) + " of them");
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    prompts.push_back(TRY(read_text_prompt(list[i], place + "[" + std::to_string(i) + "]")));
  }
  return prompts;
}

}  // namespace autoglm::protocol
