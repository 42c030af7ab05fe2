// SPDX-License-Identifier: Apache-2.0
// Rotation and storing against a plain f64 version: both pairings, partial rotation, head norms, both cache types; and
// that nothing but the slots of the rows is written.
#include <gtest/gtest.h>

#include "kernels/half.h"
#include "kernels/rope_table.h"
#include "kernels/row_fixture.h"

namespace autoglm::kernels {
namespace {

constexpr std::size_t kBlock = KvLayer::kBlockTokens;

struct Shape {
  std::size_t heads = 4;
  std::size_t kv_heads = 2;
  std::size_t dim = 16;
  std::size_t rotary_dim = 16;
  RopeStyle style = RopeStyle::kHalves;
  DType type = DType::kF16;
  bool norms = false;
};

// A batch of two sequences: `rows` tokens from `first` on, and one token at position 3.
struct Scene {
  Scene(const Shape& s, std::size_t first, std::size_t rows, std::uint64_t seed)
      : shape(s), rope({.positions = 200, .rotary_dim = s.rotary_dim, .style = s.style, .theta = 100}) {
    base::Random random(seed);
    const std::size_t all = rows + 1;
    query = random_floats(random, all * s.heads * s.dim, 2);
    key = random_floats(random, all * s.kv_heads * s.dim, 2);
    value = random_floats(random, all * s.kv_heads * s.dim, 2);
    query_norm = random_floats(random, s.dim, 2);
    key_norm = random_floats(random, s.dim, 2);
    sequences = {{.first_row = 0, .rows = rows, .first_position = first, .block_table = table.data()},
                 {.first_row = rows, .rows = 1, .first_position = 3, .block_table = other_table.data()}};
    kv = {.type = s.type, .kv_heads = s.kv_heads, .head_dim = s.dim};
    keys.assign(9 * s.kv_heads * kv.head_bytes(), std::byte{0xee});
    values = keys;
    kv.keys = keys.data();
    kv.values = values.data();
  }

  RotateStore job(std::vector<float>& rotated) {
    return {.query = view(rotated, sequences[0].rows + 1),
            .key = view(key, sequences[0].rows + 1),
            .value = view(value, sequences[0].rows + 1),
            .heads = shape.heads,
            .query_norm = shape.norms ? query_norm.data() : nullptr,
            .key_norm = shape.norms ? key_norm.data() : nullptr,
            .norm_eps = 1e-6f,
            .rope = &rope.table(),
            .kv = kv,
            .sequences = sequences};
  }

  // One head in f64.
  std::vector<double> expected(const float* head, const std::vector<float>& norm, std::size_t position) const {
    std::vector<double> x(head, head + shape.dim);
    if (shape.norms) {
      double sum = 0;
      for (double v : x) sum += v * v;
      for (std::size_t d = 0; d < shape.dim; ++d) {
        x[d] = x[d] / std::sqrt(sum / static_cast<double>(shape.dim) + 1e-6) * norm[d];
      }
    }
    const std::size_t half = shape.rotary_dim / 2;
    for (std::size_t j = 0; j < half; ++j) {
      const double exponent = -2.0 * static_cast<double>(j) / static_cast<double>(shape.rotary_dim);
      const double angle = static_cast<double>(position) * std::pow(100.0, exponent);
      double& a = shape.style == RopeStyle::kHalves ? x[j] : x[2 * j];
      double& b = shape.style == RopeStyle::kHalves ? x[j + half] : x[2 * j + 1];
      const double turned = a * std::cos(angle) - b * std::sin(angle);
      b = b * std::cos(angle) + a * std::sin(angle);
      a = turned;
    }
    return x;
  }

  float stored(const std::vector<std::byte>& memory, std::uint32_t block, std::size_t head, std::size_t index) const {
    const std::byte* at = memory.data() + (block * shape.kv_heads + head) * kv.head_bytes();
    if (shape.type == DType::kF32) {
      float full = 0;
      std::memcpy(&full, at + 4 * index, 4);
      return full;
    }
    std::uint16_t half = 0;
    std::memcpy(&half, at + 2 * index, 2);
    return f32_from_f16(half);
  }

