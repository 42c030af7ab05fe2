// SPDX-License-Identifier: Apache-2.0
// Families with experts in their Hugging Face layout: a golden GGUF's weights under those names, an expert to a tensor,
// give the same bits; quantising keeps the router; and layers that guess ahead are skipped.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/temporary_folder.h"
#include "model/evaluate.h"
#include "model/families/family.h"
#include "model/formats/checkpoint.h"
#include "model/inspect.h"
#include "model/load.h"
#include "model/model_fixture.h"
#include "model/quantize.h"

namespace autoglm::model {
namespace {

namespace fs = std::filesystem;

// Of a layer in the GGUF, and in the folder.
constexpr std::pair<std::string_view, std::string_view> kNames[] = {
    {"attn_norm.weight", "input_layernorm.weight"},
    {"attn_q.", "self_attn.q_proj."},
    {"attn_k.", "self_attn.k_proj."},
    {"attn_v.", "self_attn.v_proj."},
    {"attn_output.", "self_attn.o_proj."},
    {"attn_q_norm.", "self_attn.q_norm."},
    {"attn_k_norm.", "self_attn.k_norm."},
    {"ffn_norm.", "post_attention_layernorm."},
    {"post_attention_norm.", "post_attention_layernorm."},
    {"ffn_gate_inp.", "mlp.gate."},
    {"exp_probs_b.bias", "mlp.gate.e_score_correction_bias"},
    {"ffn_gate_shexp.", "mlp.shared_experts.gate_proj."},
    {"ffn_up_shexp.", "mlp.shared_experts.up_proj."},
    {"ffn_down_shexp.", "mlp.shared_experts.down_proj."},
    {"ffn_gate.", "mlp.gate_proj."},
    {"ffn_up.", "mlp.up_proj."},
    {"ffn_down.", "mlp.down_proj."},
    {"nextn.", ""},
};
constexpr std::pair<std::string_view, std::string_view> kExpertNames[] = {{"ffn_gate_exps.weight", "gate_proj.weight"},
                                                                          {"ffn_up_exps.weight", "up_proj.weight"},
                                                                          {"ffn_down_exps.weight", "down_proj.weight"}};

constexpr TokenId kTokens[] = {412, 414, 417, 5, 300, 17, 42, 42, 439, 0, 9, 100, 101, 7, 418};

class ExpertFolder : public testing::TestWithParam<const char*> {
 protected:
  // config.json as the golden has it, but for `changes`; null takes a key away.
  void write_config(const json::Object& changes = {}) const {
    base::Budget budget;
    const std::string text = text_of(golden("gguf/" + std::string(GetParam()) + ".golden.json"));
    json::Object config = json::parse(text, budget).value().at("hf_config").as_object();
    for (const auto& [key, value] : changes) {
      config[key] = value;
      if (value.is_null()) config.erase(key);
    }
    std::ofstream(folder_ / "config.json") << json::format(config);
  }

  void write_weights(bool is_last_expert_there = true) {
    const auto source = Checkpoint::open(golden("gguf/" + std::string(GetParam()) + ".gguf"));
    ASSERT_TRUE(source) << source.error().message;
    for (const StoredTensor& tensor : source->tensors()) {
      if (tensor.name == "token_embd.weight") put("model.embed_tokens.weight", tensor);
      if (tensor.name == "output_norm.weight") put("model.norm.weight", tensor);
      if (tensor.name == "output.weight") put("lm_head.weight", tensor);
      if (tensor.name.starts_with("blk.")) put_of_layer(tensor, is_last_expert_there);
    }
    const std::string text = json::format(header_);
    const std::uint64_t size = text.size();
    std::ofstream(folder_ / "model.safetensors", std::ios::binary)
        << std::string(reinterpret_cast<const char*>(&size), 8) << text << data_;
  }

  bool is_glm() const { return std::string_view(GetParam()).starts_with("glm"); }

  base::TemporaryFolder folder_;

 private:
  void put(const std::string& name, const StoredTensor& tensor) {
    json::Array shape(tensor.shape.begin(), tensor.shape.begin() + tensor.rank);
    put(name, tensor, std::move(shape), tensor.bytes);
  }

  void put(const std::string& name, const StoredTensor& tensor, json::Array shape, std::span<const std::byte> bytes) {
    const std::size_t begin = data_.size();
    data_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    header_[name] = json::Object{
        {"dtype", tensor.type_text()}, {"shape", std::move(shape)}, {"data_offsets", json::Array{begin, data_.size()}}};
  }

  void put_of_layer(const StoredTensor& tensor, bool is_last_expert_there) {
    const std::string_view rest = tensor.name.substr(4);
    const std::size_t dot = rest.find('.');
    const std::string layer = "model.layers." + std::string(rest.substr(0, dot)) + ".";
    const std::string_view name = rest.substr(dot + 1);
    for (const auto& [ours, theirs] : kExpertNames) {
      if (name != ours) continue;
      const std::size_t count = tensor.shape[0] - (is_last_expert_there ? 0 : 1);
      const std::size_t bytes = tensor.bytes.size() / tensor.shape[0];
      for (std::size_t e = 0; e < count; ++e) {
        put(layer + "mlp.experts." + std::to_string(e) + "." + std::string(theirs), tensor,
            {tensor.shape[1], tensor.shape[2]}, tensor.bytes.subspan(e * bytes, bytes));
      }
      return;
    }
    for (const auto& [ours, theirs] : kNames) {
      if (name.starts_with(ours))
        return put(layer + std::string(theirs) + std::string(name.substr(ours.size())), tensor);
    }
    ADD_FAILURE() << tensor.name;
  }

