// SPDX-License-Identifier: Apache-2.0
// The facts of known tiny checkpoints.
#include "model/inspect.h"

#include <gtest/gtest.h>

#include "model/kv_cache.h"
#include "model/model_fixture.h"

namespace autoglm::model {
namespace {

TEST(Inspect, FactsOfAGguf) {
  const auto facts = inspect_model(golden("gguf/llama32-Q8_0.gguf"), {});
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_EQ(facts->format, "GGUF v3");
  EXPECT_EQ(facts->architecture, "llama");
  EXPECT_EQ(facts->name, "tiny-llama32-Q8_0");
  EXPECT_EQ(facts->vocab, 448u);
  EXPECT_EQ(facts->layers, 2u);
  EXPECT_EQ(facts->head_dim, 16u);
  EXPECT_EQ(facts->kv_heads, 2u);
  EXPECT_FALSE(facts->has_tied_head);
  EXPECT_TRUE(facts->has_chat_template);
  EXPECT_EQ(facts->tokenizer, "gpt2 (llama-bpe)");
  // 2 (K, V) * 2 layers * 2 heads * 16 dims * 2 bytes
  EXPECT_EQ(facts->kv_bytes_per_token, 256u);
  EXPECT_EQ(facts->kv_bytes_of_context, 256u * 512);
  ASSERT_EQ(facts->types.size(), 2u);
  EXPECT_EQ(facts->types[0].type, "Q8_0");
  EXPECT_EQ(facts->types[0].tensors, 16u);
  const std::uint64_t matrices = 2 * 448 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 96);
  EXPECT_EQ(facts->types[0].elements, matrices);
  EXPECT_EQ(facts->types[0].bytes, matrices / 32 * 34);
  EXPECT_GT(facts->packed_bytes, matrices - 448 * 64);  // the embedding stays in the file
}

TEST(Inspect, LinearLayersByArithmeticAndTheHeadApart) {
  const auto facts = inspect_model(golden("gguf/llama32-Q8_0.gguf"), {});
  ASSERT_TRUE(facts);
  ASSERT_EQ(facts->linear.size(), 2u);
  for (const LinearFacts& linear : facts->linear) {
    const std::uint64_t weights = linear.is_head ? 448 * 64 : 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 96);
    EXPECT_EQ(linear.arithmetic, kernels::Arithmetic::kInt8);
    EXPECT_EQ(linear.weights, weights);
    EXPECT_EQ(linear.bytes, weights / 32 * 34);
  }
  const auto tied = inspect_model(golden("tiny/gemma3_text"), {});
  ASSERT_TRUE(tied);
  ASSERT_EQ(tied->linear.size(), 2u);
  EXPECT_TRUE(tied->linear[1].is_head);
  EXPECT_EQ(tied->linear[1].weights, tied->vocab * tied->hidden);
}

TEST(Inspect, ExactModeDoublesTheCacheAndMultipliesInF32) {
  const auto facts = inspect_model(golden("gguf/llama32-Q8_0.gguf"), {.compute = kernels::Compute::kExact});
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->kv_bytes_per_token, 512u);
  for (const LinearFacts& linear : facts->linear) EXPECT_EQ(linear.arithmetic, kernels::Arithmetic::kF32);
}

TEST(Inspect, Int8CacheHoldsACodeAnElementAndAScaleAHead) {
  const auto facts = inspect_model(golden("gguf/llama32-Q8_0.gguf"), {.kv_type = kernels::KvType::kInt8});
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->kv_bytes_per_token, 2 * facts->layers * facts->kv_heads * (facts->head_dim + sizeof(float)));
  EXPECT_EQ(facts->kv_bytes_per_token, facts->int8_kv_bytes_per_token);
}

TEST(Inspect, FactsOfAFolder) {
  const auto facts = inspect_model(golden("tiny/gemma3_text"), {.context_length = 64});
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_EQ(facts->format, "safetensors");
  EXPECT_EQ(facts->architecture, "gemma3_text");
  EXPECT_EQ(facts->sliding_window, 9u);
  EXPECT_GT(facts->sliding_layers, 0u);
  EXPECT_LE(facts->sliding_layers, facts->layers);
  EXPECT_TRUE(facts->has_tied_head);
  EXPECT_EQ(facts->tokenizer, "tokenizer.json");
  EXPECT_EQ(facts->context_length, 64u);
  const std::string text = format_facts(*facts);
  EXPECT_NE(text.find("gemma3_text"), std::string::npos);
  EXPECT_NE(text.find("64 tokens"), std::string::npos);
}

TEST(Inspect, RefusesAsLoadingDoes) {
  EXPECT_EQ(inspect_model("/nowhere", {}).error().code, Code::kNotFound);
  EXPECT_EQ(inspect_model(golden("quant"), {}).error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace autoglm::model
