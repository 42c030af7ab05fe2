// SPDX-License-Identifier: Apache-2.0
#include "text/grammar.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <random>

#include "base/json.h"
#include "text/byte_tokenizer.h"

namespace autoglm::text {
namespace {

class GrammarTest : public testing::Test {
 protected:
  Result<std::shared_ptr<const Grammar>> compile(std::string_view schema) {
    return Grammar::from_json_schema(schema, tokenizer_);
  }

  std::unique_ptr<Matcher> start(std::string_view schema) {
    const auto grammar = compile(schema);
    EXPECT_TRUE(grammar) << schema << ": " << grammar.error().message;
    return grammar ? (*grammar)->start().value() : nullptr;
  }

  std::vector<std::uint32_t> mask(Matcher& matcher) {
    std::vector<std::uint32_t> words((tokenizer_->vocab() + 31) / 32);
    const auto status = matcher.mask(words);
    EXPECT_TRUE(status) << status.error().message;
    return words;
  }
  static bool allows(const std::vector<std::uint32_t>& words, TokenId id) {
    return (words[static_cast<std::size_t>(id) / 32] >> (id % 32) & 1) != 0;
  }

  /// Feeds `text` byte by byte, each of them first looked up in the mask; how many bytes passed.
  std::size_t feed(Matcher& matcher, std::string_view text) {
    std::size_t count = 0;
    for (const char c : text) {
      const TokenId id = static_cast<unsigned char>(c);
      const bool is_allowed = !matcher.is_finished() && allows(mask(matcher), id);
      EXPECT_EQ(matcher.accept(id).has_value(), is_allowed) << text << " at " << count;
      if (!is_allowed) break;
      ++count;
    }
    return count;
  }

  bool accepts(std::string_view schema, std::string_view text) {
    const auto matcher = start(schema);
    return matcher != nullptr && feed(*matcher, text) == text.size() && allows(mask(*matcher), end());
  }

  TokenId end() const { return tokenizer_->eos()[0]; }

