// SPDX-License-Identifier: Apache-2.0
#include "app/tool_flags.h"

#include <gtest/gtest.h>

#include "agent/fake_tool.h"

namespace autoglm::app {
namespace {

TEST(ToolFlags, UnsandboxedAreProgramsByNameAndAServerOnce) {
  agent::ToolRegistry tools;
  const auto add = [&tools](const char* name, const char* source, bool is_sandboxed) {
    agent::ToolDescription description = agent::describe(name);
    description.source = source;
    description.is_sandboxed = is_sandboxed;
    ASSERT_TRUE(tools.add(std::make_unique<agent::FakeTool>(std::move(description), nullptr)));
  };
  add("count", "process", false);
  add("safe", "process", true);
  add("files_read", "mcp:files", false);
  add("files_write", "mcp:files", false);
  add("weather", "http", true);
  add("note", "process", false);
  EXPECT_EQ(unsandboxed(tools), (std::vector<std::string>{"count", "mcp:files", "note"}));
}

}  // namespace
}  // namespace autoglm::app
