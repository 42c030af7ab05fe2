// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/byte_tokenizer.h"
#include "text/tool_format.h"

namespace autoglm::text {
namespace {

json::Object schema(std::string_view text) {
  base::Budget budget;
  return json::parse(text, budget)->get_object();
}

std::vector<ToolSignature> tools() {
  return {{"weather", schema(R"({"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"},
                                 "unit":{"type":"string","enum":["C","F"]}},"required":["city"],"additionalProperties":false})")},
          {"now", schema(R"({"type":"object","properties":{},"additionalProperties":false})")},
          {"any", {}}};
}

bool allows(const std::vector<std::uint32_t>& mask, TokenId token) {
  return (mask[static_cast<std::size_t>(token) / 32] >> (token % 32) & 1u) != 0;
}

std::vector<std::uint32_t> mask_of(Matcher& matcher, const Tokenizer& tokenizer) {
  std::vector<std::uint32_t> mask((tokenizer.vocab() + 31) / 32);
  const Status status = matcher.mask(mask);
  EXPECT_TRUE(status) << status.error().message;
  return mask;
}

class ToolGrammarTest : public testing::Test {
 protected:
  std::shared_ptr<const Grammar> grammar(const ToolGrammarOptions& options,
                                         const std::vector<ToolSignature>& signatures = tools()) {
    auto made = tool_grammar(signatures, options, tokenizer_);
    EXPECT_TRUE(made) << made.error().where << ": " << made.error().message;
    return made ? *made : nullptr;
  }

  // How far `text` is allowed; special tokens are written as themselves between \x01 and \x02.
  static std::size_t walk(const Grammar& grammar, const Tokenizer& tokenizer, std::string_view text, bool& may_end) {
    const auto matcher = grammar.start().value();
    may_end = false;
    std::size_t at = 0;
    while (at < text.size()) {
      TokenId token = static_cast<unsigned char>(text[at]);
      std::size_t size = 1;
      if (text[at] == '\x01') {
        size = text.find('\x02', at) - at + 1;
        token = tokenizer.id_of(text.substr(at + 1, size - 2));
      }
      if (!allows(mask_of(*matcher, tokenizer), token) || !matcher->accept(token)) return at;
      at += size;
    }
    may_end = allows(mask_of(*matcher, tokenizer), tokenizer.eos()[0]);
    return at;
  }

