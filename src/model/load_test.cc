// SPDX-License-Identifier: Apache-2.0
// Words and weights of whole checkpoints: end tokens from every place that names them, templates, what is missing.
#include "model/load.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/temporary_folder.h"
#include "model/formats/checkpoint.h"
#include "model/formats/gguf_writer.h"
#include "model/model_fixture.h"

namespace autoglm::model {
namespace {

namespace fs = std::filesystem;

bool has(const std::vector<TokenId>& ids, TokenId id) { return std::ranges::find(ids, id) != ids.end(); }

// A copy of parts of a golden folder, gone at the end of the test.
class CopiedFolder : public testing::Test {
 protected:
  void copy(const std::string& from, std::initializer_list<const char*> names) const {
    for (const char* name : names) fs::copy_file(golden(from) / name, folder_ / name);
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  base::TemporaryFolder folder_;
};

TEST(LoadText, EndTokensOfAFolderAreTheUnion) {
  const auto words = load_text(golden("tiny/qwen2"));
  ASSERT_TRUE(words) << words.error().message;
  EXPECT_TRUE(has(words->eos, 440));  // config.json
  EXPECT_TRUE(has(words->eos, 442));  // generation_config.json
  EXPECT_TRUE(std::ranges::is_sorted(words->eos));
  EXPECT_EQ(std::ranges::adjacent_find(words->eos), words->eos.end());
  EXPECT_NE(words->chat_template, nullptr);
}

TEST(LoadText, EndTokensOfAGguf) {
  const auto words = load_text(golden("gguf/gemma3-F16.gguf"));
  ASSERT_TRUE(words) << words.error().message;
  EXPECT_TRUE(has(words->eos, 1));  // <eos>, named by the metadata
  EXPECT_TRUE(has(words->eos, 5));  // <end_of_turn>, known by its spelling
  EXPECT_NE(words->chat_template, nullptr);
}

// GLM's converters name one end; the others are known by their spelling.
TEST(LoadText, EndTokensOfAGgufOfGlm) {
  for (const char* name : {"gguf/chatglm-F16.gguf", "gguf/glm4-F16.gguf", "gguf/glm4moe-F16.gguf"}) {
    const auto words = load_text(golden(name));
    ASSERT_TRUE(words) << words.error().message;
    for (const char* spelling : {"<|endoftext|>", "<|user|>", "<|observation|>", "</answer>"}) {
      EXPECT_TRUE(has(words->eos, words->tokenizer->id_of(spelling))) << name << " " << spelling;
    }
    EXPECT_FALSE(has(words->eos, words->tokenizer->id_of("<|assistant|>")));
  }
}

TEST_F(CopiedFolder, ATokenizerAloneIsEnoughForWords) {
  copy("tiny/qwen2", {"tokenizer.json"});
  const auto words = load_text(folder_);
  ASSERT_TRUE(words) << words.error().message;
  EXPECT_EQ(words->chat_template, nullptr);
  EXPECT_EQ(load_model(folder_, {}).error().code, Code::kInvalidArgument);
}

TEST(LoadText, AFolderWithoutATokenizerHasIdsOnly) {
  const auto model = load_model(golden("tiny/llama_tied"), {});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_FALSE(model->tokenizer->has_text());
  EXPECT_EQ(model->tokenizer->vocab(), model->network->vocab());
  EXPECT_EQ(model->chat_template, nullptr);
  EXPECT_EQ(model->eos, std::vector<TokenId>{2});  // of config.json
  EXPECT_EQ(load_text(golden("tiny/llama_tied")).error().code, Code::kInvalidArgument);
}

TEST_F(CopiedFolder, EndTokensWithoutATokenizerAreThoseOfBothConfigs) {
  copy("tiny/llama_tied", {"config.json", "model.safetensors"});
  write("generation_config.json", R"({"eos_token_id":[7,5,349,-1]})");
  const auto model = load_model(folder_, {});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->eos, (std::vector<TokenId>{2, 5, 7}));  // the vocabulary has 349
}

TEST_F(CopiedFolder, ATemplateFileGoesBeforeTheConfigs) {
  copy("tiny/qwen2", {"tokenizer.json"});
  const std::string listed =
      R"({"chat_template":[{"name":"tools","template":"tools"},{"name":"default","template":"listed"}]})";
  write("tokenizer_config.json", listed);
  json::Array messages;
  const text::ChatTemplate::Inputs inputs{.messages = &messages};
  auto words = load_text(folder_);
  ASSERT_TRUE(words) << words.error().message;
  ASSERT_NE(words->chat_template, nullptr);
  EXPECT_EQ(words->chat_template->render(inputs)->text, "listed");
  write("chat_template.jinja", "from the file");
  words = load_text(folder_);
  ASSERT_TRUE(words);
  EXPECT_EQ(words->chat_template->render(inputs)->text, "from the file");
}

TEST_F(CopiedFolder, OlderQuantisersHaveAConfigOfTheirOwn) {
  copy("tiny/qwen2", {"config.json", "model.safetensors"});
  for (const char* name : {"quant_config.json", "quantize_config.json"}) {
    write(name, R"({"bits":3,"group_size":128})");
    const auto refused = load_network(folder_, {});
    ASSERT_FALSE(refused) << name;
    EXPECT_NE(refused.error().message.find("3 bits"), std::string::npos) << refused.error().message;
    write(name, R"({"w_bit":4,"q_group_size":128})");
    EXPECT_TRUE(load_network(folder_, {})) << name << " beside weights that are not quantised";
  }
}

TEST_F(CopiedFolder, BrokenFilesBesideTheWeightsAreCorrupt) {
  copy("tiny/qwen2", {"tokenizer.json", "config.json", "model.safetensors"});
  EXPECT_TRUE(load_model(folder_, {}));
  write("generation_config.json", "{");
  EXPECT_EQ(load_model(folder_, {}).error().code, Code::kCorrupt);
  write("generation_config.json", "[]");
  EXPECT_EQ(load_model(folder_, {}).error().code, Code::kCorrupt);
}

TEST_F(CopiedFolder, AFolderMayHoldOneGguf) {
  fs::copy_file(golden("gguf/qwen2-F32.gguf"), folder_ / "model.gguf");
  const auto model = load_model(folder_, {});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->network->vocab(), 440u);
  fs::copy_file(golden("gguf/qwen2-F32.gguf"), folder_ / "other.gguf");
  EXPECT_EQ(load_model(folder_, {}).error().code, Code::kInvalidArgument);
}

TEST_F(CopiedFolder, AShardThatIsMissingIsNotFound) {
  copy("tiny/llama_gqa_rope3", {"config.json", "tokenizer.json", "model.safetensors.index.json",
                                "model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors"});
  EXPECT_EQ(Checkpoint::open(folder_).error().code, Code::kNotFound);
}

TEST_F(CopiedFolder, ATensorInTwoShardsIsCorrupt) {
  copy("tiny/qwen2", {"config.json"});
  fs::copy_file(golden("tiny/qwen2") / "model.safetensors", folder_ / "a.safetensors");
  fs::copy_file(golden("tiny/qwen2") / "model.safetensors", folder_ / "b.safetensors");
  write("model.safetensors.index.json", R"({"weight_map":{"x":"a.safetensors","y":"b.safetensors"}})");
  EXPECT_EQ(Checkpoint::open(folder_).error().code, Code::kCorrupt);
}

TEST_F(CopiedFolder, SafetensorsWithoutConfigAreRefused) {
  copy("tiny/qwen2", {"model.safetensors"});
  EXPECT_EQ(Checkpoint::open(folder_).error().code, Code::kInvalidArgument);
}

// Data that begin at an odd byte: weights are copied to where they may be read.
TEST_F(CopiedFolder, BadlyAlignedWeightsAreRead) {
  copy("tiny/qwen2", {"config.json"});
  std::ifstream original(golden("tiny/qwen2") / "model.safetensors", std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(original), {});
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  bytes.insert(8 + header_bytes, " ");
  ++header_bytes;
  std::memcpy(bytes.data(), &header_bytes, 8);
  write("model.safetensors", bytes);
  const auto moved = load_network(folder_, {});
  ASSERT_TRUE(moved) << moved.error().message;
}

TEST(LoadText, IdsOutsideTheVocabularyAreCorrupt) {
  const base::TemporaryFolder folder;
  const fs::path path = folder / "ids.gguf";
  const std::vector<std::byte> bytes =
      GgufWriter()
          .text("tokenizer.ggml.model", "gpt2")
          .array("tokenizer.ggml.tokens", GgufWriter::kString, 1, GgufWriter::string("a"))
          .number("tokenizer.ggml.eos_token_id", 1)
          .bytes();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  const auto words = load_text(path);
  ASSERT_FALSE(words);
  EXPECT_EQ(words.error().code, Code::kCorrupt);
}

TEST(LoadText, NothingThereIsNotFound) { EXPECT_EQ(load_text("/nowhere").error().code, Code::kNotFound); }

}  // namespace
}  // namespace autoglm::model
