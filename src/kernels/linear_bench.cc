// SPDX-License-Identifier: Apache-2.0
// Speed of linear layers: multiply-adds a second and weights read a second. Arguments: rows, threads. Weights of many
// megabytes come from memory, as in a model; small ones stay in the second-level cache.
//   kernels_bench --benchmark_filter='linear/avx512/Q4_K/.*rows:1/'
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/half.h"
#include "kernels/linear.h"
#include "kernels/quant_blocks.h"

namespace autoglm::kernels {
namespace {

struct Shape {
  const char* name;
  std::size_t out_features, in_features;
};

// Random blocks whose factors are small: speed does not depend on values, save for denormals and NaN.
std::vector<std::byte> random_rows(DType type, std::size_t rows, std::size_t columns) {
  base::Random random(1);
  std::vector<std::byte> bytes(rows * row_bytes(type, columns));
  for (std::size_t i = 0; i + 2 <= bytes.size(); i += 2) {
    // Every pair of bytes is a small normal half, bf16 or, in pairs, f32.
    const auto pattern = static_cast<std::uint16_t>(0x1c00 | (random.bits() & 0x83ff));
    std::memcpy(bytes.data() + i, &pattern, 2);
  }
  return bytes;
}

void run_linear(benchmark::State& state, Isa isa, DType type, Compute compute, Shape shape) {
  const auto rows = static_cast<std::size_t>(state.range(0));
  base::ThreadPool pool(static_cast<int>(state.range(1)));
  Linear linear(isa, compute, pool);
  std::vector<std::byte> stored = random_rows(type, shape.out_features, shape.in_features);
  const auto weights =
      linear.pack({type, shape.out_features, shape.in_features, row_bytes(type, shape.in_features), stored.data()});
  std::vector<float> x(rows * shape.in_features, 0.5f), out(rows * shape.out_features);
  std::vector<std::int8_t> q8(x.size(), 3);
  std::vector<float> scale(x.size() / 32, 0.01f), sum(x.size() / 32, 0.96f);
  std::vector<std::uint16_t> bf16(x.size(), 0x3f00);
  const Activations in{.rows = rows,
                       .columns = shape.in_features,
                       .f32 = x.data(),
                       .q8 = q8.data(),
                       .q8_scale = scale.data(),
                       .q8_sum = sum.data(),
                       .bf16 = bf16.data()};
  const LinearJob job{.weights = weights.get(), .out = f32_tensor(out.data(), rows, shape.out_features)};
  for (auto step : state) {
    linear.run(in, {&job, 1});
    benchmark::DoNotOptimize(out.data());
  }
  const double macs = static_cast<double>(rows * shape.in_features * shape.out_features);
  state.counters["GMAC/s"] = benchmark::Counter(macs * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(weights->bytes()) * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void run_pack(benchmark::State& state, DType type) {
  base::ThreadPool pool(static_cast<int>(state.range(0)));
  Linear linear(Isa::kScalar, Compute::kFast, pool);
  constexpr std::size_t kRows = 8960, kColumns = 1536;
  std::vector<std::byte> stored = random_rows(type, kRows, kColumns);
  for (auto step : state) {
    benchmark::DoNotOptimize(linear.pack({type, kRows, kColumns, row_bytes(type, kColumns), stored.data()}));
  }
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(stored.size()) * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

bool register_all() {
  constexpr Shape kShapes[] = {{"small", 1536, 576}, {"large", 8960, 1536}, {"head", 49152, 576}};
  for (Isa isa : available_isas()) {
    for (int t = 0; t < kDTypeCount; ++t) {
      const auto type = static_cast<DType>(t);
      for (Compute compute : {Compute::kFast, Compute::kExact}) {
        for (const Shape& shape : kShapes) {
          if (shape.in_features % traits(type).block_elements != 0) continue;
          const std::string name = "linear/" + std::string(isa_name(isa)) + "/" + std::string(traits(type).name) +
                                   (compute == Compute::kFast ? "/fast/" : "/exact/") + shape.name;
          benchmark::RegisterBenchmark(name.c_str(), run_linear, isa, type, compute, shape)
              ->ArgNames({"rows", "threads"})
              ->ArgsProduct({{1, 2, 4, 8, 12, 32, 512}, {1, 2}})
              ->UseRealTime();
        }
      }
    }
  }
  for (int t = 0; t < kDTypeCount; ++t) {
    const auto type = static_cast<DType>(t);
    benchmark::RegisterBenchmark(("pack/" + std::string(traits(type).name)).c_str(), run_pack, type)
        ->ArgName("threads")
        ->Arg(1)
        ->Arg(2)
        ->UseRealTime();
  }
  return true;
}

const bool kRegistered = register_all();

}  // namespace
}  // namespace autoglm::kernels
