// SPDX-License-Identifier: Apache-2.0
// /v1/rerank over HTTP on an engine without weights: the pairs that it makes, the order of what comes back, every
// parameter, and what each kind of model says to the other's route.
#include "protocol/rerank.h"

#include "engine/embedding_engine.h"
#include "engine/fake_embedding_model.h"
#include "server/server_fixture.h"

namespace autoglm::server {
namespace {

using engine::FakeEmbeddingModel;

class RerankRoute : public ServerFixture {
 protected:
  static constexpr std::size_t kFrame = 4;  // special tokens of a pair

  void start_encoder(bool is_reranker = true) {
    engine::EmbeddingEngineModel model;
    model.network = std::make_unique<FakeEmbeddingModel>(is_reranker);
    model.card.name = "fake-reranker";
    model.card.context_length = FakeEmbeddingModel::kMaxTokens;
    model.card.tokenizer = std::make_shared<FakeTokenizer>();
    if (is_reranker) model.card.pairs = generation::PairFrame{.before = {1}, .between = {2, 2}, .behind = {3}};
    auto embedder =
        engine::start_embedding_engine(std::move(model), {.batch_timeout = {}, .queue_capacity = 4}, clock_, metrics_);
    ASSERT_TRUE(embedder) << embedder.error().message;
    embedder_ = std::move(*embedder);
    auto server = start_server(*embedder_, {.port = 0}, clock_, metrics_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }
  void TearDown() override {
    server_.reset();
    embedder_.reset();
  }

  net::RawResponse rerank(std::string_view query, std::string_view documents, std::string_view more = {}) const {
    return post("/v1/rerank", R"({"model":"fake-reranker","query":")" + std::string(query) + R"(","documents":)" +
                                  std::string(documents) + (more.empty() ? "" : ",") + std::string(more) + "}");
  }

  std::unique_ptr<generation::Embedder> embedder_;
};

TEST_F(RerankRoute, TheBestDocumentsComeFirst) {
  start_encoder();
  const auto response = rerank("q", R"(["a",{"text":"ccc"},"bb"])");
  EXPECT_EQ(response.status, 200);
  const json::Value answer = parsed(response.body);
  EXPECT_TRUE(text_of(at(answer, "id")).starts_with("rerank-"));
  EXPECT_EQ(text_of(at(answer, "model")), "fake-reranker");
  // The document's bytes and what stands behind it.
  EXPECT_EQ(text_of(at(answer, "results")), R"([{"index":1,"document":{"text":"ccc"},"relevance_score":300},)"
                                            R"({"index":2,"document":{"text":"bb"},"relevance_score":199},)"
                                            R"({"index":0,"document":{"text":"a"},"relevance_score":100}])");
  EXPECT_EQ(text_of(at(answer, "usage", "total_tokens")), std::to_string(3 * (kFrame + 1) + 6));
}

TEST_F(RerankRoute, SomeOfThemAndWithoutTheirTexts) {
  start_encoder();
  const auto response = rerank("q", R"(["a","ccc","bb"])", R"("top_n":2,"return_documents":false,"user":"u")");
  EXPECT_EQ(text_of(at(parsed(response.body), "results")),
            R"([{"index":1,"relevance_score":300},{"index":2,"relevance_score":199}])");
  EXPECT_EQ(at(parsed(rerank("q", R"(["a"])", R"("top_n":9)").body), "results").as_array().size(), 1u);
}

TEST_F(RerankRoute, APairHasItsBound) {
  start_encoder();
  const std::string most(FakeEmbeddingModel::kMaxTokens - kFrame - 1, 'a');
  EXPECT_EQ(rerank("q", "[\"" + most + "\"]").status, 200);
  EXPECT_THAT(expect_error(rerank("q", "[\"b\",\"" + most + "a\"]"), 400, "context_length_exceeded", "documents[1]"),
              testing::HasSubstr("truncate"));
  const auto cut = rerank("q", "[\"" + most + "zz\"]", R"("truncate":true,"return_documents":false)");
  EXPECT_EQ(text_of(at(parsed(cut.body), "results")),
            R"([{"index":0,"relevance_score":)" + std::to_string(most.size() * 'a' + 3) + "}]");
  expect_error(rerank(most + "a", R"(["b"])", R"("truncate":true)"), 400, "context_length_exceeded", "query");
}

TEST_F(RerankRoute, WhatIsWrongIsNamed) {
  start_encoder();
  expect_error(rerank("", R"(["a"])"), 400, "invalid_argument", "query");
  expect_error(rerank("q", "[]"), 400, "invalid_argument", "documents");
  expect_error(post("/v1/rerank", R"({"model":"other","query":"q","documents":["a"]})"), 404, "model_not_found",
               "model");
  expect_error(post("/v1/rerank", "{"), 400, "invalid_argument");
}

TEST_F(RerankRoute, ThePageShowsIt) {
  start_encoder();
  EXPECT_THAT(get("/").body, testing::HasSubstr("/rerank"));
}

TEST_F(RerankRoute, EachKindOfModelNamesItself) {
  start_encoder();
  EXPECT_THAT(expect_error(post("/v1/embeddings", R"({"model":"fake-reranker","input":"a"})"), 400, "invalid_argument",
                           "model"),
              testing::HasSubstr("/v1/rerank"));
  TearDown();
  start_encoder(false);
  EXPECT_THAT(expect_error(rerank("q", R"(["a"])"), 400, "invalid_argument", "model"), testing::HasSubstr("reranker"));
  TearDown();
  start();
  const auto response = post("/v1/rerank", R"({"model":"fake-model","query":"q","documents":["a"]})");
  EXPECT_THAT(expect_error(response, 400, "invalid_argument", "model"), testing::HasSubstr("reranker"));
}

}  // namespace
}  // namespace autoglm::server
