// SPDX-License-Identifier: Apache-2.0
// The server over the real engine on a scripted model: grammars, and every pair of features together.
#include <thread>

#include "base/random.h"
#include "engine/engine.h"
#include "server/server_fixture.h"

namespace autoglm::server {
namespace {

using testing::HasSubstr;

constexpr std::string_view kScript = R"(
== weather*json
{"city":"Paris","degrees":21}
== dice
You rolled <|random:8|>.
== letters
"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxEsWarEinmalEineMutterGeißDieHatteSiebenJunge"
== endless
again <|repeat|>
== <|tool|>*4<|end|>
It is 4.
== marker*json
{"city":"<tool_call>","degrees":1}
== add bare
{"name": "add", "arguments": {"a": 2, "b": 2}}
== add two numbers
<tool_call>
{"name": "add", "arguments": {"a": 2, "b": 2}}
</tool_call>
== add twice
Let me see.
<tool_call>
{"name": "add", "arguments": {"a": 1, "b": 2}}
</tool_call>
<tool_call>
{"name": "add", "arguments": {"a": 3, "b": 4}}
</tool_call>
==
Hello from the script.
)";

class ScriptedServer : public ServerFixture {
 protected:
  void SetUp() override {
    auto model = engine::load_script(kScript);
    ASSERT_TRUE(model) << model.error().message;
    model->card.name = "fake-model";
    auto generator = engine::start_engine(
        std::move(*model), {.max_batch_size = 4, .context_length = 1024, .kv_bytes = 1u << 20}, clock_, metrics_);
    ASSERT_TRUE(generator) << generator.error().message;
    engine_ = std::move(*generator);
    auto server = start_server(*engine_, {.port = 0}, clock_, metrics_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  std::unique_ptr<generation::Generator> engine_;
};

std::string schema_format(std::string_view schema) {
  return R"("response_format":{"type":"json_schema","json_schema":{"name":"s","schema":)" + std::string(schema) + "}}";
}

TEST_F(ScriptedServer, AnswersChatsAndCompletions) {
  EXPECT_EQ(text_of(at(parsed(post("/v1/chat/completions", chat("hi")).body), "choices", 0, "message", "content")),
            "Hello from the script.");
  const json::Value text = parsed(post("/v1/completions", completion("hi", R"("max_tokens":64)")).body);
  EXPECT_EQ(text_of(at(text, "choices", 0, "text")), "Hello from the script.");
  EXPECT_EQ(text_of(at(text, "choices", 0, "finish_reason")), "stop");
}

TEST_F(ScriptedServer, SchemasAreKept) {
  const std::string schema = R"({"type":"object","properties":{"city":{"type":"string"},"degrees":{"type":"integer"}},)"
                             R"("required":["city","degrees"],"additionalProperties":false})";
  const json::Value body =
      parsed(post("/v1/chat/completions", chat("the weather as json", schema_format(schema))).body);
  EXPECT_EQ(text_of(at(body, "choices", 0, "message", "content")), R"({"city":"Paris","degrees":21})");
  const json::Value any = parsed(
      post("/v1/chat/completions", chat("the weather as json", R"("response_format":{"type":"json_object"})")).body);
  EXPECT_EQ(text_of(at(any, "choices", 0, "message", "content")), R"({"city":"Paris","degrees":21})");
}

TEST_F(ScriptedServer, SchemasThatCannotBeHonouredArePointedAt) {
  const net::RawResponse response =
      post("/v1/chat/completions",
           chat("x", schema_format(R"({"type":"object","properties":{"a":{"type":"string","pattern":"(?=x)y"}}})")));
  EXPECT_EQ(response.status, 400) << response.body;
  const json::Value body = parsed(response.body);
  EXPECT_THAT(text_of(at(body, "error", "param")), testing::StartsWith("/response_format/json_schema/schema"));
  EXPECT_THAT(text_of(at(body, "error", "message")), HasSubstr(text_of(at(body, "error", "param"))));
}

TEST_F(ScriptedServer, TokensThatTheModelHasNotAreRefusedByTheNameOfTheirParameter) {
  expect_error(post("/v1/chat/completions", chat("x", R"("stop_token_ids":[1000000])")), 400, "invalid_argument",
               "stop_token_ids");
  expect_error(post("/v1/chat/completions", chat("x", R"("logit_bias":{"1000000":1})")), 400, "invalid_argument",
               "logit_bias");
  expect_error(post("/v1/completions", R"({"model":"fake-model","prompt":[1000000]})"), 400, "invalid_argument",
               "prompt");
}

TEST_F(ScriptedServer, T_C3_HostileSchemasAreRefusedBeforeTheEngine) {
  const std::pair<std::string, std::string> bombs[] = {
      {R"({"$ref":"http://example.org/schema"})", "/$ref"},
      {R"({"$ref":"file:///etc/passwd"})", "/$ref"},
      {R"({"type":"nothing"})", "/type"},
      {R"({"type":"string","pattern":"("})", "/pattern"},
      {R"({"type":"string","pattern":"*"})", "/pattern"},
      {R"({"type":"string","pattern":"((a{1,999}){1,999}){1,999}"})", "/pattern"},
      {R"({"type":"object","additionalProperties":{"pattern":"^((a{1,99}){1,99}){1,99}$"}})",
       "/additionalProperties/pattern"},
      {R"({"type":"integer","multipleOf":1000003})", "/multipleOf"},
      {R"({"allOf":[{"multipleOf":97},{"multipleOf":89},{"multipleOf":83}]})", "/allOf/2/multipleOf"}};
  for (const auto& [schema, place] : bombs) {
    for (const char* more : {R"(,"max_tokens":4)", R"(,"max_tokens":4,"stream":true)"}) {
      const net::RawResponse response = post("/v1/chat/completions", chat("x", schema_format(schema) + more));
      expect_error(response, 400, "invalid_argument", "/response_format/json_schema/schema" + place);
      EXPECT_THAT(response.body, testing::Not(HasSubstr("root:")));
      const std::string tool =
          R"("tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"x":)" +
          schema + R"(},"required":["x"]}}}])";
      expect_error(post("/v1/chat/completions", chat("x", tool + more)), 400, "invalid_argument",
                   "/tools/0/function/parameters/properties/x" + place);
    }
  }
  EXPECT_EQ(post("/v1/chat/completions", chat("x", schema_format(std::string(100'000, '[')))).status, 400);
  EXPECT_EQ(post("/v1/chat/completions", chat("hi")).status, 200);
}

// What only an answer finds out ends that answer: with an error of its request, and not a token without the grammar.
TEST_F(ScriptedServer, T_C4_AGrammarThatGetsTooDearEndsItsAnswerOnly) {
  const std::string costly = schema_format(R"({"type":"string","pattern":"^x{40}(\\p{L}{1,100}){1,100}$"})");
  const net::RawResponse whole = post("/v1/chat/completions", chat("letters", costly));
  expect_error(whole, 400, "invalid_argument", "/response_format/json_schema/schema");
  const net::RawResponse streamed = post("/v1/chat/completions", chat("letters", costly + R"(,"stream":true)"));
  EXPECT_EQ(streamed.status, 200);
  EXPECT_THAT(streamed.body, HasSubstr(R"("content":"x")"));
  const json::Value last = parsed(events_of(streamed.body).back());
  EXPECT_EQ(text_of(at(last, "error", "code")), "invalid_argument");
  EXPECT_EQ(text_of(at(last, "error", "param")), "/response_format/json_schema/schema");
  EXPECT_EQ(post("/v1/chat/completions", chat("hi")).status, 200);
}

// Feature combinations have ended other engines (CVE-2026-44223 and its like): here every pair is tried, and the server
// lives.
TEST_F(ScriptedServer, T_E4_EveryPairOfFeaturesEndsInOrder) {
  const std::vector<std::string> features = {R"("stream":true)",
                                             R"("n":3)",
                                             R"("max_tokens":1)",
                                             R"("max_tokens":40)",
                                             R"("min_tokens":3)",
                                             R"("temperature":0)",
                                             R"("temperature":2)",
                                             R"("top_p":0)",
                                             R"("top_p":0.1)",
                                             R"("top_k":1)",
                                             R"("min_p":1)",
                                             R"("repetition_penalty":10)",
                                             R"("repetition_penalty":0.1)",
                                             R"("frequency_penalty":2)",
                                             R"("presence_penalty":-2)",
                                             R"("logit_bias":{"72":-100})",
                                             R"("logit_bias":{"260":100})",
                                             R"("seed":18446744073709551615)",
                                             R"("stop":"script")",
                                             R"("stop":["e","H"])",
                                             R"("stop_token_ids":[101])",
                                             R"("ignore_eos":true)",
                                             R"("skip_special_tokens":false)",
                                             R"("return_token_ids":true)",
                                             R"("response_format":{"type":"json_object"})",
                                             R"("chat_template_kwargs":{"messages":[]})",
                                             R"("add_generation_prompt":false)"};
  const std::vector<std::string> chat_only = {R"("logprobs":true,"top_logprobs":20)", R"("max_completion_tokens":2)",
                                              R"("tools":[{"type":"function","function":{"name":"f"}}])"};
  const std::vector<std::string> completion_only = {R"("logprobs":20)", R"("echo":true)", R"("max_tokens":0)",
                                                    R"("add_special_tokens":false)", R"("parse_special":true)"};
  int calls = 0;
  const auto try_pairs = [&](std::vector<std::string> all, const std::vector<std::string>& more, std::string_view path,
                             auto body_of) {
    all.insert(all.end(), more.begin(), more.end());
    net::TestClient client(port());
    for (std::size_t a = 0; a < all.size(); ++a) {
      for (std::size_t b = a; b < all.size(); ++b) {
        const std::string name_a = all[a].substr(0, all[a].find(':'));
        if (a != b && all[b].starts_with(name_a + ":")) continue;  // one field twice is no pair
        const std::string pair = a == b ? all[a] : all[a] + "," + all[b];
        client.send(request("POST", path, body_of(pair)));
        const net::RawResponse response = client.read_response();
        ASSERT_TRUE(response.is_complete) << pair;
        ASSERT_THAT(response.status, testing::AnyOf(200, 400, 500)) << pair << response.body;
        ++calls;
      }
    }
  };
  // A bound on length keeps repetition from running to the end of the context.
  try_pairs(features, chat_only, "/v1/chat/completions", [](const std::string& pair) {
    return chat("roll the dice", pair.find("max_") == std::string::npos ? pair + R"(,"max_tokens":30)" : pair);
  });
  try_pairs(features, completion_only, "/v1/completions",
            [](const std::string& pair) { return completion("roll the dice", pair); });
  EXPECT_GT(calls, 700);
  EXPECT_EQ(text_of(at(parsed(post("/v1/chat/completions", chat("hi")).body), "choices", 0, "message", "content")),
            "Hello from the script.");
}

TEST_F(ScriptedServer, MetricsTellWhereTheTimeWent) {
  post("/v1/chat/completions", chat("hi"));
  post("/tokenize", R"({"prompt":"some words"})");
  const telemetry::StageTimes times = metrics_.stages().read();
  EXPECT_EQ(times[telemetry::Stage::kTemplate].calls, 1u);
  EXPECT_EQ(times[telemetry::Stage::kTokenise].calls, 2u);
  EXPECT_GT(times[telemetry::Stage::kSample].calls, 0u);
  EXPECT_GT(times[telemetry::Stage::kDetokenise].calls, 0u);
  const std::string text = get("/metrics").body;
  for (const telemetry::StageSpec& spec : telemetry::all_stages()) {
    EXPECT_THAT(text, HasSubstr("\nopenautoglm_stage_seconds_total{stage=\"" + std::string(spec.name) + "\"} "));
  }
  EXPECT_THAT(text, testing::Not(HasSubstr("{stage=\"tokenise\"} 0\n")));
  EXPECT_THAT(text, HasSubstr("{stage=\"attention\"} 0\n")) << "a script computes nothing";
}

// In the queue, in the prompt, in the answer: those who leave give back all that they held.
TEST_F(ScriptedServer, AThousandDisconnectsLeaveNothingBehind) {
  base::Random random(11);
  for (int i = 0; i < 1000; ++i) {
    net::TestClient client(port());
    client.send(request("POST", "/v1/chat/completions",
                        chat("endless" + std::string(random.below(600), 'x'), R"("stream":true)")));
    const std::uint64_t stage = random.below(4);
    if (stage == 1) client.read_until("\r\n\r\n");
    if (stage == 2) client.read_until("content\":\"a");
    if (stage == 3) client.half_close();
    client.abort();
  }
  const base::Time give_up = clock_.now() + std::chrono::seconds(30);
  while (engine_->in_flight() > 0 && clock_.now() < give_up) std::this_thread::yield();
  EXPECT_EQ(engine_->in_flight(), 0u);
  EXPECT_EQ(text_of(at(parsed(post("/v1/chat/completions", chat("hi")).body), "choices", 0, "message", "content")),
            "Hello from the script.");
  server_.reset();
  engine_.reset();
  const std::string counted = metrics_.expose();
  EXPECT_THAT(counted, HasSubstr("\nopenautoglm_kv_blocks_used 0\n"));
  EXPECT_THAT(counted, HasSubstr("\nopenautoglm_requests_running 0\n"));
  EXPECT_THAT(counted, HasSubstr("\nopenautoglm_requests_waiting 0\n"));
  EXPECT_THAT(counted, HasSubstr("\nopenautoglm_requests_finished_total{reason=\"stop\"} 1\n"));
  EXPECT_THAT(counted, testing::Not(HasSubstr("\nopenautoglm_requests_finished_total{reason=\"cancelled\"} 0\n")));
}

TEST_F(ScriptedServer, BystandersDoNotNoticeThoseWhoLeave) {
  const std::string expected =
      text_of(at(parsed(post("/v1/chat/completions", chat("roll the dice", R"("seed":5,"max_tokens":40)")).body),
                 "choices", 0, "message", "content"));
  std::thread leaving([&] {
    for (int i = 0; i < 50; ++i) {
      net::TestClient client(port());
      client.send(request("POST", "/v1/chat/completions", chat("endless", R"("stream":true)")));
      if (i % 2 == 0) client.read_until("content\":\"a");
      client.abort();
    }
  });
  for (int i = 0; i < 50; ++i) {
    const json::Value body =
        parsed(post("/v1/chat/completions", chat("roll the dice", R"("seed":5,"max_tokens":40)")).body);
    EXPECT_EQ(text_of(at(body, "choices", 0, "message", "content")), expected);
  }
  leaving.join();
}

constexpr std::string_view kAdd =
    R"("tools":[{"type":"function","function":{"name":"add","parameters":{"type":"object","properties":)"
    R"({"a":{"type":"integer"},"b":{"type":"integer"}},"required":["a","b"],"additionalProperties":false}}}])";

TEST_F(ScriptedServer, ACallIsAnsweredAsACall) {
  for (const std::string_view choice :
       {R"("auto")", R"("required")", R"({"type":"function","function":{"name":"add"}})"}) {
    const std::string more = std::string(kAdd) + R"(,"tool_choice":)" + std::string(choice);
    const json::Value body = parsed(post("/v1/chat/completions", chat("add two numbers", more)).body);
    EXPECT_EQ(text_of(at(body, "choices", 0, "finish_reason")), "tool_calls") << choice;
    EXPECT_TRUE(at(body, "choices", 0, "message", "content").is_null());
    const json::Value& call = at(body, "choices", 0, "message", "tool_calls", 0);
    EXPECT_EQ(text_of(at(call, "type")), "function");
    EXPECT_EQ(text_of(at(call, "function", "name")), "add");
    EXPECT_EQ(text_of(at(call, "function", "arguments")), R"({"a": 2, "b": 2})");
    EXPECT_TRUE(text_of(at(call, "id")).starts_with("call_"));
  }
}

TEST_F(ScriptedServer, SeveralCallsKeepTheTextBeforeThem) {
  const json::Value body = parsed(post("/v1/chat/completions", chat("add twice", kAdd)).body);
  EXPECT_EQ(text_of(at(body, "choices", 0, "message", "content")), "Let me see.");
  const json::Array& calls = at(body, "choices", 0, "message", "tool_calls").as_array();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_NE(text_of(at(calls[0], "id")), text_of(at(calls[1], "id")));
  EXPECT_EQ(text_of(at(calls[1], "function", "arguments")), R"({"a": 3, "b": 4})");
}

TEST_F(ScriptedServer, StreamedCallsComeAsDeltas) {
  const std::string body =
      post("/v1/chat/completions", chat("add twice", std::string(kAdd) + R"(,"stream":true)")).body;
  std::vector<std::string> arguments;
  std::vector<std::string> ids;
  std::string text;
  std::string finish;
  for (const std::string& event : events_of(body)) {
    if (event == "[DONE]") continue;
    const json::Value chunk = parsed(event);
    const json::Value& choice = at(chunk, "choices", 0);
    if (at(choice, "finish_reason").is_string()) finish = text_of(at(choice, "finish_reason"));
    const json::Object& delta = at(choice, "delta").as_object();
    if (const json::Value* content = delta.if_contains("content"); content != nullptr) text += text_of(*content);
    const json::Value* calls = delta.if_contains("tool_calls");
    if (calls == nullptr) continue;
    const json::Object& call = calls->as_array().at(0).as_object();
    const auto index = static_cast<std::size_t>(call.at("index").to_number<std::int64_t>());
    if (call.contains("id")) {
      ASSERT_EQ(index, ids.size()) << "a call begins with its id, once, in order";
      ids.push_back(text_of(call.at("id")));
      EXPECT_EQ(text_of(at(call.at("function"), "name")), "add");
      arguments.emplace_back();
    }
    ASSERT_LT(index, arguments.size());
    arguments[index] += text_of(at(call.at("function"), "arguments"));
  }
  EXPECT_EQ(text, "Let me see.");
  EXPECT_EQ(finish, "tool_calls");
  EXPECT_THAT(arguments, testing::ElementsAre(R"({"a": 1, "b": 2})", R"({"a": 3, "b": 4})"));
  EXPECT_TRUE(body.ends_with("data: [DONE]\n\n"));
}

// The content of an answer, streamed or not, and the arguments of its calls one after the other.
std::pair<std::string, std::string> said_and_called(const net::RawResponse& response) {
  std::pair<std::string, std::string> out;
  const auto take = [&](const json::Value& part) {
    const json::Object& fields = part.as_object();
    const json::Value* content = fields.if_contains("content");
    if (content != nullptr && content->is_string()) out.first += text_of(*content);
    const json::Value* calls = fields.if_contains("tool_calls");
    if (calls == nullptr || !calls->is_array()) return;
    for (const json::Value& call : calls->get_array()) out.second += text_of(at(call, "function", "arguments"));
  };
  EXPECT_EQ(response.status, 200) << response.body;
  if (response.body.starts_with("{")) {
    take(at(parsed(response.body), "choices", 0, "message"));
  } else {
    for (const std::string& event : events_of(response.body)) {
      if (event != "[DONE]") take(at(parsed(event), "choices", 0, "delta"));
    }
  }
  return out;
}

constexpr std::string_view kCity =
    R"({"type":"object","properties":{"city":{"type":"string"},"degrees":{"type":"integer"}},)"
    R"("required":["city","degrees"],"additionalProperties":false})";

TEST_F(ScriptedServer, WithToolsAndASchemaAnAnswerIsACallOrKeepsTheSchema) {
  const std::string closed = schema_format(kCity);
  const std::string open = R"("response_format":{"type":"json_object"})";
  const std::string arguments = R"({"a": 2, "b": 2})";
  const std::string bare = R"({"name": "add", "arguments": {"a": 2, "b": 2}})";
  struct Case {
    std::string_view asked;
    std::string format, said, called;
  };
  const Case cases[] = {
      {"add two numbers", closed, "", arguments},
      {"add two numbers", open, "", arguments},
      {"the weather as json", closed, R"({"city":"Paris","degrees":21})", ""},
      {"the weather as json", open, R"({"city":"Paris","degrees":21})", ""},
      {"a marker as json", closed, R"({"city":"<tool_call>","degrees":1})", ""},
      // Without a marker it is a call only where the answer could not look like one.
      {"add bare", closed, "", arguments},
      {"add bare", open, bare, ""},
  };
  for (const Case& test : cases) {
    for (const std::string_view stream : {"false", "true"}) {
      const std::string more = std::string(kAdd) + "," + test.format + R"(,"stream":)" + std::string(stream);
      EXPECT_EQ(said_and_called(post("/v1/chat/completions", chat(test.asked, more))),
                std::pair(test.said, test.called))
          << test.asked << ", " << test.format << ", stream: " << stream;
    }
  }
  const std::string required = std::string(kAdd) + "," + closed + R"(,"tool_choice":"required")";
  EXPECT_EQ(said_and_called(post("/v1/chat/completions", chat("add two numbers", required))),
            std::pair(std::string(), arguments));
  // Text is neither; this script insists on it.
  EXPECT_EQ(post("/v1/chat/completions", chat("hi", std::string(kAdd) + "," + closed)).status, 500);
}

TEST_F(ScriptedServer, WithToolsASchemaThatCannotBeHonouredIsPointedAtToo) {
  const std::string bad = schema_format(R"({"type":"object","properties":{"a":{"type":"string","pattern":"(?=x)y"}}})");
  for (const std::string_view choice : {"auto", "required"}) {
    const std::string more = std::string(kAdd) + "," + bad + R"(,"tool_choice":")" + std::string(choice) + "\"";
    const net::RawResponse refused = post("/v1/chat/completions", chat("hi", more));
    EXPECT_EQ(refused.status, 400) << refused.body;
    EXPECT_THAT(text_of(at(parsed(refused.body), "error", "param")),
                testing::StartsWith("/response_format/json_schema/schema/properties/a"));
  }
}

TEST_F(ScriptedServer, AToolsResultGoesBackIntoTheConversation) {
  const json::Value body = parsed(
      post(
          "/v1/chat/completions",
          R"({"model":"fake-model","messages":[{"role":"user","content":"add two numbers"},)"
          R"({"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":)"
          R"({"name":"add","arguments":"{\"a\":2,\"b\":2}"}}]},{"role":"tool","tool_call_id":"call_1","content":"4"}],)" +
              std::string(kAdd) + "}")
          .body);
  EXPECT_EQ(text_of(at(body, "choices", 0, "message", "content")), "It is 4.");
  EXPECT_EQ(text_of(at(body, "choices", 0, "finish_reason")), "stop");
}

TEST_F(ScriptedServer, WithoutToolsACallIsText) {
  const json::Value body = parsed(
      post("/v1/chat/completions", chat("add two numbers", std::string(kAdd) + R"(,"tool_choice":"none")")).body);
  EXPECT_THAT(text_of(at(body, "choices", 0, "message", "content")), HasSubstr("<tool_call>"));
  EXPECT_EQ(text_of(at(body, "choices", 0, "finish_reason")), "stop");
}

TEST_F(ScriptedServer, ASchemaThatCannotBeHonouredIsRefusedWithItsPointer) {
  constexpr std::string_view kTools =
      R"json("tools":[{"type":"function","function":{"name":"ok"}},{"type":"function","function":{"name":"bad",)json"
      R"json("parameters":{"type":"object","properties":{"x":{"type":"string","pattern":"(?=a)"}}}}}],)json"
      R"json("tool_choice":{"type":"function","function":{"name":"bad"}})json";
  const auto refused = post("/v1/chat/completions", chat("hi", std::string(kTools)));
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, HasSubstr("/tools/1/function/parameters"));
}

}  // namespace
}  // namespace autoglm::server
