// SPDX-License-Identifier: Apache-2.0
// The table of encoder families, and what they read alike. A new one is a file beside this and a row here.
#include <string>

#include "base/log.h"
#include "model/config.h"
#include "model/families/encoder_family.h"
#include "model/families/json_config.h"

namespace autoglm::model {
namespace {

constexpr const EncoderFamily* kEncoderFamilies[] = {&kBert, &kXlmRoberta};

constexpr CountRange kPositions{"table of positions", 1, 1'048'576};
constexpr CountRange kTokenTypes{"token types", 0, 1'024};

Result<std::size_t> needed(const json::Object& config, std::string_view key, const CountRange& range) {
  const auto value = TRY(find_count(config, key, range));
  if (!value) return fail(Code::kCorrupt, "config.json has no \"" + std::string(key) + "\"");
  return *value;
}

Status refuse_what_encoders_lack(const json::Object& config) {
  if (TRY(find_object(config, "quantization_config")) != nullptr) {
    return refuse("the encoder's weights are quantised (\"quantization_config\"), which is not supported");
  }
  for (const std::string_view key : {"is_decoder", "add_cross_attention"}) {
    if (TRY(find_flag(config, key)).value_or(false)) {
      return refuse("config.json says \"" + std::string(key) + "\": only encoders of this family are supported");
    }
  }
  const auto activation = TRY(find_text(config, "hidden_act")).value_or("gelu");
  if (activation != "gelu") {
    return refuse("the activation \"" + base::printable(activation) + "\" of an encoder is not supported; gelu is");
  }
  const auto positions = TRY(find_text(config, "position_embedding_type")).value_or("absolute");
  if (positions != "absolute") {
    return refuse("the positions of type \"" + base::printable(positions) + "\" are not supported; absolute ones are");
  }
  return {};
}

}  // namespace

std::span<const EncoderFamily* const> all_encoder_families() { return kEncoderFamilies; }

const EncoderFamily* find_encoder_family(const json::Object& config) {
  const json::Value* const type = config.if_contains("model_type");
  if (type == nullptr || !type->is_string()) return nullptr;
  for (const EncoderFamily* family : kEncoderFamilies) {
    if (family->model_type == json::view(type->get_string())) return family;
  }
  return nullptr;
}

// Defaults of absent keys: transformers 5, configuration_bert.py and configuration_xlm_roberta.py.
Result<EncoderConfig> read_encoder_config(const json::Object& config, std::size_t first_position) {
  TRY(refuse_what_encoders_lack(config));
  EncoderConfig result;
  result.architecture = TRY(find_text(config, "model_type")).value_or("");
  result.vocab = TRY(needed(config, "vocab_size", ranges::kVocab));
  result.hidden = TRY(needed(config, "hidden_size", ranges::kHidden));
  result.layers = TRY(needed(config, "num_hidden_layers", ranges::kLayers));
  result.heads = TRY(needed(config, "num_attention_heads", ranges::kHeads));
  result.feed_forward = TRY(needed(config, "intermediate_size", ranges::kFeedForward));
  result.positions = TRY(find_count(config, "max_position_embeddings", kPositions)).value_or(512);
  result.first_position = first_position;
  result.token_types = TRY(find_count(config, "type_vocab_size", kTokenTypes)).value_or(2);
  result.norm_eps = TRY(find_number(config, "layer_norm_eps", ranges::kNormEps)).value_or(1e-12);
  TRY(check_encoder_config(result));
  return result;
}

Status check_encoder_config(const EncoderConfig& config) {
  if (config.hidden % config.heads != 0) {
    return refuse("a hidden size of " + std::to_string(config.hidden) + " is not " + std::to_string(config.heads) +
                  " attention heads of one size");
  }
  TRY(in_range(config.head_dim(), CountRange{"head dimension", 1, ranges::kHeadDim.max}));
  if (config.positions <= config.first_position) {
    return refuse("a table of " + std::to_string(config.positions) +
                  " positions holds none of a text, whose first is " + std::to_string(config.first_position));
  }
  return {};
}

}  // namespace autoglm::model
