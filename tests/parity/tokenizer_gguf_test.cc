// SPDX-License-Identifier: Apache-2.0
// Tokenizers built from GGUF metadata against Hugging Face's ids: the tiny files of tests/testdata/golden/gguf, and the
// real models where their folder is given (OPENAUTOGLM_TEST_MODELS).
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/json.h"
#include "model/formats/gguf.h"
#include "model/formats/mapped_file.h"
#include "text/tokenizer.h"

namespace autoglm {
namespace {

namespace fs = std::filesystem;

std::string golden(const std::string& path) { return std::string(TESTDATA_DIR) + "/golden/" + path; }

json::Value read_json(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  base::Budget budget;
  auto value = json::parse(std::string(std::istreambuf_iterator<char>(file), {}), budget);
  EXPECT_TRUE(value) << path;
  return value ? *value : json::Value();
}

std::vector<text::TokenId> ids_of(const json::Value& value) {
  std::vector<text::TokenId> ids;
  for (const auto& id : value.as_array()) ids.push_back(static_cast<text::TokenId>(id.as_int64()));
  return ids;
}

// The tokenizer's keys, straight from the file: what the loader does, without the loader.
std::unique_ptr<text::Tokenizer> tokenizer_of(const std::string& path) {
  auto file = model::MappedFile::open(path);
  EXPECT_TRUE(file) << path;
  if (!file) return nullptr;
  base::Budget budget({.bytes = 512u << 20});
  const auto parsed = model::GgufFile::parse(file->bytes(), budget);
  EXPECT_TRUE(parsed) << path;
  if (!parsed) return nullptr;
  constexpr std::uint64_t kMost = 1 << 20;
  const auto id = [&](const char* key) {
    return static_cast<std::int32_t>(parsed->find_int(std::string("tokenizer.ggml.") + key).value().value_or(-1));
  };
  text::GgufVocabulary vocabulary;
  vocabulary.model = parsed->get_string("tokenizer.ggml.model").value();
  vocabulary.pre = parsed->find_string("tokenizer.ggml.pre").value().value_or("");
  vocabulary.tokens = parsed->find_strings("tokenizer.ggml.tokens", kMost).value();
  vocabulary.scores = parsed->find_floats("tokenizer.ggml.scores", kMost).value();
  vocabulary.token_types = parsed->find_ints("tokenizer.ggml.token_type", kMost).value();
  vocabulary.merges = parsed->find_strings("tokenizer.ggml.merges", kMost).value();
  vocabulary.bos = id("bos_token_id");
  vocabulary.eos = id("eos_token_id");
  vocabulary.unknown = id("unknown_token_id");
  vocabulary.add_bos = parsed->find_bool("tokenizer.ggml.add_bos_token").value();
  vocabulary.add_space_prefix = parsed->find_bool("tokenizer.ggml.add_space_prefix").value().value_or(true);
  auto tokenizer = text::Tokenizer::from_gguf(vocabulary, budget);
  EXPECT_TRUE(tokenizer) << path << ": " << tokenizer.error().message;
  return tokenizer ? std::move(*tokenizer) : nullptr;
}

TEST(TokenizerOfGguf, TinyFilesGiveTheSameIds) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(golden("gguf"))) {
    if (entry.path().extension() != ".gguf") continue;
    const json::Value expected = read_json(fs::path(entry.path()).replace_extension(".golden.json"));
    const auto* texts = expected.as_object().if_contains("texts");
    if (texts == nullptr) continue;
    ++files;
    const auto tokenizer = tokenizer_of(entry.path());
    ASSERT_NE(tokenizer, nullptr);
    for (const auto& item : texts->as_array()) {
      const std::string_view text = item.at("text").as_string();
      EXPECT_EQ(tokenizer->encode(text, {.parse_special = true}).value(), ids_of(item.at("ids")))
          << entry.path() << ": " << text;
      const auto* with_bos = item.as_object().if_contains("ids_with_bos");
      if (with_bos == nullptr) continue;
      const auto ids = tokenizer->encode(text, {.add_special = true, .parse_special = true}).value();
      EXPECT_EQ(ids, ids_of(*with_bos)) << entry.path() << ": " << text;
    }
  }
  EXPECT_GE(files, 4);
}

// One real model: its golden folder and its file in the folder of models.
struct RealModel {
  const char* folder;
  const char* file;
};

class TokenizerOfRealModel : public testing::TestWithParam<RealModel> {};

TEST_P(TokenizerOfRealModel, GivesTheSameIds) {
  const char* models = std::getenv("OPENAUTOGLM_TEST_MODELS");
  if (models == nullptr) GTEST_SKIP() << "OPENAUTOGLM_TEST_MODELS names no folder";
  const auto tokenizer = tokenizer_of(std::string(models) + "/" + GetParam().file);
  ASSERT_NE(tokenizer, nullptr);
  const std::string folder = golden(std::string("real/") + GetParam().folder);
  const json::Value expected = read_json(folder + "/golden.json");
  const auto check = [&](const json::Value& item) {
    const std::string_view text = item.at("text").as_string();
    const auto wanted = ids_of(item.at("ids"));
    const auto ids = tokenizer->encode(text, {.add_special = true, .parse_special = true}).value();
    EXPECT_EQ(ids, wanted) << text;
    EXPECT_EQ(tokenizer->decode(ids, true).value(), text);
  };
  for (const auto& prompt : expected.at("prompts").as_array()) {
    check(prompt);
    EXPECT_EQ(tokenizer->decode(ids_of(prompt.at("greedy")), false).value(),
              std::string_view(prompt.at("greedy_text").as_string()));
  }
  check(expected.at("nll"));
  if (!fs::exists(folder + "/chat_template.json")) return;
  for (const auto& item : read_json(folder + "/chat_template.json").at("cases").as_array()) {
    const auto* rendered = item.as_object().if_contains("rendered");
    if (rendered == nullptr) continue;
    EXPECT_EQ(tokenizer->encode(rendered->as_string(), {.parse_special = true}).value(), ids_of(item.at("ids")))
        << item.at("name");
  }
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerOfRealModel,
                         testing::Values(RealModel{"smollm2", "smollm2.gguf"}, RealModel{"gemma3", "gemma3-270m.gguf"},
                                         RealModel{"qwen05", "qwen05.gguf"}, RealModel{"qwen15", "qwen15.gguf"}),
                         [](const auto& info) { return std::string(info.param.folder); });

}  // namespace
}  // namespace autoglm
