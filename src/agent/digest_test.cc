// SPDX-License-Identifier: Apache-2.0
#include "agent/digest.h"

#include <gtest/gtest.h>

#include "agent/message.h"
#include "base/utf8.h"

namespace autoglm::agent {
namespace {

TEST(DigestTest, OneLineIsOneLine) {
  EXPECT_EQ(one_line("  a\n\n b\tc ", 80), "a b c ");
  EXPECT_EQ(one_line("abcdefgh", 8), "abcdefgh");
  EXPECT_EQ(one_line("abcdefghi", 8), "abcde...");
  EXPECT_EQ(one_line("世界世界", 8), "世...");
  EXPECT_EQ(one_line("", 8), "");
  for (std::size_t most = 3; most < 40; ++most) {
    const std::string line = one_line("a世\n界b世界世 界世界世界", most);
    EXPECT_LE(line.size(), most);
    EXPECT_TRUE(base::is_utf8(line)) << most;
  }
}

TEST(DigestTest, TellsTasksActionsAndAnswers) {
  ActionCall read;
  read.id = "call_1";
  read.tool = "read";
  read.arguments = {{"path", "a.txt"}};
  ActionCall lost;
  lost.id = "call_2";
  lost.tool = "lost";
  const std::vector<json::Object> messages = {user_message("Read a."), assistant_message("I read.", {read, lost}),
                                              tool_message(read, "some\ntext"), assistant_message("It is text.", {})};
  std::vector<const json::Object*> all;
  for (const json::Object& message : messages) all.push_back(&message);
  EXPECT_EQ(digest_of("before", all),
            "before\nuser: Read a.\nyou: I read.\nyou called read{\"path\":\"a.txt\"} -> some text\n"
            "you called lost{}\nyou: It is text.\n");
  EXPECT_EQ(digest_of("", {}), "");
}

TEST(DigestTest, LastLinesAreWholeLines) {
  const std::string digest = "first line\nsecond line\nthird line\n";
  EXPECT_EQ(last_lines(digest, 100), digest);
  EXPECT_EQ(last_lines(digest, 29 + 11), digest);
  EXPECT_EQ(last_lines(digest + digest, 45), "(earlier lines are left out)\nthird line\n");
  EXPECT_EQ(last_lines(digest + digest, 35), "");
  EXPECT_EQ(last_lines(digest, 0), "");
}

}  // namespace
}  // namespace autoglm::agent
