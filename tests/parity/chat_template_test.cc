// SPDX-License-Identifier: Apache-2.0
// Chat templates against what transformers rendered: those of the tiny folders, those of the GLM formats in our own
// words, and those inside the real models' files where their folder is given (OPENAUTOGLM_TEST_MODELS).
#include <gtest/gtest.h>

#include <filesystem>

#include "model/load.h"
#include "parity/golden.h"

namespace autoglm::parity {
namespace {

namespace fs = std::filesystem;

const json::Array* array_of(const json::Object& test, std::string_view key) {
  const json::Value* value = test.if_contains(key);
  return value != nullptr && value->is_array() ? &value->get_array() : nullptr;
}

std::string text_of(const json::Object& test, std::string_view key) {
  const json::Value* value = test.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

// Renders every chat of real/NAME/chat_template.json.
void expect_golden_prompts(const text::ChatTemplate& chat, const std::string& name) {
  const json::Value golden = read_json(golden_folder() / "real" / name / "chat_template.json");
  for (const json::Value& item : golden.at("cases").as_array()) {
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
    const auto prompt = chat.render(inputs);
    if (test.contains("error")) {
      EXPECT_FALSE(prompt) << test.at("name");
      continue;
    }
    ASSERT_TRUE(prompt) << test.at("name") << ": " << prompt.error().message;
    EXPECT_EQ(prompt->text, text_of(test, "rendered")) << test.at("name");
  }
}

TEST(ChatTemplateOfTinyFolder, RendersAsTransformersDoes) {
  int rendered = 0;
  for (const std::string& name : golden_names("tiny")) {
    const fs::path folder = golden_folder() / "tiny" / name;
    if (!fs::exists(folder / "golden_text.json")) continue;
    const auto words = model::load_text(folder);
    ASSERT_TRUE(words) << words.error().message;
    ASSERT_NE(words->chat_template, nullptr) << name;
    for (const json::Value& item : read_json(folder / "golden_text.json").at("cases").as_array()) {
      const json::Object& test = item.as_object();
      const json::Array* messages = array_of(test, "messages");
      if (messages == nullptr) continue;
      ++rendered;
      const auto prompt = words->chat_template->render(
          {.messages = messages, .add_generation_prompt = test.at("add_generation_prompt").as_bool()});
      ASSERT_TRUE(prompt) << prompt.error().message;
      EXPECT_EQ(prompt->text, text_of(test, "text")) << name;
    }
  }
  EXPECT_GE(rendered, 4);
}

class ChatTemplateOfGlm : public testing::TestWithParam<std::string> {};

TEST_P(ChatTemplateOfGlm, RendersWhatThePublishedOneDoes) {
  const auto chat =
      text::ChatTemplate::parse(read_text(fs::path(TESTDATA_DIR) / "templates" / (GetParam() + ".jinja")), "", "");
  ASSERT_TRUE(chat) << chat.error().message;
  expect_golden_prompts(**chat, GetParam());
  EXPECT_EQ(text::tool_format_of((*chat)->source()), text::ToolFormat::kGlmXml);
}

INSTANTIATE_TEST_SUITE_P(Formats, ChatTemplateOfGlm, testing::Values("glm46", "glm47flash"),
                         [](const auto& test) { return test.param; });

struct RealTemplate {
  const char* name;
  const char* file;
};

class ChatTemplateOfRealModel : public testing::TestWithParam<RealTemplate> {};

TEST_P(ChatTemplateOfRealModel, RendersAsTransformersDoes) {
  const auto words = model::load_text(real_model(GetParam().file));
  ASSERT_TRUE(words) << words.error().message;
  ASSERT_NE(words->chat_template, nullptr);
  expect_golden_prompts(*words->chat_template, GetParam().name);
}

INSTANTIATE_TEST_SUITE_P(Catalogue, ChatTemplateOfRealModel,
                         testing::Values(RealTemplate{"smollm2", "smollm2.gguf"}, RealTemplate{"qwen05", "qwen05.gguf"},
                                         RealTemplate{"qwen15", "qwen15.gguf"}),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace autoglm::parity
