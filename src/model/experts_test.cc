// SPDX-License-Identifier: Apache-2.0
// Experts: none is packed at load, each on its first use and once, by any thread; quantised ones are their values; and
// checkpoints whose experts do not fit together are refused with what was expected and what came.
#include "model/experts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <span>
#include <thread>

#include "base/temporary_folder.h"
#include "kernels/cpu.h"
#include "kernels/quantize.h"
#include "model/evaluate.h"
#include "model/formats/gguf_writer.h"
#include "model/load.h"
#include "model/model_fixture.h"
#include "model/quantize.h"
#include "model/transformer.h"

namespace autoglm::model {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<Transformer> load_transformer(const fs::path& path, LoadOptions options = {}) {
  options.isa = kernels::available_isas().back();
  auto checkpoint = Checkpoint::open(path);
  EXPECT_TRUE(checkpoint) << checkpoint.error().message;
  auto description = describe(*checkpoint);
  EXPECT_TRUE(description) << description.error().message;
  auto network = Transformer::make(std::move(*checkpoint), std::move(*description), options);
  EXPECT_TRUE(network) << network.error().message;
  return std::move(*network);
}

struct Kind {
  const char* file;
  std::size_t layers, experts, used;  // of those with experts
};
constexpr Kind kKinds[] = {{"gguf/qwen3moe-F16.gguf", 2, 6, 2}, {"gguf/glm4moe-F16.gguf", 2, 8, 4}};

TEST(Experts, LoadingPacksNoneAndATokenItsOwn) {
  for (const Kind& kind : kKinds) {
    for (const kernels::Compute compute : {kernels::Compute::kFast, kernels::Compute::kExact}) {
      const auto network = load_transformer(golden(kind.file), {.compute = compute});
      const Experts& experts = *network->weights().experts;
      EXPECT_EQ(experts.count(), kind.layers * kind.experts);
      EXPECT_EQ(experts.packed(), 0u);
      EXPECT_EQ(experts.packed_bytes(), 0u);
      EXPECT_GT(experts.all_bytes(), 0u);
      EXPECT_EQ(network->unpacked_bytes(), experts.all_bytes());
      SoloSequence sequence(*network, 64, 64);
      const TokenId token[] = {17};
      sequence.append(token, SoloSequence::Want::kLast);
      EXPECT_EQ(experts.packed(), kind.layers * kind.used);
      EXPECT_EQ(experts.packed_bytes(), experts.all_bytes() / kind.experts * kind.used);
      EXPECT_EQ(network->unpacked_bytes(), experts.all_bytes() - experts.packed_bytes());
      sequence.restart();
      sequence.append(token, SoloSequence::Want::kLast);
      EXPECT_EQ(experts.packed(), kind.layers * kind.used);
      sequence.restart();
      std::vector<TokenId> many(64);
      for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<TokenId>(7 * i % 400);
      sequence.append(many, SoloSequence::Want::kAll);
      EXPECT_GT(experts.packed(), kind.layers * kind.used);
      EXPECT_LE(experts.packed(), experts.count());
      EXPECT_EQ(network->unpacked_bytes(), experts.all_bytes() - experts.packed_bytes());
    }
  }
}

TEST(Experts, ManyThreadsPackEachOnce) {
  const auto network = load_transformer(golden(kKinds[1].file), {.threads = 2});
  Experts& experts = *network->weights().experts;
  constexpr std::size_t kThreads = 4;
  std::vector<std::vector<const Expert*>> seen(kThreads);
  {
    std::vector<std::jthread> threads;
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t i = 0; i < 16; ++i) {
          const std::size_t at = thread % 2 == 0 ? i : 15 - i;
          seen[thread].push_back(&experts.use(1 + at / 8, at % 8));
        }
        if (thread % 2 == 1) std::ranges::reverse(seen[thread]);
      });
    }
  }
  EXPECT_EQ(experts.packed(), experts.count());
  EXPECT_EQ(experts.packed_bytes(), experts.all_bytes());
  for (std::size_t thread = 1; thread < kThreads; ++thread) EXPECT_EQ(seen[thread], seen[0]);
  EXPECT_EQ(std::set(seen[0].begin(), seen[0].end()).size(), 16u);
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(experts.find(1 + i / 8, i % 8), seen[0][i]);
}

