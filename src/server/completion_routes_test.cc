// SPDX-License-Identifier: Apache-2.0
// Chat and completions over a socket: whole and streamed answers, choices, probabilities, ids, errors before and amid
// the answer.
#include "server/server_fixture.h"

namespace autoglm::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class CompletionRoutes : public ServerFixture {};

TEST_F(CompletionRoutes, ChatIsAnsweredWhole) {
  start();
  const net::RawResponse response = post("/v1/chat/completions", chat("hello"));
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.field("content-type"), "application/json");
  EXPECT_FALSE(response.field("x-request-id").empty());
  const json::Value body = parsed(response.body);
  EXPECT_EQ(text_of(at(body, "object")), "chat.completion");
  EXPECT_EQ(text_of(at(body, "id")), "chatcmpl-" + response.field("x-request-id"));
  EXPECT_EQ(text_of(at(body, "model")), "fake-model");
  EXPECT_TRUE(text_of(at(body, "system_fingerprint")).starts_with("fp_"));
  EXPECT_EQ(text_of(at(body, "choices", 0, "message", "role")), "assistant");
  EXPECT_EQ(text_of(at(body, "choices", 0, "message", "content")), FakeGenerator::kReply);
  EXPECT_EQ(text_of(at(body, "choices", 0, "finish_reason")), "stop");
  EXPECT_TRUE(at(body, "choices", 0, "logprobs").is_null());
  EXPECT_EQ(text_of(at(body, "usage", "completion_tokens")), "11");
  EXPECT_EQ(text_of(at(body, "usage", "prompt_tokens_details", "cached_tokens")), "3");
  const auto prompt = generator_->submitted().at(0).prompt.size();
  EXPECT_EQ(text_of(at(body, "usage", "prompt_tokens")), std::to_string(prompt));
  EXPECT_EQ(text_of(at(body, "usage", "total_tokens")), std::to_string(prompt + 11));
}