  Shape shape;
  Rope rope;
  std::vector<float> query, key, value, query_norm, key_norm;
  std::vector<std::uint32_t> table = {7, 1, 4, 3, 5};
  std::vector<std::uint32_t> other_table = {8};
  std::vector<SequenceRows> sequences;
  KvLayer kv;
  std::vector<std::byte> keys, values;
};

class RotateStoreTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isa, RotateStoreTest, testing::ValuesIn(available_isas()),
                         [](const auto& suite) { return isa_test_name(suite.param); });

void expect_scene(Scene& scene, RowKernels& kernels) {
  std::vector<float> rotated = scene.query;
  const std::vector<float> key_before = scene.key;
  kernels.rotate_store(scene.job(rotated));
  EXPECT_EQ(scene.key, key_before);  // only copies are rotated
  const Shape& shape = scene.shape;
  std::size_t written = 0;
  for (const SequenceRows& sequence : scene.sequences) {
    for (std::size_t r = 0; r < sequence.rows; ++r) {
      const std::size_t row = sequence.first_row + r;
      const std::size_t position = sequence.first_position + r;
      // |x| <= 4: a norm and a rotation are below 64 roundings of it.
      const double close = 64 * 0x1p-24 * 4;
      for (std::size_t head = 0; head < shape.heads; ++head) {
        const std::size_t at = (row * shape.heads + head) * shape.dim;
        const std::vector<double> exact = scene.expected(scene.query.data() + at, scene.query_norm, position);
        for (std::size_t d = 0; d < shape.dim; ++d) ASSERT_NEAR(rotated[at + d], exact[d], close) << row << " " << d;
      }
      for (std::size_t head = 0; head < shape.kv_heads; ++head) {
        const std::size_t at = (row * shape.kv_heads + head) * shape.dim;
        const std::vector<double> exact = scene.expected(scene.key.data() + at, scene.key_norm, position);
        const std::uint32_t block = sequence.block_table[position / kBlock];
        const std::size_t slot = position % kBlock;
        const double rounding = shape.type == DType::kF16 ? 0x1p-11 : 0.0;
        for (std::size_t d = 0; d < shape.dim; ++d) {
          const float key = scene.stored(scene.keys, block, head, d * kBlock + slot);
          ASSERT_NEAR(key, exact[d], close + rounding * std::fabs(exact[d])) << row << " " << d;
          const float value = scene.stored(scene.values, block, head, slot * shape.dim + d);
          const float plain = scene.value[at + d];
          ASSERT_EQ(value, shape.type == DType::kF16 ? f32_from_f16(f16_from_f32(plain)) : plain);
        }
        written += shape.dim * (shape.type == DType::kF16 ? 2 : 4);
      }
    }
  }
  std::size_t untouched = 0;
  for (std::byte b : scene.values) untouched += b == std::byte{0xee};
  EXPECT_GE(untouched, scene.values.size() - written);
}

TEST_P(RotateStoreTest, EveryShape) {
  RowFixture fixture(GetParam(), 2);
  std::uint64_t seed = 0;
  for (RopeStyle style : {RopeStyle::kHalves, RopeStyle::kInterleaved}) {
    for (DType type : {DType::kF16, DType::kF32}) {
      for (bool norms : {false, true}) {
        for (const auto& [dim, rotary] :
             {std::pair{16, 16}, {64, 64}, {64, 32}, {12, 12}, {20, 10}, {256, 256}, {10, 0}}) {
          SCOPED_TRACE(++seed);
          Scene scene({.dim = static_cast<std::size_t>(dim),
                       .rotary_dim = static_cast<std::size_t>(rotary),
                       .style = style,
                       .type = type,
                       .norms = norms},
                      seed * 5 % 61, 1 + seed * 13 % 90, seed);
          expect_scene(scene, fixture.rows);
        }
      }
    }
  }
}

TEST_P(RotateStoreTest, ChunksAndThreadsWriteTheSameBytes) {
  const Shape shape{.dim = 40, .rotary_dim = 20, .norms = true};
  Scene whole(shape, 5, 120, 77);
  std::vector<float> expected = whole.query;
  RowFixture one(GetParam(), 1);
  one.rows.rotate_store(whole.job(expected));
  RowFixture three(GetParam(), 3);
  for (std::size_t chunk : {1, 7, 64}) {
    Scene parts(shape, 5, 120, 77);
    std::vector<float> rotated = parts.query;
    const std::vector<SequenceRows> all = parts.sequences;
    three.rows.rotate_store([&] {
      RotateStore job = parts.job(rotated);
      job.sequences = {all.data() + 1, 1};
      return job;
    }());
    for (std::size_t first = 0; first < 120; first += chunk) {
      const SequenceRows piece{.first_row = first,
                               .rows = std::min(chunk, 120 - first),
                               .first_position = 5 + first,
                               .block_table = parts.table.data()};
      RotateStore job = parts.job(rotated);
      job.sequences = {&piece, 1};
      three.rows.rotate_store(job);
    }
    EXPECT_EQ(parts.keys, whole.keys);
    EXPECT_EQ(parts.values, whole.values);
    EXPECT_TRUE(same_bits(rotated.data(), expected.data(), expected.size()));
  }
}

}  // namespace
}  // namespace autoglm::kernels
