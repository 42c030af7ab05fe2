// SPDX-License-Identifier: Apache-2.0
// What the memory of one step's tensors costs: the sizes that the transformer takes for SmolLM2 135M, all 30 layers,
// for a decode step of 16 sequences and for 512 rows of a prompt. From the arena; from malloc, given back when the
// layer's half is done; from malloc, given back when the step is. Every page is written once, as the kernels would.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <vector>

#include "base/check.h"
#include "kernels/tensor.h"

namespace autoglm::kernels {
namespace {

constexpr std::size_t kLayers = 30;
constexpr std::size_t kPage = 4096;

// Bytes of the tensors of one half of a layer. A prepared tensor is f32 and, rounded, s8 with two f32 a block of 32.
std::vector<std::size_t> prepared(std::size_t rows, std::size_t columns) {
  const std::size_t elements = rows * columns;
  return {elements * 4, elements, elements / 32 * 4, elements / 32 * 4};
}

std::vector<std::size_t> half_of_layer(std::size_t rows, std::vector<std::size_t> f32_columns,
                                       std::vector<std::size_t> prepared_columns) {
  std::vector<std::size_t> sizes;
  for (const std::size_t columns : f32_columns) sizes.push_back(rows * columns * 4);
  for (const std::size_t columns : prepared_columns)
    std::ranges::copy(prepared(rows, columns), std::back_inserter(sizes));
  return sizes;
}

struct Step {
  explicit Step(const benchmark::State& state)
      : attention(half_of_layer(static_cast<std::size_t>(state.range(0)), {576, 192, 192, 576}, {576, 576})),
        feed_forward(half_of_layer(static_cast<std::size_t>(state.range(0)), {1536, 1536}, {576, 1536})) {}

  std::vector<std::size_t> attention, feed_forward;
};

void write(std::byte* memory, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += kPage) memory[at] = std::byte{1};
  benchmark::DoNotOptimize(memory);
}

void set_peak(benchmark::State& state, std::size_t bytes) {
  state.counters["peak_MB"] = static_cast<double>(bytes) / 1e6;
}

void step_tensors_from_the_arena(benchmark::State& state) {
  const Step step(state);
  Arena arena(std::size_t{64} << 20);
  std::size_t peak = 0;
  for (auto _ : state) {
    for (std::size_t layer = 0; layer < kLayers; ++layer) {
      for (const auto* half : {&step.attention, &step.feed_forward}) {
        for (const std::size_t bytes : *half) write(arena.take(bytes), bytes);
        peak = std::max(peak, arena.mark());
        arena.reset();
      }
    }
  }
  set_peak(state, peak);
}
BENCHMARK(step_tensors_from_the_arena)->Arg(16)->Arg(512)->Unit(benchmark::kMicrosecond);

// Blocks of malloc that are freed together.
class Heap final {
 public:
  ~Heap() { give_back(); }
  void take(std::size_t bytes) {
    auto* const memory = static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
    CHECK(memory != nullptr);
    write(memory, bytes);
    blocks_.push_back(memory);
    held_ += bytes;
  }
  void give_back() {
    for (std::byte* const memory : blocks_) std::free(memory);
    blocks_.clear();
    held_ = 0;
  }
  std::size_t held() const { return held_; }

 private:
  std::vector<std::byte*> blocks_;
  std::size_t held_ = 0;
};

void from_malloc(benchmark::State& state, bool is_reused) {
  const Step step(state);
  Heap heap;
  std::size_t peak = 0;
  for (auto _ : state) {
    for (std::size_t layer = 0; layer < kLayers; ++layer) {
      for (const auto* half : {&step.attention, &step.feed_forward}) {
        for (const std::size_t bytes : *half) heap.take(bytes);
        peak = std::max(peak, heap.held());
        if (is_reused) heap.give_back();
      }
    }
    heap.give_back();
  }
  set_peak(state, peak);
}

void step_tensors_from_malloc(benchmark::State& state) { from_malloc(state, true); }
BENCHMARK(step_tensors_from_malloc)->Arg(16)->Arg(512)->Unit(benchmark::kMicrosecond);

void step_tensors_from_malloc_without_reuse(benchmark::State& state) { from_malloc(state, false); }
BENCHMARK(step_tensors_from_malloc_without_reuse)->Arg(16)->Arg(512)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace autoglm::kernels
