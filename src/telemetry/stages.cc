// SPDX-License-Identifier: Apache-2.0
#include "telemetry/stages.h"

namespace autoglm::telemetry {
namespace {

constexpr StageSpec kStages[] = {
    {"load_tokenizer", StagePlace::kLoad, "Reading the tokenizer and the chat template."},
    {"load_weights", StagePlace::kLoad, "Reading the weights and packing them for this processor."},
    {"template", StagePlace::kCaller, "Messages to the text of a prompt, by the chat template."},
    {"tokenise", StagePlace::kCaller, "Text to token ids."},
    {"plan", StagePlace::kStep, "Which sequences run in a step, and on which KV blocks."},
    {"embed", StagePlace::kStep, "The rows of the embedding table."},
    {"norm", StagePlace::kStep, "Norms, and the rounding of what linear layers read."},
    {"qkv", StagePlace::kStep, "The linear layers of query, key and value."},
    {"rotate_store", StagePlace::kStep, "Rotary positions, and the writing of keys and values."},
    {"attention", StagePlace::kStep, "Attention over the KV cache."},
    {"attention_output", StagePlace::kStep, "The linear layer behind attention."},
    {"route", StagePlace::kStep, "The choice of experts, where a model has them."},
    {"pack_experts", StagePlace::kStep, "Packing experts for this processor, each on its first use."},
    {"ffn_gate_up", StagePlace::kStep, "The linear layers of gate and up."},
    {"ffn_activation", StagePlace::kStep, "Gate times up, and its rounding for the layer that reads it."},
    {"ffn_down", StagePlace::kStep, "The linear layer of down."},
    {"head", StagePlace::kStep, "The linear layer that gives the logits, of the rows that want them."},
    {"grammar_mask", StagePlace::kBeside, "Grammars' masks, beside the forward pass."},
    {"mask_wait", StagePlace::kStep,
     "Handing masks to their thread, and waiting for those that took longer than the pass."},
    {"sample", StagePlace::kStep, "Logits to tokens; masks that were not made beside are among it."},
    {"detokenise", StagePlace::kStep, "Tokens to text, and the search for stop strings."},
    {"deliver", StagePlace::kStep, "Handing a token to whoever asked."},
};
static_assert(std::size(kStages) == kStageCount);

}  // namespace

std::span<const StageSpec> all_stages() { return kStages; }

const StageSpec& spec_of(Stage stage) { return kStages[static_cast<std::size_t>(stage)]; }

StageTimes StageTimes::operator-(const StageTimes& earlier) const {
  StageTimes between;
  for (std::size_t i = 0; i < kStageCount; ++i) {
    between.stages[i] = {.nanoseconds = stages[i].nanoseconds - earlier.stages[i].nanoseconds,
                         .calls = stages[i].calls - earlier.stages[i].calls};
  }
  return between;
}

StageTimes& StageTimes::operator+=(const StageTimes& more) {
  for (std::size_t i = 0; i < kStageCount; ++i) {
    stages[i].nanoseconds += more.stages[i].nanoseconds;
    stages[i].calls += more.stages[i].calls;
  }
  return *this;
}

std::uint64_t StageTimes::sum(StagePlace place) const {
  std::uint64_t nanoseconds = 0;
  for (std::size_t i = 0; i < kStageCount; ++i) {
    if (kStages[i].place == place) nanoseconds += stages[i].nanoseconds;
  }
  return nanoseconds;
}

void Stages::add(Stage stage, base::Duration duration) {
  Cell& cell = cells_[static_cast<std::size_t>(stage)];
  cell.nanoseconds.fetch_add(static_cast<std::uint64_t>(duration.count()), std::memory_order_relaxed);
  cell.calls.fetch_add(1, std::memory_order_relaxed);
}

StageTimes Stages::read() const {
  StageTimes times;
  for (std::size_t i = 0; i < kStageCount; ++i) {
    times.stages[i] = {.nanoseconds = cells_[i].nanoseconds.load(std::memory_order_relaxed),
                       .calls = cells_[i].calls.load(std::memory_order_relaxed)};
  }
  return times;
}

}  // namespace autoglm::telemetry
