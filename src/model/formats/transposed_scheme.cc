// SPDX-License-Identifier: Apache-2.0
// The `quantization_config` of a config.json, as AutoGPTQ, GPTQModel and AutoAWQ write it.
#include <string>
#include <string_view>

#include "base/ascii.h"
#include "base/log.h"
#include "model/formats/scheme_object.h"
#include "model/formats/transposed_matrix.h"

namespace autoglm::model {
namespace {

using Layout = TransposedScheme::Layout;

constexpr std::int64_t kMaxInputs = 1 << 20;

// In lower case, as spellings differ.
Result<std::string> word_of(const SchemeObject& object, std::string_view key, std::string_view other,
                            std::string_view absent) {
  std::string word(TRY(object.text(key, absent, other)));
  for (char& c : word) c = base::to_lower(c);
  return word;
}

Result<std::int64_t> need_integer(const SchemeObject& object, std::string_view key, std::string_view other) {
  const auto given = TRY(object.integer(key, other));
  if (!given) return fail(Code::kCorrupt, "quantization_config has no \"" + std::string(key) + "\"");
  return *given;
}

Status read_gptq(const SchemeObject& object, TransposedScheme& scheme) {
  scheme.has_order = TRY(object.flag("desc_act", false));
  const std::string format = TRY(word_of(object, "checkpoint_format", "format", "gptq"));
  if (format != "gptq" && format != "gptq_v2")
    return SchemeObject::lacking("the format \"" + base::printable(format) + "\"");
  scheme.is_one_less = format == "gptq";
  if (TRY(object.flag("is_marlin_format", false))) return SchemeObject::lacking("the format \"marlin\"");
  // Schemes of single modules.
  if (const json::Value* dynamic = object.find("dynamic"); dynamic != nullptr) {
    if (!dynamic->is_object()) return SchemeObject::wrong("dynamic", "an object");
    if (!dynamic->get_object().empty()) return SchemeObject::lacking("a second scheme beside the first (\"dynamic\")");
  }
  return {};
}

Status read_awq(const SchemeObject& object, TransposedScheme& scheme) {
  scheme.layout = Layout::kAwq;
  scheme.is_one_less = false;
  const std::string version = TRY(word_of(object, "version", {}, "gemm"));
  if (version != "gemm") return SchemeObject::lacking("the version \"" + base::printable(version) + "\"");
  if (!TRY(object.flag("zero_point", true))) return SchemeObject::lacking("an awq without zero points");
  return {};
}

}  // namespace

Result<std::optional<TransposedScheme>> find_transposed_scheme(const json::Object& config) {
  const json::Value* const value = SchemeObject(config).find("quantization_config");
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) return SchemeObject::wrong("quantization_config", "an object");
  const SchemeObject object(value->get_object());
  const std::string method = TRY(word_of(object, "quant_method", {}, ""));
  if (method != "gptq" && method != "awq") return std::nullopt;
  TransposedScheme scheme;
  const std::int64_t bits = TRY(need_integer(object, "bits", "w_bit"));
  if (bits != 4 && bits != 8) return SchemeObject::lacking(std::to_string(bits) + " bits");
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