TEST_F(CompletionRoutes, ChatIsStreamed) {
  start();
  const net::RawResponse response =
      post("/v1/chat/completions", chat("hello", R"("stream":true,"stream_options":{"include_usage":true})"));
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.field("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(response.field("cache-control"), "no-store");
  const std::vector<std::string> events = events_of(response.body);
  ASSERT_GE(events.size(), 5u);
  EXPECT_EQ(events.back(), "[DONE]");
  std::string text;
  for (std::size_t i = 0; i + 2 < events.size(); ++i) {
    const json::Value chunk = parsed(events[i]);
    EXPECT_EQ(text_of(at(chunk, "object")), "chat.completion.chunk");
    EXPECT_TRUE(at(chunk, "usage").is_null());
    const json::Object& delta = at(chunk, "choices", 0, "delta").get_object();
    if (i == 0) EXPECT_EQ(text_of(delta.at("role")), "assistant");
    if (delta.contains("content")) text += text_of(delta.at("content"));
    EXPECT_EQ(at(chunk, "choices", 0, "finish_reason").is_null(), i + 3 != events.size());
  }
  EXPECT_EQ(text, FakeGenerator::kReply);
  EXPECT_EQ(text_of(at(parsed(events[events.size() - 3]), "choices", 0, "finish_reason")), "stop");
  const json::Value usage = parsed(events[events.size() - 2]);
  EXPECT_TRUE(at(usage, "choices").get_array().empty());
  EXPECT_EQ(text_of(at(usage, "usage", "completion_tokens")), "11");
}

TEST_F(CompletionRoutes, StreamWithoutUsageHasNone) {
  start();
  const net::RawResponse response = post("/v1/chat/completions", chat("hello", R"("stream":true)"));
  EXPECT_THAT(response.body, testing::Not(HasSubstr("usage")));
  EXPECT_EQ(events_of(response.body).back(), "[DONE]");
}

TEST_F(CompletionRoutes, ChoicesHaveSeedsOfTheirOwn) {
  start();
  const json::Value body = parsed(post("/v1/chat/completions", chat("hello", R"("n":3,"seed":41)")).body);
  ASSERT_EQ(at(body, "choices").get_array().size(), 3u);
  EXPECT_EQ(text_of(at(body, "choices", 2, "index")), "2");
  EXPECT_EQ(text_of(at(body, "usage", "completion_tokens")), "33");
  std::vector<std::uint64_t> seeds;
  for (const auto& request : generator_->submitted()) seeds.push_back(request.sampling.seed.value());
  EXPECT_THAT(seeds, ElementsAre(41, 42, 43));
}

TEST_F(CompletionRoutes, StreamedChoicesInterleaveAndAllFinish) {
  start();
  const net::RawResponse response = post("/v1/chat/completions", chat("hello", R"("n":3,"stream":true)"));
  std::vector<std::string> texts(3);
  int finished = 0;
  for (const std::string& event : events_of(response.body)) {
    if (event == "[DONE]") continue;
    const json::Value chunk = parsed(event);
    const auto index = static_cast<std::size_t>(at(chunk, "choices", 0, "index").to_number<int>());
    const json::Object& delta = at(chunk, "choices", 0, "delta").get_object();
    if (delta.contains("content")) texts.at(index) += text_of(delta.at("content"));
    finished += !at(chunk, "choices", 0, "finish_reason").is_null();
  }
  EXPECT_THAT(texts, testing::Each(std::string(FakeGenerator::kReply)));
  EXPECT_EQ(finished, 3);
}

TEST_F(CompletionRoutes, LengthEndsAnAnswer) {
  start();
  const json::Value body = parsed(post("/v1/chat/completions", chat("hello", R"("max_completion_tokens":2)")).body);
  EXPECT_EQ(text_of(at(body, "choices", 0, "message", "content")), "Hi");
  EXPECT_EQ(text_of(at(body, "choices", 0, "finish_reason")), "length");
}

TEST_F(CompletionRoutes, ChatLogprobsHaveTokensBytesAndAlternatives) {
  start();
  const json::Value body =
      parsed(post("/v1/chat/completions", chat("hello", R"("logprobs":true,"top_logprobs":2)")).body);
  const json::Array& content = at(body, "choices", 0, "logprobs", "content").get_array();
  ASSERT_EQ(content.size(), 11u);
  EXPECT_EQ(text_of(at(content[0], "token")), "H");
  EXPECT_EQ(at(content[0], "logprob").to_number<double>(), -0.5);
  EXPECT_EQ(text_of(at(content[5], "bytes")), "[195]");  // half a character: only the bytes are exact
  EXPECT_EQ(at(content[0], "top_logprobs").get_array().size(), 2u);
  EXPECT_EQ(text_of(at(content[0], "top_logprobs", 1, "token")), "b");  // and not the chosen "H" besides
}

// OpenAI's older shape has the chosen token among the alternatives, though it is none of the likeliest: N + 1 of them.
TEST_F(CompletionRoutes, CompletionLogprobsHoldTheChosenTokenToo) {
  start();
  const std::string options = R"("max_tokens":3,"logprobs":2)";
  const std::string expected = R"({"a":0.0,"b":-1.0,"H":-0.5})";
  const json::Value whole = parsed(post("/v1/completions", completion("x", options)).body);
  EXPECT_EQ(text_of(at(whole, "choices", 0, "logprobs", "top_logprobs", 0)), expected);
  const net::RawResponse streamed = post("/v1/completions", completion("x", options + R"(,"stream":true)"));
  EXPECT_EQ(text_of(at(parsed(events_of(streamed.body).at(0)), "choices", 0, "logprobs", "top_logprobs", 0)), expected);
  const json::Value none = parsed(post("/v1/completions", completion("x", R"("max_tokens":1,"logprobs":0)")).body);
  EXPECT_EQ(text_of(at(none, "choices", 0, "logprobs", "top_logprobs")), R"([{"H":-0.5}])");
  const json::Value echoed = parsed(post("/v1/completions", completion("x", options + R"(,"echo":true)")).body);
  EXPECT_EQ(text_of(at(echoed, "choices", 0, "logprobs", "top_logprobs", 1)), R"({"a":-2.0,"b":-3.0,"x":-2.0})");
}

TEST_F(CompletionRoutes, StreamedLogprobsCoverEveryToken) {
  start();
  const net::RawResponse response =
      post("/v1/chat/completions", chat("hello", R"("stream":true,"logprobs":true,"return_token_ids":true)"));
  std::size_t records = 0;
  std::string bytes;
  for (const std::string& event : events_of(response.body)) {
    if (event == "[DONE]") continue;
    const json::Value chunk = parsed(event);
    if (at(chunk, "choices", 0, "logprobs").is_null()) continue;
    records += at(chunk, "choices", 0, "logprobs", "content").get_array().size();
    for (const json::Value& id : at(chunk, "choices", 0, "token_ids").get_array())
      bytes.push_back(static_cast<char>(id.to_number<int>()));
  }
  EXPECT_EQ(records, 11u);
  EXPECT_EQ(bytes, FakeGenerator::kReply);
}

TEST_F(CompletionRoutes, CompletionContinuesText) {
  start();
  const json::Value body =
      parsed(post("/v1/completions", completion("abc", R"("logprobs":1,"echo":true,"max_tokens":2)")).body);
  EXPECT_EQ(text_of(at(body, "object")), "text_completion");
  EXPECT_EQ(text_of(at(body, "choices", 0, "text")), "abcHi");
  EXPECT_EQ(text_of(at(body, "choices", 0, "logprobs", "tokens")), R"(["<s>","a","b","c","H","i"])");
  EXPECT_EQ(text_of(at(body, "choices", 0, "logprobs", "token_logprobs")), "[null,-2.0,-2.0,-2.0,-0.5,-0.5]");
  EXPECT_EQ(text_of(at(body, "choices", 0, "logprobs", "text_offset")), "[0,0,1,2,3,4]");  // <s> is no text
  EXPECT_TRUE(at(body, "choices", 0, "logprobs", "top_logprobs", 0).is_null());
}

// Who scores a text leaves out the last token, which has to be one that was written, the end too.
TEST_F(CompletionRoutes, AnEchoListsTheTokenThatEndsTheAnswer) {
  start();
  const std::string options = R"("logprobs":1,"echo":true,"max_tokens":50)";
  const json::Value body = parsed(post("/v1/completions", completion("abc", options)).body);
  const json::Array& tokens = at(body, "choices", 0, "logprobs", "tokens").get_array();
  const std::size_t written = FakeGenerator::kReply.size();
  ASSERT_EQ(tokens.size(), 4 + written + 1);
  EXPECT_EQ(text_of(tokens.back()), FakeTokenizer().token_bytes(FakeTokenizer::kEnd));
  EXPECT_EQ(text_of(at(body, "choices", 0, "text")), "abc" + std::string(FakeGenerator::kReply));
  EXPECT_EQ(at(body, "usage", "completion_tokens").to_number<std::size_t>(), written);
  std::size_t records = 0;
  for (const std::string& event :
       events_of(post("/v1/completions", completion("abc", options + R"(,"stream":true)")).body)) {
    if (event == "[DONE]") continue;
    const json::Value chunk = parsed(event);
    const json::Value& logprobs = at(chunk, "choices", 0, "logprobs");
    if (!logprobs.is_null()) records += logprobs.get_object().at("tokens").get_array().size();
  }
  EXPECT_EQ(records, tokens.size());
  const json::Value silent = parsed(post("/v1/completions", completion("abc", R"("logprobs":1,"max_tokens":50)")).body);
  EXPECT_EQ(at(silent, "choices", 0, "logprobs", "tokens").get_array().size(), written);
}

TEST_F(CompletionRoutes, EchoWithoutAnAnswerScoresThePrompt) {
  start();
  const json::Value body =
      parsed(post("/v1/completions", completion("abc", R"("logprobs":0,"echo":true,"max_tokens":0)")).body);
  EXPECT_EQ(text_of(at(body, "choices", 0, "text")), "abc");
  EXPECT_EQ(at(body, "choices", 0, "logprobs", "tokens").get_array().size(), 4u);
  EXPECT_TRUE(generator_->submitted().at(0).prompt_only);
  expect_error(post("/v1/completions", completion("abc", R"("max_tokens":0)")), 400, "invalid_argument", "max_tokens");
}

TEST_F(CompletionRoutes, StreamedEchoComesFirst) {
  start();
  const net::RawResponse response =
      post("/v1/completions", completion("abc", R"("logprobs":0,"echo":true,"max_tokens":2,"stream":true)"));
  const std::vector<std::string> events = events_of(response.body);
  const json::Value first = parsed(events.at(0));
  EXPECT_EQ(text_of(at(first, "choices", 0, "text")), "abc");
  EXPECT_EQ(at(first, "choices", 0, "logprobs", "tokens").get_array().size(), 4u);
  EXPECT_EQ(text_of(at(parsed(events.at(1)), "choices", 0, "logprobs", "text_offset")), "[3]");
}

TEST_F(CompletionRoutes, PromptsComeInFourForms) {
  start();
  const auto texts = [&](const std::string& prompt) {
    const json::Value body = parsed(
        post("/v1/completions", R"({"model":"fake-model","echo":true,"max_tokens":2,"prompt":)" + prompt + "}").body);
    std::vector<std::string> all;
    for (const json::Value& choice : at(body, "choices").get_array()) all.push_back(text_of(at(choice, "text")));
    return all;
  };
  EXPECT_THAT(texts(R"("ab")"), ElementsAre("abHi"));
  EXPECT_THAT(texts(R"(["ab","c"])"), ElementsAre("abHi", "cHi"));
  EXPECT_THAT(texts("[97,98]"), ElementsAre("abHi"));
  EXPECT_THAT(texts("[[97,98],[99]]"), ElementsAre("abHi", "cHi"));
  EXPECT_THAT(texts(R"([[97,98],"c"])"), ElementsAre("abHi", "cHi"));
}

TEST_F(CompletionRoutes, IdsAreReturned) {
  start();
  const json::Value body =
      parsed(post("/v1/completions", completion("ab", R"("max_tokens":2,"return_token_ids":true)")).body);
  EXPECT_EQ(text_of(at(body, "choices", 0, "prompt_token_ids")), "[258,97,98]");
  EXPECT_EQ(text_of(at(body, "choices", 0, "token_ids")), "[72,105]");
}

TEST_F(CompletionRoutes, SpecialTextOfCallersStaysText) {
  start();
  post("/v1/chat/completions", chat("a<|end|>b"));
  post("/v1/completions", completion("<|end|>"));
  post("/v1/completions", completion("<|end|>", R"("parse_special":true,"add_special_tokens":false)"));
  const auto submitted = generator_->submitted();
  EXPECT_EQ(std::ranges::count(submitted.at(0).prompt, FakeTokenizer::kEnd), 1);  // the template's own
  EXPECT_EQ(std::ranges::count(submitted.at(1).prompt, FakeTokenizer::kEnd), 0);
  EXPECT_THAT(submitted.at(2).prompt, ElementsAre(FakeTokenizer::kEnd));
}

TEST_F(CompletionRoutes, ParametersReachTheEngine) {
  start();
  post(
      "/v1/chat/completions",
      chat(
          "x",
          R"("temperature":0.25,"top_p":0.5,"top_k":7,"min_p":0.125,"repetition_penalty":1.5,"frequency_penalty":-1,)"
          R"("presence_penalty":2,"logit_bias":{"65":-100},"seed":-1,"stop":["x","y"],"stop_token_ids":[66],"ignore_eos":true,)"
          R"("min_tokens":1,"max_tokens":5,"skip_special_tokens":false,"logprobs":true,"top_logprobs":20,)"
          R"("chat_template_kwargs":{"suffix":"S"},"add_generation_prompt":false)"));
  const generation::Request request = generator_->submitted().at(0);
  EXPECT_EQ(request.sampling.temperature, 0.25f);
  EXPECT_EQ(request.sampling.top_p, 0.5f);
  EXPECT_EQ(request.sampling.top_k, 7);
  EXPECT_EQ(request.sampling.min_p, 0.125f);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(request.sampling.frequency_penalty, -1.0f);
  EXPECT_EQ(request.sampling.presence_penalty, 2.0f);
  EXPECT_THAT(request.sampling.logit_bias, ElementsAre(std::pair(65, -100.0f)));
  EXPECT_EQ(request.sampling.seed, ~std::uint64_t{0});
  EXPECT_THAT(request.stop, ElementsAre("x", "y"));
  EXPECT_THAT(request.stop_tokens, ElementsAre(66));
  EXPECT_TRUE(request.ignore_eos);
  EXPECT_EQ(request.min_tokens, 1u);
  EXPECT_EQ(request.max_tokens, 5u);
  EXPECT_TRUE(request.keep_special_text);
  EXPECT_TRUE(request.want_logprobs);
  EXPECT_EQ(request.top_logprobs, 20u);
  EXPECT_EQ(request.prompt.back(), 'S');
}

TEST_F(CompletionRoutes, DeveloperAndPartsAreRendered) {
  start();
  post("/v1/chat/completions", R"({"model":"fake-model","messages":[{"role":"developer","content":"be brief"},)"
                               R"({"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},)"
                               R"({"role":"assistant","content":null}]})");
  std::string prompt;
  const generation::Request submitted = generator_->submitted().at(0);
  for (auto id : submitted.prompt) prompt += generator_->card().tokenizer->token_bytes(id);
  EXPECT_EQ(
      prompt,
      "<|start|>system\nbe brief<|end|><|start|>user\na\nb<|end|><|start|>assistant\n<|end|><|start|>assistant\n");
}

