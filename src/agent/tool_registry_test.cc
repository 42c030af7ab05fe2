// SPDX-License-Identifier: Apache-2.0
#include "agent/tool_registry.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

#include "agent/fake_tool.h"

namespace autoglm::agent {
namespace {

Status add(ToolRegistry& tools, ToolDescription description) {
  return tools.add(std::make_unique<FakeTool>(
      std::move(description), [](const json::Object&, std::stop_token) { return Result<ToolOutput>(ToolOutput{}); }));
}

TEST(ToolRegistry, NamesAreWellFormedAndTakenOnce) {
  ToolRegistry tools;
  EXPECT_TRUE(add(tools, describe("read_file-2")));
  for (const std::string& name : {std::string(), std::string("a b"), std::string("a.b"), std::string("caf\xc3\xa9"),
                                  std::string(65, 'a'), std::string("read_file-2")}) {
    EXPECT_EQ(add(tools, describe(name)).error().code, Code::kInvalidArgument) << name;
  }
  EXPECT_TRUE(add(tools, describe(std::string(64, 'a'))));
  EXPECT_NE(tools.find("read_file-2"), nullptr);
  EXPECT_EQ(tools.find("read_file"), nullptr);
}

TEST(ToolRegistry, SchemasAreOfObjects) {
  ToolRegistry tools;
  const auto with = [](std::string_view schema) {
    ToolDescription description = describe("t");
    description.parameters = parse_json(schema).as_object();
    return description;
  };
  EXPECT_FALSE(add(tools, with(R"({"type":"string"})")));
  EXPECT_FALSE(add(tools, with(R"({"type":["object","null"]})")));
  EXPECT_FALSE(add(tools, with(R"({"type":"object","properties":{"a":{"type":"strin"}}})")));
  EXPECT_FALSE(add(tools, with(R"({"$ref":"#"})")));
  ASSERT_TRUE(add(tools, with(R"({"properties":{"a":{"type":"string"}}})")));
  const Tool& tool = *tools.find("t");
  EXPECT_TRUE(tools.check(tool, parse_json(R"({"a":"x","b":1})").as_object()));
  const auto refused = tools.check(tool, parse_json(R"({"a":1})").as_object());
  EXPECT_EQ(refused.error().where, "/a");
}

TEST(ToolRegistry, TemplatesSeeToolsInOrder) {
  ToolRegistry tools;
  ASSERT_TRUE(add(tools, describe("zebra")));
  ASSERT_TRUE(add(tools, describe("ant")));
  EXPECT_EQ(json::format(tools.for_template()),
            R"([{"type":"function","function":{"name":"zebra","description":"a tool of a test","parameters":)"
            R"({"type":"object"}}},{"type":"function","function":{"name":"ant","description":"a tool of a test",)"
            R"("parameters":{"type":"object"}}}])");
}

// Two runs that share a registry know nothing of each other's calls.
TEST(ToolRegistry, AToolsBoundHoldsForAllThatShareIt) {
  std::latch begun(1), may_end(1);
  std::atomic<int> running = 0, most = 0;
  ToolDescription description = describe("t");
  description.max_concurrency = 1;
  ToolRegistry tools;
  ASSERT_TRUE(tools.add(std::make_unique<FakeTool>(description, [&](const json::Object& arguments, std::stop_token) {
    most = std::max(most.load(), ++running);
    if (arguments.contains("first")) {
      begun.count_down();
      may_end.wait();
    }
    --running;
    return Result<ToolOutput>(ToolOutput{"ran"});
  })));
  Tool& tool = *tools.find("t");
  std::jthread first([&] { EXPECT_TRUE(tool.run({{"first", true}}, {})); });
  begun.wait();
  std::stop_source stopped;
  stopped.request_stop();
  const auto gave_up = tool.run({}, stopped.get_token());
  ASSERT_FALSE(gave_up);
  EXPECT_EQ(gave_up.error().code, Code::kCancelled);
  std::jthread second([&] { EXPECT_EQ(tool.run({}, {})->text, "ran"); });
  may_end.count_down();
  first.join();
  second.join();
  EXPECT_EQ(most, 1);
}

}  // namespace
}  // namespace autoglm::agent
