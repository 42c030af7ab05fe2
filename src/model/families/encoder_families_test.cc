// SPDX-License-Identifier: Apache-2.0
// What the readers of encoders make of a config.json: defaults, bounds at the bound, and refusals by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/config.h"
#include "model/families/encoder_family.h"
#include "model/families/family.h"

namespace autoglm::model {
namespace {

json::Object sizes(std::string_view type) {
  return {{"model_type", type},           {"vocab_size", 100},        {"hidden_size", 24},
          {"num_hidden_layers", 2},       {"num_attention_heads", 4}, {"intermediate_size", 40},
          {"max_position_embeddings", 66}};
}

Result<EncoderConfig> read(const json::Object& config) {
  const EncoderFamily* const family = find_encoder_family(config);
  CHECK(family != nullptr);
  return family->from_json(config);
}

Error refused(std::string_view key, json::Value value, std::string_view type = "bert") {
  json::Object config = sizes(type);
  config[key] = std::move(value);
  auto result = read(config);
  EXPECT_FALSE(result) << key;
  return result ? Error{} : result.error();
}

TEST(EncoderFamilies, AbsentKeysMeanTheFamilysOwnDefaults) {
  const EncoderConfig bert = read(sizes("bert")).value();
  EXPECT_EQ(bert.architecture, "bert");
  EXPECT_EQ(bert.first_position, 0u);
  EXPECT_EQ(bert.max_tokens(), 66u);
  EXPECT_EQ(bert.token_types, 2u);
  EXPECT_EQ(bert.norm_eps, 1e-12);
  EXPECT_EQ(bert.head_dim(), 6u);
  const EncoderConfig roberta = read(sizes("xlm-roberta")).value();
  EXPECT_EQ(roberta.first_position, 2u);
  EXPECT_EQ(roberta.max_tokens(), 64u);
  json::Object config = sizes("bert");
  config.erase("max_position_embeddings");
  EXPECT_EQ(read(config).value().positions, 512u);
}

TEST(EncoderFamilies, PositionsBeginBehindThePadding) {
  json::Object config = sizes("xlm-roberta");
  config["pad_token_id"] = 7;
  EXPECT_EQ(read(config).value().first_position, 8u);
  config["pad_token_id"] = 64;
  EXPECT_EQ(read(config).value().max_tokens(), 1u);
  config["pad_token_id"] = 65;
  EXPECT_EQ(read(config).error().code, Code::kInvalidArgument);
}

TEST(EncoderFamilies, WhatChangesTheComputationIsRefused) {
  for (const char* type : {"bert", "xlm-roberta"}) {
    EXPECT_THAT(refused("hidden_act", "gelu_new", type).message, testing::HasSubstr("gelu_new"));
    EXPECT_THAT(refused("position_embedding_type", "relative_key", type).message, testing::HasSubstr("relative_key"));
    EXPECT_THAT(refused("is_decoder", true, type).message, testing::HasSubstr("is_decoder"));
    EXPECT_THAT(refused("add_cross_attention", true, type).message, testing::HasSubstr("add_cross_attention"));
    EXPECT_THAT(refused("quantization_config", json::Object{}, type).message, testing::HasSubstr("quantised"));
  }
}

TEST(EncoderFamilies, NumbersKeepTheirBounds) {
  EXPECT_EQ(refused("num_attention_heads", 5).code, Code::kInvalidArgument);  // 24 / 5
  EXPECT_EQ(refused("num_attention_heads", 0).code, Code::kInvalidArgument);
  EXPECT_EQ(refused("num_hidden_layers", 1025).code, Code::kInvalidArgument);
  EXPECT_EQ(refused("max_position_embeddings", 1'048'577).code, Code::kInvalidArgument);
  EXPECT_EQ(refused("type_vocab_size", 1'025).code, Code::kInvalidArgument);
  EXPECT_EQ(refused("layer_norm_eps", 0.2).code, Code::kInvalidArgument);
  EXPECT_EQ(refused("hidden_size", "24").code, Code::kCorrupt);
  EXPECT_EQ(refused("vocab_size", nullptr).code, Code::kCorrupt);
  json::Object config = sizes("bert");
  config["max_position_embeddings"] = 1'048'576;
  config["num_hidden_layers"] = 1'024;
  config["type_vocab_size"] = 1'024;
  EXPECT_TRUE(read(config));
  config["hidden_size"] = 4 * 512;  // the widest head
  EXPECT_TRUE(read(config));
  config["hidden_size"] = 4 * 513;
  EXPECT_EQ(read(config).error().code, Code::kInvalidArgument);
}

// Who would run it as a model that writes text hears what it is.
TEST(EncoderFamilies, AreNoLanguageModels) {
  const auto description = describe(sizes("bert"));
  ASSERT_FALSE(description);
  EXPECT_EQ(description.error().code, Code::kInvalidArgument);
  EXPECT_THAT(description.error().message, testing::HasSubstr("encoder"));
  EXPECT_EQ(find_encoder_family(json::Object{{"model_type", "llama"}}), nullptr);
  EXPECT_EQ(find_encoder_family(json::Object{{"model_type", 3}}), nullptr);
}

}  // namespace
}  // namespace autoglm::model