  std::shared_ptr<const Tokenizer> tokenizer_ = std::make_shared<ByteTokenizer>(
      std::vector<std::string_view>{"{\"", "\":", "true", "  ", "    ", "\n  ", "null"});
};

constexpr std::string_view kPerson =
    R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name","age"],"additionalProperties":false})";

TEST_F(GrammarTest, TakesWhatTheSchemaAllows) {
  EXPECT_TRUE(accepts(kPerson, R"({"name":"Ada","age":36})"));
  EXPECT_TRUE(accepts(kPerson, "{\n  \"name\": \"Ada\",\n  \"age\": 36\n}"));
  EXPECT_FALSE(accepts(kPerson, R"({"name":"Ada"})"));
  EXPECT_FALSE(accepts(kPerson, R"({"name":3})"));
  EXPECT_FALSE(accepts(kPerson, R"({"name":"Ada","age":36,"x":1})"));
  EXPECT_FALSE(accepts(kPerson, R"([])"));
  EXPECT_TRUE(accepts(R"({"enum":["a","b"]})", R"("b")"));
  EXPECT_FALSE(accepts(R"({"enum":["a","b"]})", R"("c")"));
  EXPECT_TRUE(accepts(R"({"type":"string","pattern":"^[ab]+$"})", R"("abba")"));
  EXPECT_TRUE(
      accepts(R"({"$defs":{"n":{"type":"null"}},"type":"array","items":{"$ref":"#/$defs/n"}})", "[null, null]"));
  EXPECT_TRUE(accepts("true", "[1]"));
}

TEST_F(GrammarTest, AnyObjectIsAnObject) {
  const auto grammar = Grammar::any_json_object(tokenizer_);
  ASSERT_TRUE(grammar) << grammar.error().message;
  const auto matcher = (*grammar)->start().value();
  EXPECT_FALSE(allows(mask(*matcher), '['));
  EXPECT_EQ(feed(*matcher, R"({"a": [1, {"b": null}], "é": "\n"})"),
            std::string_view(R"({"a": [1, {"b": null}], "é": "\n"})").size());
  EXPECT_TRUE(matcher->is_finished());
}

TEST_F(GrammarTest, OnlyTheEndFollowsACompleteText) {
  const auto matcher = start(kPerson);
  EXPECT_FALSE(allows(mask(*matcher), end()));
  EXPECT_EQ(matcher->accept(end()).error().code, Code::kInvalidArgument);
  feed(*matcher, R"({"name":"Ada","age":36})");
  EXPECT_TRUE(matcher->is_finished());
  const auto words = mask(*matcher);
  for (std::size_t id = 0; id < tokenizer_->vocab(); ++id) {
    EXPECT_EQ(allows(words, static_cast<TokenId>(id)), static_cast<TokenId>(id) == end());
  }
  EXPECT_EQ(matcher->accept(' ').error().code, Code::kInvalidArgument);
  EXPECT_TRUE(matcher->accept(end()));
  EXPECT_TRUE(matcher->is_finished());
}

TEST_F(GrammarTest, ARefusedTokenChangesNothing) {
  const auto matcher = start(kPerson);
  for (const TokenId wrong : {TokenId{'x'}, TokenId{-1}, static_cast<TokenId>(tokenizer_->vocab()) - 1,
                              static_cast<TokenId>(tokenizer_->vocab())}) {
    EXPECT_EQ(matcher->accept(wrong).error().code, Code::kInvalidArgument) << wrong;
  }
  EXPECT_EQ(feed(*matcher, R"({"name":"Ada","age":36})"), 23u);
}

TEST_F(GrammarTest, WhiteSpaceEnds) {
  const auto matcher = start(R"({"type":"object"})");
  const auto taken = feed(*matcher, "{" + std::string(5'000, ' '));
  EXPECT_LT(taken, 100u);
  const auto lines = start(R"({"type":"object"})");
  EXPECT_LT(feed(*lines, "{" + std::string(5'000, '\n')), 100u);
}

TEST_F(GrammarTest, MatchersOfOneGrammarAreIndependent) {
  const auto grammar = compile(kPerson);
  ASSERT_TRUE(grammar);
  const auto first = (*grammar)->start().value();
  const auto second = (*grammar)->start().value();
  EXPECT_EQ(feed(*first, R"({"name":"Ada")"), 13u);
  EXPECT_EQ(feed(*second, R"({"name":"B","age":1})"), 20u);
  EXPECT_EQ(feed(*first, R"(,"age":2})"), 9u);
  EXPECT_TRUE(first->is_finished() && second->is_finished());
}

TEST_F(GrammarTest, AMaskMayBeLongerThanTheVocabulary) {
  const auto matcher = start(kPerson);
  std::vector<std::uint32_t> words(1000, ~0u);  // a model pads its vocabulary
  ASSERT_TRUE(matcher->mask(words));
  for (std::size_t i = (tokenizer_->vocab() + 31) / 32; i < words.size(); ++i) EXPECT_EQ(words[i], 0u);
}

// Whatever is chosen from the masks, at random, is JSON in the end, or on its way there.
TEST_F(GrammarTest, RandomChoicesGiveJson) {
  constexpr unsigned kSeed = 3;
  std::mt19937 random(kSeed);
  const auto grammar = compile(
      R"({"type":"object","properties":{"a":{"type":"array","items":{"type":"integer","minimum":0,"maximum":99},"maxItems":3},
                                   "b":{"enum":["x",null]}},"required":["a","b"],"additionalProperties":false})");
  ASSERT_TRUE(grammar) << grammar.error().message;
  int finished = 0;
  for (int round = 0; round < 30; ++round) {
    const auto matcher = (*grammar)->start().value();
    std::string text;
    for (int step = 0; step < 400 && !matcher->is_finished(); ++step) {
      const auto words = mask(*matcher);
      std::vector<TokenId> choices;
      for (std::size_t id = 0; id < tokenizer_->vocab(); ++id) {
        if (allows(words, static_cast<TokenId>(id))) choices.push_back(static_cast<TokenId>(id));
      }
      ASSERT_FALSE(choices.empty()) << "seed " << kSeed << ": " << text;
      const TokenId id = choices[random() % choices.size()];
      ASSERT_TRUE(matcher->accept(id)) << "seed " << kSeed << ": " << text;
      if (id != end()) text += tokenizer_->token_bytes(id);
    }
    if (!matcher->is_finished()) continue;
    ++finished;
    base::Budget budget;
    EXPECT_TRUE(json::parse(text, budget)) << "seed " << kSeed << ": " << text;
  }
  EXPECT_GT(finished, 20);
}

TEST_F(GrammarTest, ARefusalPointsAtTheKeyword) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {R"({"type":"object","properties":{"a":{"type":"array","uniqueItems":true}}})", "/properties/a/uniqueItems"},
      {R"({"not":{}})", "/not"},
      {R"({"type":"object","properties":{"x/y":{"anyOf":[{"type":"null"},{"type":"string","pattern":"("}]}}})",
       "/properties/x~1y/anyOf/1/pattern"},
      {R"({"type":"array","items":{"propertyNames":{"pattern":"a","minLength":2}}})", "/items/propertyNames"},
      {R"({"$defs":{"bad":{"patternProperties":{"a":{},"b":{}}}},"type":"array","items":{"$ref":"#/$defs/bad"}})",
       "/$defs/bad/patternProperties"},
      {R"({"type":"object","x-guidance":{"lenient":true}})", "/x-guidance"},
      {R"({"type":"object","properties":{"x-guidance":{"lenient":true}}})", "/properties/x-guidance"},
  };
  for (const auto& [schema, where] : cases) {
    const auto grammar = compile(schema);
    ASSERT_FALSE(grammar) << schema;
    EXPECT_EQ(grammar.error().code, Code::kInvalidArgument) << schema << ": " << grammar.error().message;
    EXPECT_EQ(grammar.error().where, where) << grammar.error().message;
  }
}

struct Wording {
  std::string_view schema;
  std::vector<std::string_view> right;
  std::vector<std::string_view> wrong;
};

// Keywords that the compiler does not know; what it cannot be told is left out of what is allowed.
TEST_F(GrammarTest, TakesKeywordsInOtherWords) {
  const Wording cases[] = {
      {R"({"not":{"type":["string","null"]}})", {"1", "[]", "true"}, {R"("a")", "null"}},
      {R"({"type":"string","not":{"enum":["ab","b"]}})",
       {R"("a")", R"("abc")", R"("")", R"("c")"},
       {R"("ab")", R"("b")"}},
      {R"({"type":"integer","not":{"minimum":3,"maximum":5}})", {"2", "6"}, {"3", "5"}},
      {R"({"type":"object","properties":{"a":{}},"dependentRequired":{"a":["b"]}})",
       {"{}", R"({"a":1,"b":2})", R"({"b":2})"},
       {R"({"a":1})"}},
      {R"({"dependentSchemas":{"a":{"properties":{"b":{"type":"null"}}}}})",
       {R"({"b":1})", R"({"b":null,"a":1})", "3"},
       {R"({"b":2,"a":1})"}},
      {R"({"if":{"properties":{"kind":{"const":"n"}},"required":["kind"]},
           "then":{"properties":{"v":{"type":"number"}}},"else":{"properties":{"v":{"type":"string"}}}})",
       {R"({"kind":"n","v":1})", R"({"kind":"s","v":"x"})"},
       {R"({"kind":"n","v":"x"})", R"({"v":1})"}},
      {R"({"oneOf":[{"required":["a"]},{"required":["b"]}],"type":"object"})",
       {R"({"a":1})", R"({"b":1})"},
       {R"({"a":1,"b":1})", "{}"}},
      {R"({"oneOf":[{"not":{"type":"integer"}},{"type":"number"}]})", {"1", R"("a")"}, {"2.5"}},
      {R"({"type":"array","contains":{"const":1},"maxContains":1})", {"[1]", "[2,1,3]"}, {"[]", "[2]", "[1,1]"}},
      {R"({"propertyNames":{"maxLength":2},"type":"object"})", {"{}", R"({"ab":1})"}, {R"({"abc":1})"}},
      {R"({"$defs":{"n":{"$anchor":"here","type":"null"}},"items":{"$ref":"#here"}})", {"[null]", "1"}, {"[1]"}},
      {R"({"$id":"http://host/a/b","$defs":{"n":{"$id":"c","type":"null"}},"items":{"$ref":"c"}})",
       {"[null]"},
       {"[1]"}},
      {R"({"allOf":[{"properties":{"a":{}}}],"anyOf":[{"properties":{"b":{"const":1}}},{}],"unevaluatedProperties":false})",
       {R"({"a":1,"b":1})", R"({"a":1})"},
       {R"({"c":1})", R"({"b":2})"}},
      {R"({"prefixItems":[{}],"unevaluatedItems":{"type":"null"}})", {"[1,null]"}, {"[1,2]"}},
      {R"({"maxItems":1.0,"type":"array"})", {"[1]"}, {"[1,1]"}},
      {R"({"type":"array","items":[{"type":"null"}],"additionalItems":false})", {"[null]"}, {"[1]", "[null,1]"}},
      {R"({"type":"string","format":"no-such-format"})", {R"("x")"}, {"1"}},
  };
  for (const Wording& test : cases) {
    for (const std::string_view text : test.right)
      EXPECT_TRUE(accepts(test.schema, text)) << test.schema << ": " << text;
    for (const std::string_view text : test.wrong)
      EXPECT_FALSE(accepts(test.schema, text)) << test.schema << ": " << text;
  }
}

// A key that can be written with an escape would slip past the schema of the property that it names.
TEST_F(GrammarTest, KeysHaveOneSpelling) {
  constexpr std::string_view kSchema = R"({"type":"object","properties":{"foo":{"type":"integer"}}})";
  EXPECT_TRUE(accepts(kSchema, R"({"foo":1,"bar":"x"})"));
  EXPECT_FALSE(accepts(kSchema, R"({"foo":"x"})"));
  EXPECT_FALSE(accepts(kSchema, R"({"f\u006fo":"x"})"));
  EXPECT_TRUE(accepts(R"({"const":"a\u0000b"})", R"("a\u0000b")"));
}

TEST_F(GrammarTest, WhatIsNotASchemaIsRefused) {
  for (const std::string_view schema : {"", "{", "1", "\"x\"", "null", "[]", R"({"type":"strange"})", R"({"type":5})",
                                        R"({"$ref":"http://127.0.0.1/x"})", R"({"$ref":"#/none"})",
                                        R"({"$ref":"file:///etc/passwd"})", R"({"enum":[]})", "false"}) {
    const auto grammar = compile(schema);
    ASSERT_FALSE(grammar) << schema;
    EXPECT_EQ(grammar.error().code, Code::kInvalidArgument) << schema << ": " << grammar.error().message;
  }
}

TEST_F(GrammarTest, T_C1_HostileSchemasAreBounded) {
  std::string nested = R"({"type":"null"})";
  for (int i = 0; i < 60; ++i) nested = R"({"type":"array","items":)" + nested + "}";
  std::string wide = R"({"type":"object","properties":{)";
  for (int i = 0; i < 30'000; ++i) wide += (i == 0 ? "\"p" : ",\"p") + std::to_string(i) + "\":{}";
  wide += "}}";
  const std::string deep_array = std::string(1'000'000, '[') + std::string(1'000'000, ']');
  const std::string deep_pattern =
      R"({"type":"string","pattern":")" + std::string(100'000, '(') + std::string(100'000, ')') + "\"}";
  const auto repeated = [](int times, std::string_view begin, std::string_view middle, std::string_view end) {
    std::string text;
    for (int i = 0; i < times; ++i) text += begin;
    text += middle;
    for (int i = 0; i < times; ++i) text += end;
    return text;
  };
  std::string needs = R"({"dependentRequired":{"x":["y"])";
  for (int i = 0; i < 40; ++i) needs += ",\"a" + std::to_string(i) + "\":[\"b" + std::to_string(i) + "\"]";
  for (const std::string& schema :
       {needs + "}}", repeated(30, R"({"contains":)", R"({"type":"null"})", R"(,"minContains":2})"),
        repeated(15, R"({"oneOf":[{"minimum":1},{"maximum":2},)", "{}", "]}"),
        repeated(15, R"({"unevaluatedProperties":false,"anyOf":[{"properties":{"a":{}}},{},)", "{}", "]}"),
        nested + nested, wide, deep_array, deep_pattern, std::string(R"({"type":"string","pattern":"*a"})"),
        std::string(300'000, ' ') + "{}"}) {
    const auto grammar = compile(schema);
    ASSERT_FALSE(grammar) << schema.substr(0, 80);
    EXPECT_TRUE(grammar.error().code == Code::kExhausted || grammar.error().code == Code::kInvalidArgument)
        << grammar.error().message;
  }
}

// llama.cpp ended over such: #25283, #19008, #22606.
TEST_F(GrammarTest, T_C2_PatternsThatAreNoneAreRefusedWhereTheyStand) {
  const auto times = [](std::string_view part) {
    std::string text;
    for (int i = 0; i < 20'000; ++i) text += part;
    return text;
  };
  for (const std::string& pattern :
       {std::string("*a"), std::string("+"), std::string("?"), std::string("a|*"), std::string("(*)"), std::string("("),
        std::string(")"), std::string("["), std::string("a{2,1}"), std::string("\\\\"), std::string("a)(b"),
        times("(") + "a" + times(")"), times("(?:") + "a" + times(")*"), times("["), times("(a|")}) {
    const auto grammar =
        compile(R"({"type":"object","properties":{"x":{"type":"string","pattern":")" + pattern + "\"}}}");
    ASSERT_FALSE(grammar) << pattern.substr(0, 20);
    EXPECT_TRUE(grammar.error().code == Code::kExhausted || grammar.error().code == Code::kInvalidArgument)
        << grammar.error().message;
    EXPECT_EQ(grammar.error().where, "/properties/x/pattern") << pattern.substr(0, 20);
  }
}

// Schemas of a few bytes that would take the compiler, or the first tokens of an answer, seconds or all memory.
TEST_F(GrammarTest, T_C4_CostlySchemasAreRefusedWhereTheyStand) {
  std::string optional;
  for (int i = 0; i < 520; ++i) optional += (i == 0 ? "\"p" : ",\"p") + std::to_string(i) + "\":{}";
  const std::pair<std::string, std::string_view> cases[] = {
      {R"({"type":"string","pattern":"((a{1,999}){1,999}){1,999}"})", "/pattern"},
      {R"({"type":"string","pattern":"(((a{1,1000}){1,1000}){1,1000}){1,1000}"})", "/pattern"},
      {R"({"type":"array","items":{"type":"string","pattern":"^(a{1,101}){1,100}$"}})", "/items/pattern"},
      {R"({"type":"integer","multipleOf":1000003})", "/multipleOf"},
      {R"({"properties":{"a":{"allOf":[{"multipleOf":997},{"multipleOf":991}]}}})", "/properties/a/allOf/1/multipleOf"},
      {R"({"type":"object","properties":{)" + optional + "}}", "/properties"},
  };
  for (const auto& [schema, where] : cases) {
    const auto grammar = compile(schema);
    ASSERT_FALSE(grammar) << schema;
    EXPECT_EQ(grammar.error().code, Code::kExhausted) << schema << ": " << grammar.error().message;
    EXPECT_EQ(grammar.error().where, where) << grammar.error().message;
  }
}

// Whether these compile is llguidance's affair; that they neither crash nor run away is ours.
TEST_F(GrammarTest, T_C4_CostlySchemasStayWithinTheirLimits) {
  for (const std::string_view schema :
       {R"({"type":"string","pattern":"^(a|b)*a(a|b){400}$"})", R"({"type":"array","items":{},"minItems":100000})",
        R"({"type":"string","maxLength":1000000000})", R"({"$ref":"#"})",
        R"({"allOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"allOf":[{"$ref":"#/$defs/a"}]}}})",
        R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})", R"({"type":"string","pattern":"^(.*a.*){50}$"})",
        R"({"type":"string","pattern":"^x{40}(\\p{L}{1,100}){1,100}$"})",
        R"({"type":"number","multipleOf":0.000000001,"minimum":0,"maximum":1})"}) {
    const auto grammar = compile(schema);
    if (!grammar) {
      EXPECT_TRUE(grammar.error().code == Code::kExhausted || grammar.error().code == Code::kInvalidArgument)
          << grammar.error().message;
      continue;
    }
    const auto matcher = (*grammar)->start().value();
    std::vector<std::uint32_t> words((tokenizer_->vocab() + 31) / 32);
    for (int step = 0; step < 200 && !matcher->is_finished(); ++step) {
      Status status = matcher->mask(words);
      TokenId id = 0;
      while (status && !allows(words, id)) ++id;
      if (status) status = matcher->accept(id);
      if (status) continue;
      EXPECT_EQ(status.error().code, Code::kExhausted) << schema << ": " << status.error().message;
      break;
    }
  }
}

// Each schema of its own must leave nothing behind (GHSA-mgrm-fgjv-mhv8: a cache of grammars that clients filled).
TEST_F(GrammarTest, T_C6_UniqueSchemasLeaveNothingBehind) {
  const auto compile_many = [&](int first, int count) {
    for (int i = first; i < first + count; ++i) {
      EXPECT_TRUE(compile(R"({"type":"object","properties":{"p)" + std::to_string(i) +
                          R"(":{"type":"string","pattern":"^[a-z]{1,)" + std::to_string(i + 1) + R"(}$"}}})"));
    }
  };
  compile_many(0, 100);
  const std::size_t before = mallinfo2().uordblks;
  compile_many(100, 300);
  // One grammar alone holds some 100 KiB.
  EXPECT_LT(mallinfo2().uordblks, before + (1u << 20));
}

