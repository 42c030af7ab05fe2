// SPDX-License-Identifier: Apache-2.0
#include "app/chat.h"

#include <gtest/gtest.h>

#include <csignal>

#include "app/answer.h"
#include "app/interrupt.h"
#include "app/prompt.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "telemetry/metrics.h"

namespace autoglm::app {
namespace {

constexpr char kScript[] = R"(== endless
on and on <|repeat|>

== first*second
I remember.

== system words
As told.

==
Hello.
)";

class ChatTest : public testing::Test {
 protected:
  void SetUp() override {
    engine::EngineOptions options;
    options.context_length = 256;
    options.kv_bytes = std::size_t{64} << 20;
    generator_ = *engine::start_engine(*engine::load_script(kScript), options, clock_, metrics_);
  }

  // What is printed while `text` is said.
  std::string said(Chat& chat, std::string_view text) {
    testing::internal::CaptureStdout();
    const auto status = chat.say(text);
    EXPECT_TRUE(status) << status.error().message;
    return testing::internal::GetCapturedStdout();
  }

  base::SystemClock clock_;
  telemetry::Registry metrics_{clock_};
  std::unique_ptr<generation::Generator> generator_;
  Interrupts interrupts_;
};

TEST_F(ChatTest, KeepsItsHistory) {
  Chat chat(*generator_, {});
  EXPECT_EQ(said(chat, "first"), "Hello.\n");
  EXPECT_EQ(said(chat, "second"), "I remember.\n");
  EXPECT_EQ(chat.messages().size(), 4u);
  chat.reset();
  EXPECT_EQ(said(chat, "second"), "Hello.\n");
}

TEST_F(ChatTest, TheSystemPromptStays) {
  Chat chat(*generator_, {.system = "system words", .sampling = {}, .max_tokens = 16});
  EXPECT_EQ(said(chat, "x"), "As told.\n");
  chat.reset();
  ASSERT_EQ(chat.messages().size(), 1u);
  EXPECT_EQ(said(chat, "x"), "As told.\n");
}

TEST_F(ChatTest, ForgetsTheOldestTurnsWhenTheContextIsFull) {
  Chat chat(*generator_, {.system = "system words", .sampling = {}, .max_tokens = 16});
  for (int i = 0; i < 20; ++i) said(chat, "first " + std::string(40, 'x'));
  EXPECT_LT(chat.messages().size(), 12u);
  EXPECT_EQ(chat.messages()[0].at("role").as_string(), "system");
  EXPECT_EQ(chat.messages()[1].at("role").as_string(), "user");
  EXPECT_EQ(chat.messages()[chat.messages().size() - 1].at("role").as_string(), "assistant");
}

TEST_F(ChatTest, TheLongestAnswerIsABoundAndNoOrder) {
  Chat chat(*generator_, {.system = {}, .sampling = {}, .max_tokens = 1000});  // of a context of 256
  EXPECT_EQ(said(chat, "first"), "Hello.\n");
  EXPECT_EQ(said(chat, "second"), "I remember.\n") << "and forgets nothing for it";
  EXPECT_GT(said(chat, "endless").size(), 60u);
  EXPECT_FALSE(chat.say(std::string(1000, 'x')));
}

TEST_F(ChatTest, AMessageThatCannotFitIsAnErrorAndForgotten) {
  Chat chat(*generator_, {});
  const auto status = chat.say(std::string(1000, 'x'));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kInvalidArgument);
  EXPECT_TRUE(chat.messages().empty());
  EXPECT_EQ(said(chat, "x"), "Hello.\n");
}

TEST_F(ChatTest, AnInterruptEndsTheAnswerAndNotTheProgram) {
  generation::Request request;
  request.prompt = *encode_plain(*generator_->card().tokenizer, "endless");
  const auto answer = take_answer(*generator_, request, [](std::string_view) { return std::raise(SIGINT) == 0; });
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_TRUE(answer->was_interrupted || answer->reason == generation::FinishReason::kLength);
  EXPECT_GE(Interrupts::count(), 1);
  EXPECT_FALSE(Interrupts::was_terminate());
  Interrupts::forget();
  EXPECT_EQ(Interrupts::count(), 0);
}

TEST_F(ChatTest, AReaderThatWantsNoMoreEndsTheAnswer) {
  generation::Request request;
  request.prompt = *encode_plain(*generator_->card().tokenizer, "endless");
  std::size_t pieces = 0;
  const auto answer = take_answer(*generator_, request, [&](std::string_view) { return ++pieces == 0; });
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(pieces, 1u);
}

TEST_F(ChatTest, TellsWhereTheTimeOfEachAnswerWent) {
  Chat chat(*generator_, {.system = {}, .sampling = {}, .max_tokens = 0, .shows_profile = true});
  for (const char* const asked : {"first", "second"}) {
    testing::internal::CaptureStderr();
    said(chat, asked);
    const std::string table = testing::internal::GetCapturedStderr();
    for (const char* const stage :
         {"template ", "tokenise ", "plan ", "sample ", "detokenise ", "deliver ", "not attributed "})
      EXPECT_NE(table.find(stage), std::string::npos) << stage << table;
    EXPECT_NE(table.find("answer, "), std::string::npos) << table;
  }
  testing::internal::CaptureStderr();
  Chat quiet(*generator_, {});
  said(quiet, "first");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(SafeForTerminal, ControlBytesAreLeftOut) {
  EXPECT_EQ(safe_for_terminal("a\x1b[2J\x07"
                              "b\n\tc\x7f"),
            "a[2Jb\n\tc");
  EXPECT_EQ(safe_for_terminal("\xc2\x9b"
                              "31m\xc3\xa9"),
            "31m\xc3\xa9");
}

}  // namespace
}  // namespace autoglm::app
