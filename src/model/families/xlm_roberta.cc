// SPDX-License-Identifier: Apache-2.0
// XLM-RoBERTa, and the sentence embedders and rerankers made of it (multilingual E5, BGE-M3's dense vector; BGE). As
// BERT, but that the positions of a text begin behind the padding's id. Source: transformers, modeling_xlm_roberta.py
// (create_position_ids_from_input_ids).
#include "model/config.h"
#include "model/families/encoder_family.h"
#include "model/families/json_config.h"

namespace autoglm::model {
namespace {

constexpr CountRange kPadding{"padding token", 0, ranges::kVocab.max};

Result<EncoderConfig> from_json(const json::Object& config) {
  const std::size_t padding = TRY(find_count(config, "pad_token_id", kPadding)).value_or(1);
  EncoderConfig result = TRY(read_encoder_config(config, padding + 1));
  result.separators = 2;
  return result;
}

}  // namespace

const EncoderFamily kXlmRoberta{
    .name = "XLM-RoBERTa: multilingual E5; rerankers BGE",
    .note = "Unigram; positions begin behind the padding's id",
    .model_type = "xlm-roberta",
    .prefix = "roberta.",
    .score = {.dense = "classifier.dense", .out = "classifier.out_proj"},
    .from_json = from_json,
};

}  // namespace autoglm::model
