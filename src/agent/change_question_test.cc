// SPDX-License-Identifier: Apache-2.0
#include "agent/change_question.h"

#include <gmock/gmock.h>

#include "agent/fake_generator.h"

namespace autoglm::agent {
namespace {

TEST(ChangeQuestionTest, HasTheTaskAndTwoAnswers) {
  FakeGenerator generator;
  const auto request = change_question(generator.card(), "Read a.txt.");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_THAT(std::string(request->prompt.begin(), request->prompt.end()), testing::HasSubstr("Read a.txt."));
  generator.requests.push_back(*request);
  for (const char* word : {"yes", "no", "Yes", "No"}) EXPECT_TRUE(generator.may_say(0, word)) << word;
  EXPECT_FALSE(generator.may_say(0, "perhaps"));
}

TEST(ChangeQuestionTest, OnlyANoIsOne) {
  EXPECT_FALSE(says_change("no"));
  EXPECT_FALSE(says_change("No"));
  EXPECT_TRUE(says_change("yes"));
  EXPECT_TRUE(says_change(""));  // cut before it said anything
}

}  // namespace
}  // namespace autoglm::agent
