// SPDX-License-Identifier: Apache-2.0
// Every field of every body: its bounds from both sides, and whatever else JSON can hold in its place.
#include "protocol/openai_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/random.h"

namespace autoglm::protocol {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Lt;
using testing::SizeIs;
using testing::StartsWith;

std::string chat(std::string_view more = {}) {
  return R"({"model":"m","messages":[{"role":"user","content":"x"}])" + std::string(more.empty() ? "" : ",") +
         std::string(more) + "}";
}
std::string completion(std::string_view more = {}) {
  return R"({"model":"m","prompt":"x")" + std::string(more.empty() ? "" : ",") + std::string(more) + "}";
}
std::string member(std::string_view name, std::string_view value) {
  return "\"" + std::string(name) + "\":" + std::string(value);
}

// The field that a body is refused for; "" when it is accepted.
std::string refusal(const auto& result) {
  if (result) return "";
  EXPECT_EQ(result.error().code, Code::kInvalidArgument) << result.error().message;
  return result.error().where.empty() ? "body" : result.error().where;
}
std::string chat_refusal(std::string_view more) { return refusal(parse_chat_request(chat(more))); }
std::string completion_refusal(std::string_view more) { return refusal(parse_completion_request(completion(more))); }

// What a field takes, and what lies just outside.
struct FieldCase {
  const char* name;
  std::vector<std::string> good;
  std::vector<std::string> bad;
  const char* with = "";  // members that the field needs beside it
};

const std::vector<FieldCase>& shared_fields() {
  static const std::vector<FieldCase> cases = {
      {"stream", {"true", "false"}, {"1", "\"true\""}},
      {"n", {"1", "32", "2.0"}, {"0", "33", "-1", "1.5"}},
      {"max_tokens", {"1", "1048576", "1e3"}, {"-1", "1048577", "0.5"}},
      {"min_tokens", {"0", "1048576"}, {"-1", "1048577"}},
      {"temperature", {"0", "-0", "-0.0", "2", "0.7", "5e-324"}, {"-0.0001", "2.0001", "-1"}},
      {"top_p", {"0", "1", "0.5"}, {"-0.0001", "1.0001"}},
      {"min_p", {"0", "1", "0.5"}, {"-0.0001", "1.0001"}},
      {"top_k", {"-1", "0", "1048576"}, {"-2", "1048577", "0.5"}},
      {"repetition_penalty", {"0.1", "1", "10"}, {"0", "0.0999", "10.0001"}},
      {"frequency_penalty", {"-2", "2"}, {"-2.0001", "2.0001"}},
      {"presence_penalty", {"-2", "2"}, {"-2.0001", "2.0001"}},
      {"logit_bias",
       {"{}", R"({"0":-100,"2147483647":100})"},
       {"[]", R"({"a":1})", R"({"-1":1})", R"({"1":100.0001})", R"({"1":-100.0001})", R"({"1":"1"})", R"({"1":null})",
        R"({"2147483648":1})", R"({"":1})"}},
      {"seed", {"0", "-1", "9223372036854775807", "-9223372036854775808", "18446744073709551615"}, {"0.5", "1e30"}},
      {"stop", {"\"a\"", "[]", R"(["a","b"])"}, {"\"\"", "[\"\"]", "[1]", "[null]", "[[]]"}},
      {"stop_token_ids", {"[]", "[0,2147483647]"}, {"[-1]", "[2147483648]", "[0.5]", "[\"1\"]", "[null]"}},
      {"ignore_eos", {"true", "false"}, {"1"}},
      {"skip_special_tokens", {"true", "false"}, {"1"}},
      {"return_token_ids", {"true", "false"}, {"1"}},
      {"response_format",
       {R"({"type":"text"})", R"({"type":"json_object"})",
        R"({"type":"json_schema","json_schema":{"name":"a","schema":{}}})"},
       {}},
  };
  return cases;
}

// What never is a good value of any field above.
const std::vector<std::string> kNever = {"\"1e999\"",
                                         "9223372036854775808e300",
                                         "1e308",
                                         "-1e308",
                                         "-9223372036854775809",
                                         "18446744073709551616",
                                         "{\"a\":{}}",
                                         "[{}]"};

TEST(SharedFields, T_E3_TakeTheirRangeAndNothingElse) {
  for (const FieldCase& field : shared_fields()) {
    for (const auto& refuses : {chat_refusal, completion_refusal}) {
      EXPECT_EQ(refuses(member(field.name, "null")), "") << field.name;
      for (const std::string& good : field.good)
        EXPECT_EQ(refuses(member(field.name, good)), "") << field.name << " " << good;
      for (const std::string& bad : field.bad)
        EXPECT_TRUE(refuses(member(field.name, bad)).starts_with(field.name)) << field.name << " " << bad;
      for (const std::string& never : kNever) {
        if (std::string_view(field.name) == "stop" && never.starts_with('"')) continue;
        EXPECT_TRUE(refuses(member(field.name, never)) != "") << field.name << " " << never;
      }
    }
  }
}

TEST(SharedFields, ABiasIsRefusedByWhatCame) {
  const auto message = [](std::string_view biases) {
    const auto refused = parse_chat_request(chat(member("logit_bias", biases)));
    return refused ? std::string() : refused.error().where + ": " + refused.error().message;
  };
  EXPECT_THAT(message(R"({"5":1,"Paris":1})"), HasSubstr(R"("Paris")"));
  EXPECT_THAT(message(R"({"5":1,"7":101})"), AllOf(StartsWith("logit_bias.7: "), HasSubstr("101")));
  EXPECT_THAT(message(R"({"7":null})"), AllOf(StartsWith("logit_bias.7: "), HasSubstr("null")));
  EXPECT_THAT(message("{\"" + std::string(1000, '0') + "\":1}"), AllOf(HasSubstr("1000"), SizeIs(Lt(200u))));
}

TEST(SharedFields, T_E3_AreNeverReadFromRandomValuesOutsideTheirRange) {
  constexpr std::uint64_t kSeed = 20'26;
  base::Random random(kSeed);
  const std::vector<std::string> atoms = {"null",
                                          "true",
                                          "0",
                                          "-0",
                                          "1",
                                          "-1",
                                          "0.5",
                                          "1e308",
                                          "-1e308",
                                          "9223372036854775807",
                                          "9223372036854775808",
                                          "18446744073709551615",
                                          "18446744073709551616",
                                          "\"\"",
                                          "\"x\"",
                                          "[]",
                                          "{}",
                                          "[0]",
                                          "[null]",
                                          "{\"1\":1}",
                                          "2147483648"};
  for (int round = 0; round < 5000; ++round) {
    std::string more;
    for (std::string_view name : chat_parameters()) {
      if (name == "model" || name == "messages" || random.below(6) != 0) continue;
      more += (more.empty() ? "" : ",") + member(name, atoms[random.below(atoms.size())]);
    }
    const auto request = parse_chat_request(chat(more));
    if (!request) {
      ASSERT_EQ(request.error().code, Code::kInvalidArgument) << more;
      continue;
    }
    const Parameters& p = request->parameters;
    ASSERT_TRUE(p.n >= 1 && p.n <= kMaxChoices && p.max_tokens.value_or(1) >= 1 &&
                p.max_tokens.value_or(1) <= kMaxTokens)
        << more << " seed " << kSeed;
    ASSERT_TRUE(p.temperature >= 0 && p.temperature <= 2 && p.top_p >= 0 && p.top_p <= 1 && p.top_k >= 0 &&
                p.top_logprobs <= 20)
        << more << " seed " << kSeed;
  }
}

TEST(ChatFields, LengthHasTwoNames) {
  EXPECT_EQ(parse_chat_request(chat(R"("max_completion_tokens":5)"))->parameters.max_tokens, 5u);
  EXPECT_EQ(parse_chat_request(chat(R"("max_completion_tokens":5,"max_tokens":5)"))->parameters.max_tokens, 5u);
  EXPECT_EQ(chat_refusal(R"("max_completion_tokens":5,"max_tokens":6)"), "max_completion_tokens");
  EXPECT_EQ(chat_refusal(R"("max_completion_tokens":0)"), "max_completion_tokens");
  EXPECT_EQ(chat_refusal(R"("max_tokens":0)"), "max_tokens");
  EXPECT_EQ(completion_refusal(R"("max_completion_tokens":5)"), "max_completion_tokens");
  EXPECT_EQ(chat_refusal(R"("max_tokens":5,"min_tokens":6)"), "min_tokens");
}

TEST(ChatFields, T_E2_LogprobsAreBoundedAndAskForTheirSwitch) {
  EXPECT_EQ(chat_refusal(R"("logprobs":true,"top_logprobs":20)"), "");
  EXPECT_EQ(chat_refusal(R"("logprobs":true,"top_logprobs":21)"), "top_logprobs");
  EXPECT_EQ(chat_refusal(R"("logprobs":true,"top_logprobs":-1)"), "top_logprobs");
  EXPECT_EQ(chat_refusal(R"("top_logprobs":1)"), "top_logprobs");
  EXPECT_EQ(chat_refusal(R"("logprobs":1)"), "logprobs");
  EXPECT_EQ(completion_refusal(R"("logprobs":20)"), "");
  EXPECT_EQ(completion_refusal(R"("logprobs":21)"), "logprobs");
  EXPECT_EQ(completion_refusal(R"("logprobs":true)"), "logprobs");
}

TEST(ChatFields, StreamOptionsNeedAStream) {
  EXPECT_TRUE(
      parse_chat_request(chat(R"("stream":true,"stream_options":{"include_usage":true})"))->parameters.include_usage);
  EXPECT_EQ(chat_refusal(R"("stream_options":{"include_usage":true})"), "stream_options");
  EXPECT_EQ(chat_refusal(R"("stream":true,"stream_options":{"other":1})"), "stream_options.other");
  EXPECT_EQ(chat_refusal(R"("stream":true,"stream_options":{"include_obfuscation":true})"),
            "stream_options.include_obfuscation");
}

TEST(ChatFields, WrongToolsAreRefusedByNameAndTheirAbsenceIsNot) {
  EXPECT_EQ(chat_refusal(R"("tools":[{"type":"function","function":{"name":"f"}}])"), "");
  EXPECT_EQ(chat_refusal(R"("tools":[{"type":"function","function":{"name":1}}])"), "tools[0].function.name");
  EXPECT_EQ(chat_refusal(R"("functions":[{"name":"f"}])"), "functions");
  EXPECT_EQ(chat_refusal(R"("tools":{})"), "tools");
  EXPECT_EQ(chat_refusal(R"("tool_choice":"required")"), "tool_choice");
  EXPECT_EQ(chat_refusal(R"("tool_choice":{"type":"function"})"), "tool_choice");
  EXPECT_EQ(chat_refusal(R"("tools":[],"tool_choice":"none","parallel_tool_calls":true,"functions":null)"), "");
}

TEST(ChatFields, UnknownOnesAreNamedAndHarmlessOnesPassed) {
  for (std::string_view name : harmless_parameters()) {
    EXPECT_EQ(chat_refusal(member(name, "\"x\"")), "") << name;
    EXPECT_EQ(completion_refusal(member(name, "{}")), "") << name;
  }
  for (const char* name : {"frobnicate", "audio", "prediction", "reasoning_effort", "web_search_options",
                           "function_call", "Temperature", "prompt", ""}) {
    EXPECT_EQ(chat_refusal(member(name, "1")), *name == '\0' ? "body" : name);
  }
  EXPECT_EQ(chat_refusal(R"("modalities":["text"])"), "");
  EXPECT_EQ(chat_refusal(R"("modalities":["audio"])"), "modalities");
}

TEST(ChatFields, NamesAreThoseThatTheReadersLookFor) {
  const std::vector<std::string_view> chat_names = chat_parameters(), completion_names = completion_parameters();
  EXPECT_THAT(chat_names, testing::IsSupersetOf({"model", "messages", "tools", "max_completion_tokens", "seed"}));
  EXPECT_THAT(completion_names, testing::IsSupersetOf({"model", "prompt", "echo", "suffix", "seed"}));
  EXPECT_THAT(chat_names, testing::Not(testing::Contains("prompt")));
  EXPECT_THAT(completion_names, testing::Not(testing::Contains("messages")));
}

TEST(Messages, ContentIsTextOrTextParts) {
  const auto where = [](const std::string& message) {
    return refusal(parse_chat_request(R"({"model":"m","messages":[)" + message + "]}"));
  };
  EXPECT_EQ(where(R"({"role":"user","content":""})"), "");
  EXPECT_EQ(where(R"({"role":"user","content":[]})"), "");
  EXPECT_EQ(where(R"({"role":"assistant","content":null})"), "");
  EXPECT_EQ(where(R"({"role":"assistant"})"), "");
  EXPECT_EQ(
      where(
          R"({"role":"assistant","content":"x","refusal":null,"annotations":[],"audio":null,"tool_calls":null,"function_call":null})"),
      "");
  // The official clients' helpers write down beside a text what they read in it, and send that back too.
  EXPECT_EQ(where(R"({"role":"assistant","content":"{}","parsed":{"a":[1]}})"), "");
  EXPECT_EQ(where(R"({"role":"user","content":"{}","parsed":{"a":[1]}})"), "messages[0].parsed");
  EXPECT_EQ(where(R"({"role":"tool","content":"x","tool_call_id":"1"})"), "");
  EXPECT_EQ(where(R"({"role":"user","content":"x","name":"me"})"), "");
  EXPECT_EQ(where(R"({"role":"user","content":null})"), "messages[0].content");
  EXPECT_EQ(where(R"({"role":"user"})"), "messages[0].content");
  EXPECT_EQ(where(R"({"role":"user","content":1})"), "messages[0].content");
  EXPECT_EQ(where(R"({"role":"user","content":[1]})"), "messages[0].content[0]");
  EXPECT_EQ(where(R"({"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]})"),
            "messages[0].content[0].type");
  EXPECT_EQ(where(R"({"role":"user","content":[{"type":"text"}]})"), "messages[0].content[0].text");
  EXPECT_EQ(where(R"({"role":"user","content":[{"type":"text","text":"a","x":1}]})"), "messages[0].content[0].x");
  EXPECT_EQ(where(R"({"role":"robot","content":"x"})"), "messages[0].role");
  EXPECT_EQ(where(R"({"role":null,"content":"x"})"), "messages[0].role");
  EXPECT_EQ(where(R"({"content":"x"})"), "messages[0].role");
  EXPECT_EQ(where(R"({"role":"tool","content":"x"})"), "messages[0].tool_call_id");
  EXPECT_EQ(where(R"({"role":"assistant","content":"x","tool_calls":[{"id":"1"}]})"),
            "messages[0].tool_calls[0].function");
  EXPECT_EQ(where(R"({"role":"user","content":"x","other":1})"), "messages[0].other");
  EXPECT_EQ(where("1"), "messages[0]");
  EXPECT_EQ(refusal(parse_chat_request(R"({"model":"m","messages":[]})")), "messages");
  EXPECT_EQ(refusal(parse_chat_request(R"({"model":"m","messages":{}})")), "messages");
  EXPECT_EQ(refusal(parse_chat_request(R"({"model":"m"})")), "messages");
  EXPECT_EQ(refusal(parse_chat_request(R"({"messages":[{"role":"user","content":"x"}]})")), "model");
}

