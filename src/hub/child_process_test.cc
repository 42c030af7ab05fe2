// SPDX-License-Identifier: Apache-2.0
#include "hub/child_process.h"

#include <gtest/gtest.h>

namespace autoglm::hub {
namespace {

TEST(ChildProcess, OutputExitCodeAndTail) {
  std::string output;
  ChildProcess child;
  child.arguments = {"sh", "-c", "echo out; echo err >&2; exit 3"};
  child.on_output = [&](std::string_view bytes) -> Status {
    output += bytes;
    return {};
  };
  const auto end = run_child(child);
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(end->exit_code, 3);
  EXPECT_EQ(output, "out\n");
  EXPECT_EQ(end->tail, "err\n");
}

TEST(ChildProcess, ArgumentsAreNotForAShell) {
  ChildProcess child;
  child.arguments = {"printf", "%s", "$(id); `id` * \"x"};
  EXPECT_EQ(run_child(child)->tail, "$(id); `id` * \"x");
}

TEST(ChildProcess, FolderAndEnvironment) {
  ChildProcess child;
  child.arguments = {"sh", "-c", "pwd; echo $OPENAUTOGLM_TEST_WORD $HOME"};
  child.folder = "/";
  child.environment = {"OPENAUTOGLM_TEST_WORD=word", "HOME=/nowhere"};
  EXPECT_EQ(run_child(child)->tail, "/\nword /nowhere\n");
}

TEST(ChildProcess, NoSuchProgram) {
  ChildProcess child;
  child.arguments = {"openautoglm-no-such-program"};
  EXPECT_EQ(run_child(child).error().code, Code::kNotFound);
}

TEST(ChildProcess, CancelAndARefusingSinkEndIt) {
  ChildProcess child;
  child.arguments = {"sh", "-c", "while :; do echo x; done"};
  int asked = 0;
  child.is_cancelled = [&asked] { return ++asked > 3; };
  EXPECT_EQ(run_child(child).error().code, Code::kCancelled);

  child.is_cancelled = nullptr;
  child.on_output = [](std::string_view) -> Status { return fail(Code::kExhausted, "enough"); };
  EXPECT_EQ(run_child(child).error().code, Code::kExhausted);
}

TEST(ChildProcess, SignalsAndLongComplaints) {
  ChildProcess child;
  child.arguments = {"sh", "-c", "kill -TERM $$"};
  EXPECT_EQ(run_child(child)->exit_code, 128 + 15);
  child.arguments = {"sh", "-c", "i=0; while [ $i -lt 1000 ]; do echo 0123456789 >&2; i=$((i+1)); done"};
  EXPECT_EQ(run_child(child)->tail.size(), 4096u);
}

}  // namespace
}  // namespace autoglm::hub