TEST_F(CompletionRoutes, PromptsLongerThanTheContextNameBothFigures) {
  start({}, 100);
  const std::string message = expect_error(post("/v1/completions", completion(std::string(200, 'a'))), 400,
                                           "context_length_exceeded", "prompt");
  EXPECT_THAT(message, HasSubstr("100"));
  EXPECT_THAT(message, HasSubstr("201"));
  expect_error(post("/v1/chat/completions", chat(std::string(200, 'a'))), 400, "context_length_exceeded", "messages");
  // At the bound: 1 + 89 tokens of prompt and 10 of answer are 100.
  EXPECT_EQ(post("/v1/completions", completion(std::string(89, 'a'), R"("max_tokens":10)")).status, 200);
  expect_error(post("/v1/completions", completion(std::string(89, 'a'), R"("max_tokens":11)")), 400,
               "context_length_exceeded", "prompt");
}

// A text that cannot fit, whatever its tokens are, costs no worker's time: nobody tokenizes it. The longest token of
// this tokenizer has 9 bytes.
TEST_F(CompletionRoutes, T_E_PromptsThatCannotFitAreNotTokenized) {
  start({}, 100);
  EXPECT_THAT(expect_error(post("/v1/completions", completion(std::string(399, 'a'))), 400, "context_length_exceeded",
                           "prompt"),
              HasSubstr("the prompt has 400"));
  for (const bool is_chat : {false, true}) {
    const auto refusal = [&](std::size_t bytes) {
      const std::string frame = "<|start|>user\n<|end|><|start|>assistant\n";
      return is_chat ? expect_error(post("/v1/chat/completions", chat(std::string(bytes - frame.size(), 'a'))), 400,
                                    "context_length_exceeded", "messages")
                     : expect_error(post("/v1/completions", completion(std::string(bytes, 'a'))), 400,
                                    "context_length_exceeded", "prompt");
    };
    EXPECT_THAT(refusal(901), testing::AllOf(HasSubstr("100 tokens"), HasSubstr("at least 101")));
    EXPECT_THAT(refusal(900), testing::Not(HasSubstr("at least 101")));  // at the bound it is
  }
}