  void expect(const ToolGrammarOptions& options, const std::vector<std::string>& right,
              const std::vector<std::string>& wrong) {
    const auto made = grammar(options);
    ASSERT_NE(made, nullptr);
    bool may_end = false;
    for (const std::string& text : right) {
      EXPECT_EQ(walk(*made, *tokenizer_, text, may_end), text.size()) << text;
      EXPECT_TRUE(may_end) << text;
    }
    for (const std::string& text : wrong) {
      EXPECT_FALSE(walk(*made, *tokenizer_, text, may_end) == text.size() && may_end) << text;
    }
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = std::make_shared<ByteTokenizer>();
};

constexpr ToolFormat kHermes = ToolFormat::kHermes;
constexpr ToolChoice kAuto = ToolChoice::kAuto;
constexpr ToolChoice kRequired = ToolChoice::kRequired;
constexpr ToolChoice kDecide = ToolChoice::kDecide;

const std::string kNow = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
const std::string kRome = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\"}}\n</tool_call>";
const std::string kBadArguments = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {}}\n</tool_call>";
const std::string kUnknown = "<tool_call>\n{\"name\": \"create\", \"arguments\": {}}\n</tool_call>";
const std::string kBareNow = "{\"name\": \"now\", \"arguments\": {}}";
const std::string kPretty = "{\n  \"name\": \"weather\",\n  \"arguments\": {\n    \"city\": \"Rome\"\n  }\n}";
const std::string kBadBare = "{\"name\": \"weather\", \"arguments\": {}}";

TEST_F(ToolGrammarTest, AutoIsFreeUntilTheMarker) {
  expect({.format = kHermes, .choice = kAuto},
         {"", "Hello.", "a < b <tool\n\n<t", "\n\n{\"a\": 1}", "I look.\n" + kRome, kNow + "\n" + kRome, kNow + kNow,
          "<think>hm <tool_call> \n</think>\n\nyes", "<think></think>" + kNow, "```python\nx = {}\n```\n", kBareNow,
          "So:\n" + kPretty, "So:\n```json\n" + kPretty + "\n```", "\n" + kBareNow, "{\"name\": \"John\"}",
          "{\"name\": \"now\", \"id\": 1}", "[1, {\"name\": \"now\"}]", "in {\"name\": \"weather\", \"arguments\": 1}"},
         {kBadArguments, kUnknown, "x" + kUnknown, kNow + " and", "<tool_call>", kBadBare, "So:\n" + kBadBare,
          "[{\"name\": \"now\", \"arguments\": {}}]", "```\n" + kBadBare + "\n```", kNow + kBareNow,
          "<think>never closed"});
}

TEST_F(ToolGrammarTest, RequiredBeginsWithACall) {
  expect({.format = kHermes, .choice = kRequired}, {kNow, kRome, kRome + "\n" + kNow, "\n" + kNow},
         {"", "I", kBareNow, kBadArguments, kUnknown, "<think>x</think>" + kNow});
  expect({.format = kHermes, .choice = kRequired, .is_parallel = false}, {kNow}, {kNow + "\n" + kNow});
  expect({.format = kHermes, .choice = kRequired, .max_calls = 2}, {kNow + kNow}, {kNow + kNow + kNow});
  expect({.format = kHermes, .choice = kRequired, .begins_in_reasoning = true},
         {"hm</think>" + kNow, "</think>\n" + kNow}, {kNow, "hm", "hm</think>yes"});
}

TEST_F(ToolGrammarTest, DecideTakesEveryWrapperOrAnAnswer) {
  const std::vector<std::string> calls = {kNow,
                                          kRome + "\n" + kNow,
                                          kBareNow,
                                          kPretty,
                                          kBareNow + "\n" + kBareNow,
                                          "```json\n" + kPretty + "\n```",
                                          "```\n" + kBareNow + "\n" + kBareNow + "```"};
  expect({.format = kHermes, .choice = kDecide},
         [&] {
           std::vector<std::string> right = calls;
           right.insert(right.end(),
                        {"It is 3.", "{\"city\": 1}", "```python\nx\n```", "[1]", "a\n{\"b\": 2}", "<b>", " x"});
           return right;
         }(),
         {"", kUnknown, kBadArguments, kBadBare, "{\"name\": \"create\", \"arguments\": {}}", "{\"name\": 1}",
          "I look.\n" + kUnknown, "I look.\n" + kBadBare, "```json\n{\"name\": \"x\"", "[{\"name\": \"x\"}]",
          "<think>x</think>" + kNow});
  expect({.format = kHermes, .choice = kDecide, .any_name = true},
         {"<tool_call>\n{\"name\": \"create_file\", \"arguments\": {\"path\": \"a\"}}\n</tool_call>",
          "{\"name\": \"create_file\", \"arguments\": {\"path\": \"a\"}}", "An answer."},
         {"{\"name\": \"create file\", \"arguments\": {}}", "{\"name\": \"x\", \"arguments\": 1}"});
}

TEST_F(ToolGrammarTest, AnAnswerOfASchemaOrCalls) {
  const json::Value named = schema(
      R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name"],
          "additionalProperties":false})");
  ASSERT_FALSE(may_read_as_call(named));
  const std::string answer = "{\"name\": \"weather\", \"age\": 3}";
  const std::vector<std::string> never = {"",
                                          "Hello.",
                                          "I look.\n" + kNow,
                                          kNow + "x",
                                          kBadArguments,
                                          kUnknown,
                                          "{\"age\": 3}",
                                          "{\"name\": 1}",
                                          kBadBare,
                                          "[" + answer + "]",
                                          kNow + answer,
                                          answer + kNow};
  const auto with = [](std::vector<std::string> some, const std::vector<std::string>& more) {
    some.insert(some.end(), more.begin(), more.end());
    return some;
  };
  const std::vector<std::string> always = {answer,
                                           "{\n  \"name\": \"x\"\n}",
                                           kNow,
                                           kRome + "\n" + kNow,
                                           "<think>hm</think>" + answer,
                                           "<think>hm</think>\n" + kNow};
  const std::vector<std::string> bare = {kBareNow, kPretty, "{\"name\":\"now\",\"arguments\":{}}",
                                         kBareNow + "\n" + kBareNow};
  expect({.format = kHermes, .answer_schema = named}, with(always, bare), never);
  expect({.format = kHermes, .reads_json = false, .answer_schema = named}, always, with(never, bare));
  expect({.format = kHermes, .begins_in_reasoning = true, .answer_schema = named},
         {"hm</think>" + answer, "</think>\n" + kNow}, {answer, "hm"});
  const std::string llama = "{\"name\": \"now\", \"parameters\": {}}";
  expect({.format = ToolFormat::kLlama3, .answer_schema = named},
         {answer, llama, llama + "\n" + llama, "<|python_tag|>" + llama}, {"x", llama + answer});
  expect({.format = ToolFormat::kLlama3, .reads_json = false, .answer_schema = named},
         {answer, "<|python_tag|>" + llama + "; " + llama}, {llama});
  const std::string fenced = "```json\n" + kBareNow + "\n```";
  expect({.format = ToolFormat::kJson, .answer_schema = named}, {answer, kBareNow}, {fenced, "```json\n" + answer});
  expect({.format = ToolFormat::kJson, .reads_json = false, .answer_schema = named}, {answer, fenced}, {kBareNow});
  expect({.format = ToolFormat::kGlmXml, .answer_schema = named}, {answer, kBareNow, "<tool_call>now</tool_call>"},
         {"<tool_call>other</tool_call>"});
  expect({.format = ToolFormat::kAutoGlm, .answer_schema = named}, {answer, "do(action=\"Back\")"}, {"I do"});
  expect({.format = ToolFormat::kGlm4, .answer_schema = named}, {answer, kBareNow, "now\n{}"}, {"now", "other\n{}"});
  expect({.format = ToolFormat::kGlm4, .reads_json = false, .answer_schema = named}, {answer, "now\n{}"}, {kBareNow});
  expect({.format = ToolFormat::kMistralArgs, .answer_schema = named}, {answer, "[TOOL_CALLS]now[ARGS]{}"}, {"[1]"});
  expect({.format = ToolFormat::kPhi4, .answer_schema = named},
         {answer, "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]<|/tool_call|>"}, {"<|tool_call|>[]"});
  // Without tools it is the answer alone.
  const auto alone = tool_grammar({}, {.answer_schema = named}, tokenizer_);
  ASSERT_TRUE(alone) << alone.error().message;
  bool may_end = false;
  EXPECT_EQ(walk(**alone, *tokenizer_, answer, may_end), answer.size());
  EXPECT_LT(walk(**alone, *tokenizer_, kNow, may_end), std::string_view("<tool").size());
}

