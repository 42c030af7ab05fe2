// SPDX-License-Identifier: Apache-2.0
#include "app/settings.h"

#include <gtest/gtest.h>

namespace autoglm::app {
namespace {

struct Parsed {
  int number = 1;
  bool truth = false;
  std::string word = "none";
  std::vector<std::string> words;
};

// One verb with an option of each kind; the command line says `arguments`, the file `text`.
Status parse(Parsed& parsed, std::vector<std::string> arguments, std::string_view text) {
  CLI::App app("test");
  auto* verb = app.add_subcommand("verb");
  verb->add_option("--a-number", parsed.number)->check(CLI::Range(0, 10));
  verb->add_flag("--truth", parsed.truth);
  verb->add_option("--word,WORD", parsed.word);
  verb->add_option("--words", parsed.words);
  verb->add_option("--config", "a file");
  std::ranges::reverse(arguments);
  app.parse(arguments);
  return apply_settings(*verb, text, "test.toml");
}

TEST(Settings, EveryKindOfValue) {
  Parsed parsed;
  const auto status =
      parse(parsed, {"verb"}, "a_number = 7\ntruth = true\nword = \"two words\"\nwords = [\"a\", \"b\"]\n");
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(parsed.number, 7);
  EXPECT_TRUE(parsed.truth);
  EXPECT_EQ(parsed.word, "two words");
  EXPECT_EQ(parsed.words, (std::vector<std::string>{"a", "b"}));
}

TEST(Settings, TheCommandLineWins) {
  Parsed parsed;
  ASSERT_TRUE(
      parse(parsed, {"verb", "--a-number", "3", "positional"}, "a-number = 7\nword = \"file\"\ntruth = false\n"));
  EXPECT_EQ(parsed.number, 3);
  EXPECT_EQ(parsed.word, "positional");
  EXPECT_FALSE(parsed.truth);
}

TEST(Settings, TablesOfModelsAreGivenBackWhereTheyAreAskedFor) {
  CLI::App app("test");
  auto* verb = app.add_subcommand("verb");
  std::string word;
  verb->add_option("--word", word);
  json::Array tables;
  const std::string text = "word = \"a\"\n[[model]]\nname = \"x\"\n[[model]]\nname = \"y\"\n";
  ASSERT_TRUE(apply_settings(*verb, text, "test.toml", &tables));
  EXPECT_EQ(word, "a");
  ASSERT_EQ(tables.size(), 2u);
  EXPECT_EQ(tables[1].get_object().at("name").get_string(), "y");
  EXPECT_FALSE(apply_settings(*verb, text, "test.toml")) << "other verbs have none";
}

TEST(Settings, RefusalsNameTheKey) {
  for (const auto& [text, key] :
       std::initializer_list<std::pair<const char*, const char*>>{{"a_numbr = 7", "a_numbr"},
                                                                  {"a_number = 11", "a_number"},
                                                                  {"a_number = \"x\"", "a_number"},
                                                                  {"[word]\nx = 1", "word"},
                                                                  {"words = [[1]]", "words"},
                                                                  {"config = \"other.toml\"", "config"},
                                                                  {"help = true", "help"}}) {
    Parsed parsed;
    const auto status = parse(parsed, {"verb"}, text);
    ASSERT_FALSE(status) << text;
    EXPECT_EQ(status.error().code, Code::kInvalidArgument) << text;
    EXPECT_NE(status.error().message.find(key), std::string::npos) << status.error().message;
  }
}

TEST(Settings, Sizes) {
  EXPECT_EQ(*parse_bytes("1048576"), 1048576u);
  EXPECT_EQ(*parse_bytes("512M"), std::size_t{512} << 20);
  EXPECT_EQ(*parse_bytes("1.5g"), std::size_t{3} << 29);
  EXPECT_EQ(*parse_bytes("2GiB"), std::size_t{2} << 30);
  EXPECT_EQ(*parse_bytes("2KB"), 2048u);
  EXPECT_EQ(*parse_bytes("4194303T") >> 40, 4194303u);
  for (const char* text : {"", "M", "-1", "nan", "inf", "1X", "1MM", "1e300", "4194304T", "1 M"}) {
    const auto refused = parse_bytes(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  }
}

}  // namespace
}  // namespace autoglm::app
