// SPDX-License-Identifier: Apache-2.0
// The `quantization_config` of a config.json, in the compressed-tensors convention.
#include <optional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "model/formats/compressed_tensors.h"

namespace autoglm::model {
namespace {

using Scales = CompressedScheme::Scales;

constexpr std::int64_t kMaxGroup = 1 << 20;

std::unexpected<Error> lacking(const std::string& message) {
  return fail(Code::kInvalidArgument, "quantization_config: " + message + " is not supported");
}

std::unexpected<Error> wrong(std::string_view key, std::string_view expected) {
  return fail(Code::kCorrupt, "quantization_config: \"" + std::string(key) + "\" is not " + std::string(expected));
}

// Absent and null are the same.
const json::Value* at(const json::Object& object, std::string_view key) {
  const json::Value* const value = object.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

Result<std::string_view> text_at(const json::Object& object, std::string_view key, std::string_view absent) {
  const json::Value* const value = at(object, key);
  if (value == nullptr) return absent;
  if (!value->is_string()) return wrong(key, "a string");
  return json::view(value->get_string());
}

// -1 where the key is absent.
Result<std::int64_t> count_at(const json::Object& object, std::string_view key) {
  const json::Value* const value = at(object, key);
  if (value == nullptr) return -1;
  if (!value->is_int64()) return wrong(key, "an integer");
  return value->get_int64();
}

Result<bool> flag_at(const json::Object& object, std::string_view key, bool absent) {
  const json::Value* const value = at(object, key);
  if (value == nullptr) return absent;
  if (!value->is_bool()) return wrong(key, "true or false");
  return value->get_bool();
}

// Which values share a scale.
Status read_scales(const json::Object& weights, CompressedScheme& scheme) {
  const std::int64_t group = TRY(count_at(weights, "group_size"));
  const bool names_group = at(weights, "group_size") != nullptr;
  const std::string_view strategy =
      TRY(text_at(weights, "strategy", group > 0 ? "group" : (names_group ? "channel" : "tensor")));
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

Result<CompressedScheme> read_weights(const json::Object& weights, bool is_packed) {
  CompressedScheme scheme{.is_packed = is_packed};
  const std::string_view type = TRY(text_at(weights, "type", "int"));
  if (type != "int") return lacking("weights of the type \"" + base::printable(type) + "\"");
  const std::int64_t bits = TRY(count_at(weights, "num_bits"));
  if (bits != 8 && (bits != 4 || !is_packed)) {
    return lacking(std::to_string(bits) + " bits" + (is_packed ? "" : " in whole bytes"));
  }
  scheme.bits = static_cast<int>(bits);
  scheme.is_symmetric = TRY(flag_at(weights, "symmetric", true));
  if (TRY(flag_at(weights, "dynamic", false))) return lacking("quantising weights as they are used");
  if (const json::Value* order = at(weights, "actorder"); order != nullptr) {
    const std::string_view name =
        order->is_bool() ? (order->get_bool() ? "group" : "weight") : TRY(text_at(weights, "actorder", ""));
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

Status refuse_what_changes_weights(const json::Object& config) {
  for (const std::string_view key : {"transform_config", "sparsity_config"}) {
    const json::Value* const value = at(config, key);
    if (value == nullptr) continue;
    if (!value->is_object()) return wrong(key, "an object");
    const json::Object& object = value->get_object();
    if (object.empty() || TRY(text_at(object, "format", "")) == "dense") continue;
    return lacking("a " + std::string(key));
  }
  return {};
}

}  // namespace

Result<std::optional<CompressedScheme>> find_compressed_scheme(const json::Object& config) {
  const json::Value* const value = at(config, "quantization_config");
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) return wrong("quantization_config", "an object");
  const json::Object& object = value->get_object();
  const std::string_view method = TRY(text_at(object, "quant_method", "unnamed"));
  if (method == "gptq" || method == "awq") return std::nullopt;
  if (method != "compressed-tensors") {
    return fail(Code::kInvalidArgument, "the weights are quantised by the method \"" + base::printable(method) +
                                            "\", which is not supported; compressed-tensors, gptq and awq are");
  }
  const std::string_view format = TRY(text_at(object, "format", ""));
  if (format != "pack-quantized" && format != "int-quantized") {
    return lacking("the format \"" + base::printable(format) + "\"");
  }
  const std::string_view status = TRY(text_at(object, "quantization_status", "compressed"));
  if (status != "compressed") return lacking("the status \"" + base::printable(status) + "\"");
  TRY(refuse_what_changes_weights(object));
  const json::Value* const groups = at(object, "config_groups");
  if (groups == nullptr || !groups->is_object() || groups->get_object().empty()) {
    return wrong("config_groups", "an object with a group");
  }
  std::optional<CompressedScheme> scheme;
  for (const auto& group : groups->get_object()) {
    const json::Value* const weights = group.value().is_object() ? at(group.value().get_object(), "weights") : nullptr;
    if (weights == nullptr || !weights->is_object()) return wrong("weights", "an object");
    const CompressedScheme found = TRY(read_weights(weights->get_object(), format == "pack-quantized"));
    if (scheme && *scheme != found) return lacking("a second scheme beside the first");
    scheme = found;
  }
  return scheme;
}

}  // namespace autoglm::model