std::string repeated(std::size_t count, std::string_view item) {
  std::string list;
  for (std::size_t i = 0; i < count; ++i) list.append(i > 0 ? "," : "").append(item);
  return "[" + list + "]";
}
std::string quoted(std::size_t bytes) { return "\"" + std::string(bytes, 'a') + "\""; }

// Each bound of limits.h that the tables above do not reach: at it, and one above.
TEST(Limits, T_E1_HoldExactly) {
  const auto messages = [](std::size_t n) {
    return refusal(
        parse_chat_request(R"({"model":"m","messages":)" + repeated(n, R"({"role":"user","content":"x"})") + "}"));
  };
  EXPECT_EQ(messages(kMaxMessages), "");
  EXPECT_EQ(messages(kMaxMessages + 1), "messages");
  const auto parts = [](std::size_t n) {
    return refusal(parse_chat_request(R"({"model":"m","messages":[{"role":"user","content":)" +
                                      repeated(n, R"({"type":"text","text":"x"})") + "}]}"));
  };
  EXPECT_EQ(parts(kMaxContentParts), "");
  EXPECT_EQ(parts(kMaxContentParts + 1), "messages[0].content");
  EXPECT_EQ(completion_refusal(member("stop", repeated(kMaxStops, quoted(kMaxStopBytes)))), "");
  EXPECT_EQ(completion_refusal(member("stop", repeated(kMaxStops + 1, "\"a\""))), "stop");
  EXPECT_EQ(completion_refusal(member("stop", quoted(kMaxStopBytes + 1))), "stop");
  EXPECT_EQ(completion_refusal(member("stop_token_ids", repeated(kMaxStopTokens, "1"))), "");
  EXPECT_EQ(completion_refusal(member("stop_token_ids", repeated(kMaxStopTokens + 1, "1"))), "stop_token_ids");
  const auto model = [](std::size_t n) {
    return refusal(parse_completion_request(R"({"prompt":"x","model":)" + quoted(n) + "}"));
  };
  EXPECT_EQ(model(kMaxNameBytes), "");
  EXPECT_EQ(model(kMaxNameBytes + 1), "model");
  EXPECT_EQ(model(0), "model");
  const auto biases = [](std::size_t n) {
    std::string object;
    for (std::size_t i = 0; i < n; ++i) object += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":1";
    return completion_refusal(member("logit_bias", "{" + object + "}"));
  };
  EXPECT_EQ(biases(kMaxLogitBias), "");
  EXPECT_EQ(biases(kMaxLogitBias + 1), "logit_bias");
  const auto fields = [](std::size_t n) {
    std::string object;
    for (std::size_t i = 0; i < n; ++i) object += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":1";
    return chat_refusal(member("chat_template_kwargs", "{" + object + "}"));
  };
  EXPECT_EQ(fields(kMaxTemplateFields), "");
  EXPECT_EQ(fields(kMaxTemplateFields + 1), "chat_template_kwargs");
}

