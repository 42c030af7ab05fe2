// SPDX-License-Identifier: Apache-2.0
// Embeddings on the wire, apart from any server.
#include "protocol/embeddings.h"

#include <gtest/gtest.h>

#include "protocol/limits.h"

namespace autoglm::protocol {
namespace {

std::string refused_field(std::string_view body) {
  const auto request = parse_embeddings_request(body);
  EXPECT_FALSE(request) << body;
  return request ? "" : request.error().where;
}

TEST(Embeddings, ARequestIsRead) {
  const auto request = parse_embeddings_request(
      R"({"model":"m","input":["a",[1,2]],"encoding_format":"base64","dimensions":8,"user":"u"})");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->model, "m");
  ASSERT_EQ(request->inputs.size(), 2u);
  EXPECT_EQ(std::get<std::string>(request->inputs[0]), "a");
  EXPECT_EQ(std::get<std::vector<std::int32_t>>(request->inputs[1]), (std::vector<std::int32_t>{1, 2}));
  EXPECT_TRUE(request->is_base64);
  EXPECT_EQ(request->dimensions, 8u);
  const auto plain = parse_embeddings_request(R"({"model":"m","input":"a","dimensions":null})");
  ASSERT_TRUE(plain);
  EXPECT_FALSE(plain->is_base64);
  EXPECT_FALSE(plain->dimensions);
}

TEST(Embeddings, BoundsHold) {
  EXPECT_TRUE(parse_embeddings_request(R"({"model":"m","input":"a","dimensions":131072})"));
  EXPECT_EQ(refused_field(R"({"model":"m","input":"a","dimensions":131073})"), "dimensions");
  EXPECT_EQ(refused_field(R"({"model":"m","input":"a","dimensions":1.5})"), "dimensions");
  EXPECT_TRUE(parse_embeddings_request(R"({"model":"m","input":")" + std::string(kMaxTextBytes, 'a') + "\"}"));
  EXPECT_EQ(refused_field(R"({"model":"m","input":")" + std::string(kMaxTextBytes + 1, 'a') + "\"}"), "input");
  EXPECT_EQ(refused_field(R"({"model":"m","input":"a","unknown":1})"), "unknown");
  EXPECT_EQ(refused_field(R"({"model":"","input":"a"})"), "model");
}

// Numbers read back as the same floats.
TEST(Embeddings, FloatsAreShortAndExact) {
  const float vectors[] = {0.1f, -1e-12f, 1, 3.4028235e38f};
  EXPECT_EQ(format_embeddings({.model = "m", .vectors = vectors, .dimensions = 2, .prompt_tokens = 5}),
            R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-1e-12]},)"
            R"({"object":"embedding","index":1,"embedding":[1,3.4028235e+38]}],"model":"m",)"
            R"("usage":{"prompt_tokens":5,"total_tokens":5}})");
}

}  // namespace
}  // namespace autoglm::protocol