TEST(MayReadAsCall, OnlyWhatTheTopOfASchemaRulesOutIsNone) {
  const auto may = [](std::string_view text) {
    base::Budget budget;
    return may_read_as_call(*json::parse(text, budget));
  };
  for (const char* const no : {
           R"({"type":"string"})",
           R"({"type":["integer","null"]})",
           R"({"type":"object","additionalProperties":false})",
           R"({"type":"object","properties":{"a":{}},"additionalProperties":false})",
           R"({"type":"object","properties":{"name":{},"age":{}},"additionalProperties":false})",
           R"({"type":"object","properties":{"arguments":{}},"additionalProperties":false})",
       }) {
    EXPECT_FALSE(may(no)) << no;
  }
  for (const char* const yes : {
           "true",
           "{}",
           R"({"type":"object"})",
           R"({"type":"array"})",
           R"({"type":["string","object"]})",
           R"({"type":"object","properties":{"a":{}}})",
           R"({"type":"object","properties":{"a":{}},"additionalProperties":{}})",
           R"({"type":"object","properties":{"name":{},"arguments":{}},"additionalProperties":false})",
           R"({"type":"object","properties":{"name":{},"parameters":{}},"additionalProperties":false})",
           R"({"type":"object","patternProperties":{"a":{}},"additionalProperties":false})",
           R"({"properties":{"a":{}},"additionalProperties":false})",
           R"({"$ref":"#/$defs/a","$defs":{"a":{"type":"string"}}})",
       }) {
    EXPECT_TRUE(may(yes)) << yes;
  }
}

TEST_F(ToolGrammarTest, ThinkingIsBounded) {
  const ToolGrammarOptions options = {.format = kHermes, .choice = kDecide, .max_thinking_bytes = 1000};
  expect(options,
         {"<think>" + std::string(200, 'x') + "</think>\n" + kNow, "I look at it.\n" + kNow, "I look:\n" + kBareNow,
          std::string(5000, 'x') + "\n" + kNow, "I look:\n```json\n" + kBareNow + "\n```",
          std::string(5000, 'x') + "\n and on"},
         {"<think>" + std::string(1100, 'x') + "</think>\n" + kNow, "I look:\n" + kUnknown, "I look:\n" + kBadBare});
}