  json::Object header_;
  std::string data_;
};
INSTANTIATE_TEST_SUITE_P(Families, ExpertFolder, testing::Values("qwen3moe-F16", "glm4moe-F16"), [](const auto& test) {
  return std::string(test.param, std::string_view(test.param).find('-'));
});

TEST_P(ExpertFolder, GivesTheBitsOfTheGguf) {
  write_config();
  ASSERT_NO_FATAL_FAILURE(write_weights());
  const std::vector<float> logits = logits_of(folder_, kTokens);
  ASSERT_FALSE(logits.empty());
  EXPECT_EQ(logits, logits_of(golden("gguf/" + std::string(GetParam()) + ".gguf"), kTokens));
  const auto model = load_model(folder_, {});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->eos, is_glm() ? (std::vector<TokenId>{410, 417, 419}) : std::vector<TokenId>{425});
}

// What decides the choice or the weights of experts shows.
TEST_P(ExpertFolder, EveryKeyCounts) {
  ASSERT_NO_FATAL_FAILURE(write_weights());
  write_config();
  const std::vector<float> logits = logits_of(folder_, kTokens);
  std::vector<json::Object> changes = {{{"norm_topk_prob", false}}, {{"num_experts_per_tok", 3}}};
  if (is_glm()) {
    changes.push_back({{"routed_scaling_factor", 1.0}});
    changes.push_back({{"n_group", 4}, {"topk_group", 2}});
    changes.push_back({{"partial_rotary_factor", 1.0}});
  }
  for (const json::Object& change : changes) {
    write_config(change);
    EXPECT_NE(logits_of(folder_, kTokens), logits) << json::format(change);
  }
}

TEST_P(ExpertFolder, LayersThatGuessAheadAreSkippedWhereTheConfigHasThem) {
  ASSERT_NO_FATAL_FAILURE(write_weights());
  if (!is_glm()) return;                                  // has none
  write_config({{"num_nextn_predict_layers", nullptr}});  // one, when nothing is said
  EXPECT_TRUE(load_network(folder_, {}));
  write_config({{"num_nextn_predict_layers", 0}});
  const auto network = load_network(folder_, {});
  ASSERT_FALSE(network);
  EXPECT_EQ(network.error().code, Code::kInvalidArgument);
  EXPECT_NE(network.error().message.find("model.layers.3."), std::string::npos) << network.error().message;
}

TEST_P(ExpertFolder, AnotherNumberOfExpertsIsRefusedByName) {
  const char* const key = is_glm() ? "n_routed_experts" : "num_experts";
  const std::size_t count = is_glm() ? 8 : 6;
  ASSERT_NO_FATAL_FAILURE(write_weights(false));
  write_config();
  const auto missing = load_network(folder_, {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kCorrupt);
  EXPECT_NE(missing.error().message.find("experts." + std::to_string(count - 1)), std::string::npos)
      << missing.error().message;
  write_config({{key, count - 1}});
  const auto router = load_network(folder_, {});
  ASSERT_FALSE(router);
  EXPECT_EQ(router.error().code, Code::kCorrupt);
  for (const std::size_t number : {count, count - 1}) {
    EXPECT_NE(router.error().message.find("[" + std::to_string(number) + ", 52]"), std::string::npos)
        << router.error().message;
  }
}

// Its dimensions are no blocks of 32: matrices stay in 16 bits, and the copy is what it was.
TEST_P(ExpertFolder, QuantisingKeepsWhatItCannotRound) {
  write_config();
  ASSERT_NO_FATAL_FAILURE(write_weights());
  const auto report = quantize_model(folder_, folder_ / "out", {.kind = WeightKind::kInt8});
  ASSERT_TRUE(report) << report.error().message;
  const auto made = Checkpoint::open(folder_ / "out");
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->find("model.layers.1.mlp.experts.5.down_proj.weight")->type_text(), "F16");
  EXPECT_FALSE(logits_of(folder_ / "out", kTokens).empty());
}

TEST_P(ExpertFolder, InspectTellsWhatATokenMeets) {
  write_config();
  ASSERT_NO_FATAL_FAILURE(write_weights());
  const auto facts = inspect_model(folder_, {});
  ASSERT_TRUE(facts) << facts.error().message;
  const auto of_gguf = inspect_model(golden("gguf/" + std::string(GetParam()) + ".gguf"), {});
  ASSERT_TRUE(of_gguf) << of_gguf.error().message;
  for (const ModelFacts& one : {*facts, *of_gguf}) {
    EXPECT_EQ(one.experts.count, is_glm() ? 8u : 6u);
    EXPECT_EQ(one.expert_layers, 2u);
    const std::uint64_t of_one = 3ull * 52 * (is_glm() ? 24 : 22);
    const std::uint64_t ahead = is_glm() ? 104 * 52 + 4 * 52 : 0;
    EXPECT_EQ(one.parameters - one.active_parameters, 2 * of_one * 4 + ahead);  // four experts are not met
    EXPECT_NE(format_facts(one).find(is_glm() ? "8 in 2 layers, 4 for a token, feed-forward 24, beside 24 for all"
                                              : "6 in 2 layers, 2 for a token, feed-forward 22"),
              std::string::npos)
        << format_facts(one);
  }
  EXPECT_EQ(facts->packed_bytes, of_gguf->packed_bytes);
  EXPECT_EQ(facts->expert_bytes, of_gguf->expert_bytes);
  EXPECT_EQ(facts->parameters, of_gguf->parameters);
}

}  // namespace
}  // namespace autoglm::model
