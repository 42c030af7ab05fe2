// SPDX-License-Identifier: Apache-2.0
#include "app/key_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace autoglm::app {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(KeyFile, OneKeyALineWhateverStandsAround) {
  const auto keys = parse_keys("# ours\n\n  one\t\r\n\ttwo # 2", "keys");
  ASSERT_FALSE(keys);  // a space within a line makes two words of it
  EXPECT_THAT(*parse_keys("# ours\n\n  one\t\r\n \t \n\ttwo\n  # none\nthr#ee", "keys"),
              ElementsAre("one", "two", "thr#ee"));
}

TEST(KeyFile, RefusalsNameTheLineAndKeepTheKey) {
  for (const char* line : {"a-secret of-words", "a-secret\x01", "a-secret\xc3\xa9", "a-secret\x7f"}) {
    const auto refused = parse_keys(std::string("# ours\ngood\n") + line + "\n", "dir/keys");
    ASSERT_FALSE(refused) << line;
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
    EXPECT_EQ(refused.error().where, "--api-key-file");
    EXPECT_THAT(refused.error().message, HasSubstr("dir/keys:3"));
    EXPECT_THAT(refused.error().message, testing::Not(HasSubstr("a-secret")));
  }
  for (const char* text : {"", "\n\n", "# none\n"}) {
    EXPECT_EQ(parse_keys(text, "keys").error().code, Code::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace autoglm::app
