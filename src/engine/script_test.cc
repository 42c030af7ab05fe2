// SPDX-License-Identifier: Apache-2.0
#include "engine/script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace autoglm::engine {
namespace {

std::string text_of(const ScriptReply& reply) {
  std::string text;
  for (std::size_t i = 0; i < 1000 && reply.slot(i) != kEndToken; ++i) {
    text += reply.slot(i) == ScriptReply::kAnyLetter ? '?' : static_cast<char>(reply.slot(i));
  }
  return text;
}

std::string reply_to(std::string_view script, std::string_view prompt) {
  return text_of(Script::parse(script).value().reply_to(prompt));
}

TEST(Script, TheFirstRuleThatMatchesAnswers) {
  constexpr std::string_view kTwoRules = "# comment\n\n== one\nFirst.\n== on\nSecond.\n\n==\nOther.\n";
  EXPECT_EQ(reply_to(kTwoRules, "say one"), "First.");
  EXPECT_EQ(reply_to(kTwoRules, "say on"), "Second.");
  EXPECT_EQ(reply_to(kTwoRules, "say"), "Other.");
  EXPECT_EQ(reply_to("== x\ny", "z"), "no rule of the script matches this prompt");
}

TEST(Script, PatternsHaveStarsAndEscapes) {
  EXPECT_EQ(reply_to("== a*c*e\nyes\n==\nno", "xxa--c--exx"), "yes");
  EXPECT_EQ(reply_to("== a*c*e\nyes\n==\nno", "a e c"), "no") << "the parts must come in order";
  EXPECT_EQ(reply_to("== aa*a\nyes\n==\nno", "aa"), "no") << "parts do not overlap";
  EXPECT_EQ(reply_to("== 2\\*3\nyes\n==\nno", "2*3"), "yes");
  EXPECT_EQ(reply_to("== 2\\*3\nyes\n==\nno", "2 3"), "no");
  EXPECT_EQ(reply_to("== a\\nb\nyes\n==\nno", "a\nb"), "yes");
}

TEST(Script, RepliesKeepTheirLinesAndLoseTheirMargins) {
  EXPECT_EQ(reply_to("== x\n\n line 1\n\nline 2 \n\n", "x"), "line 1\n\nline 2");
  EXPECT_EQ(reply_to("== x\n\\== not a rule\n", "x"), "== not a rule");
  EXPECT_EQ(reply_to("== x\n", "x"), "");
  EXPECT_EQ(reply_to("== x\na <| b", "x"), "a <| b") << "an opening without its end is text";
}

TEST(Script, Directives) {
  EXPECT_EQ(reply_to("== x\na<|random:3|>b<|end|>never", "x"), "a???b");
  const Script script = Script::parse("== x\nab<|repeat|>").value();
  const ScriptReply& reply = script.reply_to("x");
  EXPECT_EQ(reply.slot(0), 'a');
  EXPECT_EQ(reply.slot(1001), 'b');
}

TEST(Script, RefusesWithTheLineOfTheRule) {
  const auto message = [](std::string_view text) {
    const auto script = Script::parse(text);
    EXPECT_FALSE(script.has_value());
    if (script) return std::string();
    EXPECT_EQ(script.error().code, Code::kInvalidArgument);
    return script.error().message;
  };
  EXPECT_THAT(message(""), testing::HasSubstr("no rule"));
  EXPECT_THAT(message("# c\nhello\n"), testing::HasSubstr("line 2"));
  EXPECT_THAT(message("\n== x\n<|repeat|>"), testing::HasSubstr("line 2"));
  EXPECT_THAT(message("== x\na<|repeat|>b"), testing::HasSubstr("line 1"));
  EXPECT_THAT(message("== x\n<|assistant|>"), testing::HasSubstr("unknown directive"));
  EXPECT_THAT(message("== x\n<|random:0|>"), testing::HasSubstr("unknown directive"));
  EXPECT_THAT(message("== x\n<|random:65537|>"), testing::HasSubstr("unknown directive"));
  EXPECT_THAT(message("== x\n<|random:99999999999999999999|>"), testing::HasSubstr("unknown directive"));
}

TEST(Script, IsBounded) {
  const auto code = [](const std::string& text) {
    const auto script = Script::parse(text);
    return script ? Code::kInternal : script.error().code;
  };
  EXPECT_EQ(code("==\n" + std::string((1u << 20) - 3, 'a')), Code::kInternal) << "exactly 1 MiB is read";
  EXPECT_EQ(code("==\n" + std::string((1u << 20) - 2, 'a')), Code::kExhausted);
  std::string rules;
  for (int i = 0; i < 4096; ++i) rules += "==\n";
  EXPECT_EQ(code(rules), Code::kInternal);
  EXPECT_EQ(code(rules + "==\n"), Code::kExhausted);
  std::string letters = "==\n";
  for (int i = 0; i < 17; ++i) letters += "<|random:65536|>";
  EXPECT_EQ(code(letters), Code::kExhausted) << "more than 1 Mi tokens";
}

}  // namespace
}  // namespace autoglm::engine
