// SPDX-License-Identifier: Apache-2.0
// Attention against a plain softmax in f64, and against itself: the same bits for every chunking, batch and thread
// count, with NaN in every slot that a row must not read.
#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "kernels/half.h"
#include "kernels/row_fixture.h"

namespace autoglm::kernels {
namespace {

constexpr std::size_t kBlock = KvLayer::kBlockTokens;

struct Shape {
  std::size_t heads = 1;
  std::size_t kv_heads = 1;
  std::size_t dim = 64;
  std::size_t context = 1;
  std::size_t window = 0;
  float softcap = 0;
  KvType type = KvType::kF16;
  bool is_causal = true;
};

// One sequence: queries, keys and values of `context` tokens, and a cache with scattered blocks.
class Sequence {
 public:
  Sequence(const Shape& shape, std::uint64_t seed) : shape_(shape) {
    base::Random random(seed);
    query_ = random_floats(random, shape.context * shape.heads * shape.dim, 2);
    keys_ = random_floats(random, shape.context * shape.kv_heads * shape.dim, 2);
    values_ = random_floats(random, shape.context * shape.kv_heads * shape.dim, 1);
    if (shape.type == KvType::kInt8) {
      key_scales_ = round_to_codes(keys_);
      value_scales_ = round_to_codes(values_);
    }
    if (shape.type == KvType::kF16) {
      for (float& value : keys_) value = f32_from_f16(f16_from_f32(value));
      for (float& value : values_) value = f32_from_f16(f16_from_f32(value));
    }
    const std::size_t blocks = (shape.context + kBlock - 1) / kBlock;
    const std::size_t held = blocks + 3;
    for (std::size_t block = 0; block < blocks; ++block) table_.push_back(static_cast<std::uint32_t>(block));
    for (std::size_t block = blocks; block-- > 1;) std::swap(table_[block], table_[random.below(block + 1)]);
    for (std::uint32_t& block : table_) block += 2;
    kv_ = {.type = shape.type, .kv_heads = shape.kv_heads, .head_dim = shape.dim};
    const std::size_t bytes = held * shape.kv_heads * kv_.head_bytes();
    key_memory_.assign(bytes, std::byte{0xff});  // NaN in f16 and in f32, also in the scales of int8
    value_memory_.assign(bytes, std::byte{0xff});
    kv_.keys = key_memory_.data();
    kv_.values = value_memory_.data();
  }

  // Puts tokens [first, first + count) into the cache.
  void store(std::size_t first, std::size_t count) {
    for (std::size_t token = first; token < first + count; ++token) {
      for (std::size_t head = 0; head < shape_.kv_heads; ++head) {
        store_token(token, head);
      }
    }
  }

  AttentionJob job(Tensor query, Tensor out, std::span<const SequenceRows> rows) const {
    return {.query = query,
            .out = out,
            .heads = shape_.heads,
            .kv = kv_,
            .scale = scale(),
            .softcap = shape_.softcap,
            .window = shape_.window,
            .is_causal = shape_.is_causal,
            .sequences = rows};
  }
  SequenceRows rows(std::size_t first_row, std::size_t first, std::size_t count) const {
    return {.first_row = first_row, .rows = count, .first_position = first, .block_table = table_.data()};
  }

  // All rows, `chunk` at a time; each chunk sees only what was stored up to its end.
  std::vector<float> run(RowKernels& kernels, std::size_t chunk) {
    std::vector<float> out(query_.size(), 7.0f);
    for (std::size_t first = 0; first < shape_.context; first += chunk) {
      const std::size_t count = std::min(chunk, shape_.context - first);
      store(first, count);
      const SequenceRows all = rows(0, first, count);
      const std::size_t width = shape_.heads * shape_.dim;
      kernels.attention(job(f32_tensor(query_.data() + first * width, count, width),
                            f32_tensor(out.data() + first * width, count, width), {&all, 1}));
    }
    return out;
  }

  // |out - exact| for each element is at most what rounding explains, or the test fails.
  void expect_exact(const std::vector<float>& out) const {
    for (std::size_t token = 0; token < shape_.context; ++token) {
      for (std::size_t head = 0; head < shape_.heads; ++head) expect_exact(out, token, head);
    }
  }

  void spoil_value(std::size_t token) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::byte* head = kv_.values + table_[token / kBlock] * shape_.kv_heads * kv_.head_bytes();
    std::memcpy(head + kv_.scale_offset() + token % kBlock * 4, &nan, 4);
  }

  std::vector<float>& query() { return query_; }
  const KvLayer& kv() const { return kv_; }