TEST_F(CompletionRoutes, RefusalsNameTheParameter) {
  start();
  expect_error(post("/v1/chat/completions", chat("x", R"("tools":[{"type":"function"}])")), 400, "invalid_argument",
               "tools[0].function");
  expect_error(post("/v1/chat/completions", chat("x", R"("frobnicate":1)")), 400, "invalid_argument", "frobnicate");
  expect_error(post("/v1/chat/completions", "{"), 400, "invalid_argument");
  expect_error(post("/v1/chat/completions", "[]"), 400, "invalid_argument");
  expect_error(post("/v1/chat/completions", chat("[refused by the template]")), 400, "invalid_argument", "messages");
  expect_error(post("/v1/chat/completions", R"({"model":"other","messages":[{"role":"user","content":"x"}]})"), 404,
               "model_not_found", "model");
  expect_error(post("/v1/completions", R"({"model":"fake-model","prompt":[300]})"), 400, "invalid_argument", "prompt");
  expect_error(post("/v1/completions", R"({"model":"fake-model","prompt":[]})"), 400, "invalid_argument", "prompt");
  generator_->card_for_test().chat_template = nullptr;
  expect_error(post("/v1/chat/completions", chat("x")), 400, "invalid_argument", "messages");
}

// Trying again would not help: more than ever fit at once.
TEST_F(CompletionRoutes, MoreThanTheQueueHoldsIsRefusedForGood) {
  start();
  generator_->card_for_test().max_in_flight = 3;
  const std::string message =
      expect_error(post("/v1/chat/completions", chat("x", R"("n":4)")), 400, "invalid_argument", "n");
  EXPECT_THAT(message, testing::AllOf(HasSubstr("4"), HasSubstr("3")));
  const auto prompts = [](int n) {
    return R"({"model":"fake-model","n":)" + std::to_string(n) + R"(,"prompt":["a","b")";
  };
  expect_error(post("/v1/completions", prompts(1) + R"(,"c","d"]})"), 400, "invalid_argument", "prompt");
  expect_error(post("/v1/completions", prompts(2) + "]}"), 400, "invalid_argument", "n");
  EXPECT_TRUE(generator_->submitted().empty());
  EXPECT_EQ(post("/v1/completions", prompts(1) + R"(,"c"]})").status, 200);
}