TEST(Experts, TheirBytesAreThoseOfTheirPanels) {
  const auto network = load_transformer(golden(kKinds[0].file));
  Experts& experts = *network->weights().experts;
  std::size_t bytes = 0;
  for (std::size_t layer = 0; layer < 2; ++layer) {
    for (std::size_t i = 0; i < 6; ++i) {
      const Expert& expert = experts.use(layer, i);
      bytes += expert.gate.weights->bytes() + expert.up.weights->bytes() + expert.down.weights->bytes();
    }
    EXPECT_EQ(experts.bytes_of_one(layer), bytes / 6 / (layer + 1));
  }
  EXPECT_EQ(experts.all_bytes(), bytes);
}

TEST(Experts, ProgressOfLoadingIsOfAllElse) {
  std::size_t last_done = 0, total = 0, calls = 0;
  const auto network = load_network(golden(kKinds[1].file), {.progress = [&](std::size_t done, std::size_t all) {
                                      last_done = done;
                                      total = all;
                                      ++calls;
                                    }});
  ASSERT_TRUE(network) << network.error().message;
  EXPECT_EQ(last_done, total);
  EXPECT_EQ(calls, 7u + 2 * 8 + 1);  // with three of the shared expert and a router in layers that have experts
}

// A model of one layer whose experts are made of the rows of a golden one, in its type or dequantised.
class QuantizedExperts : public testing::TestWithParam<const char*> {
 protected:
  static constexpr std::uint64_t kExperts = 4;

  static std::string_view text(const StoredTensor& tensor) {
    return {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()};
  }

  // `rows` rows of a tensor from its row `first` on, and again from its first.
  static std::string rows_of(const StoredTensor& tensor, std::uint64_t first, std::uint64_t rows) {
    const std::size_t row_bytes = tensor.bytes.size() / tensor.shape[0];
    std::string bytes;
    for (std::uint64_t i = 0; i < rows; ++i) {
      bytes += text(tensor).substr((first + i) % tensor.shape[0] * row_bytes, row_bytes);
    }
    return bytes;
  }

  void write(bool is_dequantized) {
    const auto source = Checkpoint::open(golden(std::string("gguf/") + GetParam()));
    ASSERT_TRUE(source) << source.error().message;
    const auto find = [&](const std::string& name) -> const StoredTensor& { return *source->find(name); };
    const std::uint64_t width = find("blk.0.ffn_gate.weight").shape[1];
    const std::uint64_t head_dim = width / 4;
    GgufWriter writer;
    writer.text("general.architecture", "qwen3moe")
        .number("qwen3moe.context_length", 64)
        .number("qwen3moe.embedding_length", static_cast<std::uint32_t>(width))
        .number("qwen3moe.block_count", 1)
        .number("qwen3moe.attention.head_count", 4)
        .number("qwen3moe.attention.head_count_kv",
                static_cast<std::uint32_t>(find("blk.0.attn_k.weight").shape[0] / head_dim))
        .number("qwen3moe.feed_forward_length", 64)
        .number("qwen3moe.expert_count", kExperts)
        .number("qwen3moe.expert_used_count", 2)
        .number("qwen3moe.expert_feed_forward_length", static_cast<std::uint32_t>(width))
        .real("qwen3moe.attention.layer_norm_rms_epsilon", 1e-5f);
    for (const char* name :
         {"token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight",
          "blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight", "blk.0.attn_output.weight"}) {
      const StoredTensor& tensor = find(name);
      std::vector<std::uint64_t> shape(tensor.shape.begin(), tensor.shape.begin() + tensor.rank);
      std::ranges::reverse(shape);
      writer.tensor_of(name, shape, tensor.stored_type, text(tensor));
    }
    const std::vector<float> ones(head_dim, 1.0f);
    const std::string_view norm(reinterpret_cast<const char*>(ones.data()), head_dim * 4);
    writer.tensor_of("blk.0.attn_q_norm.weight", {head_dim}, 0, norm)
        .tensor_of("blk.0.attn_k_norm.weight", {head_dim}, 0, norm);
    writer.tensor_of("blk.0.ffn_gate_inp.weight", {width, kExperts}, 0,
                     floats_of(find("blk.0.ffn_up.weight"), rows_of(find("blk.0.ffn_up.weight"), 5, kExperts)));
    std::uint64_t first = 0;
    for (const char* part : {"gate", "up", "down"}) {
      const StoredTensor& tensor =
          find(std::string("blk.0.ffn_") + (std::string_view(part) == "up" ? "up" : "gate") + ".weight");
      const std::string bytes = rows_of(tensor, first += 3, kExperts * width);
      const std::string name = std::string("blk.0.ffn_") + part + "_exps.weight";
      if (is_dequantized) {
        writer.tensor_of(name, {width, width, kExperts}, 0, floats_of(tensor, bytes));
      } else {
        writer.tensor_of(name, {width, width, kExperts}, tensor.stored_type, bytes);
      }
    }
    const std::vector<std::byte> file = writer.bytes();
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
  }

