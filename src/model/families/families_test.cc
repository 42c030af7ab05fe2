// SPDX-License-Identifier: Apache-2.0
// What each family makes of metadata, and what it refuses by name. Hyper-parameters are bounded (threat T-A5).
#include <gtest/gtest.h>

#include <array>
#include <functional>

#include "model/families/families_fixture.h"

namespace autoglm::model {
namespace {

TEST_F(Families, LlamaOfConfig) {
  const auto result = describe_config(llama_config());
  ASSERT_TRUE(result) << result.error().message;
  const ModelConfig& config = result->config;
  EXPECT_EQ(config.head_dim, 16u);
  EXPECT_EQ(config.query_width(), 64u);
  EXPECT_EQ(config.kv_width(), 32u);
  EXPECT_FALSE(config.has_tied_head);
  EXPECT_DOUBLE_EQ(config.attention_scale, 0.25);
  ASSERT_EQ(config.ropes.size(), 1u);
  EXPECT_EQ(config.ropes[0].style, kernels::RopeStyle::kHalves);
  EXPECT_EQ(config.ropes[0].rotary_dim, 16u);
  EXPECT_EQ(config.ropes[0].theta, 10'000);
}

TEST_F(Families, LlamaRopeScalingOldAndNewSpelling) {
  const std::string scaling =
      R"({"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":64)";
  const auto old_way = describe_config(llama_config(R"("rope_theta":500000.0,"rope_scaling":)" + scaling + "}"));
  ASSERT_TRUE(old_way) << old_way.error().message;
  const auto new_way = describe_config(llama_config(R"("rope_parameters":)" + scaling + R"(,"rope_theta":500000.0})"));
  ASSERT_TRUE(new_way) << new_way.error().message;
  for (const auto& result : {*old_way, *new_way}) {
    EXPECT_EQ(result.config.ropes[0].theta, 500'000);
    ASSERT_TRUE(result.config.ropes[0].llama3);
    EXPECT_EQ(result.config.ropes[0].llama3->original_context, 64);
  }
  const auto unsaid = describe_config(llama_config(
      R"("rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0})"));
  ASSERT_TRUE(unsaid) << unsaid.error().message;
  EXPECT_EQ(unsaid->config.ropes[0].llama3->original_context, 512);  // max_position_embeddings
  const auto linear = describe_config(llama_config(R"("rope_scaling":{"type":"linear","factor":2})"));
  ASSERT_TRUE(linear);
  EXPECT_EQ(linear->config.ropes[0].linear_factor, 2);
}

// What a key means that is not there: transformers 5, configuration_llama.py, _qwen2.py and so on.
TEST_F(Families, AbsentKeysMeanTheFamilysOwnDefaults) {
  struct Expected {
    const char* family;
    std::size_t heads, kv_heads, head_dim, context_length;
    bool is_tied;
    double theta;
    kernels::Activation activation;
    double norm_eps = 1e-6;
    std::size_t rotary_dim = 0;  // 0 = all of a head
  };
  const Expected all[] = {
      {"llama", 4, 4, 16, 2'048, false, 10'000, kernels::Activation::kSilu},
      {"qwen2", 32, 32, 2, 32'768, false, 10'000, kernels::Activation::kSilu},
      {"qwen3", 32, 32, 128, 32'768, false, 10'000, kernels::Activation::kSilu},
      {"gemma3_text", 4, 4, 256, 131'072, true, 1'000'000, kernels::Activation::kGeluTanh},
      {"mistral", 8, 8, 8, 131'072, false, 10'000, kernels::Activation::kSilu},
      {"phi3", 4, 4, 16, 4'096, false, 10'000, kernels::Activation::kSilu, 1e-5},
      {"glm", 4, 2, 128, 131'072, false, 10'000, kernels::Activation::kSilu, 1.5625e-7, 64},
      {"glm4", 4, 2, 128, 131'072, false, 10'000, kernels::Activation::kSilu, 1.5625e-7, 64},
      {"qwen3_moe", 32, 4, 2, 32'768, false, 10'000, kernels::Activation::kSilu},
      {"glm4_moe", 16, 8, 4, 131'072, false, 10'000, kernels::Activation::kSilu, 1e-5, 2},
  };
  for (const Expected& expected : all) {
    SCOPED_TRACE(expected.family);
    const std::string sizes = R"({"model_type":")" + std::string(expected.family) +
                              R"(","vocab_size":100,"hidden_size":64,"num_hidden_layers":12,"intermediate_size":96,)" +
                              R"("num_attention_heads":)" + std::to_string(expected.heads) + "}";
    const auto result = describe_config(sizes);
    ASSERT_TRUE(result) << result.error().message;
    const ModelConfig& config = result->config;
    EXPECT_EQ(config.kv_heads, expected.kv_heads);
    EXPECT_EQ(config.head_dim, expected.head_dim);
    EXPECT_EQ(config.context_length, expected.context_length);
    EXPECT_EQ(config.has_tied_head, expected.is_tied);
    EXPECT_EQ(config.activation, expected.activation);
    EXPECT_EQ(config.norm_eps, expected.norm_eps);
    EXPECT_EQ(config.ropes[0].theta, expected.theta);
    EXPECT_EQ(config.ropes[0].rotary_dim, expected.rotary_dim == 0 ? expected.head_dim : expected.rotary_dim);
    EXPECT_DOUBLE_EQ(config.attention_scale, 1 / std::sqrt(static_cast<double>(expected.head_dim)));
    const bool all_slide = std::string_view(expected.family) == "mistral";
    const bool some_slide = std::string_view(expected.family) == "gemma3_text";
    for (std::size_t i = 0; i < config.layers.size(); ++i) {
      EXPECT_EQ(config.layers[i].window, all_slide || (some_slide && i % 6 != 5) ? 4'096u : 0u) << i;
    }
    EXPECT_EQ(config.ropes.back().theta, 10'000);  // the only one, or that of the layers that slide
    EXPECT_EQ(config.has_qkv_bias, std::string_view(expected.family) == "qwen2");
    EXPECT_FALSE(config.has_output_bias || config.has_mlp_bias);
    EXPECT_EQ(config.attention_softcap, 0);
    EXPECT_EQ(config.logit_softcap, 0);
  }
}

TEST_F(Families, NullIsNotAlwaysTheSameAsAbsent) {
  // Null key-value heads are as many as heads, where an absent key is the family's own number.
  const auto qwen = describe_config(llama_config(R"("model_type":"qwen2","num_key_value_heads":null)"));
  ASSERT_TRUE(qwen) << qwen.error().message;
  EXPECT_EQ(qwen->config.kv_heads, 4u);
  EXPECT_FALSE(describe_config(llama_config(R"("model_type":"qwen2")", "num_key_value_heads")));  // 32 for 4 heads
  const std::string slides = R"("model_type":"qwen3","use_sliding_window":true,"max_window_layers":1)";
  EXPECT_EQ(describe_config(llama_config(slides))->config.layers[1].window, 4'096u);
  EXPECT_EQ(describe_config(llama_config(slides + R"(,"sliding_window":null)"))->config.layers[1].window, 0u);
  const auto late = describe_config(
      llama_config(R"("model_type":"qwen2","use_sliding_window":true,"sliding_window":9,"num_hidden_layers":29)"));
  EXPECT_EQ(late->config.layers[27].window, 0u);  // max_window_layers is 28 unless told otherwise
  EXPECT_EQ(late->config.layers[28].window, 9u);
}

TEST_F(Families, QwenBiasesNormsAndWindows) {
  const auto qwen2 = describe_config(
      llama_config(R"("model_type":"qwen2","use_sliding_window":true,"sliding_window":32,"max_window_layers":1)"));
  ASSERT_TRUE(qwen2) << qwen2.error().message;
  EXPECT_TRUE(qwen2->config.has_qkv_bias);
  EXPECT_FALSE(qwen2->config.has_output_bias);
  EXPECT_EQ(qwen2->config.layers[0].window, 0u);
  EXPECT_EQ(qwen2->config.layers[1].window, 32u);
  const auto no_window =
      describe_config(llama_config(R"("model_type":"qwen2","use_sliding_window":false,"sliding_window":32)"));
  EXPECT_EQ(no_window->config.layers[1].window, 0u);
  const auto qwen3 = describe_config(llama_config(R"("model_type":"qwen3","head_dim":28)"));
  ASSERT_TRUE(qwen3);
  EXPECT_TRUE(qwen3->config.has_qk_norm);
  EXPECT_EQ(qwen3->config.query_width(), 112u);
}

TEST_F(Families, EveryLayerOfMistralSlidesUnlessTheWindowIsNull) {
  const auto slides = describe_config(llama_config(R"("model_type":"mistral","sliding_window":12)"));
  ASSERT_TRUE(slides) << slides.error().message;
  for (const LayerConfig& layer : slides->config.layers) EXPECT_EQ(layer.window, 12u);
  EXPECT_FALSE(slides->config.has_qkv_bias);
  const auto sees_all = describe_config(llama_config(R"("model_type":"mistral","sliding_window":null)"));
  for (const LayerConfig& layer : sees_all->config.layers) EXPECT_EQ(layer.window, 0u);
}

TEST_F(Families, GemmaOfConfig) {
  const auto result = describe_config(llama_config(
      R"("model_type":"gemma3_text","num_hidden_layers":6,"sliding_window":9,"query_pre_attn_scalar":20,
         "rope_theta":1000000.0,"rope_local_base_freq":10000.0,"rope_scaling":{"rope_type":"linear","factor":8.0})"));
  ASSERT_TRUE(result) << result.error().message;
  const ModelConfig& config = result->config;
  EXPECT_EQ(config.norm_offset, 1);
  EXPECT_TRUE(config.has_tied_head);
  EXPECT_TRUE(config.has_post_norms);
  EXPECT_EQ(config.activation, kernels::Activation::kGeluTanh);
  EXPECT_DOUBLE_EQ(config.embedding_scale, 8);
  EXPECT_DOUBLE_EQ(config.attention_scale, 1 / std::sqrt(20.0));
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(config.layers[i].window, i == 5 ? 0u : 9u) << i;
    EXPECT_EQ(config.layers[i].rope, i == 5 ? 0u : 1u) << i;
  }
  EXPECT_EQ(config.ropes[0].theta, 1'000'000);
  EXPECT_EQ(config.ropes[0].linear_factor, 8);
  EXPECT_EQ(config.ropes[1].theta, 10'000);
  EXPECT_EQ(config.ropes[1].linear_factor, 1);
}

TEST_F(Families, GemmaLayerTypesAndNestedRopes) {
  const auto result = describe_config(llama_config(
      R"("model_type":"gemma3_text","sliding_window":9,"layer_types":["full_attention","sliding_attention"],
         "rope_parameters":{"full_attention":{"rope_type":"linear","factor":4.0,"rope_theta":500000.0},
                            "sliding_attention":{"rope_type":"default","rope_theta":20000.0}})"));
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->config.layers[0].window, 0u);
  EXPECT_EQ(result->config.layers[1].window, 9u);
  EXPECT_EQ(result->config.ropes[0].theta, 500'000);
  EXPECT_EQ(result->config.ropes[0].linear_factor, 4);
  EXPECT_EQ(result->config.ropes[1].theta, 20'000);
  const auto outside = describe_config(llama_config(
      R"("model_type":"gemma3_text","rope_theta":300000.0,"rope_local_base_freq":30000.0,
         "rope_parameters":{"full_attention":{"rope_type":"linear","factor":4.0},
                            "sliding_attention":{"rope_type":"default"}})"));
  ASSERT_TRUE(outside) << outside.error().message;
  EXPECT_EQ(outside->config.ropes[0].theta, 300'000);
  EXPECT_EQ(outside->config.ropes[0].linear_factor, 4);
  EXPECT_EQ(outside->config.ropes[1].theta, 30'000);
}

TEST_F(Families, GlmOfConfig) {
  const std::string edge = R"("model_type":"glm","attention_bias":true,"partial_rotary_factor":1.0,"head_dim":16)";
  const auto glm = describe_config(llama_config(edge));
  ASSERT_TRUE(glm) << glm.error().message;
  EXPECT_TRUE(glm->config.has_qkv_bias);
  EXPECT_FALSE(glm->config.has_output_bias || glm->config.has_mlp_bias || glm->config.has_post_norms);
  EXPECT_EQ(glm->config.ropes[0].rotary_dim, 16u);
  EXPECT_EQ(glm->config.ropes[0].style, kernels::RopeStyle::kInterleaved);
  const auto glm4 = describe_config(llama_config(R"("model_type":"glm4","head_dim":16)"));
  ASSERT_TRUE(glm4) << glm4.error().message;
  EXPECT_FALSE(glm4->config.has_qkv_bias);
  EXPECT_TRUE(glm4->config.has_post_norms);
  EXPECT_EQ(glm4->config.ropes[0].rotary_dim, 8u);
  EXPECT_EQ(glm4->config.ropes[0].style, kernels::RopeStyle::kInterleaved);
}

TEST_F(Families, GlmThatSeesIsDescribedByItsLanguagePart) {
  const std::string outer = R"({"model_type":"glm4v","tie_word_embeddings":true,"text_config":)";
  const auto result = describe_config(outer + llama_config(R"("model_type":"glm4v_text")") + "}");
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->config.architecture, "glm4v");
  EXPECT_TRUE(result->config.has_qkv_bias && result->config.has_post_norms && result->config.has_tied_head);
  EXPECT_EQ(result->config.ropes[0].rotary_dim, 16u);  // where GLM-4 would turn half of it
  EXPECT_EQ(result->config.ropes[0].style, kernels::RopeStyle::kInterleaved);
  EXPECT_EQ(describe_config(llama_config(R"("model_type":"glm4v")")).error().code, Code::kCorrupt);
  EXPECT_EQ(describe_config(llama_config(R"("model_type":"glm4v","text_config":[])")).error().code, Code::kCorrupt);
}

// Whose rows of q and k lie in the order for halves says so by the sections of its rope.
TEST_F(Families, GgufOfAGlmThatSeesPairsHalves) {
  for (const bool sees : {false, true}) {
    GgufWriter writer = gguf("glm4");
    writer.number("glm4.attention.head_count", 4).number("glm4.rope.dimension_count", 8);
    std::string sections;
    for (const std::uint32_t size : {2u, 1u, 1u, 0u}) sections += GgufWriter::encoded(size);
    if (sees) writer.array("glm4.rope.dimension_sections", GgufWriter::kU32, 4, sections);
    const auto result = describe_gguf(writer);
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_TRUE(result->config.has_post_norms);
    EXPECT_EQ(result->config.ropes[0].style == kernels::RopeStyle::kHalves, sees);
    EXPECT_EQ(result->config.ropes[0].rotary_dim, 8u);
  }
}

std::string longrope(const std::string& factors, const std::string& more = "") {
  return R"("model_type":"phi3","max_position_embeddings":4096,"rope_scaling":{"type":"longrope","short_factor":)" +
         std::string("[1,1,1,1,1,1,1,2],") + R"("long_factor":)" + factors + more + "}";
}

TEST_F(Families, LongropeHasTwoListsOfFactors) {
  const std::string factors = "[1.5,2,2,2,2,2,4,8]";
  const std::string original = R"("original_max_position_embeddings":1024,)";
  const auto result = describe_config(llama_config(original + longrope(factors)));
  ASSERT_TRUE(result) << result.error().message;
  const kernels::RopeDescription& rope = result->config.ropes[0];
  EXPECT_EQ(result->config.short_context(), 1024u);
  EXPECT_EQ(rope.frequency_divisors.back(), 2);
  EXPECT_EQ(rope.long_divisors.front(), 1.5f);
  EXPECT_DOUBLE_EQ(rope.attention_factor, std::sqrt(1 + std::log(4.0) / std::log(1024.0)));
  // Newer files name the original context within; to Phi-3 none means 4096, whatever "factor" says.
  const auto within = describe_config(llama_config(longrope(factors, R"(,"original_max_position_embeddings":1024)")));
  EXPECT_EQ(within->config.ropes[0].attention_factor, rope.attention_factor);
  std::string stretched = longrope(factors, R"(,"factor":4)");
  EXPECT_EQ(describe_config(llama_config(stretched))->config.ropes[0].attention_factor, 1);
  stretched.replace(stretched.find("4096"), 4, "131072");
  const auto unsaid = describe_config(llama_config(stretched));
  EXPECT_EQ(unsaid->config.short_context(), 4096u);
  EXPECT_DOUBLE_EQ(unsaid->config.ropes[0].attention_factor, std::sqrt(1 + std::log(32.0) / std::log(4096.0)));
  const auto told = describe_config(llama_config(original + longrope(factors, R"(,"attention_factor":1.25)")));
  EXPECT_EQ(told->config.ropes[0].attention_factor, 1.25);
}

TEST_F(Families, LongropeThatDoesNotFitIsRefused) {
  const std::pair<std::string, Code> wrong[] = {{"[1,2]", Code::kInvalidArgument},
                                                {"[1,1,1,1,1,1,1,0]", Code::kInvalidArgument},
                                                {"[1,1,1,1,1,1,1,1e9]", Code::kInvalidArgument},
                                                {"[1,1,1,1,1,1,1,\"1\"]", Code::kCorrupt},
                                                {"[]", Code::kCorrupt},
                                                {"null", Code::kCorrupt}};
  for (const auto& [factors, code] : wrong) {
    const auto result = describe_config(llama_config(longrope(factors)));
    ASSERT_FALSE(result) << factors;
    EXPECT_EQ(result.error().code, code) << factors;
  }
  for (const std::string original : {"0", "1", "16777217"}) {
    const std::string config =
        R"("original_max_position_embeddings":)" + original + "," + longrope("[1,1,1,1,1,1,1,1]");
    EXPECT_EQ(describe_config(llama_config(config)).error().code, Code::kInvalidArgument) << original;
  }
}

TEST_F(Families, LongropeOfAGguf) {
  const auto phi = [](std::initializer_list<const char*> tensors) {
    GgufWriter writer = gguf("phi3");
    writer.number("phi3.attention.head_count", 4)
        .number("phi3.rope.scaling.original_context_length", 64)
        .text("phi3.rope.scaling.type", "longrope");
    for (const char* name : tensors) writer.tensor(name, {8}, 0, 32);
    return writer;
  };
  // The writer's data are zeros, which are no factors.
  EXPECT_EQ(describe_gguf(phi({"rope_factors_long.weight", "rope_factors_short.weight"})).error().code,
            Code::kInvalidArgument);
  EXPECT_EQ(describe_gguf(phi({"rope_factors_long.weight"})).error().code, Code::kCorrupt);
  EXPECT_EQ(describe_gguf(phi({})).error().code, Code::kCorrupt);
}

TEST_F(Families, PhiSlidesWhereItSaysSo) {
  const auto json = describe_config(llama_config(R"("model_type":"phi3","sliding_window":9)"));
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(json->config.layers[1].window, 9u);
  EXPECT_EQ(describe_config(llama_config(R"("model_type":"phi3")"))->config.layers[1].window, 0u);
  for (const std::uint32_t window : {0u, 9u}) {  // converters write 0 for none
    GgufWriter writer = gguf("phi3");
    writer.number("phi3.attention.head_count", 4).number("phi3.attention.sliding_window", window);
    const auto result = describe_gguf(writer);
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->config.layers[0].window, window);
  }
}

TEST_F(Families, GgufOfEveryFamily) {
  for (const std::string architecture :
       {"llama", "qwen2", "qwen3", "gemma3", "chatglm", "glm4", "phi3", "qwen3moe", "glm4moe"}) {
    GgufWriter writer = gguf(architecture);
    writer.number(architecture + ".attention.head_count", 4);
    if (architecture.ends_with("moe")) write_experts(writer, architecture);
    if (architecture == "gemma3") writer.number("gemma3.attention.sliding_window", 9);
    const auto result = describe_gguf(writer);
    ASSERT_TRUE(result) << architecture << ": " << result.error().message;
    const ModelConfig& config = result->config;
    EXPECT_EQ(config.kv_heads, 4u);
    EXPECT_EQ(config.vocab, 100u);
    EXPECT_TRUE(config.has_tied_head);
    EXPECT_EQ(config.norm_offset, 0);  // GGUF has the 1 of Gemma added
    const bool has_pairs = architecture == "llama" || architecture == "chatglm" || architecture == "glm4";
    EXPECT_EQ(config.ropes[0].style == kernels::RopeStyle::kInterleaved, has_pairs);
    EXPECT_EQ(config.layers[4].window, architecture == "gemma3" ? 9u : 0u);
    EXPECT_EQ(config.layers[5].window, 0u);
  }
}

// As the guide of Qwen2.5 has it, and what files leave out.
TEST_F(Families, YarnIsReadFromBothFormats) {
  const auto yarn = [](const std::string& more) {
    return llama_config(R"("rope_scaling":{"type":"yarn")" + more + "}");
  };
  const auto result = describe_config(yarn(R"(,"factor":4.0,"original_max_position_embeddings":512)"));
  ASSERT_TRUE(result) << result.error().message;
  const kernels::RopeDescription& rope = result->config.ropes[0];
  ASSERT_TRUE(rope.yarn);
  EXPECT_EQ(rope.yarn->factor, 4);
  EXPECT_EQ(rope.yarn->original_context, 512);
  EXPECT_EQ(rope.yarn->fast_turns, 32);
  EXPECT_EQ(rope.yarn->slow_turns, 1);
  EXPECT_TRUE(rope.yarn->is_truncated);
  EXPECT_DOUBLE_EQ(rope.attention_factor, 0.1 * std::log(4.0) + 1);
  EXPECT_EQ(result->config.context_length, 2048u) << "which it is stretched to";
  const auto told =
      describe_config(yarn(R"(,"factor":2,"beta_fast":16,"beta_slow":2,"truncate":false,"attention_factor":1.5)"));
  ASSERT_TRUE(told) << told.error().message;
  EXPECT_EQ(told->config.ropes[0].yarn->original_context, 512) << "the context is the original one";
  EXPECT_EQ(told->config.ropes[0].yarn->fast_turns, 16);
  EXPECT_FALSE(told->config.ropes[0].yarn->is_truncated);
  EXPECT_EQ(told->config.ropes[0].attention_factor, 1.5);
  const auto ratio = describe_config(yarn(R"(,"original_max_position_embeddings":128)"));
  EXPECT_EQ(ratio->config.ropes[0].yarn->factor, 4) << "of the context and the original one";
  const auto scales = describe_config(yarn(R"(,"factor":40,"mscale":1.0,"mscale_all_dim":0.5)"));
  EXPECT_DOUBLE_EQ(scales->config.ropes[0].attention_factor, (0.1 * std::log(40) + 1) / (0.05 * std::log(40) + 1));

  GgufWriter writer = gguf("qwen2");
  writer.number("qwen2.attention.head_count", 4).text("qwen2.rope.scaling.type", "yarn");
  const std::uint32_t context = 100;
  writer.real("qwen2.rope.scaling.factor", 4).number("qwen2.rope.scaling.original_context_length", context);
  const auto file = describe_gguf(writer);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->config.ropes[0].yarn->factor, 4);
  EXPECT_EQ(file->config.ropes[0].yarn->original_context, 100);
  EXPECT_DOUBLE_EQ(file->config.ropes[0].attention_factor, 0.1 * std::log(4.0) + 1);
  EXPECT_GE(file->config.context_length, 4 * context);
}

TEST_F(Families, YarnThatMakesNoSenseIsRefused) {
  const std::pair<std::string, Code> wrong[] = {
      {"", Code::kCorrupt},
      {R"(,"factor":0)", Code::kInvalidArgument},
      {R"(,"factor":2,"beta_fast":1,"beta_slow":1)", Code::kInvalidArgument},
      {R"(,"factor":2,"original_max_position_embeddings":0)", Code::kInvalidArgument},
      {R"(,"factor":2,"rope_theta":1)", Code::kInvalidArgument},
      {R"(,"factor":"2")", Code::kCorrupt}};
  for (const auto& [more, code] : wrong) {
    const auto result = describe_config(llama_config(R"("rope_scaling":{"rope_type":"yarn")" + more + "}"));
    ASSERT_FALSE(result) << more;
    EXPECT_EQ(result.error().code, code) << result.error().message;
  }
  const auto longest = describe_config(
      llama_config(R"("rope_scaling":{"rope_type":"yarn","factor":1e6,"original_max_position_embeddings":1e9})"));
  ASSERT_TRUE(longest) << longest.error().message;
  EXPECT_EQ(longest->config.context_length, ranges::kContext.max) << "and no longer";
  for (const auto& [key, value] : {std::pair("yarn_ext_factor", 0.5f), {"yarn_log_multiplier", 0.1f}}) {
    GgufWriter writer = gguf("llama");
    writer.number("llama.attention.head_count", 4).text("llama.rope.scaling.type", "yarn");
    writer.real("llama.rope.scaling.factor", 4).real(std::string("llama.rope.scaling.") + key, value);
    EXPECT_EQ(describe_gguf(writer).error().code, Code::kInvalidArgument) << key;
  }
}

TEST_F(Families, WhatWeLackIsRefusedByName) {
  const std::pair<std::string, std::string> lacking[] = {
      {R"("model_type":"mixtral")", "mixtral"},
      {R"("model_type":"glm4","n_routed_experts":8)", "experts"},
      {R"("model_type":"phi3","rope_scaling":{"type":"ntk"})", "ntk"},
      {R"("quantization_config":{"quant_method":"bitsandbytes"})", "bitsandbytes"},
      {R"("quantization_config":{"quant_method":"awq","bits":3,"group_size":128})", "3 bits"},
      {R"("rope_scaling":{"rope_type":"dynamic","factor":4.0})", "dynamic"},
      {R"("hidden_act":"relu")", "relu"},
      {R"("num_local_experts":8)", "experts"},
      {R"("kv_lora_rank":512)", "kv_lora_rank"},
      {R"("model_type":"qwen3","layer_types":["full_attention","linear_attention"])", "linear_attention"},
  };
  for (const auto& [extra, name] : lacking) {
    const auto result = describe_config(llama_config(extra));
    ASSERT_FALSE(result) << extra;
    EXPECT_EQ(result.error().code, Code::kInvalidArgument) << extra;
    EXPECT_NE(result.error().message.find(name), std::string::npos) << result.error().message;
  }
  GgufWriter dynamic = gguf("llama");
  dynamic.number("llama.attention.head_count", 4).text("llama.rope.scaling.type", "dynamic");
  EXPECT_EQ(describe_gguf(dynamic).error().code, Code::kInvalidArgument);
  GgufWriter experts = gguf("llama");
  experts.number("llama.attention.head_count", 4).number("llama.expert_count", 8);
  EXPECT_EQ(describe_gguf(experts).error().code, Code::kInvalidArgument);
  EXPECT_EQ(describe_gguf(gguf("falcon")).error().code, Code::kInvalidArgument);
}

TEST_F(Families, MissingAndMistypedValuesAreCorrupt) {
  for (const std::string key :
       {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"}) {
    EXPECT_EQ(describe_config(llama_config("", key)).error().code, Code::kCorrupt) << key;
    EXPECT_EQ(describe_config(llama_config("\"" + key + "\":\"8\"")).error().code, Code::kCorrupt) << key;
    EXPECT_EQ(describe_config(llama_config("\"" + key + "\":1.5")).error().code, Code::kCorrupt) << key;
  }
  EXPECT_EQ(describe_config(llama_config("", "model_type")).error().code, Code::kCorrupt);
  EXPECT_EQ(describe_config(llama_config(R"("tie_word_embeddings":1)")).error().code, Code::kCorrupt);
  EXPECT_EQ(describe_config(llama_config(R"("rope_scaling":[])")).error().code, Code::kCorrupt);
  EXPECT_EQ(describe_config(llama_config(R"("rope_scaling":{"type":"linear"})")).error().code, Code::kCorrupt);
  GgufWriter per_layer = gguf("llama");
  per_layer.array("llama.attention.head_count", GgufWriter::kU32, 1, GgufWriter::encoded(4u));
  EXPECT_EQ(describe_gguf(per_layer).error().code, Code::kCorrupt);
}

// Threat T-A5: every number is bounded before anything is sized by it.
TEST_F(Families, T_A5_HyperParametersAreBounded) {
  const std::string wrong[] = {
      R"("vocab_size":0)",
      R"("vocab_size":4194305)",
      R"("hidden_size":0)",
      R"("hidden_size":131073)",
      R"("num_hidden_layers":0)",
      R"("num_hidden_layers":1025)",
      R"("num_attention_heads":0)",
      R"("num_attention_heads":1025)",
      R"("num_key_value_heads":0)",
      R"("num_key_value_heads":3)",
      R"("head_dim":0)",
      R"("head_dim":1025)",
      R"("head_dim":15)",
      R"("intermediate_size":0)",
      R"("intermediate_size":1048577)",
      R"("max_position_embeddings":0)",
      R"("max_position_embeddings":16777217)",
      R"("rms_norm_eps":-1)",
      R"("rms_norm_eps":1)",
      R"("rope_theta":0)",
      R"("rope_theta":1e13)",
      R"("partial_rotary_factor":1.5)",
      R"("rope_scaling":{"type":"linear","factor":0})",
      R"("hidden_size":-64)",
      R"("hidden_size":18446744073709551615)",
      R"("num_attention_heads":65)",
      R"("rope_scaling":{"type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4,"original_max_position_embeddings":64})",
  };
  for (const std::string& extra : wrong) {
    const auto result = describe_config(llama_config(extra));
    ASSERT_FALSE(result) << extra;
    EXPECT_EQ(result.error().code, Code::kInvalidArgument) << extra;
  }
  EXPECT_TRUE(describe_config(llama_config(R"("num_hidden_layers":1024,"max_position_embeddings":16777216)")));
}

TEST_F(Families, T_A5_HyperParametersOfAGgufAreBounded) {
  const std::pair<std::string, std::uint32_t> counts[] = {{"context_length", 16'777'217},
                                                          {"embedding_length", 131'073},
                                                          {"block_count", 1'025},
                                                          {"feed_forward_length", 1'048'577},
                                                          {"attention.head_count", 1'025},
                                                          {"attention.head_count_kv", 1'025},
                                                          {"attention.key_length", 1'025},
                                                          {"attention.value_length", 1'025},
                                                          {"rope.dimension_count", 1'025},
                                                          {"attention.sliding_window", 16'777'217},
                                                          {"attention.sliding_window_pattern", 1'025}};
  const std::pair<std::string, std::array<float, 2>> numbers[] = {{"attention.layer_norm_rms_epsilon", {-1e-6f, 0.2f}},
                                                                  {"rope.freq_base", {0.5f, 2e12f}},
                                                                  {"rope.freq_base_swa", {0.5f, 2e12f}},
                                                                  {"rope.scale_linear", {0, 2e6f}},
                                                                  {"attn_logit_softcapping", {-1, 2e6f}},
                                                                  {"final_logit_softcapping", {-1, 2e6f}}};
  const auto refusal = [&](const std::string& key, const std::function<void(GgufWriter&)>& write) {
    GgufWriter writer = gguf("gemma3", key);
    write(writer);
    if (key != "attention.head_count") writer.number("gemma3.attention.head_count", 4);
    if (key != "attention.sliding_window") writer.number("gemma3.attention.sliding_window", 9);
    const auto result = describe_gguf(writer);
    return result ? "accepted" : std::string(code_name(result.error().code));
  };
  const std::string refused(code_name(Code::kInvalidArgument));
  for (const auto& [key, above] : counts) {
    for (const std::uint32_t value : {0u, above, 0xffffffffu}) {
      EXPECT_EQ(refusal(key, [&](GgufWriter& writer) { writer.number("gemma3." + key, value); }), refused)
          << key << " " << value;
    }
  }
  for (const auto& [key, outside] : numbers) {
    for (const float value : outside) {
      EXPECT_EQ(refusal(key, [&](GgufWriter& writer) { writer.real("gemma3." + key, value); }), refused)
          << key << " " << value;
    }
  }
  EXPECT_EQ(refusal("none", [](GgufWriter&) {}), "accepted");
}

TEST_F(Families, AGgufWithoutEmbeddingIsRefused) {
  GgufWriter writer;
  writer.text("general.architecture", "llama")
      .number("llama.context_length", 512)
      .number("llama.embedding_length", 64)
      .number("llama.block_count", 2)
      .number("llama.attention.head_count", 4)
      .number("llama.feed_forward_length", 96)
      .real("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  EXPECT_EQ(describe_gguf(writer).error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace autoglm::model
