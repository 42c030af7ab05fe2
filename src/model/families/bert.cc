// SPDX-License-Identifier: Apache-2.0
// BERT, and the sentence embedders and rerankers made of it (all-MiniLM, BGE, E5; ms-marco-MiniLM).
#include "model/families/encoder_family.h"

namespace autoglm::model {
namespace {

Result<EncoderConfig> from_json(const json::Object& config) { return read_encoder_config(config, 0); }
Result<EncoderConfig> from_gguf(const GgufFile& file) { return read_encoder_config(file); }

}  // namespace

const EncoderFamily kBert{
    .name = "BERT: all-MiniLM, BGE, E5; rerankers ms-marco-MiniLM",
    .note = "WordPiece",
    .architecture = "bert",
    .model_type = "bert",
    .prefix = "bert.",
    .score = {.dense = "bert.pooler.dense", .out = "classifier"},
    .from_json = from_json,
    .from_gguf = from_gguf,
};

}  // namespace autoglm::model
