// SPDX-License-Identifier: Apache-2.0
// BERT and the sentence embedders made of it (all-MiniLM, BGE, E5).
#include "model/families/encoder_family.h"

namespace autoglm::model {
namespace {

Result<EncoderConfig> from_json(const json::Object& config) { return read_encoder_config(config, 0); }
Result<EncoderConfig> from_gguf(const GgufFile& file) { return read_encoder_config(file); }

}  // namespace

const EncoderFamily kBert{
    .name = "BERT: all-MiniLM, BGE, E5",
    .note = "WordPiece",
    .architecture = "bert",
    .model_type = "bert",
    .prefix = "bert.",
    .from_json = from_json,
    .from_gguf = from_gguf,
};

}  // namespace autoglm::model
