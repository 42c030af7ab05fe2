// SPDX-License-Identifier: Apache-2.0
// Linear layers in exact mode against the golden products of stored blocks (tests/testdata/golden/quant): wx = W x in
// double precision, wx_abs = |W| |x|. What is measured is our packing, unpacking and sum, for every instruction set.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/json.h"
#include "kernels/linear.h"

namespace autoglm::kernels {
namespace {

constexpr std::size_t kRows = 4, kColumns = 512;
constexpr double kTolerance = 1e-5;  // of wx_abs: the goldens' own bound for f32 sums

std::string golden(const std::string& name) {
  std::ifstream file(std::string(TESTDATA_DIR) + "/golden/quant/" + name, std::ios::binary);
  EXPECT_TRUE(file) << name;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

TEST(LinearGoldenTest, ExactProductsOfEveryTypeOnEveryInstructionSet) {
  base::Budget budget;
  const Result<json::Value> index = json::parse(golden("index.json"), budget);
  ASSERT_TRUE(index) << index.error().message;
  const std::string x_bytes = golden("x.f32");
  ASSERT_EQ(x_bytes.size(), kColumns * sizeof(float));
  std::vector<float> x(kColumns);
  std::memcpy(x.data(), x_bytes.data(), x_bytes.size());
  const Activations in{.rows = 1, .columns = kColumns, .f32 = x.data()};

  int types = 0;
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto type = static_cast<DType>(i);
    const std::string name(traits(type).name);
    const json::Value* entry = index->as_object().if_contains(name);
    if (entry == nullptr) continue;
    ++types;
    std::string stored = golden(name + ".bin");
    ASSERT_EQ(stored.size(), kRows * row_bytes(type, kColumns));
    const Tensor weights{type, kRows, kColumns, row_bytes(type, kColumns), reinterpret_cast<std::byte*>(stored.data())};
    for (Isa isa : available_isas()) {
      base::ThreadPool pool(2);
      Linear linear(isa, Compute::kExact, pool);
      const auto packed = linear.pack(weights);
      float out[kRows];
      const LinearJob job{.weights = packed.get(), .out = f32_tensor(out, 1, kRows)};
      linear.run(in, {&job, 1});
      for (std::size_t row = 0; row < kRows; ++row) {
        const double expected = entry->at("wx").at(row).to_number<double>();
        const double scale = entry->at("wx_abs").at(row).to_number<double>();
        EXPECT_NEAR(out[row], expected, kTolerance * scale) << name << ' ' << isa_name(isa) << " row " << row;
      }
    }
  }
  EXPECT_EQ(types, kDTypeCount - 1);  // all but F32, which has no blocks
}

}  // namespace
}  // namespace autoglm::kernels