TEST_F(GrammarTest, LarkStandsAroundSchemas) {
  const std::vector<std::string> schemas = {R"({"type":"integer"})", R"({"type":"null"})"};
  const auto grammar = Grammar::from_lark("start: \"a\" @s0 | \"b\" @s1 \"!\"\n", schemas, tokenizer_);
  ASSERT_TRUE(grammar) << grammar.error().message;
  for (const auto& [text, is_right] : std::vector<std::pair<std::string_view, bool>>{
           {"a12", true}, {"bnull!", true}, {"anull", false}, {"b1", false}, {"bnull", false}}) {
    const auto matcher = (*grammar)->start().value();
    EXPECT_EQ(feed(*matcher, text) == text.size() && allows(mask(*matcher), end()), is_right) << text;
  }
}

TEST_F(GrammarTest, LarkSaysWhichSchemaCannotBeHonoured) {
  const std::vector<std::string> schemas = {"true", R"({"type":"array","items":{"uniqueItems":true}})"};
  const auto grammar = Grammar::from_lark("start: @s0 @s1\n", schemas, tokenizer_);
  ASSERT_FALSE(grammar);
  EXPECT_EQ(grammar.error().code, Code::kInvalidArgument) << grammar.error().message;
  EXPECT_EQ(grammar.error().where, "/1/items/uniqueItems");
  const std::vector<std::string> large = {std::string(200'000, ' ') + "{}", std::string(200'000, ' ') + "{}"};
  EXPECT_EQ(Grammar::from_lark("start: @s0 @s1\n", large, tokenizer_).error().code, Code::kExhausted);
  EXPECT_EQ(Grammar::from_lark(std::string(600'000, ' '), {}, tokenizer_).error().code, Code::kExhausted);
  for (const std::string_view lark : {"", "start: @s0\n", "start: unknown\n", "start: /(/\n", "\xff"}) {
    const auto broken = Grammar::from_lark(lark, {}, tokenizer_);
    ASSERT_FALSE(broken) << lark;
    EXPECT_EQ(broken.error().code, Code::kInvalidArgument) << lark << ": " << broken.error().message;
  }
}

std::vector<TokenId> forced_by(Matcher& matcher) {
  std::vector<TokenId> tokens = {1, 2, 3};  // to be overwritten
  const Status status = matcher.forced(tokens);
  EXPECT_TRUE(status) << status.error().message;
  return tokens;
}

// What is forced is allowed token by token, and masks do not change by being asked for it.
TEST_F(GrammarTest, ForcedTokensAreAllowed) {
  const auto grammar =
      Grammar::from_lark(R"(start: "{\"name\": " ("true" | "null") ", and so on" /[0-9]+/)", {}, tokenizer_);
  ASSERT_TRUE(grammar) << grammar.error().message;
  const auto asked = (*grammar)->start().value();
  const auto silent = (*grammar)->start().value();
  std::string text;
  std::size_t forced = 0;
  while (text.size() < 30) {
    const std::vector<TokenId> tokens = forced_by(*asked);
    EXPECT_EQ(mask(*asked), mask(*silent)) << text;
    forced += tokens.size();
    for (const TokenId token : tokens) {
      EXPECT_TRUE(allows(mask(*silent), token)) << text;
      ASSERT_TRUE(asked->accept(token) && silent->accept(token)) << text;
      text += tokenizer_->token_bytes(token);
    }
    const auto words = mask(*silent);
    TokenId choice = 0;
    while (!allows(words, choice)) ++choice;
    ASSERT_TRUE(asked->accept(choice) && silent->accept(choice)) << text;
    text += tokenizer_->token_bytes(choice);
  }
  EXPECT_TRUE(text.starts_with("{\"name\": null, and so on")) << text;
  EXPECT_GE(forced, 15u);
}

TEST_F(GrammarTest, MarkersAreLeftToTheModel) {
  const std::vector<std::string_view> marks = {"<call>", "[CALL]"};
  const auto tokenizer = std::make_shared<ByteTokenizer>(marks);
  for (const std::string_view mark : marks) {
    const std::string lark = "start: (\"a\" | \"b\") \"cd" + std::string(mark) + "e\" /[0-9]+/";
    const auto grammar = Grammar::from_lark(lark, {}, tokenizer);
    ASSERT_TRUE(grammar) << grammar.error().message;
    const auto matcher = (*grammar)->start().value();
    ASSERT_TRUE(matcher->accept('a'));
    EXPECT_EQ(forced_by(*matcher), (std::vector<TokenId>{'c', 'd'})) << mark;
  }
}

TEST_F(GrammarTest, NothingIsForcedWhereThereIsAChoice) {
  const auto matcher = start(R"({"type":"integer"})");
  EXPECT_EQ(forced_by(*matcher), std::vector<TokenId>());
  const auto finished = start(R"({"const":"a"})");
  feed(*finished, R"("a")");
  EXPECT_TRUE(finished->is_finished());
  EXPECT_EQ(forced_by(*finished), std::vector<TokenId>());
}

TEST_F(GrammarTest, ATokenizerWithoutAnEndIsRefused) {
  class Endless final : public Tokenizer {
   public:
    Result<std::vector<TokenId>> encode(std::string_view, const EncodeOptions&) const override {
      return std::vector<TokenId>{};
    }
    Result<std::string> decode(std::span<const TokenId>, bool) const override { return ""; }
    std::size_t vocab() const override { return 1; }
    std::string_view token_bytes(TokenId) const override { return "a"; }
    bool is_special(TokenId) const override { return false; }
    TokenId id_of(std::string_view) const override { return -1; }
    TokenId bos() const override { return -1; }
    std::span<const TokenId> eos() const override { return {}; }
    bool adds_bos() const override { return false; }
    bool strips_leading_space() const override { return false; }
  };
  EXPECT_EQ(Grammar::any_json_object(std::make_shared<Endless>()).error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace autoglm::text