TEST(Limits, OfTextsAndSchemasHoldExactly) {
  const auto prompt = [](std::size_t n) {
    return refusal(parse_completion_request(R"({"model":"m","prompt":)" + quoted(n) + "}"));
  };
  EXPECT_EQ(prompt(kMaxTextBytes), "");
  EXPECT_EQ(prompt(kMaxTextBytes + 1), "prompt");
  const auto schema = [](std::size_t n) {  // {"const":"aaa"} has 12 bytes besides the letters
    return chat_refusal(R"("response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"const":)" +
                        quoted(n - 12) + "}}}");
  };
  EXPECT_EQ(schema(kMaxSchemaBytes), "");
  EXPECT_EQ(schema(kMaxSchemaBytes + 1), "response_format.json_schema.schema");
  const auto ids = [](std::size_t n) {
    return refusal(parse_completion_request(R"({"model":"m","prompt":)" + repeated(n, "1") + "}"));
  };
  EXPECT_EQ(ids(kMaxTokens), "");
  EXPECT_EQ(ids(kMaxTokens + 1), "prompt");
}

TEST(Limits, T_E1_OfPromptsAndProductsHoldExactly) {
  const auto prompts = [](std::size_t n, std::size_t choices) {
    return refusal(parse_completion_request(R"({"model":"m","n":)" + std::to_string(choices) + R"(,"prompt":)" +
                                            repeated(n, "\"x\"") + "}"));
  };
  EXPECT_EQ(prompts(kMaxPrompts, 1), "");
  EXPECT_EQ(prompts(kMaxPrompts + 1, 1), "prompt");
  EXPECT_EQ(prompts(2, 32), "");
  EXPECT_EQ(prompts(3, 32), "n");
  EXPECT_TRUE(check_answer_size(32, 1 << 15, 0));
  EXPECT_FALSE(check_answer_size(32, (1 << 15) + 1, 0));
  EXPECT_FALSE(check_answer_size(32, 1 << 15, 1));
  EXPECT_FALSE(check_answer_size(kMaxSequences, kMaxTokens, kMaxTopLogprobs));
}

