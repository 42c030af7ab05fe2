// SPDX-License-Identifier: Apache-2.0
// GLM in its first layout: the golden GGUF's weights under the old names and keys, q, k and v in one tensor, give the
// same bits; and what else the old keys can say is refused.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/temporary_folder.h"
#include "model/evaluate.h"
#include "model/families/family.h"
#include "model/formats/checkpoint.h"
#include "model/load.h"
#include "model/model_fixture.h"

namespace autoglm::model {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = golden("gguf/chatglm-F16.gguf");

// Figures of the golden.
const json::Object kConfig{{"model_type", "chatglm"},
                           {"padded_vocab_size", 440},
                           {"hidden_size", 56},
                           {"num_layers", 2},
                           {"num_attention_heads", 4},
                           {"multi_query_attention", true},
                           {"multi_query_group_num", 2},
                           {"kv_channels", 20},
                           {"ffn_hidden_size", 84},
                           {"seq_length", 512},
                           {"layernorm_epsilon", 1.5625e-7},
                           {"add_qkv_bias", true},
                           {"add_bias_linear", false},
                           {"rmsnorm", true},
                           {"eos_token_id", json::Array{410, 417, 419}}};

constexpr TokenId kTokens[] = {412, 414, 417, 5, 300, 17, 42, 42, 439, 0, 9, 100, 101, 7, 418};

class ChatGlm : public testing::Test {
 protected:
  void SetUp() override { std::ofstream(folder_ / "config.json") << json::format(kConfig); }

  // Puts tensors of the golden, one below the other, under one name.
  void add(const Checkpoint& from, const std::string& name, const std::vector<std::string>& parts) {
    const std::size_t begin = data_.size();
    std::uint64_t rows = 0;
    const StoredTensor* stored = nullptr;
    for (const std::string& part : parts) {
      stored = from.find(part);
      ASSERT_NE(stored, nullptr) << part;
      rows += stored->shape[0];
      data_.append(reinterpret_cast<const char*>(stored->bytes.data()), stored->bytes.size());
    }
    json::Array shape{rows};
    if (stored->rank == 2) shape.emplace_back(stored->shape[1]);
    header_[name] = json::Object{
        {"dtype", stored->type_text()}, {"shape", shape}, {"data_offsets", json::Array{begin, data_.size()}}};
  }

  void write_golden() {
    const auto golden = Checkpoint::open(kGolden);
    ASSERT_TRUE(golden) << golden.error().message;
    add(*golden, "transformer.embedding.word_embeddings.weight", {"token_embd.weight"});
    add(*golden, "transformer.encoder.final_layernorm.weight", {"output_norm.weight"});
    add(*golden, "transformer.output_layer.weight", {"output.weight"});
    add(*golden, "transformer.rotary_pos_emb.inv_freq", {"output_norm.weight"});  // stands there and says nothing
    for (const std::string layer : {"0", "1"}) {
      const std::string to = "transformer.encoder.layers." + layer + ".";
      const std::string of = "blk." + layer + ".";
      add(*golden, to + "input_layernorm.weight", {of + "attn_norm.weight"});
      add(*golden, to + "post_attention_layernorm.weight", {of + "ffn_norm.weight"});
      add(*golden, to + "self_attention.dense.weight", {of + "attn_output.weight"});
      add(*golden, to + "mlp.dense_h_to_4h.weight", {of + "ffn_up.weight"});
      add(*golden, to + "mlp.dense_4h_to_h.weight", {of + "ffn_down.weight"});
      for (const std::string kind : {"weight", "bias"}) {
        add(*golden, to + "self_attention.query_key_value." + kind,
            {of + "attn_q." + kind, of + "attn_k." + kind, of + "attn_v." + kind});
      }
    }
    const std::string text = json::format(header_);
    const std::uint64_t size = text.size();
    std::ofstream(folder_ / "model.safetensors", std::ios::binary)
        << std::string(reinterpret_cast<const char*>(&size), 8) << text << data_;
  }

  base::TemporaryFolder folder_;
  json::Object header_;
  std::string data_;
};

TEST_F(ChatGlm, TheFirstLayoutGivesTheBitsOfTheGguf) {
  ASSERT_NO_FATAL_FAILURE(write_golden());
  const std::vector<float> logits = logits_of(folder_, kTokens);
  ASSERT_FALSE(logits.empty());
  EXPECT_EQ(logits, logits_of(kGolden, kTokens));
  const auto model = load_model(folder_, {});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->eos, (std::vector<TokenId>{410, 417, 419}));
  EXPECT_FALSE(model->tokenizer->has_text());
}

TEST_F(ChatGlm, TheRatioStretchesTheta) {
  json::Object config = kConfig;
  config["rope_ratio"] = 500;
  const auto description = describe(config);
  ASSERT_TRUE(description) << description.error().message;
  EXPECT_EQ(description->config.ropes[0].theta, 5'000'000);
  EXPECT_EQ(description->config.ropes[0].rotary_dim, 10u);
}

TEST_F(ChatGlm, WhatTheKeysCanSayElseIsRefusedByName) {
  for (const auto& [key, value] : {std::pair("rmsnorm", false),
                                   {"multi_query_attention", false},
                                   {"post_layer_norm", false},
                                   {"add_bias_linear", true},
                                   {"apply_residual_connection_post_layernorm", true}}) {
    json::Object config = kConfig;
    config[key] = value;
    const auto description = describe(config);
    ASSERT_FALSE(description) << key;
    EXPECT_EQ(description.error().code, Code::kInvalidArgument);
    EXPECT_NE(description.error().message.find(key), std::string::npos) << description.error().message;
  }
  for (const char* key : {"padded_vocab_size", "num_layers", "kv_channels", "seq_length"}) {
    json::Object config = kConfig;
    config.erase(key);
    const auto description = describe(config);
    ASSERT_FALSE(description) << key;
    EXPECT_EQ(description.error().code, Code::kCorrupt);
    EXPECT_NE(description.error().message.find(key), std::string::npos) << description.error().message;
  }
}

}  // namespace
}  // namespace autoglm::model
