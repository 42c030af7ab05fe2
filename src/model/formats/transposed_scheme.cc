// SPDX-License-Identifier: Apache-2.0
// The `quantization_config` of a config.json, as AutoGPTQ, GPTQModel and AutoAWQ write it.
#include <string>
#include <string_view>

#include "base/ascii.h"
#include "base/log.h"
#include "model/formats/transposed_matrix.h"

namespace autoglm::model {
namespace {

using Layout = TransposedScheme::Layout;

constexpr std::int64_t kMaxInputs = 1 << 20;

std::unexpected<Error> lacking_in_words(const std::string& message) {
  return fail(Code::kInvalidArgument, "quantization_config: " + message + " is not supported");
}

std::unexpected<Error> wrong_in_words(std::string_view key, std::string_view expected) {
  return fail(Code::kCorrupt, "quantization_config: \"" + std::string(key) + "\" is not " + std::string(expected));
}

// The first of two spellings that is there and not null.
const json::Value* find_value(const json::Object& object, std::string_view key, std::string_view other = {}) {
  for (const std::string_view each : {key, other}) {
    const json::Value* const value = each.empty() ? nullptr : object.if_contains(each);
    if (value != nullptr && !value->is_null()) return value;
  }
  return nullptr;
}

Result<std::int64_t> need_integer(const json::Object& object, std::string_view key, std::string_view other) {
  const json::Value* const value = find_value(object, key, other);
  if (value == nullptr) return fail(Code::kCorrupt, "quantization_config has no \"" + std::string(key) + "\"");
  if (!value->is_int64()) return wrong_in_words(key, "an integer");
  return value->get_int64();
}

Result<bool> flag_of(const json::Object& object, std::string_view key, bool absent) {
  const json::Value* const value = find_value(object, key);
  if (value == nullptr) return absent;
  if (!value->is_bool()) return wrong_in_words(key, "true or false");
  return value->get_bool();
}

Result<std::string> word_of(const json::Object& object, std::string_view key, std::string_view other,
                            std::string_view absent) {
  const json::Value* const value = find_value(object, key, other);
  if (value == nullptr) return std::string(absent);
  if (!value->is_string()) return wrong_in_words(key, "a string");
  std::string word(json::view(value->get_string()));
  for (char& c : word) c = base::to_lower(c);
  return word;
}

Status read_gptq(const json::Object& object, TransposedScheme& scheme) {
  scheme.has_order = TRY(flag_of(object, "desc_act", false));
  const std::string format = TRY(word_of(object, "checkpoint_format", "format", "gptq"));
  if (format != "gptq" && format != "gptq_v2")
    return lacking_in_words("the format \"" + base::printable(format) + "\"");
  scheme.is_one_less = format == "gptq";
  if (TRY(flag_of(object, "is_marlin_format", false))) return lacking_in_words("the format \"marlin\"");
  // Schemes of single modules.
  if (const json::Value* dynamic = find_value(object, "dynamic"); dynamic != nullptr) {
    if (!dynamic->is_object()) return wrong_in_words("dynamic", "an object");
    if (!dynamic->get_object().empty()) return lacking_in_words("a second scheme beside the first (\"dynamic\")");
  }
  return {};
}

Status read_awq(const json::Object& object, TransposedScheme& scheme) {
  scheme.layout = Layout::kAwq;
  scheme.is_one_less = false;
  const std::string version = TRY(word_of(object, "version", {}, "gemm"));
  if (version != "gemm") return lacking_in_words("the version \"" + base::printable(version) + "\"");
  if (!TRY(flag_of(object, "zero_point", true))) return lacking_in_words("an awq without zero points");
  return {};
}

}  // namespace

Result<std::optional<TransposedScheme>> find_transposed_scheme(const json::Object& config) {
  const json::Value* const value = find_value(config, "quantization_config");
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) return wrong_in_words("quantization_config", "an object");
  const json::Object& object = value->get_object();
  const std::string method = TRY(word_of(object, "quant_method", {}, ""));
  if (method != "gptq" && method != "awq") return std::nullopt;
  TransposedScheme scheme;
  const std::int64_t bits = TRY(need_integer(object, "bits", "w_bit"));
  if (bits != 4 && bits != 8) return lacking_in_words(std::to_string(bits) + " bits");
  scheme.bits = static_cast<int>(bits);
  const std::int64_t group = TRY(need_integer(object, "group_size", "q_group_size"));
  if (group != -1 && (group < 1 || group > kMaxInputs)) {
    return fail(Code::kCorrupt, "quantization_config: a group_size of " + std::to_string(group) +
                                    " is neither -1 nor from 1 to " + std::to_string(kMaxInputs));
  }
  scheme.group = group == -1 ? 0 : static_cast<std::size_t>(group);
  TRY(method == "gptq" ? read_gptq(object, scheme) : read_awq(object, scheme));
  return scheme;
}

}  // namespace autoglm::model
