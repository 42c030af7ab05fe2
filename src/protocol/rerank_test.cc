// SPDX-License-Identifier: Apache-2.0
// Rerank on the wire, apart from any server.
#include "protocol/rerank.h"

#include <gtest/gtest.h>

#include "protocol/limits.h"

namespace autoglm::protocol {
namespace {

std::string refused_part(std::string_view body) {
  const auto request = parse_rerank_request(body);
  EXPECT_FALSE(request) << body;
  return request ? "" : request.error().where;
}

std::string with(std::string_view more) {
  return R"({"model":"m","query":"q","documents":["a"],)" + std::string(more) + "}";
}

TEST(Rerank, ARequestIsRead) {
  const auto request = parse_rerank_request(
      R"({"model":"m","query":"q","documents":["a",{"text":"b"},""],"top_n":2,"return_documents":false,"truncate":true,
          "user":"u"})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->model, "m");
  EXPECT_EQ(request->query, "q");
  EXPECT_EQ(request->documents, (std::vector<std::string>{"a", "b", ""}));
  EXPECT_EQ(request->top_n, 2u);
  EXPECT_FALSE(request->returns_documents);
  EXPECT_TRUE(request->is_cut);
  const auto plain = parse_rerank_request(with(R"("top_n":null)"));
  ASSERT_TRUE(plain);
  EXPECT_FALSE(plain->top_n);
  EXPECT_TRUE(plain->returns_documents);
  EXPECT_FALSE(plain->is_cut);
}

TEST(Rerank, BoundsHold) {
  EXPECT_EQ(refused_part(R"({"model":"","query":"q","documents":["a"]})"), "model");
  EXPECT_EQ(refused_part(R"({"model":"m","query":"","documents":["a"]})"), "query");
  EXPECT_EQ(refused_part(R"({"model":"m","query":"q"})"), "documents");
  EXPECT_EQ(refused_part(R"({"model":"m","query":"q","documents":[]})"), "documents");
  EXPECT_EQ(refused_part(R"({"model":"m","query":"q","documents":"a"})"), "documents");
  EXPECT_EQ(refused_part(R"({"model":"m","query":"q","documents":["a",7]})"), "documents[1]");
  EXPECT_EQ(refused_part(R"({"model":"m","query":"q","documents":[{"text":"a","title":"b"}]})"), "documents[0]");
  EXPECT_EQ(refused_part(with(R"("top_n":0)")), "top_n");
  EXPECT_EQ(refused_part(with(R"("top_n":2049)")), "top_n");
  EXPECT_EQ(refused_part(with(R"("return_documents":1)")), "return_documents");
  EXPECT_EQ(refused_part(with(R"("unknown":1)")), "unknown");
  const auto documents = [](std::size_t count) {
    std::string list = R"({"model":"m","query":"q","documents":["")";
    for (std::size_t i = 1; i < count; ++i) list += R"(,"")";
    return list + "]}";
  };
  EXPECT_TRUE(parse_rerank_request(documents(kMaxInputs)));
  EXPECT_EQ(refused_part(documents(kMaxInputs + 1)), "documents");
  const auto long_text = [](std::size_t bytes) {
    return R"({"model":"m","query":"q","documents":[")" + std::string(bytes, 'a') + "\"]}";
  };
  EXPECT_TRUE(parse_rerank_request(long_text(kMaxTextBytes)));
  EXPECT_EQ(refused_part(long_text(kMaxTextBytes + 1)), "documents[0]");
}

TEST(Rerank, TheBestComesFirst) {
  const float scores[] = {0.25f, 0.5f, 0.25f, 0.75f};
  const std::vector<std::string> documents = {"a", "b\"", "c", "d"};
  EXPECT_EQ(format_rerank({.id = "rerank-1", .model = "m", .scores = scores, .top_n = 9, .prompt_tokens = 5}),
            R"({"id":"rerank-1","model":"m","usage":{"prompt_tokens":5,"total_tokens":5},"results":[)"
            R"({"index":3,"relevance_score":0.75},{"index":1,"relevance_score":0.5},)"
            R"({"index":0,"relevance_score":0.25},{"index":2,"relevance_score":0.25}]})");
  EXPECT_EQ(format_rerank({.id = "i", .model = "m", .scores = scores, .documents = documents, .top_n = 2}),
            R"({"id":"i","model":"m","usage":{"prompt_tokens":0,"total_tokens":0},"results":[)"
            R"({"index":3,"document":{"text":"d"},"relevance_score":0.75},)"
            R"({"index":1,"document":{"text":"b\""},"relevance_score":0.5}]})");
}

}  // namespace
}  // namespace autoglm::protocol
