// SPDX-License-Identifier: Apache-2.0
#include "agent/yes_no.h"

#include <gmock/gmock.h>

#include "agent/fake_generator.h"

namespace autoglm::agent {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(YesNoTest, AQuestionAndTwoAnswers) {
  FakeGenerator generator;
  const json::Array messages = {json::Object{{"role", "user"}, {"content", "Read a.txt."}}};
  const auto request = yes_no_question(generator.card(), messages, nullptr, "Is it there?");
  ASSERT_TRUE(request) << request.error().message;
  generator.requests.push_back(*request);
  EXPECT_THAT(generator.prompt(0), HasSubstr("<|user|>Read a.txt."));
  EXPECT_THAT(generator.prompt(0), HasSubstr("<|user|>Is it there? Answer with yes or no."));
  EXPECT_THAT(generator.prompt(0), Not(HasSubstr("<|tools|>")));
  for (const char* word : {"yes", "no", "Yes", "No"}) EXPECT_TRUE(generator.may_say(0, word)) << word;
  EXPECT_FALSE(generator.may_say(0, "perhaps"));
}

TEST(YesNoTest, WhatIsCutIsNeither) {
  EXPECT_TRUE(says_no("no") && says_no("No") && says_yes("yes") && says_yes("Yes"));
  EXPECT_FALSE(says_no("") || says_yes("") || says_no("n") || says_yes("y") || says_no("yes") || says_yes("no"));
}

}  // namespace
}  // namespace autoglm::agent