TEST_F(ToolGrammarTest, Llama) {
  const std::string now = "{\"name\": \"now\", \"parameters\": {}}";
  expect({.format = ToolFormat::kLlama3, .choice = kRequired}, {now, now + "; " + now, "<|python_tag|>" + now},
         {"x", kNow});
  expect({.format = ToolFormat::kLlama3, .choice = kAuto}, {now, "Hi", "<|python_tag|>" + now, "a <| b"},
         {"<|python_tag|>print", "{\"name\": \"weather\", \"parameters\": {}}"});
  expect({.format = ToolFormat::kLlama3, .choice = kDecide}, {now, "Hi", "<|python_tag|>" + now},
         {"{\"name\": \"other\", \"parameters\": {}}"});
}

TEST_F(ToolGrammarTest, Json) {
  const std::string fenced = "```json\n" + kBareNow + "\n```";
  expect({.format = ToolFormat::kJson, .choice = kRequired}, {kBareNow, fenced}, {"x", kBadBare});
  expect({.format = ToolFormat::kJson, .choice = kAuto}, {kBareNow, fenced, "Hi <b>\n" + fenced, "Hi"}, {kBadBare});
  expect({.format = ToolFormat::kJson, .choice = kDecide}, {kBareNow, fenced, "Hi <b>", "Hi\n" + fenced},
         {kBadBare, "Hi\n" + kBadBare});
}

TEST_F(ToolGrammarTest, Glm) {
  const std::string rome =
      "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>\"Rome\" <b></arg_value>\n<arg_key>days</arg_key>\n"
      "<arg_value>3</arg_value>\n</tool_call>";
  const std::string tight = "<tool_call>weather<arg_key>city</arg_key><arg_value></arg_value></tool_call>";
  const std::string unit =
      "<tool_call>weather<arg_key>city</arg_key><arg_value>x</arg_value><arg_key>unit</arg_key><arg_value>";
  const std::string any = "<tool_call>any<arg_key>k</arg_key><arg_value>v</arg_value></tool_call>";
  for (const ToolChoice choice : {kAuto, kRequired, kDecide}) {
    expect({.format = ToolFormat::kGlmXml, .choice = choice},
           {rome, tight, rome + "\n" + tight, unit + "C</arg_value></tool_call>", "<tool_call>now</tool_call>", any},
           {"<tool_call>weather</tool_call>", unit + "K</arg_value></tool_call>", "<tool_call>other</tool_call>",
            "<tool_call>weather<arg_key>days</arg_key><arg_value>x</arg_value></tool_call>"});
  }
  // What tags cannot say is JSON.
  const auto made = grammar(
      {.format = ToolFormat::kGlmXml, .choice = kRequired},
      {{"f", schema(R"({"type":"object","properties":{"a":{"type":"string","pattern":"^x+$"}},"required":["a"]})")}});
  bool may_end = false;
  const std::string call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"xx\"}}\n</tool_call>";
  EXPECT_EQ(walk(*made, *tokenizer_, call, may_end), call.size());
}

TEST_F(ToolGrammarTest, AutoGlm) {
  const std::string tap = "do(action=\"Tap\", element=[100,200])";
  expect({.format = ToolFormat::kAutoGlm, .choice = kRequired},
         {tap, "<answer>" + tap + "</answer>", "do(action=\"Back\")", "finish(message=\"好\")",
          "do(action=\"Wait\", duration=\"3 seconds\")", "do(action=\"Type_Name\", text=\"Al\")"},
         {"x", "do(action=\"Jump\")", "do(action=\"Tap\")", "do(action=\"Tap\", element=[1000,2])", tap + tap});
  for (const ToolChoice choice : {kAuto, kDecide}) {
    expect({.format = ToolFormat::kAutoGlm, .choice = choice, .max_thinking_bytes = 4000},
           {"<think>先打开设置</think>\n<answer>" + tap + "</answer>", "I do find it. " + tap, "no action", tap},
           {"I do(action=\"Jump\")", "<answer>text"});
  }
  const auto only = tool_grammar(std::vector<ToolSignature>{{"finish", {}}},
                                 {.format = ToolFormat::kAutoGlm, .choice = kRequired}, tokenizer_);
  ASSERT_TRUE(only);
  bool may_end = false;
  EXPECT_EQ(walk(**only, *tokenizer_, tap, may_end), 0u);
}