  static std::string floats_of(const StoredTensor& tensor, const std::string& bytes) {
    const std::size_t count =
        bytes.size() / kernels::traits(*tensor.type).block_bytes * kernels::traits(*tensor.type).block_elements;
    std::vector<float> values(count);
    kernels::dequantize(*tensor.type, reinterpret_cast<const std::byte*>(bytes.data()), values.data(), count);
    return {reinterpret_cast<const char*>(values.data()), 4 * count};
  }

  // The residual stream behind the layer.
  std::vector<float> run(kernels::Compute compute) {
    const auto network = load_transformer(path_, {.compute = compute});
    std::vector<float> values;
    network->set_watch([&](std::size_t stage, const kernels::Tensor& hidden) {
      if (stage == 1) values.assign(hidden.f32(0), hidden.f32(0) + hidden.rows * hidden.columns);
    });
    SoloSequence sequence(*network, 64, 64);
    const TokenId ids[] = {5, 200, 17, 42, 42, 239, 0, 9, 100, 101, 7, 18};
    sequence.append(ids, SoloSequence::Want::kLast);
    return values;
  }

  static double cosine(std::span<const float> a, std::span<const float> b) {
    double ab = 0, aa = 0, bb = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      ab += double{a[i]} * b[i];
      aa += double{a[i]} * a[i];
      bb += double{b[i]} * b[i];
    }
    return ab / std::sqrt(aa * bb);
  }

  static constexpr double kInt8Cosine = 0.999;  // README of the goldens: what 8 bits on the way may cost

  base::TemporaryFolder folder_;
  fs::path path_ = folder_ / "experts.gguf";
};

TEST_P(QuantizedExperts, AreTheirValues) {
  ASSERT_NO_FATAL_FAILURE(write(true));
  const std::vector<float> expected = run(kernels::Compute::kExact);
  ASSERT_NO_FATAL_FAILURE(write(false));
  const std::vector<float> exact = run(kernels::Compute::kExact);
  const std::vector<float> fast = run(kernels::Compute::kFast);
  float largest = 0;
  for (const float value : expected) largest = std::max(largest, std::abs(value));
  ASSERT_EQ(exact.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(exact[i], expected[i], 1e-5f * largest) << i;
  }
  EXPECT_GT(cosine(fast, expected), kInt8Cosine);  // no other expert was chosen
}

// All experts of a layer lie in one tensor: it is rounded as so many matrices, and the router that chooses is not.
TEST_P(QuantizedExperts, AreQuantisedAndTheirRouterIsNot) {
  ASSERT_NO_FATAL_FAILURE(write(true));
  const std::vector<float> expected = run(kernels::Compute::kExact);
  const auto report = quantize_model(path_, folder_ / "out", {.kind = WeightKind::kInt8});
  ASSERT_TRUE(report) << report.error().message;
  path_ = folder_ / "out" / "model.gguf";
  const auto made = Checkpoint::open(path_);
  ASSERT_TRUE(made) << made.error().message;
  for (const char* part : {"gate", "up", "down"}) {
    EXPECT_EQ(made->find(std::string("blk.0.ffn_") + part + "_exps.weight")->type_text(), "Q8_0") << part;
  }
  EXPECT_EQ(made->find("blk.0.ffn_gate_inp.weight")->type_text(), "F32");
  EXPECT_GT(cosine(run(kernels::Compute::kExact), expected), kInt8Cosine);
}

