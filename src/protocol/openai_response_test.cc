// SPDX-License-Identifier: Apache-2.0
// Answers, chunks and errors as bytes.
#include "protocol/openai_response.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "protocol/openai_error.h"

namespace autoglm::protocol {
namespace {

const AnswerHead kChatHead{
    .kind = AnswerKind::kChat, .id = "chatcmpl-1", .model = "m\"", .fingerprint = "fp", .created = 7};
const AnswerHead kTextHead{
    .kind = AnswerKind::kCompletion, .id = "cmpl-1", .model = "m", .fingerprint = "fp", .created = 7};

TEST(Answer, OfAChat) {
  const Piece piece{.index = 0, .text = "a\n\"", .finish_reason = "stop"};
  EXPECT_EQ(
      format_answer(kChatHead, {&piece, 1}, {.prompt_tokens = 5, .cached_tokens = 2, .completion_tokens = 3}),
      R"({"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"m\"","system_fingerprint":"fp","choices":[{"index":0,)"
      R"("message":{"role":"assistant","content":"a\n\"","refusal":null},"logprobs":null,"finish_reason":"stop"}],)"
      R"("usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":2}}})");
}

TEST(Answer, OfACompletionWithEverything) {
  const std::vector<TokenRecord> records = {
      {.chosen = {"\xc3\xa9", 0}, .has_logprob = false, .top = {}},
      {.chosen = {"b", -0.5f}, .has_logprob = true, .top = {{"b", -0.5f}, {"c", -INFINITY}}}};
  const std::vector<std::int32_t> ids = {4, 5};
  const Piece piece{.index = 1,
                    .text = "x",
                    .records = records,
                    .has_logprobs = true,
                    .token_ids = ids,
                    .has_token_ids = true,
                    .prompt_ids = ids,
                    .has_prompt_ids = true,
                    .text_offset = 3,
                    .finish_reason = "length"};
  const std::string answer = format_answer(kTextHead, {&piece, 1}, {});
  EXPECT_NE(
      answer.find(R"("choices":[{"index":1,"text":"x","logprobs":{"tokens":["é","b"],"token_logprobs":[null,-0.5],)"
                  R"("top_logprobs":[null,{"b":-0.5,"c":-9999.0}],"text_offset":[3,4]},"finish_reason":"length",)"
                  R"("prompt_token_ids":[4,5],"token_ids":[4,5]}])"),
      std::string::npos)
      << answer;
}

TEST(Answer, CompletionLogprobsHoldTheChosenTokenAndEachKeyOnce) {
  const std::vector<TokenRecord> records = {
      {.chosen = {"z", -9}, .top = {{"a", -1}, {"b", -2}}},                       // outside the best: N + 1
      {.chosen = {"b", -2}, .top = {{"a", -1}, {"b", -2}}},                       // among them: N
      {.chosen = {"z", -9}, .top = {}},                                           // logprobs 0: itself
      {.chosen = {"\xf0", -9}, .top = {{"\xc3", -1}, {"\xe2", -2}, {"a", -3}}}};  // three that look alike in JSON
  const Piece piece{.records = records, .has_logprobs = true};
  const std::string answer = format_answer(kTextHead, {&piece, 1}, {});
  EXPECT_NE(answer.find(
                R"("token_logprobs":[-9.0,-2.0,-9.0,-9.0],)"
                R"("top_logprobs":[{"a":-1.0,"b":-2.0,"z":-9.0},{"a":-1.0,"b":-2.0},{"z":-9.0},{"�":-1.0,"a":-3.0}])"),
            std::string::npos)
      << answer;
}

TEST(Answer, LogprobsOfAChatHaveRawBytes) {
  const std::vector<TokenRecord> records = {{.chosen = {"\xf0\x9f", -1}, .has_logprob = true, .top = {{"a", -1}}}};
  const Piece piece{.text = "", .records = records, .has_logprobs = true};
  const std::string answer = format_answer(kChatHead, {&piece, 1}, {});
  EXPECT_NE(
      answer.find(R"("bytes":[240,159],"top_logprobs":[{"token":"a","logprob":-1.0,"bytes":[97]}]}],"refusal":null})"),
      std::string::npos)
      << answer;
  EXPECT_NE(answer.find(R"({"token":"�")"), std::string::npos) << answer;
}

