// SPDX-License-Identifier: Apache-2.0
#include "kernels/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>

namespace autoglm::kernels {
namespace {

TEST(Rope, PlainAnglesArePositionTimesThetaToTheMinusTwoJOverDim) {
  const Rope rope({.positions = 40000, .rotary_dim = 64, .theta = 500000});
  const RopeTable& table = rope.table();
  EXPECT_EQ(table.positions, 40000u);
  EXPECT_EQ(table.rotary_dim, 64u);
  for (std::size_t position : {0, 1, 77, 255, 256, 257, 8191, 39999}) {
    for (std::size_t j : {0, 1, 17, 31}) {
      const double angle = static_cast<double>(position) * std::pow(500000.0, -static_cast<double>(j) / 32);
      // The rounding to f32, and 2^-40 for the f64 arithmetic before it.
      EXPECT_NEAR(table.cos[position * 32 + j], std::cos(angle), 0x1p-25 + 0x1p-40);
      EXPECT_NEAR(table.sin[position * 32 + j], std::sin(angle), 0x1p-25 + 0x1p-40);
    }
  }
}

TEST(Rope, LinearFactorDividesPositions) {
  const Rope plain({.positions = 20, .rotary_dim = 8});
  const Rope stretched({.positions = 160, .rotary_dim = 8, .linear_factor = 8});
  for (std::size_t position = 0; position < 20; ++position) {
    for (std::size_t j = 0; j < 4; ++j) {
      EXPECT_FLOAT_EQ(stretched.table().cos[8 * position * 4 + j], plain.table().cos[position * 4 + j]);
    }
  }
}

TEST(Rope, AttentionFactorScalesBothAndStyleIsKept) {
  const Rope rope({.positions = 3, .rotary_dim = 4, .style = RopeStyle::kInterleaved, .attention_factor = 1.5});
  EXPECT_EQ(rope.table().style, RopeStyle::kInterleaved);
  EXPECT_EQ(rope.table().cos[0], 1.5f);
  EXPECT_EQ(rope.table().sin[0], 0.0f);
  EXPECT_FLOAT_EQ(rope.table().sin[2], static_cast<float>(1.5 * std::sin(1.0)));
}

// Figures of another program, numpy in float64, from the formulas of transformers' modeling_rope_utils.py (and so of
// arXiv:2309.00071): bounds at d ln(L / 2 pi b) / (2 ln theta) for b of 32 and 1 turns, a ramp between them, and
// 0.1 ln s + 1 on cos and sin.
TEST(Rope, YarnBlendsBetweenFastAndSlowPairs) {
  const RopeDescription qwen{
      .rotary_dim = 128, .theta = 1e6, .yarn = YarnScaling{.factor = 4, .original_context = 32768}};
  const std::vector<double> frequencies = rope_frequencies(qwen);
  const std::pair<std::size_t, double> expected[] = {
      {0, 1},
      {23, 0.0069783058485986633},
      {24, 0.0053753214907901019},
      {30, 0.0010643609812470017},
      {39, 6.4903943208370293e-05},
      {40, 4.4456985250973067e-05},
      {50, 5.1338125661428656e-06},
      {63, 3.1023444018792988e-07},
  };
  for (const auto& [pair, frequency] : expected) EXPECT_NEAR(frequencies[pair], frequency, 1e-13 * frequency) << pair;
  EXPECT_NEAR(yarn_attention_factor(4), 1.1386294361119891, 1e-15);
  EXPECT_EQ(yarn_attention_factor(1), 1);
  EXPECT_EQ(yarn_attention_factor(0.5), 1);
  EXPECT_NEAR(yarn_attention_factor(8), 1.2079441541679836, 1e-15);

  RopeDescription small{
      .rotary_dim = 16,
      .yarn = YarnScaling{.factor = 8, .fast_turns = 4, .original_context = 64, .is_truncated = false}};
  const std::vector<double> between = rope_frequencies(small);
  EXPECT_NEAR(between[1], 0.27299901064136245, 1e-13);
  EXPECT_NEAR(between[2], 0.013662690184263951, 1e-14);
  EXPECT_NEAR(between[3], 0.0039528470752104739, 1e-15);
  small.yarn->is_truncated = true;
  const std::vector<double> whole = rope_frequencies(small);
  EXPECT_NEAR(whole[1], 0.22399466759526021, 1e-13);
  EXPECT_NEAR(whole[2], 0.041666666666666671, 1e-14);
  EXPECT_NEAR(whole[7], 3.9528470752104742e-05, 1e-17);
}

// Figures of Phi-3-mini-128k: 4096 positions stretched to 131072. Source: its config.json; arXiv:2404.14219.
TEST(Rope, LongropeIsTwoRopesWithOneAttentionFactor) {
  EXPECT_NEAR(longrope_attention_factor(131072.0 / 4096, 4096), 1.190238, 1e-6);
  EXPECT_EQ(longrope_attention_factor(1, 4096), 1);
  EXPECT_EQ(longrope_attention_factor(0.5, 4096), 1);
  const RopeDescription both{.positions = 100,
                             .rotary_dim = 4,
                             .frequency_divisors = {1, 2},
                             .attention_factor = 1.25,
                             .long_divisors = {4, 8},
                             .short_positions = 30};
  const Rope near(short_rope(both));
  const Rope far(long_rope(both));
  EXPECT_EQ(near.table().positions, 30u);
  EXPECT_EQ(far.table().positions, 100u);
  EXPECT_FLOAT_EQ(near.table().cos[2 * 12], static_cast<float>(1.25 * std::cos(12.0)));
  EXPECT_FLOAT_EQ(far.table().cos[2 * 12], static_cast<float>(1.25 * std::cos(3.0)));
  EXPECT_FLOAT_EQ(near.table().sin[2 * 12 + 1], static_cast<float>(1.25 * std::sin(0.06)));
  EXPECT_FLOAT_EQ(far.table().sin[2 * 12 + 1], static_cast<float>(1.25 * std::sin(0.015)));
}

// Figures of Llama 3.1 (theta 500000, head_dim 128, factor 8, 1 to 4, 8192): the kept, the blended and the stretched
// band.
TEST(Rope, Llama3ScalingKeepsShortStretchesLongAndBlendsBetween) {
  RopeDescription rope{.rotary_dim = 128, .theta = 500000};
  const std::vector<double> plain = rope_frequencies(rope);
  rope.llama3 = Llama3Scaling{};
  const std::vector<double> scaled = rope_frequencies(rope);
  int kept = 0;
  int blended = 0;
  int stretched = 0;
  for (std::size_t j = 0; j < 64; ++j) {
    const double wavelength = 2 * M_PI / plain[j];
    if (wavelength < 2048) {
      EXPECT_EQ(scaled[j], plain[j]);
      ++kept;
    } else if (wavelength > 8192) {
      EXPECT_DOUBLE_EQ(scaled[j], plain[j] / 8);
      ++stretched;
    } else {
      const double share = (8192 / wavelength - 1) / 3;
      EXPECT_DOUBLE_EQ(scaled[j], plain[j] * (share + (1 - share) / 8));
      ++blended;
    }
  }
  EXPECT_EQ(kept, 29);
  EXPECT_EQ(blended, 6);
  EXPECT_EQ(stretched, 29);
}

// GGUF writes the same scaling as divisors of the frequencies.
TEST(Rope, FrequencyDivisorsStandForAScaling) {
  RopeDescription rope{.rotary_dim = 16, .theta = 10000};
  const std::vector<double> plain = rope_frequencies(rope);
  rope.frequency_divisors = {1, 1, 2, 2, 4, 4, 8, 8};
  const std::vector<double> divided = rope_frequencies(rope);
  for (std::size_t j = 0; j < 8; ++j) EXPECT_DOUBLE_EQ(divided[j], plain[j] / rope.frequency_divisors[j]);
}

TEST(Rope, MeanRotationIsTheMeanOfAllPositions) {
  for (const RopeStyle style : {RopeStyle::kHalves, RopeStyle::kInterleaved}) {
    const RopeDescription rope{
        .positions = 700, .rotary_dim = 12, .style = style, .theta = 1e6, .attention_factor = 1.2};
    std::vector<float> head(15);
    for (std::size_t d = 0; d < head.size(); ++d) head[d] = static_cast<float>(d) - 5.5f;
    const std::vector<double> frequencies = rope_frequencies(rope);
    std::vector<double> expected(head.begin(), head.end());
    for (std::size_t j = 0; j < 6; ++j) {
      const std::size_t a = style == RopeStyle::kHalves ? j : 2 * j;
      const std::size_t b = style == RopeStyle::kHalves ? j + 6 : 2 * j + 1;
      double x = 0, y = 0;
      for (std::size_t t = 0; t < rope.positions; ++t) {
        x += 1.2 / 700 * std::cos(static_cast<double>(t) * frequencies[j]);
        y += 1.2 / 700 * std::sin(static_cast<double>(t) * frequencies[j]);
      }
      expected[a] = head[a] * x - head[b] * y;
      expected[b] = head[b] * x + head[a] * y;
    }
    mean_rotation(rope, rope.positions, head);
    for (std::size_t d = 0; d < head.size(); ++d) EXPECT_NEAR(head[d], expected[d], 1e-5) << d;
  }
}

TEST(Rope, NoPositionsOrNoRotationIsAnEmptyTable) {
  EXPECT_EQ(Rope({.positions = 0, .rotary_dim = 64}).table().positions, 0u);
  EXPECT_EQ(Rope({.positions = 10, .rotary_dim = 0}).table().rotary_dim, 0u);
  EXPECT_EQ(rope_bytes(10, 64), 10u * 32 * 2 * 4);
}

TEST(Rope, FiguresWithoutSenseGiveNoCrash) {
  for (double theta : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    const Rope rope({.positions = 4, .rotary_dim = 8, .theta = theta, .linear_factor = 0});
    EXPECT_EQ(rope.table().positions, 4u);
  }
}

}  // namespace
}  // namespace autoglm::kernels