 private:
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape_.dim)); }

  // Rounds each head of each token to 127 steps either side of zero, and returns the steps.
  std::vector<float> round_to_codes(std::vector<float>& values) const {
    std::vector<float> scales;
    for (std::size_t first = 0; first < values.size(); first += shape_.dim) {
      float top = 0;
      for (std::size_t d = 0; d < shape_.dim; ++d) top = std::max(top, std::fabs(values[first + d]));
      scales.push_back(top / 127);
      for (std::size_t d = 0; d < shape_.dim; ++d) {
        values[first + d] = std::nearbyint(values[first + d] / scales.back()) * scales.back();
      }
    }
    return scales;
  }

  void store_token(std::size_t token, std::size_t head) {
    const std::size_t at = (table_[token / kBlock] * shape_.kv_heads + head) * kv_.head_bytes();
    const std::size_t slot = token % kBlock;
    const std::size_t number = token * shape_.kv_heads + head;
    for (std::size_t d = 0; d < shape_.dim; ++d) {
      const float key = keys_[number * shape_.dim + d];
      const float value = values_[number * shape_.dim + d];
      if (shape_.type == KvType::kInt8) {
        put_code(kv_.keys + at, (d / 2 * kBlock + slot) * 2 + d % 2, key / key_scales_[number]);
        put_code(kv_.values + at, (slot / 2 * shape_.dim + d) * 2 + slot % 2, value / value_scales_[number]);
      } else {
        put(kv_.keys + at, d * kBlock + slot, key);
        put(kv_.values + at, slot * shape_.dim + d, value);
      }
    }
    if (shape_.type != KvType::kInt8) return;
    std::memcpy(kv_.keys + at + kv_.scale_offset() + slot * 4, &key_scales_[number], 4);
    std::memcpy(kv_.values + at + kv_.scale_offset() + slot * 4, &value_scales_[number], 4);
  }

  static void put_code(std::byte* block, std::size_t index, float code) {
    block[index] = static_cast<std::byte>(static_cast<std::int8_t>(std::lround(code)));
  }

  void put(std::byte* block, std::size_t index, float value) const {
    if (shape_.type == KvType::kF32) {
      std::memcpy(block + index * 4, &value, 4);
    } else {
      const std::uint16_t half = f16_from_f32(value);
      std::memcpy(block + index * 2, &half, 2);
    }
  }

  void expect_exact(const std::vector<float>& out, std::size_t token, std::size_t head) const {
    const std::size_t kv_head = head / (shape_.heads / shape_.kv_heads);
    const std::size_t oldest = shape_.window != 0 && token >= shape_.window ? token + 1 - shape_.window : 0;
    const std::size_t newest = shape_.is_causal ? token : shape_.context - 1;
    const float* q = query_.data() + (token * shape_.heads + head) * shape_.dim;
    std::vector<double> weights;
    double magnitude = 0;  // of the terms that a score sums
    double reach = 0;      // of a change of one in every q
    double top = 0;        // of q
    for (std::size_t d = 0; d < shape_.dim; ++d) top = std::max(top, std::fabs(static_cast<double>(q[d])));
    double largest = -1e300;
    for (std::size_t t = oldest; t <= newest; ++t) {
      const float* k = keys_.data() + (t * shape_.kv_heads + kv_head) * shape_.dim;
      double score = 0;
      double terms = 0;
      double sum = 0;
      for (std::size_t d = 0; d < shape_.dim; ++d) {
        score += static_cast<double>(q[d]) * k[d];
        terms += std::fabs(static_cast<double>(q[d]) * k[d]);
        sum += std::fabs(static_cast<double>(k[d]));
      }
      score *= scale();
      if (shape_.softcap != 0) score = shape_.softcap * std::tanh(score / shape_.softcap);
      magnitude = std::max(magnitude, terms * scale());
      reach = std::max(reach, sum * scale());
      largest = std::max(largest, score);
      weights.push_back(score);
    }
    double total = 0;
    for (double& weight : weights) total += weight = std::exp(weight - largest);
    // A score is off by dim roundings of its terms, a few more in scaling, cap and exponent; a weight by as much,
    // relatively; sums over the context add one rounding a token. |v| <= 1, numerator and denominator: twice.
    double tolerance = 2 * 0x1p-24 *
                       (static_cast<double>(shape_.dim + 8) * magnitude + 8 * shape_.softcap +
                        static_cast<double>(weights.size()) + 32);
    // With int8, q is rounded to 32767 steps up to its largest, and the weights of a block, times what their tokens'
    // codes are worth, to as many: half a step each, for 32 tokens whose codes reach 127. A block's largest weight is
    // at most its share of the total.
    if (shape_.type == KvType::kInt8) tolerance += (2 * 0.5 * top * reach + 0.5 * 32) / 32767;
    for (std::size_t d = 0; d < shape_.dim; ++d) {
      double expected = 0;
      for (std::size_t t = oldest; t <= newest; ++t) {
        expected += weights[t - oldest] * values_[(t * shape_.kv_heads + kv_head) * shape_.dim + d];
      }
      ASSERT_NEAR(out[(token * shape_.heads + head) * shape_.dim + d], expected / total, tolerance)
          << "token " << token << ", head " << head << ", dimension " << d;
    }
  }

  Shape shape_;
  std::vector<float> query_;
  std::vector<float> keys_;
  std::vector<float> values_;
  std::vector<float> key_scales_;  // of int8, [context, kv_heads]
  std::vector<float> value_scales_;
  std::vector<std::uint32_t> table_;
  std::vector<std::byte> key_memory_;
  std::vector<std::byte> value_memory_;
  KvLayer kv_;
};

