// SPDX-License-Identifier: Apache-2.0
// Attention of one layer on the best instruction set: prompts and decode steps with the shapes of the catalogue's
// models. GMAC/s counts the multiply-adds that the causal triangle needs, GB/s the keys and values of the context, read
// once. A decode step walks layers enough that none is found in a cache.
#include <benchmark/benchmark.h>

#include "kernels/row_fixture.h"

namespace autoglm::kernels {
namespace {

constexpr std::size_t kColdBytes = std::size_t{256} << 20;
constexpr std::size_t kF16 = 0;
constexpr std::size_t kInt8 = 1;

// Arguments: heads, kv heads, head size, context, rows (the last `rows` of the context), threads, type.
void run_attention(benchmark::State& state) {
  const auto argument = [&](int i) { return static_cast<std::size_t>(state.range(i)); };
  const std::size_t heads = argument(0);
  const std::size_t context = argument(3);
  const std::size_t rows = argument(4);
  RowFixture fixture(available_isas().back(), static_cast<int>(argument(5)));
  KvLayer kv{
      .type = argument(6) == kInt8 ? KvType::kInt8 : KvType::kF16, .kv_heads = argument(1), .head_dim = argument(2)};
  const std::size_t blocks = context / KvLayer::kBlockTokens + 1;
  const std::size_t part_bytes = blocks * kv.kv_heads * kv.head_bytes();
  const std::size_t layers = rows == 1 ? kColdBytes / (2 * part_bytes) + 1 : 1;
  const Buffer memory(layers * 2 * part_bytes);
  std::memset(memory.data(), 0, memory.size());  // time does not depend on values, but on pages that are there
  std::vector<std::uint32_t> table(blocks);
  for (std::size_t i = 0; i < blocks; ++i) table[i] = static_cast<std::uint32_t>(i);
  base::Random random(1);
  std::vector<float> query = random_floats(random, rows * heads * kv.head_dim, 1);
  std::vector<float> out(query.size());
  const SequenceRows sequence{
      .first_row = 0, .rows = rows, .first_position = context - rows, .block_table = table.data()};
  std::size_t layer = 0;
  for (auto _ : state) {
    kv.keys = memory.data() + layer * 2 * part_bytes;
    kv.values = kv.keys + part_bytes;
    layer = (layer + 1) % layers;
    fixture.rows.attention({.query = view(query, rows),
                            .out = view(out, rows),
                            .heads = heads,
                            .kv = kv,
                            .scale = 0.1f,
                            .sequences = {&sequence, 1}});
  }
  const double tokens = static_cast<double>(rows) * (static_cast<double>(context) - static_cast<double>(rows - 1) / 2);
  state.counters["GMAC"] = benchmark::Counter(tokens * static_cast<double>(heads * kv.head_dim) * 2e-9,
                                              benchmark::Counter::kIsIterationInvariantRate);
  state.counters["GB"] =
      benchmark::Counter(static_cast<double>(2 * part_bytes) * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void shapes(benchmark::internal::Benchmark* bench) {
  for (const std::size_t type : {kF16, kInt8}) {
    const auto add = [&](std::vector<std::int64_t> shape) {
      shape.push_back(static_cast<std::int64_t>(type));
      bench->Args(shape);
    };
    add({9, 3, 64, 512, 512, 2});    // SmolLM2, prompt
    add({12, 2, 128, 512, 512, 2});  // Qwen2.5 1.5B, prompt
    add({4, 1, 256, 512, 512, 2});   // Gemma 3 270M, prompt
    add({9, 3, 64, 8192, 512, 2});   // the last chunk of a long prompt
    add({14, 2, 64, 8192, 512, 2});  // Qwen2.5 0.5B
    add({9, 3, 64, 576, 1, 2});      // decode
    add({9, 3, 64, 8192, 1, 1});
    add({9, 3, 64, 8192, 1, 2});
    add({14, 2, 64, 8192, 1, 2});
    add({12, 2, 128, 8192, 1, 1});
    add({12, 2, 128, 8192, 1, 2});
    add({16, 16, 64, 8192, 1, 2});  // without groups
  }
}
BENCHMARK(run_attention)->Apply(shapes)->UseRealTime();

}  // namespace
}  // namespace autoglm::kernels
