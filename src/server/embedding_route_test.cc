// SPDX-License-Identifier: Apache-2.0
// /v1/embeddings over HTTP on an engine without weights: vectors as floats and in base64, every parameter at its bound,
// and what each kind of model says to the other's routes.
#include "protocol/embeddings.h"

#include <cstring>
#include <functional>
#include <thread>

#include "base/base64.h"
#include "engine/embedding_engine.h"
#include "engine/fake_embedding_model.h"
#include "protocol/limits.h"
#include "server/server_fixture.h"

namespace autoglm::server {
namespace {

using engine::FakeEmbeddingModel;

class EmbeddingRoute : public ServerFixture {
 protected:
  void start_encoder(const std::function<void(generation::EmbedderCard&)>& change = {}, ServerOptions options = {}) {
    engine::EmbeddingEngineModel model;
    auto network = std::make_unique<FakeEmbeddingModel>();
    fake_ = network.get();
    model.network = std::move(network);
    model.card.name = "fake-encoder";
    model.card.created_unix_seconds = 1'700'000'000;
    model.card.context_length = FakeEmbeddingModel::kMaxTokens;
    model.card.tokenizer = std::make_shared<FakeTokenizer>();
    if (change) change(model.card);
    auto embedder =
        engine::start_embedding_engine(std::move(model), {.batch_timeout = {}, .queue_capacity = 4}, clock_, metrics_);
    ASSERT_TRUE(embedder) << embedder.error().message;
    embedder_ = std::move(*embedder);
    options.port = 0;
    auto server = start_server(*embedder_, options, clock_, metrics_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }
  void TearDown() override {
    if (fake_ != nullptr) fake_->hold(false);
    server_.reset();
    embedder_.reset();
    fake_ = nullptr;
  }

  /// A body with this `input`, as JSON, and these further members.
  static std::string body(std::string_view input, std::string_view more = {}) {
    return R"({"model":"fake-encoder","input":)" + std::string(input) + (more.empty() ? "" : ",") + std::string(more) +
           "}";
  }
  net::RawResponse embed(std::string_view input, std::string_view more = {}) const {
    return post("/v1/embeddings", body(input, more));
  }

  FakeEmbeddingModel* fake_ = nullptr;
  std::unique_ptr<generation::Embedder> embedder_;
};

TEST_F(EmbeddingRoute, AnswersInOpenAisShape) {
  start_encoder();
  const auto response = embed(R"(["ab","c"])");
  EXPECT_EQ(response.status, 200);
  // The tokens of each text, a first one and its bytes, and the sum of their ids.
  EXPECT_EQ(response.body, R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[3,453]},)"
                           R"({"object":"embedding","index":1,"embedding":[2,357]}],"model":"fake-encoder",)"
                           R"("usage":{"prompt_tokens":5,"total_tokens":5}})");
}

TEST_F(EmbeddingRoute, TakesEveryFormOfInput) {
  start_encoder();
  const auto first = [&](std::string_view input) {
    return text_of(at(parsed(embed(input).body), "data", 0, "embedding"));
  };
  EXPECT_EQ(first(R"("ab")"), "[3,453]");
  EXPECT_EQ(first(R"("")"), "[1,258]");
  EXPECT_EQ(first("[97,98]"), "[2,195]");  // ids are taken as they are
  EXPECT_EQ(first("[[97,98]]"), "[2,195]");
  EXPECT_EQ(first(R"(["ab",[1]])"), "[3,453]");
}

TEST_F(EmbeddingRoute, Base64IsTheFloatsBytes) {
  start_encoder();
  const auto answer = parsed(embed(R"("ab")", R"("encoding_format":"base64","user":"somebody")").body);
  const float vector[] = {3, 453};
  std::uint8_t bytes[sizeof vector];
  std::memcpy(bytes, vector, sizeof vector);
  EXPECT_EQ(text_of(at(answer, "data", 0, "embedding")), base::base64(bytes));
}

TEST_F(EmbeddingRoute, DimensionsAreCutWhereTheModelAllowsIt) {
  start_encoder();
  EXPECT_EQ(embed(R"("ab")", R"("dimensions":2)").status, 200);
  expect_error(embed(R"("ab")", R"("dimensions":1)"), 400, "invalid_argument", "dimensions");
  expect_error(embed(R"("ab")", R"("dimensions":3)"), 400, "invalid_argument", "dimensions");
  expect_error(embed(R"("ab")", R"("dimensions":0)"), 400, "invalid_argument", "dimensions");
  TearDown();
  start_encoder([](generation::EmbedderCard& card) { card.dimensions = {1}; });
  EXPECT_EQ(text_of(at(parsed(embed(R"(["ab","c"])", R"("dimensions":1)").body), "data", 1, "embedding")), "[2]");
  TearDown();
  start_encoder([](generation::EmbedderCard& card) {
    card.may_cut_anywhere = true;
    card.is_normalised = true;
  });
  // Of length 1 again.
  EXPECT_EQ(text_of(at(parsed(embed(R"("abc")", R"("dimensions":1)").body), "data", 0, "embedding")), "[1]");
}

TEST_F(EmbeddingRoute, WhatIsWrongIsNamed) {
  start_encoder();
  expect_error(post("/v1/embeddings", R"({"model":"fake-encoder"})"), 400, "invalid_argument", "input");
  expect_error(post("/v1/embeddings", R"({"input":"a"})"), 400, "invalid_argument", "model");
  expect_error(post("/v1/embeddings", R"({"model":"other","input":"a"})"), 404, "model_not_found", "model");
  expect_error(embed("3"), 400, "invalid_argument", "input");
  expect_error(embed(R"(["a",{}])"), 400, "invalid_argument", "input[1]");
  expect_error(embed("[]"), 400, "invalid_argument", "input");
  expect_error(embed("[-1]"), 400, "invalid_argument", "input");
  expect_error(embed(R"(["a",[1000]])"), 400, "invalid_argument", "input[1]");
  expect_error(embed(R"("a")", R"("encoding_format":"int8")"), 400, "invalid_argument", "encoding_format");
  expect_error(embed(R"("a")", R"("truncate":true)"), 400, "invalid_argument", "truncate");
}

TEST_F(EmbeddingRoute, ATextHasItsBound) {
  start_encoder();
  const std::string most(FakeEmbeddingModel::kMaxTokens - 1, 'a');  // and its first token
  EXPECT_EQ(embed("\"" + most + "\"").status, 200);
  expect_error(embed("\"" + most + "a\""), 400, "context_length_exceeded", "input");
  expect_error(embed("[\"b\",\"" + most + "a\"]"), 400, "context_length_exceeded", "input[1]");
  std::string ids = "[1";
  for (std::size_t i = 0; i < FakeEmbeddingModel::kMaxTokens; ++i) ids += ",1";
  expect_error(embed(ids + "]"), 400, "context_length_exceeded", "input");
}

TEST_F(EmbeddingRoute, InputsHaveTheirBound) {
  start_encoder();
  std::string inputs = "[\"a\"";
  for (std::size_t i = 1; i < protocol::kMaxInputs; ++i) inputs += ",\"a\"";
  const auto response = embed(inputs + "]");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(at(parsed(response.body), "data").get_array().size(), protocol::kMaxInputs);
  expect_error(embed(inputs + ",\"a\"]"), 400, "invalid_argument", "input");
}

// An encoder says to the routes that write what it is, and a model that writes says so to this one.
TEST_F(EmbeddingRoute, EachKindOfModelNamesItself) {
  start_encoder();
  for (const char* path : {"/v1/chat/completions", "/v1/completions", "/v1/responses"}) {
    EXPECT_THAT(expect_error(post(path, "{}"), 400, "invalid_argument", "model"), testing::HasSubstr("encoder"));
  }
  TearDown();
  start();
  const auto response = post("/v1/embeddings", R"({"model":"fake-model","input":"a"})");
  EXPECT_THAT(expect_error(response, 400, "invalid_argument", "model"), testing::HasSubstr("makes no embeddings"));
}

TEST_F(EmbeddingRoute, TheOtherRoutesKnowTheEncoder) {
  start_encoder();
  EXPECT_EQ(text_of(at(parsed(get("/v1/models").body), "data", 0, "id")), "fake-encoder");
  EXPECT_EQ(get("/readyz").status, 200);
  EXPECT_THAT(get("/").body, testing::HasSubstr("/embeddings"));
  EXPECT_EQ(text_of(at(parsed(post("/tokenize", R"({"prompt":"ab"})").body), "tokens")), "[258,97,98]");
  EXPECT_EQ(embed(R"("ab")").status, 200);
  EXPECT_THAT(get("/metrics").body, testing::HasSubstr("openautoglm_requests_finished_total{reason=\"stop\"} 1"));
}

TEST_F(EmbeddingRoute, NeedsAKeyWhereKeysAreSet) {
  ServerOptions options;
  options.api_keys = {"secret"};
  start_encoder({}, options);
  expect_error(embed(R"("ab")"), 401, "invalid_api_key");
  EXPECT_EQ(post("/v1/embeddings", body(R"("ab")"), "Authorization: Bearer secret\r\n").status, 200);
}

TEST_F(EmbeddingRoute, ADrainWaitsForTheAnswer) {
  start_encoder();
  fake_->hold(true);
  net::RawResponse response;
  std::thread client([&] { response = embed(R"("ab")"); });
  fake_->wait_until_entered(1);
  std::thread draining([&] { server_->drain(); });
  while (embedder_->is_ready()) std::this_thread::yield();
  fake_->hold(false);
  client.join();
  draining.join();
  EXPECT_EQ(response.status, 200);
}

}  // namespace
}  // namespace autoglm::server
