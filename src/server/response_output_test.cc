// SPDX-License-Identifier: Apache-2.0
#include "server/response_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/fake_tool.h"
#include "protocol/response_items.h"

namespace autoglm::server {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

class ResponseOutputTest : public testing::Test {
 protected:
  std::string status(std::size_t index) const {
    return std::string(protocol::text_of_field(output_.items()[index].get_object(), "status"));
  }

  agent::ToolDescription description_ = agent::describe("s_t");
  ResponseTool own_{.label = "s", .name = "t", .own = &description_};
  ResponseTool asking_{.label = "s", .name = "t", .own = &description_, .asks = true};
  ResponseTool function_{.name = "f"};
  std::vector<std::string> events_;
  ResponseOutput output_{"r", [this](std::string_view type, const json::Object&) { events_.emplace_back(type); }};
};

TEST_F(ResponseOutputTest, IdsTellResponseTurnAndPlace) {
  output_.begin_turn();
  output_.text("a");
  output_.begin_call(function_);
  output_.end_call();
  output_.begin_turn();
  output_.reasoning("b");
  output_.end_turn();
  EXPECT_EQ(output_.id_of(0), "msg_r_1_0");
  EXPECT_EQ(output_.id_of(1), "fc_r_1_1");
  EXPECT_EQ(output_.id_of(2), "rs_r_2_0");
  EXPECT_EQ(protocol::text_of_field(output_.items()[1].get_object(), "call_id"), "call_r_1_1");
  EXPECT_EQ(protocol::text_of_field(output_.items()[1].get_object(), "arguments"), "{}") << "none is an empty object";
}

TEST_F(ResponseOutputTest, ACallWithoutItsResultFailsAtTheEnd) {
  output_.begin_turn();
  output_.begin_call(own_);
  output_.arguments("{}");
  output_.end_call();
  EXPECT_EQ(status(0), "in_progress");
  output_.end();
  EXPECT_EQ(status(0), "failed");
  EXPECT_THAT(events_, ElementsAre("response.output_item.added", "response.mcp_call.in_progress",
                                   "response.mcp_call_arguments.delta", "response.mcp_call_arguments.done",
                                   "response.mcp_call.failed", "response.output_item.done"));
}

TEST_F(ResponseOutputTest, WhatIsCutIsIncomplete) {
  output_.begin_turn();
  output_.text("a");
  output_.cut();
  output_.begin_call(function_);
  output_.arguments("{\"x");
  output_.cut();
  output_.begin_call(own_);
  output_.cut();
  EXPECT_EQ(status(0), "incomplete");
  EXPECT_EQ(status(1), "incomplete");
  EXPECT_EQ(status(2), "failed");
  output_.cut();
  EXPECT_THAT(output_.items(), SizeIs(3));
}

// Half a question is none: nobody was told of it.
TEST_F(ResponseOutputTest, AQuestionIsToldWhenItIsWhole) {
  output_.begin_turn();
  output_.begin_call(asking_);
  output_.arguments("{\"x");
  EXPECT_THAT(events_, SizeIs(0));
  output_.cut();
  EXPECT_THAT(output_.items(), SizeIs(0));
  output_.begin_call(asking_);
  output_.arguments("{}");
  output_.end_call();
  EXPECT_THAT(events_, ElementsAre("response.output_item.added", "response.output_item.done"));
}

}  // namespace
}  // namespace autoglm::server
