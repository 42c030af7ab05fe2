// SPDX-License-Identifier: Apache-2.0
// Every bound of a request: at the bound it passes, beyond it the error names the field.
#include "generation/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

namespace autoglm::generation {
namespace {

constexpr RequestBounds kBounds{.vocab = 100, .context_length = 50, .kv_tokens = 64};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

Request valid() {
  Request request;
  request.prompt = {1, 2, 3};
  return request;
}

// The field that a request is refused for, "" when it is taken.
std::string refused_field(const std::function<void(Request&)>& change, const RequestBounds& bounds = kBounds) {
  Request request = valid();
  change(request);
  const Status status = validate(request, bounds);
  if (status) return "";
  EXPECT_EQ(status.error().code, Code::kInvalidArgument);
  return status.error().where;
}

struct FloatBound {
  const char* field;
  float Sampling::* member;
  float low, high;
};

TEST(Validate, FloatsAtAndBeyondTheirBounds) {
  constexpr FloatBound kFloats[] = {
      {"temperature", &Sampling::temperature, 0, 2},
      {"top_p", &Sampling::top_p, 0, 1},
      {"min_p", &Sampling::min_p, 0, 1},
      {"frequency_penalty", &Sampling::frequency_penalty, -2, 2},
      {"presence_penalty", &Sampling::presence_penalty, -2, 2},
      {"repetition_penalty", &Sampling::repetition_penalty, 0.1f, 10},
  };
  for (const FloatBound& bound : kFloats) {
    const auto field_for = [&](float value) {
      return refused_field([&](Request& r) { r.sampling.*bound.member = value; });
    };
    EXPECT_EQ(field_for(bound.low), "") << bound.field;
    EXPECT_EQ(field_for(bound.high), "") << bound.field;
    const float outside[] = {
        std::nextafter(bound.low, -kInf), std::nextafter(bound.high, kInf), kNan, kInf, -kInf, 1e38f};
    for (const float value : outside) EXPECT_EQ(field_for(value), bound.field) << value;
  }
  EXPECT_EQ(refused_field([](Request& r) { r.sampling.temperature = -0.0f; }), "");
}

TEST(Validate, ListsAndCounts) {
  EXPECT_EQ(refused_field([](Request& r) { r.sampling.top_k = -1; }), "top_k");
  EXPECT_EQ(refused_field([](Request& r) { r.sampling.top_k = std::numeric_limits<std::int32_t>::max(); }), "");
  EXPECT_EQ(refused_field([](Request& r) { r.top_logprobs = 20; }), "");
  EXPECT_EQ(refused_field([](Request& r) { r.top_logprobs = 21; }), "top_logprobs");
  EXPECT_EQ(refused_field([](Request& r) { r.stop.assign(16, "x"); }), "");
  EXPECT_EQ(refused_field([](Request& r) { r.stop.assign(17, "x"); }), "stop");
  EXPECT_EQ(refused_field([](Request& r) { r.stop = {""}; }), "stop");
  EXPECT_EQ(refused_field([](Request& r) { r.stop = {std::string(1024, 'x')}; }), "");
  EXPECT_EQ(refused_field([](Request& r) { r.stop = {std::string(1025, 'x')}; }), "stop");
  EXPECT_EQ(refused_field([](Request& r) { r.stop_tokens.assign(64, 99); }), "");
  EXPECT_EQ(refused_field([](Request& r) { r.stop_tokens.assign(65, 99); }), "stop_token_ids");
  EXPECT_EQ(refused_field([](Request& r) { r.sampling.logit_bias.assign(1024, {99, 100.0f}); }), "");
  EXPECT_EQ(refused_field([](Request& r) { r.sampling.logit_bias.assign(1025, {99, 100.0f}); }), "logit_bias");
  EXPECT_EQ(refused_field([](Request& r) { r.sampling.logit_bias = {{0, kNan}}; }), "logit_bias");
  EXPECT_EQ(refused_field([](Request& r) { r.sampling.logit_bias = {{0, -100.5f}}; }), "logit_bias");
}

TEST(Validate, TokensMustBeInTheVocabulary) {
  for (const TokenId token : {-1, 100, std::numeric_limits<TokenId>::max(), std::numeric_limits<TokenId>::min()}) {
    EXPECT_EQ(refused_field([&](Request& r) { r.prompt.push_back(token); }), "prompt");
    EXPECT_EQ(refused_field([&](Request& r) { r.stop_tokens = {token}; }), "stop_token_ids");
    EXPECT_EQ(refused_field([&](Request& r) { r.sampling.logit_bias = {{token, 1.0f}}; }), "logit_bias");
  }
}

TEST(Validate, LengthsAgainstTheContext) {
  EXPECT_EQ(refused_field([](Request& r) { r.prompt.clear(); }), "prompt");
  EXPECT_EQ(refused_field([](Request& r) { r.prompt.assign(49, 1); }), "");
  EXPECT_EQ(refused_field([](Request& r) { r.prompt.assign(50, 1); }), "prompt") << "no room for an answer";
  EXPECT_EQ(refused_field([](Request& r) { r.max_tokens = 47; }), "");
  EXPECT_EQ(refused_field([](Request& r) { r.max_tokens = 48; }), "max_tokens");
  EXPECT_EQ(refused_field([](Request& r) { r.max_tokens = std::numeric_limits<std::size_t>::max(); }), "max_tokens");
  EXPECT_EQ(refused_field([](Request& r) { r.min_tokens = 5, r.max_tokens = 4; }), "min_tokens");
  EXPECT_EQ(refused_field([](Request& r) { r.min_tokens = 4, r.max_tokens = 4; }), "");
}

TEST(Validate, LengthsAgainstTheKvMemory) {
  constexpr RequestBounds kSmall{.vocab = 100, .context_length = 50, .kv_tokens = 32};
  EXPECT_EQ(refused_field([](Request& r) { r.max_tokens = 30; }, kSmall), "") << "the last token needs no KV";
  EXPECT_EQ(refused_field([](Request& r) { r.max_tokens = 31; }, kSmall), "max_tokens");
  EXPECT_EQ(answer_limit(valid(), kSmall), 30u);
  EXPECT_EQ(answer_limit(valid(), kBounds), 47u);
}

TEST(Validate, APromptAloneMayFillTheContext) {
  const auto alone = [](std::size_t length) {
    return [length](Request& r) {
      r.prompt_only = true;
      r.prompt.assign(length, 1);
    };
  };
  EXPECT_EQ(refused_field(alone(50)), "");
  EXPECT_EQ(refused_field(alone(51)), "prompt");
  Request request = valid();
  request.prompt_only = true;
  EXPECT_EQ(answer_limit(request, kBounds), 0u);
}

TEST(Validate, BothFiguresAreNamed) {
  Request request = valid();
  request.max_tokens = 1000;
  EXPECT_THAT(validate(request, kBounds).error().message,
              testing::AllOf(testing::HasSubstr("1000"), testing::HasSubstr("50")));
  request.prompt.assign(77, 1);
  EXPECT_THAT(validate(request, kBounds).error().message,
              testing::AllOf(testing::HasSubstr("77"), testing::HasSubstr("50")));
}

}  // namespace
}  // namespace autoglm::generation
