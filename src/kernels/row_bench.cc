// SPDX-License-Identifier: Apache-2.0
// The row operations between the linear layers, on the best instruction set: one row as in decode, 512 as in a prompt.
#include <benchmark/benchmark.h>

#include "kernels/rope_table.h"
#include "kernels/row_fixture.h"

namespace autoglm::kernels {
namespace {

struct Rows {
  explicit Rows(benchmark::State& state)
      : rows(static_cast<std::size_t>(state.range(0))),
        columns(static_cast<std::size_t>(state.range(1))),
        fixture(available_isas().back(), 2),
        random(1),
        x(random_floats(random, rows * columns, 2)),
        y(random_floats(random, rows * columns, 2)),
        weight(random_floats(random, columns, 2)) {}

  std::size_t rows;
  std::size_t columns;
  RowFixture fixture;
  base::Random random;
  std::vector<float> x, y, weight;
};

void norm_prepare(benchmark::State& state) {
  Rows r(state);
  for (auto _ : state) {
    r.fixture.arena.reset();
    r.fixture.rows.rms_norm_prepare(view(r.x, r.rows), r.weight.data(), 1e-5f, {.q8 = true});
  }
}
BENCHMARK(norm_prepare)->ArgsProduct({{1, 512}, {576, 1536}})->UseRealTime();

void silu_prepare(benchmark::State& state) {
  Rows r(state);
  for (auto _ : state) {
    r.fixture.arena.reset();
    r.fixture.rows.gated_prepare(view(r.x, r.rows), view(r.y, r.rows), Activation::kSilu, {.q8 = true});
  }
}
BENCHMARK(silu_prepare)->ArgsProduct({{1, 512}, {1536, 8960}})->UseRealTime();

void residual(benchmark::State& state) {
  Rows r(state);
  for (auto _ : state) r.fixture.rows.add_norm(view(r.x, r.rows), view(r.y, r.rows), r.weight.data(), 1e-5f);
}
BENCHMARK(residual)->ArgsProduct({{1, 512}, {576, 1536}})->UseRealTime();

// 9 query and 3 KV heads of 64.
void rotate(benchmark::State& state) {
  const auto rows = static_cast<std::size_t>(state.range(0));
  RowFixture fixture(available_isas().back(), 2);
  base::Random random(1);
  const Rope rope({.positions = 1024, .rotary_dim = 64, .style = static_cast<RopeStyle>(state.range(1))});
  std::vector<float> query = random_floats(random, rows * 576, 1);
  std::vector<float> key = random_floats(random, rows * 192, 1);
  std::vector<float> value = key;
  KvLayer kv{.type = KvType::kF16, .kv_heads = 3, .head_dim = 64};
  std::vector<std::byte> keys(32 * 3 * kv.head_bytes());
  std::vector<std::byte> values = keys;
  kv.keys = keys.data();
  kv.values = values.data();
  std::vector<std::uint32_t> table(32);
  for (std::uint32_t i = 0; i < 32; ++i) table[i] = i;
  const SequenceRows sequence{.rows = rows, .first_position = 77, .block_table = table.data()};
  const RotateStore job{.query = view(query, rows),
                        .key = view(key, rows),
                        .value = view(value, rows),
                        .heads = 9,
                        .rope = &rope.table(),
                        .kv = kv,
                        .sequences = {&sequence, 1}};
  for (auto _ : state) fixture.rows.rotate_store(job);
}
BENCHMARK(rotate)->ArgsProduct({{1, 512}, {0, 1}})->UseRealTime();

}  // namespace
}  // namespace autoglm::kernels