TEST(Limits, OfTheBodyHold) {
  EXPECT_EQ(refusal(parse_chat_request(std::string(1'000'000, '['))), "body");
  const auto nested = [](std::size_t depth) {  // the body and the object are two levels of it
    return chat_refusal(R"("chat_template_kwargs":{"a":)" + std::string(depth - 2, '[') + std::string(depth - 2, ']') +
                        "}");
  };
  EXPECT_EQ(nested(kMaxJsonDepth), "");
  EXPECT_EQ(nested(kMaxJsonDepth + 1), "body");
  const auto values = [](std::size_t n) {  // the body and its other members, the object and the list are eight
    return chat_refusal(R"("chat_template_kwargs":{"a":)" + repeated(n - 8, "1") + "}");
  };
  EXPECT_EQ(values(kMaxJsonValues), "");
  EXPECT_EQ(values(kMaxJsonValues + 1), "body");
  EXPECT_EQ(refusal(parse_chat_request(R"({"model":"m","model":"m"})")), "body");
  for (const char* body :
       {"", "null", "[]", "1", "\"a\"", "{", "{}x", "\xff", "{\"a\":NaN}", "{\"a\":Infinity}", "{\"\\ud800\":1}"}) {
    EXPECT_NE(refusal(parse_chat_request(body)), "") << body;
  }
}

