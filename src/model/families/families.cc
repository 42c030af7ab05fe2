// SPDX-License-Identifier: Apache-2.0
// The table of families. A new one is a file beside this and a row here.
#include <string>

#include "base/log.h"
#include "model/families/encoder_family.h"
#include "model/families/family.h"

namespace autoglm::model {
namespace {

constexpr const Family* kFamilies[] = {&kLlama, &kQwen2, &kQwen3, &kQwen3Moe, &kGemma3,  &kMistral,
                                       &kGlm,   &kGlm4,  &kGlm4v, &kGlm4Moe,  &kChatGlm, &kPhi3};

std::unexpected<Error> unknown_family(std::string_view what, std::string_view name) {
  std::string known;
  for (const Family* family : kFamilies) {
    const std::string_view one = what == "model_type" ? family->model_type : family->architecture;
    if (one.empty()) continue;
    known += known.empty() ? "" : ", ";
    known += one;
  }
  return fail(Code::kInvalidArgument, "the checkpoint has the " + std::string(what) + " \"" + base::printable(name) +
                                          "\", which is not supported; supported are " + known);
}

std::unexpected<Error> is_encoder(std::string_view type) {
  return refuse("a model of the type \"" + std::string(type) +
                "\" is an encoder, which makes embeddings and writes no text: serve it, or `inspect embedding`");
}

Result<Description> checked(Description description) {
  TRY(check_config(description.config));
  return description;
}

}  // namespace

std::span<const Family* const> all_families() { return kFamilies; }

bool Description::leaves_out(std::string_view tensor) const {
  if (!names->left_out.empty() && tensor.starts_with(names->left_out)) return true;
  for (std::size_t i = 0; i < config.skipped_layers; ++i) {
    if (tensor.starts_with(layer_name(names->layer, config.layers.size() + i))) return true;
  }
  return false;
}

Result<Description> describe(const GgufFile& file) {
  const std::string_view architecture = TRY(file.get_string("general.architecture"));
  for (const Family* family : kFamilies) {
    if (family->from_gguf == nullptr || family->architecture != architecture) continue;
    return checked(Description{TRY(family->from_gguf(file)), &family->own_gguf_names()});
  }
  if (find_encoder_family(file) != nullptr) return is_encoder(architecture);
  return unknown_family("architecture", architecture);
}

Result<Description> describe(const json::Object& config) {
  const json::Value* const type = config.if_contains("model_type");
  if (type == nullptr || !type->is_string()) return fail(Code::kCorrupt, "config.json names no model_type");
  const std::string_view name(type->get_string().data(), type->get_string().size());
  for (const Family* family : kFamilies) {
    if (family->from_json == nullptr || family->model_type != name) continue;
    return checked(Description{TRY(family->from_json(config)), &family->json_names()});
  }
  if (find_encoder_family(config) != nullptr) return is_encoder(name);
  return unknown_family("model_type", name);
}

Result<Description> describe(const Checkpoint& checkpoint) {
  if (checkpoint.gguf() != nullptr) return describe(*checkpoint.gguf());
  Description description = TRY(describe(checkpoint.config()));
  const TensorNames* const older = description.names->older;
  if (older != nullptr && checkpoint.find(std::string(older->embedding) + ".weight") != nullptr) {
    description.names = older;
  }
  return description;
}

}  // namespace autoglm::model