INSTANTIATE_TEST_SUITE_P(Types, QuantizedExperts,
                         testing::Values("llama256-Q2_K.gguf", "llama256-Q3_K.gguf", "llama256-Q4_K_M.gguf",
                                         "llama256-Q5_K.gguf", "llama256-Q6_K.gguf", "llama256-IQ4_XS.gguf",
                                         "llama32-Q8_0.gguf", "llama32-Q4_0.gguf", "llama32-Q4_1.gguf",
                                         "llama32-Q5_0.gguf", "llama32-Q5_1.gguf", "llama32-IQ4_NL.gguf",
                                         "llama32-BF16.gguf"),
                         [](const auto& test) {
                           std::string name(test.param, std::string_view(test.param).rfind('.'));
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// A GGUF of one layer with four experts, of which one tensor or key is changed.
class BrokenExperts : public testing::Test {
 protected:
  using Shape = std::vector<std::uint64_t>;

  Result<std::unique_ptr<LanguageModel>> load(const std::string& architecture = "glm4moe") {
    GgufWriter writer;
    writer.text("general.architecture", architecture).real(architecture + ".attention.layer_norm_rms_epsilon", 1e-5f);
    for (const auto& [key, value] : numbers_) writer.number(architecture + "." + key, value);
    for (const auto& [name, shape] : tensors_) {
      std::uint64_t bytes = 4;
      for (const std::uint64_t size : shape) bytes *= size;
      writer.tensor(name, shape, 0, bytes);
    }
    const std::vector<std::byte> bytes = writer.bytes();
    const fs::path path = folder_ / "broken.gguf";
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return load_network(path, {});
  }

  void expect_refusal(Code code, std::initializer_list<const char*> words) {
    const auto network = load();
    ASSERT_FALSE(network);
    EXPECT_EQ(network.error().code, code) << network.error().message;
    for (const char* word : words) {
      EXPECT_NE(network.error().message.find(word), std::string::npos) << word << ": " << network.error().message;
    }
  }

  std::map<std::string, std::uint32_t> numbers_ = {
      {"context_length", 64},      {"embedding_length", 32},    {"block_count", 1},
      {"attention.head_count", 2}, {"feed_forward_length", 64}, {"expert_count", 4},
      {"expert_used_count", 2},    {"expert_shared_count", 1},  {"expert_feed_forward_length", 16}};
  std::map<std::string, Shape> tensors_ = {{"token_embd.weight", {32, 40}},
                                           {"output_norm.weight", {32}},
                                           {"blk.0.attn_norm.weight", {32}},
                                           {"blk.0.post_attention_norm.weight", {32}},
                                           {"blk.0.attn_q.weight", {32, 32}},
                                           {"blk.0.attn_k.weight", {32, 32}},
                                           {"blk.0.attn_v.weight", {32, 32}},
                                           {"blk.0.attn_output.weight", {32, 32}},
                                           {"blk.0.ffn_gate_inp.weight", {32, 4}},
                                           {"blk.0.exp_probs_b.bias", {4}},
                                           {"blk.0.ffn_gate_exps.weight", {32, 16, 4}},
                                           {"blk.0.ffn_up_exps.weight", {32, 16, 4}},
                                           {"blk.0.ffn_down_exps.weight", {16, 32, 4}},
                                           {"blk.0.ffn_gate_shexp.weight", {32, 16}},
                                           {"blk.0.ffn_up_shexp.weight", {32, 16}},
                                           {"blk.0.ffn_down_shexp.weight", {16, 32}}};
  base::TemporaryFolder folder_;
};

TEST_F(BrokenExperts, TheWholeOneLoads) {
  const auto network = load();
  ASSERT_TRUE(network) << network.error().message;
  SoloSequence sequence(**network, 8, 8);
  const TokenId ids[] = {1, 2, 3};
  EXPECT_EQ(sequence.append(ids, SoloSequence::Want::kAll).rows, 3u);  // of zeros, which make no number of their own
}

TEST_F(BrokenExperts, AMissingTensorIsNamed) {
  const std::map<std::string, Shape> whole = tensors_;
  for (const char* name : {"blk.0.ffn_gate_inp.weight", "blk.0.exp_probs_b.bias", "blk.0.ffn_gate_exps.weight",
                           "blk.0.ffn_down_exps.weight", "blk.0.ffn_up_shexp.weight"}) {
    tensors_ = whole;
    tensors_.erase(name);
    expect_refusal(Code::kCorrupt, {name});
  }
}

TEST_F(BrokenExperts, AnotherNumberOfExpertsIsNamedBesideTheOneExpected) {
  const std::map<std::string, Shape> whole = tensors_;
  const auto change = [&](const char* name, Shape shape, std::initializer_list<const char*> words) {
    tensors_ = whole;
    tensors_[name] = std::move(shape);
    expect_refusal(Code::kCorrupt, words);
  };
  change("blk.0.ffn_gate_exps.weight", {32, 16, 3}, {"ffn_gate_exps", "[3, 16, 32]", "[4, 16, 32]"});
  change("blk.0.ffn_down_exps.weight", {16, 32, 5}, {"ffn_down_exps", "[5, 32, 16]", "[4, 32, 16]"});
  change("blk.0.ffn_up_exps.weight", {32, 64}, {"ffn_up_exps", "[64, 32]", "[4, 16, 32]"});
  change("blk.0.ffn_up_exps.weight", {32, 16, 4, 1}, {"ffn_up_exps", "[1, 4, 16, 32]"});
  change("blk.0.ffn_gate_inp.weight", {32, 5}, {"ffn_gate_inp", "[5, 32]", "[4, 32]"});
  change("blk.0.exp_probs_b.bias", {5}, {"exp_probs_b", "[5]", "[4]"});
  change("blk.0.ffn_gate_shexp.weight", {32, 32}, {"ffn_gate_shexp", "[32, 32]", "[16, 32]"});
  tensors_ = whole;
  tensors_["blk.0.ffn_gate.weight"] = {32, 64};  // an MLP beside the experts
  expect_refusal(Code::kInvalidArgument, {"blk.0.ffn_gate.weight"});
}

TEST_F(BrokenExperts, CountsThatDoNotFitTogetherAreNamed) {
  const std::map<std::string, std::uint32_t> whole = numbers_;
  const auto change = [&](std::initializer_list<std::pair<const char*, std::uint32_t>> numbers,
                          std::initializer_list<const char*> words) {
    numbers_ = whole;
    for (const auto& [key, value] : numbers) numbers_[key] = value;
    expect_refusal(Code::kInvalidArgument, words);
  };
  change({{"expert_used_count", 5}}, {"5 experts", "has 4"});
  change({{"expert_used_count", 0}}, {"number of experts for a token is 0"});
  change({{"expert_count", 0}}, {"number of experts is 0"});
  change({{"expert_count", 4'000'000'000u}}, {"number of experts is 4000000000"});
  change({{"expert_feed_forward_length", 0}}, {"feed-forward size of an expert is 0"});
  change({{"expert_feed_forward_length", 2'000'000}}, {"feed-forward size of an expert is 2000000"});
  change({{"expert_shared_count", 65}}, {"shared experts is 65"});
  change({{"expert_gating_func", 3}}, {"gating function 3"});
  change({{"expert_group_count", 3}}, {"4 experts", "3 groups"});
  change({{"expert_group_count", 4}}, {"4 experts", "4 groups"});
  change({{"expert_group_count", 2}, {"expert_group_used_count", 3}}, {"from 3 groups", "2 groups of 2"});
  change({{"expert_group_count", 2}, {"expert_group_used_count", 1}, {"expert_used_count", 3}}, {"3 experts from 1"});
  change({{"leading_dense_block_count", 1'025}}, {"dense layers is 1025"});
  change({{"nextn_predict_layers", 1}}, {"1 layers 1"});
  change({{"nextn_predict_layers", 17}}, {"guess ahead is 17"});
  numbers_ = whole;
  numbers_.erase("expert_used_count");
  expect_refusal(Code::kCorrupt, {"expert_used_count"});
}

}  // namespace
}  // namespace autoglm::model
