// SPDX-License-Identifier: Apache-2.0
// The `quantization_config` of a config.json, in the compressed-tensors convention.
#include <optional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "model/formats/compressed_tensors.h"
#include "model/formats/scheme_object.h"

namespace autoglm::model {
namespace {

using Scales = CompressedScheme::Scales;

constexpr std::int64_t kMaxGroup = 1 << 20;

constexpr auto lacking = SchemeObject::lacking;
constexpr auto wrong = SchemeObject::wrong;

// Which values share a scale.
Status read_scales(const SchemeObject& weights, CompressedScheme& scheme) {
  const std::optional<std::int64_t> given = TRY(weights.integer("group_size"));
  const std::int64_t group = given.value_or(-1);
  const std::string_view strategy = TRY(weights.text("strategy", group > 0 ? "group" : (given ? "channel" : "tensor")));
  if (strategy == "tensor") {
    scheme.scales = Scales::kTensor;
  } else if (strategy == "channel") {
    scheme.scales = Scales::kRow;
  } else if (strategy == "group") {
    if (group < 1 || group > kMaxGroup) {
      return fail(Code::kCorrupt, "quantization_config: a group_size of " + std::to_string(group) +
                                      " is not from 1 to " + std::to_string(kMaxGroup));
    }
    scheme.scales = Scales::kGroup;
    scheme.group = static_cast<std::size_t>(group);
  } else {
    return lacking("the strategy \"" + base::printable(strategy) + "\"");
  }
  return {};
}

Result<CompressedScheme> read_weights(const SchemeObject& weights, bool is_packed) {
  CompressedScheme scheme{.is_packed = is_packed};
  const std::string_view type = TRY(weights.text("type", "int"));
  if (type != "int") return lacking("weights of the type \"" + base::printable(type) + "\"");
  const std::int64_t bits = TRY(weights.integer("num_bits")).value_or(-1);
  if (bits != 8 && (bits != 4 || !is_packed)) {
    return lacking(std::to_string(bits) + " bits" + (is_packed ? "" : " in whole bytes"));
  }
  scheme.bits = static_cast<int>(bits);
  scheme.is_symmetric = TRY(weights.flag("symmetric", true));
  if (TRY(weights.flag("dynamic", false))) return lacking("quantising weights as they are used");
  if (const json::Value* order = weights.find("actorder"); order != nullptr) {
    const std::string_view name =
        order->is_bool() ? (order->get_bool() ? "group" : "weight") : TRY(weights.text("actorder", ""));
    // With "weight" only the calibration went in another order, not the columns.
    if (name != "weight" && name != "static" && name != "group") {
      return lacking("the order \"" + base::printable(name) + "\" of columns");
    }
    scheme.has_order = name == "group";
  }
  TRY(read_scales(weights, scheme));
  if (scheme.has_order && scheme.scales != Scales::kGroup) return lacking("an order of columns without groups");
  if (is_packed && !scheme.is_symmetric && scheme.scales == Scales::kTensor) {
    return lacking("a packed zero point for a whole tensor");
  }
  return scheme;
}

Status refuse_what_changes_weights(const SchemeObject& config) {
  for (const std::string_view key : {"transform_config", "sparsity_config"}) {
    const json::Value* const value = config.find(key);
    if (value == nullptr) continue;
    if (!value->is_object()) return wrong(key, "an object");
    const json::Object& object = value->get_object();
    if (object.empty() || TRY(SchemeObject(object).text("format", "")) == "dense") continue;
    return lacking("a " + std::string(key));
  }
  return {};
}

}  // namespace

Result<std::optional<CompressedScheme>> find_compressed_scheme(const json::Object& config) {
  const json::Value* const value = SchemeObject(config).find("quantization_config");
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) return wrong("quantization_config", "an object");
  const SchemeObject object(value->get_object());
  const std::string_view method = TRY(object.text("quant_method", "unnamed"));
  if (method == "gptq" || method == "awq") return std::nullopt;
  if (method != "compressed-tensors") {
    return fail(Code::kInvalidArgument, "the weights are quantised by the method \"" + base::printable(method) +
                                            "\", which is not supported; compressed-tensors, gptq and awq are");
  }
  const std::string_view format = TRY(object.text("format", ""));
  if (format != "pack-quantized" && format != "int-quantized") {
    return lacking("the format \"" + base::printable(format) + "\"");
  }
  const std::string_view status = TRY(object.text("quantization_status", "compressed"));
  if (status != "compressed") return lacking("the status \"" + base::printable(status) + "\"");
  TRY(refuse_what_changes_weights(object));
  const json::Value* const groups = object.find("config_groups");
  if (groups == nullptr || !groups->is_object() || groups->get_object().empty()) {
    return wrong("config_groups", "an object with a group");
  }
  std::optional<CompressedScheme> scheme;
  for (const auto& group : groups->get_object()) {
    const json::Value* const weights =
        group.value().is_object() ? SchemeObject(group.value().get_object()).find("weights") : nullptr;
    if (weights == nullptr || !weights->is_object()) return wrong("weights", "an object");
    const CompressedScheme found = TRY(read_weights(SchemeObject(weights->get_object()), format == "pack-quantized"));
    if (scheme && *scheme != found) return lacking("a second scheme beside the first");
    scheme = found;
  }
  return scheme;
}

}  // namespace autoglm::model
