// SPDX-License-Identifier: Apache-2.0
// The weights of an encoder as the kernels want them: projections packed for the processor, norms and the table of
// positions in f32, the word embedding as stored. Built once from a checkpoint; immutable afterwards.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/ops.h"
#include "model/encoder_config.h"
#include "model/formats/checkpoint.h"
#include "model/weights.h"

namespace autoglm::model {

struct LayerNorm {
  std::vector<float> weight, bias;  // [hidden]
};

struct EncoderLayer {
  Projection query, key, value, output;
  LayerNorm attention_norm;
  Projection up, down;
  LayerNorm mlp_norm;
};

struct EncoderWeights {
  kernels::Tensor words;           // [vocab, hidden] as stored: a view on the checkpoint, or on words_copy
  kernels::Buffer words_copy;      // only where the file holds it badly aligned
  std::vector<float> positions;    // [positions, hidden], the first token type's vector added to each
  std::vector<float> second_type;  // [hidden]: what the second of two texts has in place of that; empty = the same
  LayerNorm embedding_norm;
  std::vector<EncoderLayer> layers;
  Projection score_dense;        // [hidden, hidden]; null weights = no score
  std::vector<float> score_out;  // [hidden]
  float score_bias = 0;
  std::size_t bytes = 0;  // memory of all packed weights
};

/// Packs every weight that the description names, behind its prefix where the checkpoint has it, and lets the file's
/// pages go. The checkpoint must outlive the result (words). The pooler and the heads of pre-training are left out.
///   Errors   kCorrupt (a tensor is missing or has the wrong shape), kInvalidArgument (a type that we do not run, or a
///            tensor that an encoder does not have; both named)
Result<EncoderWeights> pack_encoder(const Checkpoint& checkpoint, const EncoderDescription& description,
                                    kernels::Ops& ops, const PackOptions& options);

/// The tensors that pack_encoder() would pack as projections. Checks everything but packs nothing: for inspect. Same
/// errors.
Result<std::vector<const StoredTensor*>> list_encoder_projections(const Checkpoint& checkpoint,
                                                                  const EncoderDescription& description);

}  // namespace autoglm::model
