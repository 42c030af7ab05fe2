// SPDX-License-Identifier: Apache-2.0
// Attention of one layer on the best instruction set: prompts and decode steps with the shapes of the catalogue's
// models. GMAC/s counts the multiply-adds that the causal triangle needs.
#include <benchmark/benchmark.h>

#include "kernels/row_fixture.h"

namespace autoglm::kernels {
namespace {

// Arguments: heads, kv heads, head size, context, rows (the last `rows` of the context), threads.
void run_attention(benchmark::State& state) {
  const auto argument = [&](int i) { return static_cast<std::size_t>(state.range(i)); };
  const std::size_t heads = argument(0);
  const std::size_t context = argument(3);
  const std::size_t rows = argument(4);
  RowFixture fixture(available_isas().back(), static_cast<int>(argument(5)));
  KvLayer kv{.type = KvType::kF16, .kv_heads = argument(1), .head_dim = argument(2)};
  const std::size_t blocks = context / KvLayer::kBlockTokens + 1;
  std::vector<std::byte> keys(blocks * kv.kv_heads * kv.head_bytes());  // zeros: time does not depend on values
  std::vector<std::byte> values = keys;
  kv.keys = keys.data();
  kv.values = values.data();
  std::vector<std::uint32_t> table(blocks);
  for (std::size_t i = 0; i < blocks; ++i) table[i] = static_cast<std::uint32_t>(i);
  base::Random random(1);
  std::vector<float> query = random_floats(random, rows * heads * kv.head_dim, 1);
  std::vector<float> out(query.size());
  const SequenceRows sequence{
      .first_row = 0, .rows = rows, .first_position = context - rows, .block_table = table.data()};
  const AttentionJob job{.query = view(query, rows),
                         .out = view(out, rows),
                         .heads = heads,
                         .kv = kv,
                         .scale = 0.1f,
                         .sequences = {&sequence, 1}};
  for (auto _ : state) fixture.rows.attention(job);
  const double tokens = static_cast<double>(rows) * (static_cast<double>(context) - static_cast<double>(rows - 1) / 2);
  state.counters["GMAC"] = benchmark::Counter(tokens * static_cast<double>(heads * kv.head_dim) * 2e-9,
                                              benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(run_attention)
    ->Args({9, 3, 64, 512, 512, 1})  // SmolLM2, prompt
    ->Args({9, 3, 64, 512, 512, 2})
    ->Args({12, 2, 128, 512, 512, 1})  // Qwen2.5 1.5B, prompt
    ->Args({4, 1, 256, 512, 512, 1})   // Gemma 3 270M, prompt
    ->Args({9, 3, 64, 64, 1, 2})       // decode
    ->Args({9, 3, 64, 576, 1, 1})
    ->Args({9, 3, 64, 576, 1, 2})
    ->Args({12, 2, 128, 576, 1, 2})
    ->Args({12, 2, 128, 8192, 1, 1})
    ->Args({12, 2, 128, 8192, 1, 2})
    ->UseRealTime();

}  // namespace
}  // namespace autoglm::kernels