TEST(Chunks, OfAChatFollowEachOther) {
  const ChunkWriter writer(kChatHead, true);
  std::string out;
  writer.append_role(out, {.index = 2});
  writer.append_piece(out, {.index = 2, .text = "hi"});
  writer.append_piece(out, {.index = 2, .finish_reason = "stop"});
  writer.append_usage(out, {.prompt_tokens = 1, .completion_tokens = 1});
  ChunkWriter::append_done(out);
  const std::string head =
      R"(data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m\"","system_fingerprint":"fp","choices":[)";
  EXPECT_EQ(
      out,
      head +
          R"({"index":2,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":null})" +
          "\n\n" + head +
          R"({"index":2,"delta":{"content":"hi"},"logprobs":null,"finish_reason":null}],"usage":null})" + "\n\n" +
          head + R"({"index":2,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null})" + "\n\n" + head +
          R"(],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2,"prompt_tokens_details":{"cached_tokens":0}}})" +
          "\n\ndata: [DONE]\n\n");
}

TEST(Chunks, NeverHoldALineBreakInside) {
  const ChunkWriter writer(kTextHead, false);
  std::string out;
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text.push_back(static_cast<char>(byte));
  writer.append_piece(out, {.index = 0, .text = text});
  writer.append_usage(out, {});
  EXPECT_EQ(out.find('\n'), out.size() - 2);
  EXPECT_EQ(out.find('\r'), std::string::npos);
  base::Budget budget;
  EXPECT_TRUE(json::parse(std::string_view(out).substr(6), budget));
}

TEST(Errors, HaveOneRowForEachOfTenCodes) {
  EXPECT_EQ(all_errors().size(), 10u);
  const std::vector<std::pair<Code, int>> expected = {{Code::kInvalidArgument, 400},  {Code::kUnauthenticated, 401},
                                                      {Code::kPermissionDenied, 403}, {Code::kNotFound, 404},
                                                      {Code::kExhausted, 429},        {Code::kUnavailable, 503},
                                                      {Code::kDeadline, 504},         {Code::kCancelled, 499},
                                                      {Code::kCorrupt, 500},          {Code::kInternal, 500}};
  for (const auto& [code, status] : expected) {
    EXPECT_EQ(error_row(code).code, code);
    EXPECT_EQ(error_row(code).status, status) << code_name(code);
  }
}

TEST(Errors, HaveTheShapeOfOpenAI) {
  EXPECT_EQ(
      format_error(Error{Code::kInvalidArgument, "n must be \"1\"", "n"}),
      R"({"error":{"message":"n must be \"1\"","type":"invalid_request_error","param":"n","code":"invalid_argument"}})");
  EXPECT_EQ(format_error({{Code::kNotFound, "no", ""}, "model_not_found"}),
            R"({"error":{"message":"no","type":"invalid_request_error","param":null,"code":"model_not_found"}})");
}

TEST(Errors, DoNotTellOfTheInside) {
  EXPECT_EQ(public_message({Code::kInternal, "at 0x7fffdeadbeef in /usr/lib/a.so", ""}).find("/usr"),
            std::string::npos);
  EXPECT_EQ(public_message({Code::kCorrupt, "/home/me/model.gguf is cut", ""}).find("/home"), std::string::npos);
  EXPECT_EQ(public_message({Code::kInvalidArgument, "bad at 0x7fffdeadbeef", ""}).find("0x"), std::string::npos);
  EXPECT_EQ(public_message({Code::kInvalidArgument, "0x12 is short", ""}), "0x12 is short");
}

}  // namespace
}  // namespace autoglm::protocol