TEST_F(ToolGrammarTest, Glm4) {
  const std::string rome = "weather\n{\"city\": \"Rome\"}";
  const std::string now = "now\n{}";
  expect({.format = ToolFormat::kGlm4, .choice = kRequired}, {rome, now, now + "\n" + rome},
         {"", "x", "weather\n{}", "other\n{}", now + now, "now\n", "now"});
  expect({.format = ToolFormat::kGlm4, .choice = kRequired, .is_parallel = false}, {now}, {now + "\n" + now});
  for (const ToolChoice choice : {kAuto, kDecide}) {
    expect({.format = ToolFormat::kGlm4, .choice = choice, .max_thinking_bytes = 1000},
           {rome,
            now,
            "I look.\n" + rome,
            "\n" + now,
            "now \n{}",
            "now",
            "now\n",
            "now\nand",
            "a < b",
            "wet {}",
            "w\n{}",
            "now\n\nnow we",
            "<think>hm</think>" + now,
            "<b>",
            "now\nnow\n{}",
            "nowhere\n{}",
            "other\n{}",
            "It is\nnow.",
            now + "\n" + rome,
            "I look now\n{}",
            kBareNow,
            "any\n{\"k\": 1}"},
           {"weather\n{}", "I look.\nweather\n{}", "I look.\n  weather \n{", "now\n{} and", "now\n{\"a\": 1}",
            "now\n\nnow\n{", kBadBare, "<think>hm"});
  }
  const ToolGrammarOptions bound = {.format = ToolFormat::kGlm4, .choice = kDecide, .any_name = true};
  expect(bound, {now, "other\n{}"}, {"weather\n{}"});
  const auto chinese = grammar({.format = ToolFormat::kGlm4, .choice = kAuto}, {{"天气", {}}});
  bool may_end = false;
  EXPECT_EQ(walk(*chinese, *tokenizer_, "天\n天气\n{}", may_end), std::string_view("天\n天气\n{}").size());
  EXPECT_LT(walk(*chinese, *tokenizer_, "天气\n{7", may_end), std::string_view("天气\n{7").size());
}

TEST_F(ToolGrammarTest, Mistral) {
  const std::string now = "{\"name\": \"now\", \"arguments\": {}}";
  const std::string rome = "{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\"}, \"id\": \"aB3dE6gH9\"}";
  const std::string both = "[TOOL_CALLS][" + now + ", " + rome + "]";
  expect({.format = ToolFormat::kMistral, .choice = kRequired}, {both, "[TOOL_CALLS] [" + now + "]"},
         {"", "x", "[TOOL_CALLS][]", both + both, "[TOOL_CALLS][" + kBadBare + "]", "[" + now + "]"});
  expect({.format = ToolFormat::kMistral, .choice = kRequired, .is_parallel = false}, {"[TOOL_CALLS][" + now + "]"},
         {both});
  for (const ToolChoice choice : {kAuto, kDecide}) {
    expect({.format = ToolFormat::kMistral, .choice = choice, .max_thinking_bytes = 1000},
           {both, "I look.\n" + both, "[1, 2] [TOOL] [", "[[TOOL_CALL", "x\n[" + now + "]", kBareNow, "```\n" + both,
            "\n{[TOO"},
           {"[TOOL_CALLS]", "[TOOL_CALLS]x", "a[[TOOL_CALLS][]", kBadBare});
  }
  const std::string calls = "[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]weather[CALL_ID]aB3dE6gH9[ARGS]{\"city\": \"Rome\"}";
  expect({.format = ToolFormat::kMistralArgs, .choice = kRequired}, {calls, "[TOOL_CALLS]any[ARGS]{\"k\": 1}"},
         {"x", "[TOOL_CALLS]other[ARGS]{}", "[TOOL_CALLS]weather[ARGS]{}", "[TOOL_CALLS]now{}"});
  expect({.format = ToolFormat::kMistralArgs, .choice = kRequired, .any_name = true}, {"[TOOL_CALLS]other[ARGS]{}"},
         {"[TOOL_CALLS]a b[ARGS]{}"});
  for (const ToolChoice choice : {kAuto, kDecide}) {
    expect({.format = ToolFormat::kMistralArgs, .choice = choice}, {calls, "Hm. " + calls, "[ARGS] is [a]"},
           {"Hm. [TOOL_CALLS]other[ARGS]{}"});
  }
}

