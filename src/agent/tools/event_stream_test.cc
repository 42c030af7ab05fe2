// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/event_stream.h"

#include <gtest/gtest.h>

#include <chrono>

namespace autoglm::agent {
namespace {

std::string read_in(EventStream& stream, std::string_view bytes, std::size_t split) {
  std::string out;
  for (const std::string_view piece : {bytes.substr(0, split), bytes.substr(split)}) {
    const auto events = stream.push(piece);
    if (!events) return "error";
    for (const ServerEvent& event : *events) out += event.type + "=" + event.data + "|";
  }
  return out;
}

TEST(EventStream, TheSameAtEverySplit) {
  const std::string text =
      "\xEF\xBB\xBF: a comment\r\nid: 7\r\nevent: note\r\ndata: one\r\ndata:two\r\n\r\n"
      "data\n\nretry: 1500\nretry: soon\ndata: {\"a\":1}\rid: 8\r\rid: 9\n\nnothing: x\ndata: unfinished";
  for (std::size_t split = 0; split <= text.size(); ++split) {
    EventStream stream(1000);
    EXPECT_EQ(read_in(stream, text, split), "note=one\ntwo|message=|message={\"a\":1}|") << split;
    EXPECT_EQ(stream.last_event_id(), "9");
    EXPECT_EQ(stream.retry(), std::chrono::milliseconds(1500));
  }
}

TEST(EventStream, AnIdCountsWhenItsEventIsComplete) {
  EventStream stream(1000);
  ASSERT_TRUE(stream.push("id: 1\ndata: \n\nid: 2\ndata: x\n"));
  EXPECT_EQ(stream.last_event_id(), "1");
  ASSERT_TRUE(stream.push("\n"));
  EXPECT_EQ(stream.last_event_id(), "2");
  ASSERT_TRUE(stream.push("id:\n\n"));
  EXPECT_EQ(stream.last_event_id(), "");
}

TEST(EventStream, EventsAreBounded) {
  EventStream line(100);
  EXPECT_TRUE(line.push("data: " + std::string(90, 'x')));
  EXPECT_EQ(line.push(std::string(10, 'x')).error().code, Code::kExhausted);
  EventStream event(100);
  EXPECT_TRUE(event.push("data: " + std::string(90, 'x') + "\n"));
  EXPECT_EQ(event.push("data: " + std::string(20, 'x') + "\n").error().code, Code::kExhausted);
}

TEST(EventStream, IsLinear) {
  EventStream stream(64u << 20);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 1'000'000; ++i) ASSERT_TRUE(stream.push("d"));
  std::string many;
  for (int i = 0; i < 200'000; ++i) many += "data:x\n";
  ASSERT_TRUE(stream.push("\n" + many + "\n"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

}  // namespace
}  // namespace autoglm::agent