TEST(Formats, AreReadWithTheirPlace) {
  const auto format = [](std::string_view value) { return parse_chat_request(chat(member("response_format", value))); };
  const auto schema = format(
      R"({"type":"json_schema","json_schema":{"name":"s","strict":true,"description":"d","schema":{"b":1,"a":[true,1.5]}}})");
  ASSERT_TRUE(schema);
  EXPECT_EQ(schema->parameters.response_format.kind, FormatKind::kJsonSchema);
  EXPECT_EQ(schema->parameters.response_format.schema, R"({"b":1,"a":[true,1.5]})");
  EXPECT_EQ(schema->parameters.response_format.pointer, "/response_format/json_schema/schema");
  EXPECT_EQ(refusal(format(R"({"type":"json_schema"})")), "response_format.json_schema");
  EXPECT_EQ(refusal(format(R"({"type":"json_schema","json_schema":{"name":"s"}})")),
            "response_format.json_schema.schema");
  EXPECT_EQ(refusal(format(R"({"type":"json_schema","json_schema":{"schema":"s"}})")),
            "response_format.json_schema.schema");
  EXPECT_EQ(refusal(format(R"({"type":"json_schema","json_schema":{"schema":{},"x":1}})")),
            "response_format.json_schema.x");
  EXPECT_EQ(refusal(format(R"({"type":"grammar"})")), "response_format.type");
  EXPECT_EQ(refusal(format(R"({})")), "response_format.type");
  EXPECT_EQ(refusal(format(R"({"type":"text","json_schema":{}})")), "response_format.json_schema");
  EXPECT_EQ(refusal(format(R"("text")")), "response_format");
}