TEST_F(ToolGrammarTest, FunctionXml) {
  const auto call = [](const std::string& name, const std::string& parameters) {
    return "<tool_call>\n<function=" + name + ">\n" + parameters + "</function>\n</tool_call>";
  };
  const auto value = [](const std::string& key, const std::string& text) {
    return "<parameter=" + key + ">\n" + text + "\n</parameter>\n";
  };
  const std::string rome = call("weather", value("city", "\"Rome\"\n <b>\n") + value("days", "3") + value("unit", "C"));
  for (const ToolChoice choice : {kAuto, kRequired, kDecide}) {
    expect({.format = ToolFormat::kFunctionXml, .choice = choice},
           {rome, call("now", ""), rome + "\n" + call("now", ""), call("weather", value("city", "")),
            call("any", value("k", "v"))},
           {call("weather", ""), call("other", ""), call("weather", value("city", "x") + value("days", "x")),
            call("weather", value("city", "x") + value("unit", "K")), "<function=other>"});
  }
  expect({.format = ToolFormat::kFunctionXml, .choice = kDecide, .any_name = true}, {call("other", value("k", "v"))},
         {});
  const auto made = grammar(
      {.format = ToolFormat::kFunctionXml, .choice = kRequired},
      {{"f", schema(R"({"type":"object","properties":{"a":{"type":"string","pattern":"^x+$"}},"required":["a"]})")}});
  bool may_end = false;
  const std::string json = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"xx\"}}\n</tool_call>";
  EXPECT_EQ(walk(*made, *tokenizer_, json, may_end), json.size()) << "what tags cannot say";
}

TEST_F(ToolGrammarTest, Phi4) {
  const std::string call = "<|tool_call|>[" + kBareNow + ", " + kBareNow + "]<|/tool_call|>";
  for (const ToolChoice choice : {kAuto, kRequired, kDecide}) {
    expect({.format = ToolFormat::kPhi4, .choice = choice}, {call},
           {"<|tool_call|>[]<|/tool_call|>", "<|tool_call|>[" + kBadBare + "]<|/tool_call|>"});
  }
  expect({.format = ToolFormat::kPhi4, .choice = kAuto}, {"Hm <|tool\n" + call, "a <| b"}, {});
}

// Vocabularies have the markers as special tokens, as ordinary ones, or not at all.
TEST_F(ToolGrammarTest, MarkersMayBeTokens) {
  const std::vector<std::string_view> marks = {"<tool_call>",  "</tool_call>", "<think>",       "</think>",
                                               "<arg_key>",    "</arg_key>",   "<arg_value>",   "</arg_value>",
                                               "[TOOL_CALLS]", "[ARGS]",       "<|tool_call|>", "<|/tool_call|>"};
  const auto one = [](std::string_view mark) { return "\x01" + std::string(mark) + "\x02"; };
  const std::string call = one("<tool_call>") + "\n{\"name\": \"now\", \"arguments\": {}}\n" + one("</tool_call>");
  const std::string glm = one("<tool_call>") + "weather\n" + one("<arg_key>") + "city" + one("</arg_key>") + "\n" +
                          one("<arg_value>") + "Rome <" + one("</arg_value>") + one("</tool_call>");
  for (const bool is_special : {false, true}) {
    tokenizer_ = is_special ? std::make_shared<ByteTokenizer>(std::vector<std::string_view>{}, marks)
                            : std::make_shared<ByteTokenizer>(marks);
    expect({.format = kHermes, .choice = kAuto},
           {call, "Hi\n" + call, kNow, one("<think>") + "hm" + one("</think>") + call + call},
           {one("<tool_call>") + "x"});
    expect({.format = kHermes, .choice = kRequired}, {call, kNow}, {});
    expect({.format = kHermes, .choice = kDecide}, {call, kNow}, {});
    expect({.format = ToolFormat::kGlmXml, .choice = kRequired}, {glm}, {});
    for (const ToolChoice choice : {kAuto, kRequired, kDecide}) {
      expect({.format = ToolFormat::kMistral, .choice = choice},
             {one("[TOOL_CALLS]") + "[{\"name\": \"now\", \"arguments\": {}}]"}, {one("[TOOL_CALLS]")});
      expect({.format = ToolFormat::kMistralArgs, .choice = choice},
             {one("[TOOL_CALLS]") + "now" + one("[ARGS]") + "{}" + one("[TOOL_CALLS]") + "now" + one("[ARGS]") + "{}"},
             {one("[TOOL_CALLS]") + "now" + one("[ARGS]")});
      expect({.format = ToolFormat::kPhi4, .choice = choice},
             {one("<|tool_call|>") + "[{\"name\": \"now\", \"arguments\": {}}]" + one("<|/tool_call|>")}, {});
    }
  }
}

