// SPDX-License-Identifier: Apache-2.0
#include <new>
#include <utility>

#include "model/load.h"
#include "model/transformer.h"

namespace autoglm::model {

Result<std::unique_ptr<LanguageModel>> load_network(const std::filesystem::path& path, const LoadOptions& options) {
  telemetry::StageTimer time(options.stages, telemetry::Stage::kLoadWeights);
  try {
    Checkpoint checkpoint = TRY(Checkpoint::open(path));
    auto description = describe(checkpoint);
    if (!description) return fail_in(path.string(), std::move(description).error());
    auto network = Transformer::make(std::move(checkpoint), std::move(*description), options);
    if (!network) return fail_in(path.string(), std::move(network).error());
    return std::move(*network);
  } catch (const std::bad_alloc&) {
    return fail(Code::kExhausted, path.string() + ": not enough memory for its weights");
  }
}

}  // namespace autoglm::model
