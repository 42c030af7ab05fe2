// SPDX-License-Identifier: Apache-2.0
// Every committed tiny checkpoint, safetensors folders and GGUF files, against the logits and greedy tokens of
// transformers: exact mode within the golden's f32 tolerance, fast mode by direction and wide gaps, on every
// instruction set of this machine.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "kernels/cpu.h"
#include "model/transformer.h"
#include "parity/comparison.h"
#include "parity/golden.h"

namespace autoglm::parity {
namespace {

constexpr std::size_t kMaxTokens = 256;
constexpr float kWideGap = 0.3f;       // README of the goldens: where int8 or half precision must agree
constexpr double kFastCosine = 0.999;  // the same

struct Case {
  std::string kind;
  std::string name;
  kernels::Isa isa;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string kind : {"tiny", "gguf"}) {
    for (const std::string& name : golden_names(kind)) {
      for (const kernels::Isa isa : kernels::available_isas()) all.push_back({kind, name, isa});
    }
  }
  return all;
}

std::string name_of(const testing::TestParamInfo<Case>& test) {
  std::string name = test.param.kind + "_" + test.param.name + "_" + std::string(kernels::isa_name(test.param.isa));
  for (char& c : name) {
    if (c == '-') c = '_';
  }
  return name;
}

class TinyModel : public testing::TestWithParam<Case> {
 protected:
  Golden golden_ = read_golden(GetParam().kind, GetParam().name);
};

TEST_P(TinyModel, ExactEqualsTheGoldens) {
  const auto network = load(golden_, GetParam().isa, kernels::Compute::kExact);
  model::SoloSequence sequence(*network, kMaxTokens, kMaxTokens);
  for (const GoldenPrompt& prompt : golden_.prompts) {
    SCOPED_TRACE(std::to_string(prompt.ids.size()) + " ids");
    sequence.restart(prompt.ids.size() + prompt.greedy.size());
    const std::vector<float> logits = last_logits(sequence, prompt.ids);
    EXPECT_LE(largest_difference(logits, prompt.last_logits), golden_.atol_f32);
    EXPECT_EQ(decode_greedily(sequence, logits, prompt.greedy.size()), prompt.greedy);
    if (prompt.logits_at.empty()) continue;
    sequence.restart(prompt.ids.size());
    const model::Logits all = sequence.append(prompt.ids, model::SoloSequence::Want::kAll);
    for (const auto& [position, expected] : prompt.logits_at) {
      EXPECT_LE(largest_difference(all.row(position), expected), golden_.atol_f32) << "position " << position;
    }
  }
}

TEST_P(TinyModel, FastPointsTheSameWay) {
  const auto network = load(golden_, GetParam().isa, kernels::Compute::kFast);
  model::SoloSequence sequence(*network, kMaxTokens, kMaxTokens);
  for (const GoldenPrompt& prompt : golden_.prompts) {
    SCOPED_TRACE(std::to_string(prompt.ids.size()) + " ids");
    sequence.restart(prompt.ids.size() + prompt.greedy.size());
    const std::vector<float> logits = last_logits(sequence, prompt.ids);
    EXPECT_GT(cosine(logits, prompt.last_logits), kFastCosine);
    const std::size_t certain = certain_greedy(prompt, kWideGap);
    const std::vector<model::TokenId> expected(prompt.greedy.begin(),
                                               prompt.greedy.begin() + static_cast<std::ptrdiff_t>(certain));
    EXPECT_EQ(decode_greedily(sequence, logits, certain), expected);
  }
}

// Where the residual stream goes wrong first, if it does: its norm after every stage.
TEST_P(TinyModel, HiddenNormsEqualTheGoldens) {
  const auto network = load(golden_, GetParam().isa, kernels::Compute::kExact);
  auto& transformer = dynamic_cast<model::Transformer&>(*network);
  std::map<std::string, std::vector<float>> norms;
  transformer.set_watch([&](std::size_t stage, const kernels::Tensor& hidden) {
    auto& of_stage = norms[stage == 0 ? "embed" : "layer_" + std::to_string(stage - 1)];
    of_stage.clear();
    for (std::size_t row = 0; row < hidden.rows; ++row) {
      const float* const x = hidden.f32(row);
      of_stage.push_back(static_cast<float>(std::sqrt(std::inner_product(x, x + hidden.columns, x, 0.0))));
    }
  });
  model::SoloSequence sequence(*network, kMaxTokens, kMaxTokens);
  for (const GoldenPrompt& prompt : golden_.prompts) {
    if (prompt.hidden_norms.empty()) continue;
    sequence.restart(prompt.ids.size());
    sequence.append(prompt.ids, model::SoloSequence::Want::kNone);
    for (const auto& [stage, expected] : prompt.hidden_norms) {
      if (stage == "final_norm") continue;  // not a stage of the stream
      ASSERT_TRUE(norms.contains(stage)) << stage;
      EXPECT_LE(largest_difference(norms[stage], expected), golden_.atol_f32) << stage;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, TinyModel, testing::ValuesIn(cases()), name_of);

// The goldens are only worth something if a small mistake shows. (tests/testdata/golden/mutations.json has the sizes.)
TEST(TinyModelMistakes, AWrongEpsilonShows) {
  const Golden golden = read_golden("tiny", "llama_tied");
  auto checkpoint = model::Checkpoint::open(golden.model);
  ASSERT_TRUE(checkpoint);
  auto description = model::describe(*checkpoint);
  ASSERT_TRUE(description);
  description->config.norm_eps = 1e-5;
  auto network =
      model::Transformer::make(std::move(*checkpoint), std::move(*description), {.compute = kernels::Compute::kExact});
  ASSERT_TRUE(network);
  model::SoloSequence sequence(**network, kMaxTokens, kMaxTokens);
  EXPECT_GT(largest_difference(last_logits(sequence, golden.prompts[1].ids), golden.prompts[1].last_logits), 0.1f);
}

TEST(TinyModelMistakes, AWindowOffByOneShows) {
  const Golden golden = read_golden("tiny", "gemma3_text");
  auto checkpoint = model::Checkpoint::open(golden.model);
  ASSERT_TRUE(checkpoint);
  auto description = model::describe(*checkpoint);
  ASSERT_TRUE(description);
  for (model::LayerConfig& layer : description->config.layers) {
    if (layer.window > 0) ++layer.window;
  }
  auto network =
      model::Transformer::make(std::move(*checkpoint), std::move(*description), {.compute = kernels::Compute::kExact});
  ASSERT_TRUE(network);
  model::SoloSequence sequence(**network, kMaxTokens, kMaxTokens);
  EXPECT_GT(largest_difference(last_logits(sequence, golden.prompts[2].ids), golden.prompts[2].last_logits), 1.0f);
}

TEST(TinyModelMistakes, ShortFactorsInALongTextShow) {
  const Golden golden = read_golden("tiny", "phi3_longrope");
  const auto network = load(golden, kernels::available_isas().back(), kernels::Compute::kExact);
  model::SoloSequence sequence(*network, kMaxTokens, kMaxTokens);
  sequence.restart(golden.prompts[1].ids.size());
  EXPECT_LE(largest_difference(last_logits(sequence, golden.prompts[1].ids), golden.prompts[1].last_logits),
            golden.atol_f32);
  sequence.restart();  // may grow long
  EXPECT_GT(largest_difference(last_logits(sequence, golden.prompts[1].ids), golden.prompts[1].last_logits), 1.0f);
}

}  // namespace
}  // namespace autoglm::parity