class Attention : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isa, Attention, testing::ValuesIn(available_isas()),
                         [](const auto& suite) { return isa_test_name(suite.param); });

TEST_P(Attention, EqualsPlainSoftmaxForEveryContext) {
  RowFixture fixture(GetParam());
  for (KvType type : {KvType::kF16, KvType::kF32, KvType::kInt8}) {
    Sequence sequence({.heads = 3, .kv_heads = 1, .dim = 16, .context = 200, .type = type}, 11);
    sequence.expect_exact(sequence.run(fixture.rows, 200));
  }
}

TEST_P(Attention, ServesEveryShape) {
  RowFixture fixture(GetParam());
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    base::Random random(seed);
    const std::size_t group = 1 + random.below(seed % 10 == 0 ? 40 : 8);
    Shape shape;
    shape.kv_heads = 1 + random.below(3);
    shape.heads = shape.kv_heads * group;
    shape.dim = 2 * (1 + random.below(seed % 5 == 0 ? 128 : 40));
    shape.context = 1 + random.below(90);
    shape.window = random.below(2) == 0 ? 0 : 1 + random.below(70);
    shape.softcap = random.below(3) == 0 ? 5.0f : 0.0f;
    shape.type = std::array{KvType::kF16, KvType::kF32, KvType::kInt8}[random.below(3)];
    if (shape.type == KvType::kInt8 && random.below(2) == 0) --shape.dim;  // half a pair at the end
    Sequence sequence(shape, seed);
    sequence.expect_exact(sequence.run(fixture.rows, 1 + random.below(shape.context)));
  }
}

TEST_P(Attention, IsBitEqualForEveryChunkingAndThreadCount) {
  RowFixture one(GetParam(), 1);
  RowFixture two(GetParam(), 2);
  RowFixture three(GetParam(), 3);
  for (const Shape& shape :
       {Shape{.heads = 9, .kv_heads = 3, .dim = 64, .context = 330},
        Shape{.heads = 4, .kv_heads = 1, .dim = 20, .context = 600, .window = 45},
        Shape{.heads = 6, .kv_heads = 2, .dim = 64, .context = 300, .window = 64},
        Shape{.heads = 5, .kv_heads = 5, .dim = 32, .context = 280, .softcap = 8, .type = KvType::kF32},
        Shape{.heads = 9, .kv_heads = 3, .dim = 64, .context = 330, .type = KvType::kInt8},
        Shape{.heads = 4, .kv_heads = 1, .dim = 21, .context = 600, .window = 45, .type = KvType::kInt8},
        Shape{.heads = 5, .kv_heads = 5, .dim = 32, .context = 280, .softcap = 8, .type = KvType::kInt8}}) {
    const std::vector<float> whole = Sequence(shape, 3).run(one.rows, shape.context);
    for (std::size_t chunk : {1, 7, 64, 513}) {
      for (RowFixture* fixture : {&one, &two, &three}) {
        Sequence sequence(shape, 3);
        const std::vector<float> out = sequence.run(fixture->rows, chunk);
        ASSERT_TRUE(same_bits(out.data(), whole.data(), whole.size())) << chunk << ", " << fixture->pool.threads();
      }
    }
    Sequence(shape, 3).expect_exact(whole);
  }
}

TEST_P(Attention, SplitsALongContextOverThreadsWithoutChangingABit) {
  for (KvType type : {KvType::kF16, KvType::kInt8}) {
    const Shape shape{.heads = 2, .kv_heads = 1, .dim = 64, .context = 2100, .type = type};
    std::vector<std::vector<float>> outs;
    for (int threads : {1, 2, 3, 8}) {
      RowFixture fixture(GetParam(), threads);
      Sequence sequence(shape, 5);
      sequence.store(0, shape.context);
      const SequenceRows last = sequence.rows(0, shape.context - 1, 1);
      const std::size_t width = shape.heads * shape.dim;
      std::vector<float> out(width);
      float* query = sequence.query().data() + (shape.context - 1) * width;
      fixture.rows.attention(sequence.job(f32_tensor(query, 1, width), f32_tensor(out.data(), 1, width), {&last, 1}));
      outs.push_back(out);
    }
    for (const auto& out : outs) EXPECT_TRUE(same_bits(out.data(), outs[0].data(), out.size()));
  }
}

