// SPDX-License-Identifier: Apache-2.0
#include "agent/memory_tools.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"

namespace autoglm::agent {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

class MemoryToolsTest : public testing::Test {
 protected:
  MemoryToolsTest() : store_(*store::SessionStore::open(":memory:", clock_)), tools_(memory_tools(*store_, "s", 100)) {
    EXPECT_TRUE(store_->create_session("s"));
    run_ = store_->begin_run({.session = "s"}, {})->run;
  }

  void record(std::size_t step, const std::string& result) {
    ASSERT_TRUE(store_->end_step({.run = run_, .step = step, .state = "done", .result = result}));
  }

  Tool& tool(std::string_view name) {
    for (const auto& candidate : tools_) {
      if (candidate->description().name == name) return *candidate;
    }
    ADD_FAILURE() << name;
    return *tools_[0];
  }

  ToolOutput run(std::string_view name, json::Object arguments) {
    const auto output = tool(name).run(arguments, {});
    EXPECT_TRUE(output) << output.error().message;
    return output ? *output : ToolOutput{"", true};
  }
  std::string read(json::Object arguments) {
    const ToolOutput output = run("read_result", std::move(arguments));
    EXPECT_FALSE(output.is_error) << output.text;
    return output.text;
  }

  base::VirtualClock clock_;
  std::unique_ptr<store::SessionStore> store_;
  std::vector<std::unique_ptr<Tool>> tools_;
  std::int64_t run_ = 0;
};

TEST_F(MemoryToolsTest, DescribeThemselves) {
  ASSERT_THAT(tools_, SizeIs(3));
  for (const auto& each : tools_) {
    const ToolDescription& description = each->description();
    EXPECT_EQ(description.source, "built in");
    EXPECT_EQ(description.approval, Approval::kNever);
    EXPECT_LT(description.description.size(), 130u) << "a small model reads it in every prompt";
    EXPECT_EQ(description.parameters.at("type"), "object");
  }
  EXPECT_EQ(tool("read_result").description().tool_class, ToolClass::kRead);
  EXPECT_EQ(tool("recall").description().tool_class, ToolClass::kRead);
  EXPECT_EQ(tool("remember").description().tool_class, ToolClass::kWrite);
}

TEST_F(MemoryToolsTest, ReadsARangeAndTellsOfTheRest) {
  std::string text;
  for (int i = 1; i <= 50; ++i) text += "line " + std::to_string(i) + "\n";
  record(3, text);
  const std::string first = read({{"step", 3}});
  EXPECT_THAT(first, testing::StartsWith("Lines 1 to 13 of 50 of step 3:\nline 1\nline 2\n"));
  EXPECT_THAT(first, testing::EndsWith("[There is more: read_result with {\"step\":3,\"from_line\":14}.]"));
  EXPECT_EQ(read({{"step", 3}, {"from_line", 49}}), "Lines 49 to 50 of 50 of step 3:\nline 49\nline 50\n");
  EXPECT_THAT(read({{"step", 3}, {"from_line", 5}, {"lines", 2}}), HasSubstr("Lines 5 to 6 of 50"));
  // Read on to the end by what each part says: nothing is lost or seen twice.
  std::string joined;
  for (std::size_t from = 1; from <= 50;) {
    const std::string part = read({{"step", 3}, {"from_line", from}});
    const std::size_t begin = part.find('\n') + 1;
    const std::string shown = part.substr(begin, part.find("[There") - begin);
    joined += shown;
    from += static_cast<std::size_t>(std::ranges::count(shown, '\n'));
  }
  EXPECT_EQ(joined, text);
}

TEST_F(MemoryToolsTest, ALineLongerThanTheBoundIsShownAllTheSame) {
  record(1, std::string(1000, 'x'));
  const std::string text = read({{"step", 1}});
  EXPECT_THAT(text, HasSubstr("Lines 1 to 1 of 5"));
  EXPECT_THAT(text, HasSubstr("\n[There is more"));
}

TEST_F(MemoryToolsTest, FindsLines) {
  std::string text;
  for (int i = 1; i <= 50; ++i) text += (i % 5 == 0 ? "Needle " : "hay ") + std::to_string(i) + "\n";
  record(3, text);
  const std::string first = read({{"step", 3}, {"search", "nEEdle"}});
  EXPECT_THAT(first, testing::StartsWith("5: Needle 5\n10: Needle 10\n"));
  EXPECT_THAT(first, Not(HasSubstr("hay")));
  EXPECT_THAT(first, HasSubstr("read_result with {\"step\":3,\"from_line\":40,\"search\":\"nEEdle\"}"));
  EXPECT_EQ(read({{"step", 3}, {"search", "needle"}, {"from_line", 40}}),
            "40: Needle 40\n45: Needle 45\n50: Needle 50\n");
  EXPECT_THAT(read({{"step", 3}, {"search", "needle"}, {"lines", 1}}), testing::StartsWith("5: Needle 5\n[There"));
  EXPECT_THAT(read({{"step", 3}, {"search", "a.*b"}}), HasSubstr("No line of step 3"));
}

TEST_F(MemoryToolsTest, RefusesWhatIsNotThere) {
  record(1, "");
  ASSERT_TRUE(store_->begin_step({.run = run_, .step = 2, .state = "running"}));
  for (const json::Object& arguments :
       {json::Object{}, json::Object{{"step", 9}}, json::Object{{"step", 2}}, json::Object{{"step", 1}},
        json::Object{{"step", "x"}}, json::Object{{"step", -1}}, json::Object{{"step", 1}, {"from_line", 2}}}) {
    EXPECT_TRUE(run("read_result", arguments).is_error) << json::format(arguments);
  }
  record(3, "one\ntwo");
  EXPECT_THAT(run("read_result", {{"step", 3}, {"from_line", 7}}).text, HasSubstr("has 2 lines"));
  EXPECT_THAT(read({{"step", 3}, {"from_line", -4}, {"lines", 1e300}}), HasSubstr("one\ntwo"));
}

TEST_F(MemoryToolsTest, RemembersAndRecalls) {
  EXPECT_EQ(run("recall", {{"words", "printer"}}).text, "No note holds any of these words.");
  EXPECT_EQ(run("remember", {{"text", "The printer is in room 7."}}).text, "Remembered.");
  EXPECT_EQ(run("recall", {{"words", "Where is the printer?"}}).text, "- The printer is in room 7.\n");
  for (int i = 0; i < 20; ++i) run("remember", {{"text", "printer " + std::to_string(i)}});
  EXPECT_EQ(std::ranges::count(run("recall", {{"words", "printer"}}).text, '\n'), 8);
  const ToolOutput empty = run("remember", {{"text", ""}});
  EXPECT_TRUE(empty.is_error);
  EXPECT_TRUE(run("remember", {{"text", std::string(5000, 'x')}}).is_error);
  EXPECT_FALSE(run("recall", {}).is_error);
}

TEST_F(MemoryToolsTest, AStoreThatFailsIsAnError) {
  const auto homeless = memory_tools(*store_, "none", 100);
  EXPECT_EQ(homeless[1]->run({{"text", "x"}}, {}).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace autoglm::agent
