// SPDX-License-Identifier: Apache-2.0
// Chat templates against what transformers rendered: those of the tiny folders, and those of real models where their
// folder is given (OPENAUTOGLM_TEST_MODELS: the GGUF files, and templates/NAME.jinja for models that have no file
// here).
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/json.h"
#include "model/formats/gguf.h"
#include "model/formats/mapped_file.h"
#include "text/chat_template.h"

namespace autoglm {
namespace {

namespace fs = std::filesystem;

std::string golden(const std::string& path) { return std::string(TESTDATA_DIR) + "/golden/" + path; }

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

json::Value read_json(const std::string& path) {
  base::Budget budget;
  auto value = json::parse(read_file(path), budget);
  EXPECT_TRUE(value) << path;
  return value ? *value : json::Value();
}

const json::Array* array_of(const json::Object& test, std::string_view key) {
  const json::Value* value = test.if_contains(key);
  return value != nullptr && value->is_array() ? &value->get_array() : nullptr;
}

std::string text_of(const json::Object& test, std::string_view key) {
  const json::Value* value = test.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

TEST(ChatTemplateOfTinyFolder, RendersAsTransformersDoes) {
  int rendered = 0;
  for (const auto& entry : fs::directory_iterator(golden("tiny"))) {
    if (!fs::exists(entry.path() / "golden_text.json")) continue;
    const json::Value config = read_json(entry.path() / "tokenizer_config.json");
    const auto chat =
        text::ChatTemplate::parse(text_of(config.as_object(), "chat_template"),
                                  text_of(config.as_object(), "bos_token"), text_of(config.as_object(), "eos_token"));
    ASSERT_TRUE(chat) << entry.path() << chat.error().message;
    for (const auto& item : read_json(entry.path() / "golden_text.json").at("cases").as_array()) {
      const json::Object& test = item.as_object();
      const json::Array* messages = array_of(test, "messages");
      if (messages == nullptr) continue;
      ++rendered;
      const auto prompt =
          (*chat)->render({.messages = messages, .add_generation_prompt = test.at("add_generation_prompt").as_bool()});
      ASSERT_TRUE(prompt) << prompt.error().message;
      EXPECT_EQ(prompt->text, text_of(test, "text")) << entry.path();
    }
  }
  EXPECT_GE(rendered, 4);
}

struct RealTemplate {
  const char* folder;
  const char* file;
};

class ChatTemplateOfRealModel : public testing::TestWithParam<RealTemplate> {
 protected:
  static std::string source_of(const std::string& path) {
    if (path.ends_with(".jinja")) return read_file(path);
    auto file = model::MappedFile::open(path);
    EXPECT_TRUE(file) << path;
    if (!file) return "";
    base::Budget budget({.bytes = 512u << 20});
    const auto parsed = model::GgufFile::parse(file->bytes(), budget);
    EXPECT_TRUE(parsed) << path;
    return parsed ? std::string(parsed->get_string("tokenizer.chat_template").value_or("")) : "";
  }
};

TEST_P(ChatTemplateOfRealModel, RendersAsTransformersDoes) {
  const char* models = std::getenv("OPENAUTOGLM_TEST_MODELS");
  const std::string path = std::string(models == nullptr ? "" : models) + "/" + GetParam().file;
  if (models == nullptr || !fs::exists(path))
    GTEST_SKIP() << "OPENAUTOGLM_TEST_MODELS does not hold " << GetParam().file;
  const json::Value expected = read_json(golden(std::string("real/") + GetParam().folder + "/chat_template.json"));
  const json::Object& facts = expected.as_object();
  const auto chat =
      text::ChatTemplate::parse(source_of(path), text_of(facts, "bos_token"), text_of(facts, "eos_token"));
  ASSERT_TRUE(chat) << chat.error().message;
  for (const auto& item : facts.at("cases").as_array()) {
    const json::Object& test = item.as_object();
    const json::Value* kwargs = test.if_contains("kwargs");
    const text::ChatTemplate::Inputs inputs = {
        .messages = array_of(test, "messages"),
        .tools = array_of(test, "tools"),
        .kwargs = kwargs != nullptr && kwargs->is_object() ? &kwargs->get_object() : nullptr,
        .add_generation_prompt = test.at("add_generation_prompt").as_bool(),
        .special = {"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>",
                    "<|observation|>"},
    };
    const auto prompt = (*chat)->render(inputs);
    if (test.contains("error")) {
      EXPECT_EQ(prompt.has_value(), false) << test.at("name");
      continue;
    }
    ASSERT_TRUE(prompt) << test.at("name") << ": " << prompt.error().message;
    EXPECT_EQ(prompt->text, text_of(test, "rendered")) << test.at("name");
  }
}

INSTANTIATE_TEST_SUITE_P(All, ChatTemplateOfRealModel,
                         testing::Values(RealTemplate{"smollm2", "smollm2.gguf"}, RealTemplate{"qwen05", "qwen05.gguf"},
                                         RealTemplate{"qwen15", "qwen15.gguf"},
                                         RealTemplate{"glm46", "templates/glm46.jinja"},
                                         RealTemplate{"glm47flash", "templates/glm47flash.jinja"}),
                         [](const auto& info) { return std::string(info.param.folder); });

}  // namespace
}  // namespace autoglm
