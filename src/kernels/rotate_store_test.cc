// SPDX-License-Identifier: Apache-2.0
// Rotation and storing against a plain f64 version: both pairings, partial rotation, head norms, both cache types; and
// that nothing but the slots of the rows is written.
#include <gtest/gtest.h>

#include <bit>

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
  KvType type = KvType::kF16;
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
    key_shift = random_floats(random, s.kv_heads * s.dim, 2);
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
            .key_shift = shape.type == KvType::kInt8 && shape.norms ? key_shift.data() : nullptr,
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

  const std::byte* head_of(const std::vector<std::byte>& memory, std::uint32_t block, std::size_t head) const {
    return memory.data() + (block * shape.kv_heads + head) * kv.head_bytes();
  }
  float stored_key(std::uint32_t block, std::size_t head, std::size_t slot, std::size_t d) const {
    const std::byte* at = head_of(keys, block, head);
    if (shape.type == KvType::kInt8) return decoded(at, slot, (d / 2 * kBlock + slot) * 2 + d % 2);
    return stored(at, d * kBlock + slot);
  }
  float stored_value(std::uint32_t block, std::size_t head, std::size_t slot, std::size_t d) const {
    const std::byte* at = head_of(values, block, head);
    if (shape.type == KvType::kInt8) return decoded(at, slot, (slot / 2 * shape.dim + d) * 2 + slot % 2);
    return stored(at, slot * shape.dim + d);
  }
  float decoded(const std::byte* at, std::size_t slot, std::size_t index) const {
    float scale = 0;
    std::memcpy(&scale, at + kv.scale_offset() + slot * 4, 4);
    return static_cast<float>(static_cast<std::int8_t>(at[index])) * scale;
  }
  float stored(const std::byte* at, std::size_t index) const {
    if (shape.type == KvType::kF32) {
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
  std::vector<float> query, key, value, query_norm, key_norm, key_shift;
  std::vector<std::uint32_t> table = {7, 1, 4, 3, 5};
  std::vector<std::uint32_t> other_table = {8};
  std::vector<SequenceRows> sequences;
  KvLayer kv;
  std::vector<std::byte> keys, values;
};

// The transform of an int8 cache by its definition: row i of the matrix has the sign of the parity of i & d.
std::vector<double> spread(const std::vector<double>& x) {
  const std::size_t size = x.size() & (~x.size() + 1);
  std::vector<double> out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t d = 0; d < size; ++d) {
      const bool is_minus = std::popcount(i % size & d) % 2 != 0;
      out[i] += (is_minus ? -1 : 1) * x[i / size * size + d];
    }
  }
  return out;
}

double largest(const std::vector<double>& x) {
  double top = 0;
  for (double v : x) top = std::max(top, std::fabs(v));
  return top;
}

class RotateStoreTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isa, RotateStoreTest, testing::ValuesIn(available_isas()),
                         [](const auto& suite) { return isa_test_name(suite.param); });

void expect_scene(Scene& scene, RowKernels& kernels) {
  std::vector<float> rotated = scene.query;
  const std::vector<float> key_before = scene.key;
  kernels.rotate_store(scene.job(rotated));
  EXPECT_EQ(scene.key, key_before);  // only copies are rotated
  const Shape& shape = scene.shape;
  const bool is_int8 = shape.type == KvType::kInt8;
  const auto run = static_cast<double>(shape.dim & (~shape.dim + 1));  // of the transform
  std::size_t written = 0;
  for (const SequenceRows& sequence : scene.sequences) {
    for (std::size_t r = 0; r < sequence.rows; ++r) {
      const std::size_t row = sequence.first_row + r;
      const std::size_t position = sequence.first_position + r;
      // |x| <= 4: a norm and a rotation are below 64 roundings of it.
      const double close = 64 * 0x1p-24 * 4;
      for (std::size_t head = 0; head < shape.heads; ++head) {
        const std::size_t at = (row * shape.heads + head) * shape.dim;
        std::vector<double> exact = scene.expected(scene.query.data() + at, scene.query_norm, position);
        if (is_int8) {
          exact = spread(exact);
          for (double& x : exact) x /= run;
        }
        for (std::size_t d = 0; d < shape.dim; ++d) ASSERT_NEAR(rotated[at + d], exact[d], close) << row << " " << d;
      }
      for (std::size_t head = 0; head < shape.kv_heads; ++head) {
        const std::size_t at = (row * shape.kv_heads + head) * shape.dim;
        std::vector<double> exact = scene.expected(scene.key.data() + at, scene.key_norm, position);
        if (is_int8) {
          for (std::size_t d = 0; d < shape.dim && shape.norms; ++d) exact[d] -= scene.key_shift[head * shape.dim + d];
          exact = spread(exact);
        }
        const std::vector<double> plain(scene.value.data() + at, scene.value.data() + at + shape.dim);
        const std::uint32_t block = sequence.block_table[position / kBlock];
        const std::size_t slot = position % kBlock;
        const double rounding = shape.type == KvType::kF16 ? 0x1p-11 : 0.0;
        // Half a step of int8, and what the transform sums up.
        const double key_step = is_int8 ? largest(exact) / 127 * 0.5001 + run * close : 0;
        const double value_step = is_int8 ? largest(plain) / 127 * 0.5001 : 0;
        for (std::size_t d = 0; d < shape.dim; ++d) {
          const float key = scene.stored_key(block, head, slot, d);
          ASSERT_NEAR(key, exact[d], close + rounding * std::fabs(exact[d]) + key_step) << row << " " << d;
          const float value = scene.stored_value(block, head, slot, d);
          const float whole = scene.value[at + d];
          const float rounded = shape.type == KvType::kF16 ? f32_from_f16(f16_from_f32(whole)) : whole;
          ASSERT_NEAR(value, rounded, value_step) << row << " " << d;
        }
        written += is_int8 ? shape.dim + 4 : shape.dim * (shape.type == KvType::kF16 ? 2 : 4);
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
    for (KvType type : {KvType::kF16, KvType::kF32, KvType::kInt8}) {
      for (bool norms : {false, true}) {
        for (const auto& [dim, rotary] :
             {std::pair{16, 16}, {64, 64}, {64, 32}, {12, 12}, {20, 10}, {256, 256}, {10, 0}, {7, 4}}) {
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
  for (KvType type : {KvType::kF16, KvType::kInt8}) {
    const Shape shape{.dim = 40, .rotary_dim = 20, .type = type, .norms = true};
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
}

}  // namespace
}  // namespace autoglm::kernels
