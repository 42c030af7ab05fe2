// SPDX-License-Identifier: Apache-2.0
// What every family reads alike from GGUF metadata. Any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/config.h"
#include "model/formats/gguf.h"

namespace autoglm::model {

/// Shape, norms, biases and one rope for all layers, in the named style; no windows. Refuses by name what no family
/// here runs (unknown rope scaling), and experts unless `may_have_experts`.
Result<ModelConfig> read_gguf_config(const GgufFile& file, kernels::RopeStyle style, bool may_have_experts = false);

/// What the keys of experts say, over `experts`, which has what absent ones mean. All layers behind the leading dense
/// ones have experts; layers that guess ahead are taken off the end.
Status read_gguf_experts(const GgufFile& file, const ExpertConfig& experts, ModelConfig& config);

/// The value of `suffix` below the file's architecture when it is in range; nothing when the key is absent.
Result<std::optional<std::size_t>> find_count(const GgufFile& file, std::string_view suffix, const CountRange& range);
Result<std::optional<double>> find_number(const GgufFile& file, std::string_view suffix, const NumberRange& range);
/// The same for a value that must be there.
Result<std::size_t> get_count(const GgufFile& file, std::string_view suffix, const CountRange& range);

/// `suffix` below the file's architecture: "llama.block_count".
std::string architecture_key(const GgufFile& file, std::string_view suffix);

}  // namespace autoglm::model
