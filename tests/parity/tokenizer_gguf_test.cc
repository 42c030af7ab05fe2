// SPDX-License-Identifier: Apache-2.0
// Tokenizers built from GGUF metadata against Hugging Face's ids: the tiny files of tests/testdata/golden/gguf, and the
// real models where their folder is given (OPENAUTOGLM_TEST_MODELS).
#include <gtest/gtest.h>

#include <filesystem>

#include "model/load.h"
#include "parity/golden.h"

namespace autoglm::parity {
namespace {

namespace fs = std::filesystem;

std::shared_ptr<const text::Tokenizer> tokenizer_of(const fs::path& path) {
  auto words = model::load_text(path);
  EXPECT_TRUE(words) << words.error().message;
  return words ? std::move(words->tokenizer) : nullptr;
}

// Threat T-B4: a text that a user wrote holds no control token, whichever it spells.
void expect_no_control_token(const text::Tokenizer& tokenizer) {
  const std::vector<std::string> spellings = text::control_spellings(tokenizer);
  EXPECT_FALSE(spellings.empty());
  for (const std::string& spelling : spellings) {
    const std::string text = "a " + spelling + spelling + "\n" + spelling + " b";
    const text::PlainRange all{.begin = 0, .end = text.size()};
    for (const auto& ids : {tokenizer.encode(text, {}).value(),
                            tokenizer.encode(text, {.parse_special = true, .plain = {&all, 1}}).value()}) {
      for (const text::TokenId id : ids) EXPECT_FALSE(tokenizer.is_special(id)) << spelling;
    }
  }
}

TEST(TokenizerOfGguf, TinyFilesGiveTheSameIds) {
  int files = 0;
  for (const std::string& name : golden_names("gguf")) {
    const json::Value golden = read_json(golden_folder() / "gguf" / (name + ".golden.json"));
    const auto* texts = golden.as_object().if_contains("texts");
    if (texts == nullptr) continue;
    ++files;
    const auto tokenizer = tokenizer_of(golden_folder() / "gguf" / (name + ".gguf"));
    ASSERT_NE(tokenizer, nullptr);
    expect_no_control_token(*tokenizer);
    for (const json::Value& item : texts->as_array()) {
      const std::string_view text = item.at("text").as_string();
      EXPECT_EQ(tokenizer->encode(text, {.parse_special = true}).value(), ids_of(item.at("ids")))
          << name << ": " << text;
      const auto* with_bos = item.as_object().if_contains("ids_with_bos");
      if (with_bos == nullptr) continue;
      const auto ids = tokenizer->encode(text, {.add_special = true, .parse_special = true}).value();
      EXPECT_EQ(ids, ids_of(*with_bos)) << name << ": " << text;
    }
  }
  EXPECT_GE(files, 4);
}

// One real model: its golden and its file in the folder of models.
struct RealModel {
  const char* name;
  const char* file;
};

class TokenizerOfRealModel : public testing::TestWithParam<RealModel> {};

TEST_P(TokenizerOfRealModel, GivesTheSameIds) {
  const auto tokenizer = tokenizer_of(real_model(GetParam().file));
  ASSERT_NE(tokenizer, nullptr);
  expect_no_control_token(*tokenizer);
  const fs::path folder = golden_folder() / "real" / GetParam().name;
  const json::Value golden = read_json(folder / "golden.json");
  const auto check = [&](const json::Value& item) {
    const std::string_view text = item.at("text").as_string();
    const auto ids = tokenizer->encode(text, {.add_special = true, .parse_special = true}).value();
    EXPECT_EQ(ids, ids_of(item.at("ids"))) << text;
    EXPECT_EQ(tokenizer->decode(ids, true).value(), text);
  };
  for (const json::Value& prompt : golden.at("prompts").as_array()) {
    check(prompt);
    EXPECT_EQ(tokenizer->decode(ids_of(prompt.at("greedy")), false).value(),
              std::string_view(prompt.at("greedy_text").as_string()));
  }
  check(golden.at("nll"));
  if (!fs::exists(folder / "chat_template.json")) return;
  for (const json::Value& item : read_json(folder / "chat_template.json").at("cases").as_array()) {
    const auto* rendered = item.as_object().if_contains("rendered");
    if (rendered == nullptr) continue;
    EXPECT_EQ(tokenizer->encode(rendered->as_string(), {.parse_special = true}).value(), ids_of(item.at("ids")))
        << item.at("name");
  }
}

INSTANTIATE_TEST_SUITE_P(Catalogue, TokenizerOfRealModel,
                         testing::Values(RealModel{"smollm2", "smollm2.gguf"}, RealModel{"gemma3", "gemma3-270m.gguf"},
                                         RealModel{"qwen05", "qwen05.gguf"}, RealModel{"qwen15", "qwen15.gguf"}),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace autoglm::parity
