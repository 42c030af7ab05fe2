// SPDX-License-Identifier: Apache-2.0
// A model that sees, of which the language part runs: a golden GLM-4 in the clothes of a GLM-4.1V gives the same bits,
// whichever names its files use, and keeps the part that sees when it is quantised.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/temporary_folder.h"
#include "model/evaluate.h"
#include "model/formats/checkpoint.h"
#include "model/load.h"
#include "model/model_fixture.h"
#include "model/quantize.h"

namespace autoglm::model {
namespace {

namespace fs = std::filesystem;

json::Object object_of(const std::string& text) {
  base::Budget budget;
  return json::parse(text, budget).value().as_object();
}

constexpr TokenId kTokens[] = {5, 300, 17, 42, 42, 455, 0, 9, 100, 101, 7};

class Glm4v : public testing::Test {
 protected:
  // The tensors of the golden with `prefix` for "model.", biases of zero on q, k and v, and a little of a tower.
  void dress(const std::string& prefix, const std::string& tower) const {
    const std::string bytes = text_of(golden("tiny/glm4_bf16") / "model.safetensors");
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
    std::string data = bytes.substr(8 + header_bytes);
    json::Object header;
    const auto append = [&](const std::string& name, json::Array shape, std::size_t size) {
      header[name] = json::Object{{"dtype", "BF16"},
                                  {"shape", std::move(shape)},
                                  {"data_offsets", json::Array{data.size(), data.size() + size}}};
      data.append(size, '\0');
    };
    const json::Object original = object_of(bytes.substr(8, header_bytes));
    for (const auto& entry : original) {
      std::string name(entry.key());
      if (name.starts_with("model.")) name.replace(0, 6, prefix);
      header[name] = entry.value();
    }
    for (const auto& entry : original) {
      const std::string_view name = entry.key();
      for (const std::string_view one : {"q_proj.weight", "k_proj.weight", "v_proj.weight"}) {
        if (!name.ends_with(one)) continue;
        const std::string stem(name.substr(6, name.size() - 6 - std::string_view("weight").size()));
        const auto rows = entry.value().at("shape").as_array()[0].to_number<std::size_t>();
        append(prefix + stem + "bias", {rows}, 2 * rows);
      }
    }
    append(tower + "patch_embed.proj.weight", {4, 3, 2, 2, 2}, 2 * 96);
    append(tower + "blocks.0.attn.qkv.weight", {6, 32}, 2 * 192);
    const std::string text = json::format(header);
    const std::uint64_t size = text.size();
    std::ofstream(folder_ / "model.safetensors", std::ios::binary)
        << std::string(reinterpret_cast<const char*>(&size), 8) << text << data;
    json::Object inner = object_of(text_of(golden("tiny/glm4_bf16") / "config.json"));
    inner["model_type"] = "glm4v_text";
    inner["rope_scaling"] = json::Object{{"rope_type", "default"}, {"mrope_section", json::Array{2, 1, 1}}};
    const json::Object config{{"model_type", "glm4v"},
                              {"tie_word_embeddings", false},
                              {"text_config", std::move(inner)},
                              {"vision_config", json::Object{}}};
    std::ofstream(folder_ / "config.json") << json::format(config);
  }

  base::TemporaryFolder folder_;
};

TEST_F(Glm4v, TheLanguagePartIsAGlm4UnderBothNames) {
  const std::vector<float> expected = logits_of(golden("tiny/glm4_bf16"), kTokens);
  ASSERT_FALSE(expected.empty());
  for (const auto& [prefix, tower] : {std::pair("model.language_model.", "model.visual."), {"model.", "visual."}}) {
    dress(prefix, tower);
    EXPECT_EQ(logits_of(folder_, kTokens), expected) << prefix;
  }
}

TEST_F(Glm4v, ItsEndTokensStandWithinItsConfig) {
  dress("model.language_model.", "model.visual.");
  const auto model = load_model(folder_, {});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->eos, (std::vector<TokenId>{410, 417, 419}));
}

TEST_F(Glm4v, WhatIsNoTowerIsNotLeftOut) {
  dress("model.language_model.", "model.audio.");
  const auto network = load_network(folder_, {});
  ASSERT_FALSE(network);
  EXPECT_EQ(network.error().code, Code::kInvalidArgument);
  EXPECT_NE(network.error().message.find("model.audio."), std::string::npos) << network.error().message;
}

TEST_F(Glm4v, QuantisingKeepsTheTowerAsItIs) {
  dress("model.language_model.", "model.visual.");
  const auto report = quantize_model(folder_, folder_ / "out", {.kind = WeightKind::kInt8});
  ASSERT_TRUE(report) << report.error().message;
  const auto made = Checkpoint::open(folder_ / "out");
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->find("model.visual.blocks.0.attn.qkv.weight")->type_text(), "BF16");
  EXPECT_EQ(made->find("model.visual.patch_embed.proj.weight")->shape_text(), "[4, 3, 2, 2, 2]");
  EXPECT_EQ(made->find("model.language_model.layers.0.mlp.gate_up_proj.weight")->type_text(), "Q8_0");
  const std::string config = text_of(folder_ / "out" / "config.json");
  EXPECT_NE(config.find("\"model.visual.blocks.0.attn.qkv\""), std::string::npos) << config;
  EXPECT_FALSE(logits_of(folder_ / "out").empty());
}

}  // namespace
}  // namespace autoglm::model