TEST_F(ToolGrammarTest, ARefusalPointsIntoTheTool) {
  const std::vector<ToolSignature> bad = {
      {"a", {}}, {"b", schema(R"({"type":"object","properties":{"x":{"type":"array","uniqueItems":true}}})")}};
  for (const ToolFormat format :
       {kHermes, ToolFormat::kGlmXml, ToolFormat::kJson, ToolFormat::kLlama3, ToolFormat::kGlm4, ToolFormat::kMistral,
        ToolFormat::kMistralArgs, ToolFormat::kFunctionXml, ToolFormat::kPhi4}) {
    for (const ToolChoice choice : {kAuto, kRequired, kDecide}) {
      const auto made = tool_grammar(bad, {.format = format, .choice = choice}, tokenizer_);
      ASSERT_FALSE(made);
      EXPECT_EQ(made.error().code, Code::kInvalidArgument) << made.error().message;
      EXPECT_EQ(made.error().where, "/tools/1/function/parameters/properties/x/uniqueItems") << made.error().message;
    }
  }
  const ToolGrammarOptions unlike = {.answer_schema =
                                         schema(R"({"properties":{"x":{"uniqueItems":true,"type":"array"}}})")};
  EXPECT_EQ(tool_grammar(tools(), unlike, tokenizer_).error().where, "/answer/properties/x/uniqueItems");
  const std::vector<ToolSignature> no_object = {{"a", schema(R"({"type":"array"})")}};
  EXPECT_EQ(tool_grammar(no_object, {}, tokenizer_).error().where, "/tools/0/function/parameters/type");
  const std::vector<ToolSignature> nameless = {{"", {}}};
  EXPECT_EQ(tool_grammar(nameless, {}, tokenizer_).error().where, "/tools/0/function/name");
  EXPECT_EQ(tool_grammar({}, {.choice = kRequired}, tokenizer_).error().code, Code::kInvalidArgument);
}

TEST_F(ToolGrammarTest, AnswersWithoutToolsAreText) {
  for (const ToolFormat format :
       {kHermes, ToolFormat::kGlmXml, ToolFormat::kJson, ToolFormat::kLlama3, ToolFormat::kGlm4, ToolFormat::kMistral,
        ToolFormat::kMistralArgs, ToolFormat::kFunctionXml, ToolFormat::kPhi4}) {
    const auto made = tool_grammar({}, {.format = format, .choice = kAuto}, tokenizer_);
    ASSERT_TRUE(made) << made.error().message;
    bool may_end = false;
    EXPECT_EQ(walk(**made, *tokenizer_, "Hi {}\n", may_end), 6u);
    EXPECT_TRUE(may_end);
  }
}