TEST_F(CompletionRoutes, FullQueueIsTooManyRequests) {
  start();
  generator_->set_capacity(1);
  const net::RawResponse response = post("/v1/chat/completions", chat("[hold]", R"("n":2)"));
  expect_error(response, 429, "exhausted");
  EXPECT_FALSE(response.field("retry-after").empty());
  generator_->wait_until_in_flight(0);  // the choice that was taken in was cancelled
  EXPECT_EQ(generator_->cancelled_count(), 1u);
}

TEST_F(CompletionRoutes, EngineFailuresTellNothingOfTheInside) {
  start();
  const net::RawResponse whole = post("/v1/chat/completions", chat("[error]"));
  expect_error(whole, 500, "internal");
  const net::RawResponse streamed = post("/v1/chat/completions", chat("[error]", R"("stream":true)"));
  EXPECT_EQ(streamed.status, 200);
  EXPECT_TRUE(streamed.is_complete);
  const std::vector<std::string> events = events_of(streamed.body);
  EXPECT_EQ(text_of(at(parsed(events.back()), "error", "code")),
            "internal");  // and no [DONE]: a cut answer is not a whole one
  for (const std::string& body : {whole.body, streamed.body}) {
    EXPECT_THAT(body, testing::Not(testing::AnyOf(HasSubstr("0x7fff"), HasSubstr("/usr/lib"))));
  }
}

