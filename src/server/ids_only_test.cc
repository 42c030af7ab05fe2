// SPDX-License-Identifier: Apache-2.0
// The server over a model without a tokenizer: token ids are taken and given, and whatever needs text is refused.
#include "engine/engine.h"
#include "server/server_fixture.h"

namespace autoglm::server {
namespace {

using testing::HasSubstr;

// The scripted model without its words. It answers "Hi", tokens 72 and 105, after a prompt that ends in token 261.
class IdsOnlyServer : public ServerFixture {
 protected:
  void SetUp() override {
    auto model = engine::load_script("==\nHi");
    ASSERT_TRUE(model) << model.error().message;
    model->card.name = "fake-model";
    model->card.tokenizer = text::Tokenizer::ids_only(model->network->vocab());
    model->card.chat_template = nullptr;
    auto generator = engine::start_engine(
        std::move(*model), {.max_batch_size = 4, .context_length = 1024, .kv_bytes = 1u << 20}, clock_, metrics_);
    ASSERT_TRUE(generator) << generator.error().message;
    engine_ = std::move(*generator);
    auto server = start_server(*engine_, {.port = 0}, clock_, metrics_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }
  net::RawResponse complete(std::string_view more = {}) const {
    return post("/v1/completions", R"({"model":"fake-model","prompt":[1,2,261])" + std::string(more) + "}");
  }

  std::unique_ptr<generation::Generator> engine_;
};

TEST_F(IdsOnlyServer, IdsGoInAndComeOut) {
  const net::RawResponse response = complete(R"(,"return_token_ids":true)");
  ASSERT_EQ(response.status, 200) << response.body;
  const json::Value body = parsed(response.body);
  EXPECT_EQ(text_of(at(body, "choices", 0, "text")), "");
  EXPECT_EQ(json::format(at(body, "choices", 0, "token_ids")), "[72,105]");
  EXPECT_EQ(json::format(at(body, "choices", 0, "prompt_token_ids")), "[1,2,261]");
  EXPECT_EQ(text_of(at(body, "choices", 0, "finish_reason")), "stop");
}

TEST_F(IdsOnlyServer, StreamsIds) {
  const net::RawResponse response = complete(R"(,"return_token_ids":true,"stream":true)");
  ASSERT_EQ(response.status, 200) << response.body;
  const std::vector<std::string> events = events_of(response.body);
  ASSERT_EQ(events.back(), "[DONE]");
  std::string ids;
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    const json::Value chunk = parsed(events[i]);
    EXPECT_EQ(text_of(at(chunk, "choices", 0, "text")), "");
    const json::Value* found = at(chunk, "choices", 0).get_object().if_contains("token_ids");
    if (found != nullptr) ids += json::format(*found);
  }
  EXPECT_THAT(ids, HasSubstr("[72][105]"));
}

TEST_F(IdsOnlyServer, TokensAreNamedByTheirIds) {
  const json::Value body = parsed(complete(R"(,"logprobs":2,"echo":true,"max_tokens":1)").body);
  EXPECT_EQ(text_of(at(body, "choices", 0, "text")), "");
  EXPECT_EQ(json::format(at(body, "choices", 0, "logprobs", "tokens")),
            R"(["token_id:1","token_id:2","token_id:261","token_id:72"])");
  EXPECT_EQ(at(body, "choices", 0, "logprobs", "top_logprobs", 3).get_object().size(), 2u);
  EXPECT_TRUE(at(body, "choices", 0, "logprobs", "top_logprobs", 3).get_object().contains("token_id:72"));
}

TEST_F(IdsOnlyServer, WhatNeedsTextIsRefused) {
  const std::string no_tokenizer = "no tokenizer";
  EXPECT_THAT(expect_error(post("/v1/completions", completion("hi")), 400, "invalid_argument", "prompt"),
              HasSubstr(no_tokenizer));
  EXPECT_THAT(expect_error(post("/tokenize", R"({"prompt":"hi"})"), 400, "invalid_argument", "prompt"),
              HasSubstr(no_tokenizer));
  EXPECT_THAT(expect_error(post("/detokenize", R"({"tokens":[1]})"), 400, "invalid_argument", "tokens"),
              HasSubstr(no_tokenizer));
  EXPECT_THAT(expect_error(complete(R"(,"stop":"x")"), 400, "invalid_argument", "stop"), HasSubstr("stop_token_ids"));
  EXPECT_THAT(expect_error(complete(R"(,"response_format":{"type":"json_object"})"), 400, "invalid_argument",
                           "/response_format"),
              HasSubstr(no_tokenizer));
  EXPECT_THAT(expect_error(post("/v1/chat/completions", chat("hi")), 400, "invalid_argument", "messages"),
              HasSubstr("no chat template"));
  expect_error(post("/tokenize", chat("hi")), 400, "invalid_argument", "messages");
  expect_error(post("/v1/responses", R"({"model":"fake-model","input":"hi"})"), 400, "invalid_argument", "input");
}

TEST_F(IdsOnlyServer, IdsOutsideTheVocabularyAreRefused) {
  const auto ask = [&](int id) {
    return post("/v1/completions", R"({"model":"fake-model","prompt":[)" + std::to_string(id) + "]}");
  };
  EXPECT_EQ(ask(261).status, 200);
  expect_error(ask(262), 400, "invalid_argument", "prompt");
  EXPECT_EQ(complete(R"(,"stop_token_ids":[72])").status, 200);
}

TEST_F(IdsOnlyServer, ThePageShowsACallThatWorks) { EXPECT_THAT(get("/").body, HasSubstr("[1, 2, 3]")); }

}  // namespace
}  // namespace autoglm::server