// What a grammar lets through, the parser reads: random answers hold no call that is broken, unknown or against its
// schema.
TEST_F(ToolGrammarTest, TheParserReadsWhatTheGrammarAllows) {
  constexpr unsigned kSeed = 11;
  std::mt19937 random(kSeed);
  const std::vector<std::string_view> words = {"<tool_call>",
                                               "</tool_call>",
                                               "\n",
                                               "{",
                                               "{\"name\": \"",
                                               "\"name\"",
                                               ": ",
                                               "now",
                                               "weather",
                                               "any",
                                               "\", \"arguments\": ",
                                               "\"arguments\"",
                                               "{}",
                                               "}",
                                               "\"city\"",
                                               "```json\n",
                                               "```",
                                               "[",
                                               "<think>",
                                               "</think>",
                                               "<arg_key>",
                                               "</arg_key>",
                                               "<arg_value>",
                                               "</arg_value>",
                                               "city",
                                               "Rome",
                                               "\"",
                                               ",",
                                               " ",
                                               "do(action=\"",
                                               "Back",
                                               "\")",
                                               "finish(message=\"",
                                               "<|python_tag|>",
                                               "; ",
                                               "3",
                                               "<",
                                               "</answer>",
                                               "<answer>",
                                               "\"parameters\"",
                                               "x",
                                               "now\n",
                                               "weather\n",
                                               "[TOOL_CALLS]",
                                               "[ARGS]",
                                               "[{\"name\": \"",
                                               "<function=",
                                               ">\n",
                                               "<parameter=",
                                               "\n</parameter>\n",
                                               "</function>\n",
                                               "<|tool_call|>",
                                               "<|/tool_call|>",
                                               "}]"};
  tokenizer_ = std::make_shared<ByteTokenizer>(words);
  const std::vector<ToolSignature> signatures = tools();
  std::vector<std::shared_ptr<const Grammar>> arguments;
  for (const ToolSignature& tool : signatures) {
    json::Object parameters = tool.parameters;
    parameters["type"] = "object";
    arguments.push_back(Grammar::from_json_schema(json::format(parameters), tokenizer_).value());
  }
  std::size_t calls = 0;
  for (const ToolFormat format :
       {kHermes, ToolFormat::kLlama3, ToolFormat::kGlmXml, ToolFormat::kJson, ToolFormat::kAutoGlm, ToolFormat::kGlm4,
        ToolFormat::kMistral, ToolFormat::kMistralArgs, ToolFormat::kFunctionXml, ToolFormat::kPhi4}) {
    for (const ToolChoice choice : {kAuto, kRequired, kDecide}) {
      const auto made = grammar({.format = format, .choice = choice, .max_thinking_bytes = 2000});
      for (int round = 0; round < 60; ++round) {
        const auto matcher = made->start().value();
        std::string text;
        bool is_complete = false;
        for (int step = 0; step < 120 && !is_complete; ++step) {
          const auto mask = mask_of(*matcher, *tokenizer_);
          std::vector<TokenId> choices;
          const bool wants_word = random() % 8 != 0;
          for (TokenId id = wants_word ? 256 : 32; id < 256 + static_cast<TokenId>(words.size()); ++id) {
            if (id != 127 && allows(mask, id)) choices.push_back(id);  // DEL is JSON, but not our grammars'
          }
          if (choices.empty() || random() % 20 == 0) {
            is_complete = allows(mask, tokenizer_->eos()[0]);
            if (is_complete) break;
            for (TokenId id = 32; id < 256 && choices.empty(); ++id) {
              if (allows(mask, id)) choices.push_back(id);
            }
          }
          ASSERT_FALSE(choices.empty()) << "seed " << kSeed << ": " << text;
          const TokenId id = choices[random() % choices.size()];
          text += tokenizer_->token_bytes(id);
          ASSERT_TRUE(matcher->accept(id)) << "seed " << kSeed << ": " << text;
          is_complete = matcher->is_finished();
        }
        const auto parser = ToolCallParser::make(format, {.tools = signatures});
        std::vector<ToolEvent> events = parser->push(text);
        for (ToolEvent& event : parser->finish()) events.push_back(std::move(event));
        std::string name, written;
        for (const ToolEvent& event : events) {
          if (event.kind == ToolEvent::Kind::kBroken && is_complete) {
            // The one thing that no grammar can forbid: a key twice, where a schema allows any key.
            base::Budget budget;
            const auto value = json::parse(written, budget);
            ASSERT_FALSE(value) << "seed " << kSeed << ": " << text;
            EXPECT_THAT(value.error().message, testing::HasSubstr("twice")) << "seed " << kSeed << ": " << text;
          }
          if (event.kind == ToolEvent::Kind::kCallBegin) {
            name = event.text;
            written.clear();
          }
          if (event.kind == ToolEvent::Kind::kArguments) written += event.text;
          if (event.kind != ToolEvent::Kind::kCallEnd || format == ToolFormat::kAutoGlm) continue;
          ++calls;
          const auto tool = std::ranges::find(signatures, name, &ToolSignature::name);
          ASSERT_NE(tool, signatures.end()) << "seed " << kSeed << ": " << text;
          bool may_end = false;
          const Grammar& schema_of_tool = *arguments[static_cast<std::size_t>(tool - signatures.begin())];
          EXPECT_EQ(walk(schema_of_tool, *tokenizer_, written, may_end), written.size())
              << "seed " << kSeed << ": " << written;
          EXPECT_TRUE(may_end) << "seed " << kSeed << ": " << text;
        }
      }
    }
  }
  EXPECT_GT(calls, 200u);
}

}  // namespace
}  // namespace autoglm::text