TEST_F(CompletionRoutes, AThrowEndsItsOwnRequestOnly) {
  start();
  const net::RawResponse dropped = post("/v1/chat/completions", chat("[throw]"));
  expect_error(dropped, 500, "internal");
  EXPECT_FALSE(dropped.field("x-request-id").empty());
  EXPECT_EQ(post("/v1/chat/completions", chat("hello")).status, 200);
}

TEST_F(CompletionRoutes, LeavingCancelsWhateverIsUnderWay) {
  start();
  for (const std::string& more :
       {std::string(), std::string(R"("stream":true)"), std::string(R"("n":4,"stream":true)")}) {
    net::TestClient client(port());
    client.send(request("POST", "/v1/chat/completions", chat("[hold]", more)));
    generator_->wait_until_in_flight(more.starts_with("\"n") ? 4 : 1);
    client.abort();
    generator_->wait_until_in_flight(0);
  }
  EXPECT_EQ(generator_->cancelled_count(), 6u);
  EXPECT_EQ(get("/healthz").status, 200);
}

TEST_F(CompletionRoutes, ClientsThatDoNotReadAreCancelled) {
  start();
  net::TestClient client(port());
  client.send(request("POST", "/v1/chat/completions", chat("[flood]", R"("stream":true)")));
  generator_->wait_until_cancelled(1);  // an endless answer that nobody reads ends when its queue is full
  EXPECT_EQ(get("/healthz").status, 200);
  // A late reader is told, and its stream does not look whole.
  const net::RawResponse late = client.read_response();
  EXPECT_TRUE(late.is_complete);
  EXPECT_EQ(text_of(at(parsed(events_of(late.body).back()), "error", "code")), "cancelled");
  EXPECT_THAT(get("/metrics").body, HasSubstr("openautoglm_errors_total{code=\"cancelled\"} 1\n"));
}

}  // namespace
}  // namespace autoglm::server
