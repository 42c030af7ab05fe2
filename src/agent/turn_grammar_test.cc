// SPDX-License-Identifier: Apache-2.0
#include "agent/turn_grammar.h"

#include <gmock/gmock.h>

#include "agent/fake_tool.h"
#include "text/byte_tokenizer.h"

namespace autoglm::agent {
namespace {

class TurnGrammarTest : public testing::Test {
 protected:
  void add(std::string name, std::string_view parameters = R"({"type":"object"})") {
    ToolDescription description = describe(std::move(name));
    description.parameters = parse_json(parameters).as_object();
    const auto says_nothing = [](const json::Object&, std::stop_token) -> Result<ToolOutput> { return ToolOutput{}; };
    ASSERT_TRUE(tools_.add(std::make_unique<FakeTool>(std::move(description), says_nothing)));
  }
  TurnGrammar make(const Aids& aids = {}, text::ToolFormat format = text::ToolFormat::kHermes) const {
    return TurnGrammar(tools_, aids, {.format = format, .max_calls = 4}, std::make_shared<text::ByteTokenizer>());
  }
  static bool may_say(const text::Grammar& grammar, std::string_view text) {
    const auto matcher = grammar.start().value();
    return std::ranges::all_of(text,
                               [&](char c) { return matcher->accept(static_cast<unsigned char>(c)).has_value(); });
  }
  static std::string call(std::string_view name, std::string_view arguments) {
    return "<tool_call>\n{\"name\": \"" + std::string(name) + "\", \"arguments\": " + std::string(arguments) + "}\n";
  }

  ToolRegistry tools_;
};

TEST_F(TurnGrammarTest, TheAnswerIsOneOfTheCalls) {
  add("read");
  TurnGrammar turn = make(*parse_aids("none"));
  EXPECT_EQ(turn.answer(), "answer");
  const auto all = *turn.grammar(TurnGrammar::Quiet::kLeftOut, {});
  EXPECT_TRUE(may_say(*all, call("read", "{}")));
  EXPECT_TRUE(may_say(*all, call("answer", R"({"text": "x"})")));
  const auto without = *turn.grammar(TurnGrammar::Quiet::kLeftOut, {"answer"});
  EXPECT_FALSE(may_say(*without, call("answer", R"({"text": "x"})")));
  EXPECT_EQ(turn.grammar(TurnGrammar::Quiet::kLeftOut, {"answer"})->get(), without.get()) << "compiled once";
}

TEST_F(TurnGrammarTest, AnAnswerHasAnEnd) {
  add("read");
  const auto answer = [](std::size_t characters) {
    return call("answer", R"({"reasoning": "", "text": ")" + std::string(characters, 'x') + R"("})");
  };
  const auto bounded = *make().grammar(TurnGrammar::Quiet::kLeftOut, {});
  EXPECT_TRUE(may_say(*bounded, answer(kMaxAnswerCharacters)));
  EXPECT_FALSE(may_say(*bounded, answer(kMaxAnswerCharacters + 1)));
  Aids without;
  without.lists = false;
  const auto open = *make(without).grammar(TurnGrammar::Quiet::kLeftOut, {});
  EXPECT_TRUE(may_say(*open, answer(kMaxAnswerCharacters + 1)));
}

TEST_F(TurnGrammarTest, NoToolsNoAnswerCall) {
  EXPECT_EQ(make().answer(), "");
  EXPECT_EQ(make({}, text::ToolFormat::kAutoGlm).answer(), "finish");
  EXPECT_EQ(make({}, text::ToolFormat::kAutoGlm).answer_key(), "message");
}

TEST_F(TurnGrammarTest, WhatIsSoughtIsNotEmpty) {
  add("edit", R"({"type":"object","properties":{
      "edits":{"type":"array","items":{"type":"object","properties":{"oldText":{"type":"string"},"newText":{"type":"string"}}}},
      "query":{"type":"string","minLength":0},"pattern":{"type":"string","default":""},"oldest":{"type":"integer"}}})");
  const auto grammar = *make().grammar(TurnGrammar::Quiet::kLeftOut, {});
  EXPECT_TRUE(may_say(*grammar, call("edit", R"({"edits": [{"oldText": "a", "newText": ""}]})")));
  EXPECT_FALSE(may_say(*grammar, call("edit", R"({"edits": [{"oldText": "", "newText": "a"}]})")));
  EXPECT_TRUE(may_say(*grammar, call("edit", R"({"query": ""})"))) << "the schema says so";
  EXPECT_TRUE(may_say(*grammar, call("edit", R"({"pattern": ""})"))) << "which means all";
  EXPECT_TRUE(may_say(*grammar, call("edit", R"({"oldest": 0})")));
  const auto plain = *make(*parse_aids("none")).grammar(TurnGrammar::Quiet::kLeftOut, {});
  EXPECT_TRUE(may_say(*plain, call("edit", R"({"edits": [{"oldText": "", "newText": "a"}]})")));
}

TEST_F(TurnGrammarTest, ReferencesGoWhereverTheSchemaIsNoFreeText) {
  add("sum",
      R"({"type":"object","properties":{"n":{"type":"integer"},"list":{"type":"array","items":{"type":"integer"}},
      "unit":{"enum":["m","km"]},"note":{"type":"string"}}})");
  const auto told = *make().grammar(TurnGrammar::Quiet::kIncluded, {});
  const auto plain = *make().grammar(TurnGrammar::Quiet::kLeftOut, {});
  for (const char* arguments : {R"({"n": "$step_1.n"})", R"({"list": "$step_12"})", R"({"unit": "$step_1[0].unit"})"}) {
    EXPECT_TRUE(may_say(*told, call("sum", arguments))) << arguments;
    EXPECT_FALSE(may_say(*plain, call("sum", arguments))) << arguments;
  }
  EXPECT_TRUE(may_say(*told, call("sum", R"({"n": 3, "list": [1], "unit": "km", "note": "$step_1"})")));
  EXPECT_FALSE(may_say(*told, call("sum", R"({"n": "3"})")));
  EXPECT_FALSE(may_say(*told, call("sum", R"({"n": "$step_0"})")));
}

TEST_F(TurnGrammarTest, ListsHaveAnEnd) {
  add("read", R"({"type":"object","properties":{
      "open":{"type":"array","items":{"type":"integer"},"minItems":1},
      "bound":{"type":"array","items":{"type":"integer"},"maxItems":40},
      "wanted":{"type":"array","items":{"type":"integer"},"minItems":20},
      "value":{"const":{"type":"array"}}}})");
  const auto list = [](int items) {
    std::string text = "[1";
    for (int i = 1; i < items; ++i) text += ", 1";
    return text + "]";
  };
  const auto open = *make().grammar(TurnGrammar::Quiet::kLeftOut, {});
  EXPECT_TRUE(may_say(*open, call("read", R"({"open": )" + list(16) + "}")));
  EXPECT_FALSE(may_say(*open, call("read", R"({"open": )" + list(17) + "}")));
  EXPECT_TRUE(may_say(*open, call("read", R"({"bound": )" + list(40) + "}")));
  EXPECT_TRUE(may_say(*open, call("read", R"({"wanted": )" + list(50) + "}")));
  EXPECT_TRUE(may_say(*open, call("read", R"({"value": {"type":"array"}})")));
  const auto plain = *make(*parse_aids("none")).grammar(TurnGrammar::Quiet::kLeftOut, {});
  EXPECT_TRUE(may_say(*plain, call("read", R"({"open": )" + list(50) + "}")));
}

}  // namespace
}  // namespace autoglm::agent
