// SPDX-License-Identifier: Apache-2.0
// What families with experts make of metadata, and what they refuse by name.
#include "model/families/families_fixture.h"

namespace autoglm::model {
namespace {

using FamiliesExperts = Families;

TEST_F(FamiliesExperts, Qwen3WithExperts) {
  const auto absent = describe_config(llama_config(R"("model_type":"qwen3_moe")"));
  ASSERT_TRUE(absent) << absent.error().message;
  EXPECT_TRUE(absent->config.has_qk_norm);
  EXPECT_EQ(absent->config.experts.count, 128u);
  EXPECT_EQ(absent->config.experts.used, 8u);
  EXPECT_EQ(absent->config.experts.feed_forward, 768u);
  EXPECT_EQ(absent->config.experts.shared_feed_forward, 0u);
  EXPECT_EQ(absent->config.experts.gating, kernels::Gating::kSoftmax);
  EXPECT_FALSE(absent->config.experts.is_normalised || absent->config.experts.has_bias);
  EXPECT_TRUE(absent->config.layers[0].has_experts && absent->config.layers[1].has_experts);
  EXPECT_EQ(absent->config.layers[0].window, 0u);
  const auto said = describe_config(llama_config(
      R"("model_type":"qwen3_moe","num_hidden_layers":6,"num_experts":9,"num_experts_per_tok":3,"moe_intermediate_size":40,)"
      R"("norm_topk_prob":true,"decoder_sparse_step":2,"mlp_only_layers":[3,77],"attention_bias":true,)"
      R"("use_sliding_window":true)"));
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_EQ(said->config.experts.count, 9u);
  EXPECT_EQ(said->config.experts.used, 3u);
  EXPECT_EQ(said->config.experts.feed_forward, 40u);
  EXPECT_TRUE(said->config.experts.is_normalised && said->config.has_qkv_bias && said->config.has_output_bias);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(said->config.layers[i].has_experts, i == 1 || i == 5) << i;
  EXPECT_EQ(said->config.layers[0].window, 4'096u);
}

TEST_F(FamiliesExperts, GlmWithExperts) {
  const auto absent = describe_config(llama_config(R"("model_type":"glm4_moe")"));
  ASSERT_TRUE(absent) << absent.error().message;
  const ExpertConfig& experts = absent->config.experts;
  EXPECT_EQ(experts.count, 128u);
  EXPECT_EQ(experts.used, 8u);
  EXPECT_EQ(experts.feed_forward, 1'408u);
  EXPECT_EQ(experts.shared_feed_forward, 1'408u);
  EXPECT_EQ(experts.gating, kernels::Gating::kSigmoid);
  EXPECT_TRUE(experts.is_normalised && experts.has_bias);
  EXPECT_EQ(experts.scale, 1);
  EXPECT_FALSE(absent->config.layers[0].has_experts);
  EXPECT_TRUE(absent->config.layers[1].has_experts);
  EXPECT_FALSE(absent->config.has_qk_norm || absent->config.has_qkv_bias || absent->config.has_post_norms);
  EXPECT_EQ(absent->config.ropes[0].style, kernels::RopeStyle::kHalves);
  EXPECT_EQ(absent->config.ropes[0].rotary_dim, 8u);
  EXPECT_TRUE(absent->leaves_out("model.layers.2.eh_proj.weight"));
  EXPECT_FALSE(absent->leaves_out("model.layers.1.eh_proj.weight"));
  EXPECT_FALSE(absent->leaves_out("model.layers.20.eh_proj.weight"));
  const auto said = describe_config(llama_config(
      R"("model_type":"glm4_moe","num_hidden_layers":5,"n_routed_experts":12,"num_experts_per_tok":4,)"
      R"("moe_intermediate_size":40,"n_shared_experts":2,"first_k_dense_replace":3,"n_group":3,"topk_group":2,)"
      R"("norm_topk_prob":false,"routed_scaling_factor":2.5,"use_qk_norm":true,"attention_bias":true,)"
      R"("num_nextn_predict_layers":0)"));
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_EQ(said->config.experts.count, 12u);
  EXPECT_EQ(said->config.experts.shared_feed_forward, 80u);
  EXPECT_EQ(said->config.experts.groups, 3u);
  EXPECT_EQ(said->config.experts.groups_used, 2u);
  EXPECT_EQ(said->config.experts.scale, 2.5);
  EXPECT_FALSE(said->config.experts.is_normalised);
  EXPECT_TRUE(said->config.has_qk_norm && said->config.has_qkv_bias && !said->config.has_output_bias);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(said->config.layers[i].has_experts, i >= 3) << i;
  EXPECT_FALSE(said->leaves_out("model.layers.5.eh_proj.weight"));
}

TEST_F(FamiliesExperts, ExpertsThatDoNotFitAreRefused) {
  const std::pair<std::string, std::string> wrong[] = {
      {R"("model_type":"qwen3_moe","num_experts":4,"num_experts_per_tok":5)", "5 experts for a token, but has 4"},
      {R"("model_type":"qwen3_moe","num_experts":0)", "number of experts is 0"},
      {R"("model_type":"qwen3_moe","num_experts":1025)", "number of experts is 1025"},
      {R"("model_type":"qwen3_moe","num_experts_per_tok":0)", "number of experts for a token is 0"},
      {R"("model_type":"qwen3_moe","num_experts":-1)", "num_experts"},
      {R"("model_type":"qwen3_moe","moe_intermediate_size":0)", "feed-forward size of an expert is 0"},
      {R"("model_type":"qwen3_moe","decoder_sparse_step":0)", "decoder_sparse_step is 0"},
      {R"("model_type":"glm4_moe","n_routed_experts":18446744073709551615)", "number of experts"},
      {R"("model_type":"glm4_moe","n_group":5)", "128 experts do not divide into 5 groups"},
      {R"("model_type":"glm4_moe","n_group":128)", "groups of at least two"},
      {R"("model_type":"glm4_moe","n_group":4,"topk_group":5)", "from 5 groups, but has 4 groups of 32"},
      {R"("model_type":"glm4_moe","n_group":64,"topk_group":3)", "chooses 8 experts from 3 groups"},
      {R"("model_type":"glm4_moe","n_group":0)", "groups of experts is 0"},
      {R"("model_type":"glm4_moe","routed_scaling_factor":0)", "scale of experts is 0"},
      {R"("model_type":"glm4_moe","n_shared_experts":65)", "shared experts is 65"},
      {R"("model_type":"glm4_moe","n_shared_experts":64,"moe_intermediate_size":1048576)", "feed-forward size"},
      {R"("model_type":"glm4_moe","num_nextn_predict_layers":17)", "guess ahead is 17"},
      {R"("model_type":"glm4_moe","first_k_dense_replace":1025)", "dense layers is 1025"},
  };
  for (const auto& [extra, words] : wrong) {
    const auto result = describe_config(llama_config(extra));
    ASSERT_FALSE(result) << extra;
    EXPECT_EQ(result.error().code, Code::kInvalidArgument) << extra;
    EXPECT_NE(result.error().message.find(words), std::string::npos) << result.error().message;
  }
  for (const std::string layers : {"3", "[1.5]", "[-1]", "[\"a\"]"}) {
    const auto result = describe_config(llama_config(R"("model_type":"qwen3_moe","mlp_only_layers":)" + layers));
    ASSERT_FALSE(result) << layers;
    EXPECT_EQ(result.error().code, Code::kCorrupt) << layers;
  }
}

TEST_F(FamiliesExperts, GgufWithExperts) {
  GgufWriter plain = gguf("glm4moe");
  write_experts(plain.number("glm4moe.attention.head_count", 4), "glm4moe");
  const auto absent = describe_gguf(plain);
  ASSERT_TRUE(absent) << absent.error().message;
  EXPECT_EQ(absent->config.experts.gating, kernels::Gating::kSigmoid);
  EXPECT_FALSE(absent->config.experts.is_normalised);
  EXPECT_EQ(absent->config.experts.scale, 1);
  EXPECT_EQ(absent->config.experts.groups, 1u);
  EXPECT_EQ(absent->config.skipped_layers, 0u);
  EXPECT_TRUE(absent->config.layers[0].has_experts);
  EXPECT_EQ(absent->names->mlp_norm, "blk.{}.post_attention_norm");
  GgufWriter full = gguf("glm4moe");
  write_experts(full.number("glm4moe.attention.head_count", 4), "glm4moe")
      .number("glm4moe.expert_shared_count", 2)
      .number("glm4moe.expert_gating_func", 1)
      .number("glm4moe.expert_group_count", 4)
      .number("glm4moe.expert_group_used_count", 3)
      .number("glm4moe.leading_dense_block_count", 2)
      .number("glm4moe.nextn_predict_layers", 1)
      .real("glm4moe.expert_weights_scale", 2.5f)
      .flag("glm4moe.expert_weights_norm", true);
  const auto said = describe_gguf(full);
  ASSERT_TRUE(said) << said.error().message;
  const ExpertConfig& experts = said->config.experts;
  EXPECT_EQ(experts.shared_feed_forward, 48u);
  EXPECT_EQ(experts.gating, kernels::Gating::kSoftmax);
  EXPECT_EQ(experts.groups, 4u);
  EXPECT_EQ(experts.groups_used, 3u);
  EXPECT_TRUE(experts.is_normalised);
  EXPECT_EQ(experts.scale, 2.5);
  ASSERT_EQ(said->config.layers.size(), 5u);  // of six blocks
  EXPECT_FALSE(said->config.layers[1].has_experts);
  EXPECT_TRUE(said->config.layers[2].has_experts);
  EXPECT_TRUE(said->leaves_out("blk.5.nextn.enorm.weight"));
  GgufWriter qwen = gguf("qwen3moe");
  write_experts(qwen.number("qwen3moe.attention.head_count", 4), "qwen3moe")
      .tensor("blk.3.ffn_gate.weight", {64, 96}, 0, 4 * 64 * 96);
  const auto mixed = describe_gguf(qwen);
  ASSERT_TRUE(mixed) << mixed.error().message;
  EXPECT_TRUE(mixed->config.experts.is_normalised && mixed->config.has_qk_norm);
  EXPECT_FALSE(mixed->config.layers[3].has_experts);
  EXPECT_TRUE(mixed->config.layers[4].has_experts);
}

}  // namespace
}  // namespace autoglm::model