TEST(Prompts, HaveFourForms) {
  const auto prompts = [](std::string_view prompt) {
    return parse_completion_request(R"({"model":"m","prompt":)" + std::string(prompt) + "}");
  };
  EXPECT_THAT(prompts(R"("ab")")->prompts, ElementsAre(Prompt("ab")));
  EXPECT_THAT(prompts(R"(["ab",""])")->prompts, ElementsAre(Prompt("ab"), Prompt("")));
  EXPECT_THAT(prompts("[1,2]")->prompts, ElementsAre(Prompt(std::vector<std::int32_t>{1, 2})));
  EXPECT_THAT(prompts("[[1],[2,3]]")->prompts,
              ElementsAre(Prompt(std::vector<std::int32_t>{1}), Prompt(std::vector<std::int32_t>{2, 3})));
  for (const char* bad : {"null", "1", "{}", "[1,\"a\"]", "[\"a\",1]", "[[1],[\"a\"]]", "[[[1]]]", "[-1]", "[1.5]",
                          "[null]", "[2147483648]"}) {
    EXPECT_TRUE(refusal(prompts(bad)).starts_with("prompt")) << bad;
  }
}

TEST(Prompts, OfCompletionsHaveFurtherFields) {
  EXPECT_EQ(
      completion_refusal(R"("best_of":1,"suffix":null,"echo":true,"add_special_tokens":false,"parse_special":true)"),
      "");
  EXPECT_EQ(completion_refusal(R"("best_of":2)"), "best_of");
  EXPECT_EQ(completion_refusal(R"("best_of":2,"n":2)"), "");
  EXPECT_EQ(completion_refusal(R"("suffix":"x")"), "suffix");
  EXPECT_EQ(completion_refusal(R"("max_tokens":0)"), "max_tokens");
  EXPECT_EQ(completion_refusal(R"("max_tokens":0,"echo":true)"), "");
  EXPECT_EQ(completion_refusal(R"("messages":[])"), "messages");
}

