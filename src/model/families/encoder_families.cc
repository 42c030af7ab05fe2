// SPDX-License-Identifier: Apache-2.0
// The table of encoder families, and what they read alike. A new one is a file beside this and a row here.
#include <string>

#include "base/log.h"
#include "model/config.h"
#include "model/families/encoder_family.h"
#include "model/families/gguf_config.h"
#include "model/families/json_config.h"

namespace autoglm::model {
namespace {

constexpr const EncoderFamily* kEncoderFamilies[] = {&kBert, &kXlmRoberta};

// Source: transformers, modeling_bert.py.
constexpr EncoderNames kBertNames{
    .words = "embeddings.word_embeddings",
    .positions = "embeddings.position_embeddings",
    .token_types = "embeddings.token_type_embeddings",
    .embedding_norm = "embeddings.LayerNorm",
    .query = "encoder.layer.{}.attention.self.query",
    .key = "encoder.layer.{}.attention.self.key",
    .value = "encoder.layer.{}.attention.self.value",
    .output = "encoder.layer.{}.attention.output.dense",
    .attention_norm = "encoder.layer.{}.attention.output.LayerNorm",
    .up = "encoder.layer.{}.intermediate.dense",
    .down = "encoder.layer.{}.output.dense",
    .mlp_norm = "encoder.layer.{}.output.LayerNorm",
};

// Source: gguf-py, constants.py, MODEL_ARCH.BERT.
constexpr EncoderNames kGgufNames{
    .words = "token_embd",
    .positions = "position_embd",
    .token_types = "token_types",
    .embedding_norm = "token_embd_norm",
    .query = "blk.{}.attn_q",
    .key = "blk.{}.attn_k",
    .value = "blk.{}.attn_v",
    .output = "blk.{}.attn_output",
    .attention_norm = "blk.{}.attn_output_norm",
    .up = "blk.{}.ffn_up",
    .down = "blk.{}.ffn_down",
    .mlp_norm = "blk.{}.layer_output_norm",
};

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

constexpr CountRange kLabels{"number of labels", 1, 1'048'576};

// Whether a score goes out as it is: what sentence-transformers' CrossEncoder reads, and its sigmoid where nothing is
// said. Older configs have a key of their own.
Result<bool> is_score_raw(const json::Object& config) {
  std::string_view function = TRY(find_text(config, "sbert_ce_default_activation_function")).value_or("");
  if (const json::Object* settings = TRY(find_object(config, "sentence_transformers")); settings != nullptr) {
    function = TRY(find_text(*settings, "activation_fn")).value_or(function);
  }
  const std::string_view name = function.substr(function.rfind('.') + 1);
  if (name.empty() || name == "Sigmoid") return false;
  if (name == "Identity") return true;
  return refuse("the activation \"" + base::printable(function) +
                "\" of a reranker's score is not supported; Sigmoid and Identity are");
}

// Of a model that is more than an encoder: with one label it is a reranker.
Status read_score(const json::Object& config, EncoderConfig& result) {
  const json::Value* const classes = config.if_contains("architectures");
  const bool names_one = classes != nullptr && classes->is_array() && !classes->get_array().empty();
  const json::Value* const first = names_one ? &classes->get_array().front() : nullptr;
  if (first == nullptr || !first->is_string()) return {};
  if (!json::view(first->get_string()).ends_with("ForSequenceClassification")) return {};
  const json::Object* const labels = TRY(find_object(config, "id2label"));
  const std::size_t count =
      labels != nullptr ? labels->size() : TRY(find_count(config, "num_labels", kLabels)).value_or(2);
  if (count != 1) {
    return refuse("a classifier of " + std::to_string(count) +
                  " labels is not supported; a reranker, which has one, is");
  }
  result.has_score = true;
  result.is_score_raw = TRY(is_score_raw(config));
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

const EncoderFamily* find_encoder_family(const GgufFile& file) {
  const auto architecture = file.find_string("general.architecture");
  if (!architecture || !*architecture) return nullptr;
  for (const EncoderFamily* family : kEncoderFamilies) {
    if (family->from_gguf != nullptr && family->architecture == **architecture) return family;
  }
  return nullptr;
}

const EncoderFamily* find_encoder_family(const Checkpoint& checkpoint) {
  return checkpoint.gguf() != nullptr ? find_encoder_family(*checkpoint.gguf())
                                      : find_encoder_family(checkpoint.config());
}

Result<EncoderDescription> describe_encoder(const EncoderFamily& family, const Checkpoint& checkpoint) {
  if (checkpoint.gguf() != nullptr) {
    return EncoderDescription{.config = TRY(family.from_gguf(*checkpoint.gguf())), .names = &kGgufNames};
  }
  return EncoderDescription{.config = TRY(family.from_json(checkpoint.config())),
                            .names = &kBertNames,
                            .prefix = family.prefix,
                            .score = family.score};
}

Result<EncoderConfig> read_encoder_config(const GgufFile& file) {
  if (file.find_tensor("cls.output.weight") != nullptr) {
    return refuse("a GGUF of a reranker lacks what makes its score; a safetensors folder of it has all");
  }
  if (TRY(file.find_bool(architecture_key(file, "attention.causal"))).value_or(false)) {
    return refuse("the GGUF says \"attention.causal\": only encoders of this family are supported");
  }
  EncoderConfig config;
  config.architecture = TRY(file.get_string("general.architecture"));
  const StoredTensor* const words = file.find_tensor(std::string(kGgufNames.words) + ".weight");
  if (words == nullptr || words->rank != 2) {
    return fail(Code::kCorrupt, "the GGUF has no tensor \"token_embd.weight\" of two dimensions");
  }
  config.vocab = TRY(in_range(words->shape[0], ranges::kVocab));
  config.hidden = TRY(get_count(file, "embedding_length", ranges::kHidden));
  config.layers = TRY(get_count(file, "block_count", ranges::kLayers));
  config.heads = TRY(get_count(file, "attention.head_count", ranges::kHeads));
  config.feed_forward = TRY(get_count(file, "feed_forward_length", ranges::kFeedForward));
  config.positions = TRY(get_count(file, "context_length", kPositions));
  const bool has_types = file.find_tensor(std::string(kGgufNames.token_types) + ".weight") != nullptr;
  const auto types = TRY(file.find_uint("tokenizer.ggml.token_type_count"));
  config.token_types = has_types ? TRY(in_range(types.value_or(2), kTokenTypes)) : 0;
  config.norm_eps = TRY(find_number(file, "attention.layer_norm_epsilon", ranges::kNormEps)).value_or(1e-12);
  TRY(check_encoder_config(config));
  return config;
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
  TRY(read_score(config, result));
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