// Two sequences in one batch, one at a prompt and one at its 70th token, give the rows that each gives alone.
TEST_P(Attention, RowsDoNotSeeTheirNeighbours) {
  for (KvType type : {KvType::kF16, KvType::kInt8}) {
    const Shape long_shape{.heads = 6, .kv_heads = 2, .dim = 48, .context = 70, .type = type};
    RowFixture fixture(GetParam(), 2);
    Sequence alone(long_shape, 9);
    const std::vector<float> expected = alone.run(fixture.rows, 70);

    Sequence together(long_shape, 9);
    together.store(0, 70);
    const std::size_t width = long_shape.heads * long_shape.dim;
    // Rows 0..49 are tokens 10..59, row 50 is token 69, and rows 51..53 tokens 0..2.
    const std::vector<SequenceRows> rows = {together.rows(0, 10, 50), together.rows(50, 69, 1),
                                            together.rows(51, 0, 3)};
    std::vector<float> query;
    std::vector<float> order;
    for (const SequenceRows& r : rows) {
      const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(r.first_position * width);
      const std::ptrdiff_t end = first + static_cast<std::ptrdiff_t>(r.rows * width);
      query.insert(query.end(), together.query().begin() + first, together.query().begin() + end);
      order.insert(order.end(), expected.begin() + first, expected.begin() + end);
    }
    std::vector<float> out(query.size());
    fixture.rows.attention(together.job(view(query, 54), view(out, 54), rows));
    EXPECT_TRUE(same_bits(out.data(), order.data(), out.size()));
  }
}

// All of a sequence is seen by each of its rows, whatever stands beside it in the batch, on any number of threads.
TEST_P(Attention, SeesBothDirections) {
  for (KvType type : {KvType::kF16, KvType::kF32, KvType::kInt8}) {
    for (std::size_t context : {1, 2, 31, 32, 33, 90, 300}) {
      SCOPED_TRACE(context);
      const Shape shape{.heads = 4, .kv_heads = 4, .dim = 24, .context = context, .type = type, .is_causal = false};
      std::vector<float> alone;
      for (int threads : {1, 3}) {
        RowFixture fixture(GetParam(), threads);
        Sequence sequence(shape, 7);
        const std::vector<float> out = sequence.run(fixture.rows, context);
        sequence.expect_exact(out);
        if (alone.empty()) alone = out;
        EXPECT_TRUE(same_bits(out.data(), alone.data(), out.size()));
      }
      // Twice in a batch.
      RowFixture fixture(GetParam());
      Sequence twice(shape, 7);
      twice.store(0, context);
      std::vector<float> query = twice.query();
      query.insert(query.end(), twice.query().begin(), twice.query().end());
      std::vector<float> out(query.size());
      const std::vector<SequenceRows> rows = {twice.rows(0, 0, context), twice.rows(context, 0, context)};
      fixture.rows.attention(twice.job(view(query, 2 * context), view(out, 2 * context), rows));
      EXPECT_TRUE(same_bits(out.data(), alone.data(), alone.size()));
      EXPECT_TRUE(same_bits(out.data() + alone.size(), alone.data(), alone.size()));
    }
  }
}

// What is not a number in a value that a row sees reaches its output, and in a query too; int8 codes cannot say it,
// their scales do.
TEST_P(Attention, ANaNIsSeen) {
  RowFixture fixture(GetParam());
  const Shape shape{.heads = 2, .kv_heads = 1, .dim = 16, .context = 40, .type = KvType::kInt8};
  const std::size_t width = shape.heads * shape.dim;
  Sequence sequence(shape, 21);
  sequence.store(0, shape.context);
  sequence.spoil_value(35);
  sequence.query()[5 * width] = std::numeric_limits<float>::quiet_NaN();
  const SequenceRows all = sequence.rows(0, 0, shape.context);
  std::vector<float> out(sequence.query().size());
  fixture.rows.attention(sequence.job(view(sequence.query(), shape.context), view(out, shape.context), {&all, 1}));
  for (std::size_t token = 0; token < shape.context; ++token) {
    EXPECT_EQ(std::isnan(out[token * width]), token >= 35 || token == 5) << token;
    EXPECT_EQ(std::isnan(out[token * width + shape.dim]), token >= 35) << token;  // the other head
  }
}

}  // namespace
}  // namespace autoglm::kernels