TEST(Tokenizing, TakesOneTextOrOneChat) {
  EXPECT_EQ(std::get<std::string>(parse_tokenize_request(R"({"prompt":"a"})")->input), "a");
  EXPECT_EQ(std::get<std::string>(parse_tokenize_request(R"({"content":"a","model":"m"})")->input), "a");
  EXPECT_EQ(std::get<std::string>(parse_tokenize_request(R"({"text":"a"})")->input), "a");
  EXPECT_EQ(parse_tokenize_request(R"({"prompt":"a","model":"m"})")->model, "m");
  const auto chat_input = parse_tokenize_request(R"({"messages":[{"role":"user","content":"a"}]})");
  ASSERT_TRUE(chat_input);
  EXPECT_EQ(chat_input->model, "");
  EXPECT_EQ(std::get<ChatRequest>(chat_input->input).messages.size(), 1u);
  EXPECT_EQ(refusal(parse_tokenize_request("{}")), "prompt");
  EXPECT_EQ(refusal(parse_tokenize_request(R"({"prompt":"a","text":"b"})")), "text");
  EXPECT_EQ(refusal(parse_tokenize_request(R"({"prompt":1})")), "prompt");
  EXPECT_EQ(refusal(parse_tokenize_request(R"({"prompt":"a","x":1})")), "x");
  EXPECT_THAT(parse_detokenize_request(R"({"tokens":[1,2]})")->tokens, ElementsAre(1, 2));
  EXPECT_EQ(refusal(parse_detokenize_request(R"({"tokens":[-1]})")), "tokens");
  EXPECT_EQ(refusal(parse_detokenize_request("{}")), "tokens");
}

}  // namespace
}  // namespace autoglm::protocol
