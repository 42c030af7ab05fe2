// SPDX-License-Identifier: Apache-2.0
// Every disk operation of a small life of the store fails once, and loses power once: what was acknowledged is there.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/temporary_folder.h"
#include "store/memory_disk.h"
#include "store/session_store.h"

namespace autoglm::store {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kRounds = 3;

// How much of each kind was acknowledged.
struct Written {
  bool has_session = false;
  std::int64_t run = 0;
  std::size_t begun = 0;
  std::size_t ended = 0;
  std::size_t messages = 0;
  std::size_t notes = 0;
};

class PowerTest : public testing::Test {
 protected:
  Result<std::unique_ptr<SessionStore>> open() { return SessionStore::open(folder_ / "sessions.db", clock_, {}); }

  // Goes on from `written` and stops at the first error.
  static Status write(SessionStore& store, Written& written) {
    if (!written.has_session) TRY(store.create_session("s"));
    written.has_session = true;
    if (written.run == 0) written.run = TRY(store.begin_run({.session = "s", .task = "t"}, {})).run;
    while (written.notes < kRounds) {
      // Larger than a page, so that a transaction has several writes to lose.
      const std::string text = std::to_string(written.notes) + " " + std::string(6000, 'x');
      StepRow step{.run = written.run, .step = written.notes + 1, .tool = "t", .arguments = "{}", .state = "running"};
      if (written.begun == written.notes) TRY(store.begin_step(step)), ++written.begun;
      step.state = "done";
      step.result = text;
      if (written.ended == written.notes) TRY(store.end_step(step)), ++written.ended;
      if (written.messages == written.notes) TRY(store.append_messages(written.run, {text})), ++written.messages;
      TRY(store.remember("s", "note" + std::to_string(written.notes)));
      ++written.notes;
    }
    return {};
  }

  // All that was acknowledged, and at most `more` operations that were not.
  static void expect(SessionStore& store, const Written& written, std::size_t more) {
    std::size_t extra = 0;
    const bool has_session = store.find_session("s")->has_value();
    ASSERT_GE(has_session, written.has_session);
    extra += static_cast<std::size_t>(has_session) - static_cast<std::size_t>(written.has_session);
    const auto runs = *store.runs("s");
    ASSERT_GE(runs.size(), written.run ? 1u : 0u);
    extra += runs.size() - (written.run ? 1 : 0);
    const std::int64_t run = runs.empty() ? 1 : runs[0].id;
    const auto steps = *store.steps(run);
    ASSERT_GE(steps.size(), written.begun);
    extra += steps.size() - written.begun;
    std::size_t results = 0;
    for (const StepRow& step : steps) {
      if (!step.result) continue;
      ASSERT_EQ(step.step, ++results);
      EXPECT_TRUE(*step.result == std::to_string(results - 1) + " " + std::string(6000, 'x')) << results;
    }
    ASSERT_GE(results, written.ended);
    extra += results - written.ended;
    const auto messages = *store.messages("s");
    ASSERT_GE(messages.size(), written.messages);
    extra += messages.size() - written.messages;
    for (std::size_t i = 0; i < messages.size(); ++i) EXPECT_EQ(messages[i].json.find(std::to_string(i) + " "), 0u);
    std::size_t notes = 0;
    for (std::size_t i = 0; i < kRounds; ++i) notes += store.recall("s", "note" + std::to_string(i), 9)->size();
    ASSERT_GE(notes, written.notes);
    extra += notes - written.notes;
    EXPECT_LE(extra, more);
  }

  // The life: two processes after each other, so that opening, checkpointing and closing are among the operations.
  Status live(Written& written) {
    {
      auto first = TRY(open());
      TRY(first->create_session("other"));
    }
    auto second = TRY(open());
    return write(*second, written);
  }

  base::VirtualClock clock_;
  const base::TemporaryFolder folder_;
};

TEST_F(PowerTest, WhatWasAcknowledgedSurvivesPowerLossAtEveryOperation) {
  std::size_t cuts = 0;
  bool is_complete = false;
  for (std::size_t operation = 0; !is_complete; ++operation) {
    for (std::uint64_t seed = 0; seed < 2 && !HasFailure(); ++seed) {
      SCOPED_TRACE("operation " + std::to_string(operation) + ", seed " + std::to_string(seed));
      MemoryDisk disk;
      disk.cut_power_at(operation);
      Written written;
      is_complete = live(written).has_value() && disk.has_power();
      disk.restart(seed);
      auto store = open();
      ASSERT_TRUE(store) << store.error().message;
      expect(**store, written, 1);
      EXPECT_TRUE((*store)->create_session("after"));
      ++cuts;
    }
    ASSERT_FALSE(HasFailure());
  }
  RecordProperty("cuts", static_cast<int>(cuts));
  EXPECT_GT(cuts, 200u);
}

TEST_F(PowerTest, AFullDiskCostsOneCallAndNothingElse) {
  for (const int code : {SQLITE_FULL, SQLITE_IOERR_WRITE}) {
    bool was_hit = true;
    for (std::size_t operation = 1; was_hit; ++operation) {
      SCOPED_TRACE("operation " + std::to_string(operation));
      MemoryDisk disk;
      Written written;
      auto store = open();
      ASSERT_TRUE(store) << store.error().message;
      disk.fail_at(disk.operations() + operation, code);
      const std::size_t before = disk.operations();
      const Status failed = write(**store, written);
      was_hit = disk.operations() - before >= operation;
      const bool was_sync = !failed && failed.error().code == Code::kUnavailable && code == SQLITE_FULL;
      if (!failed && !was_sync) {
        EXPECT_EQ(failed.error().code, code == SQLITE_FULL ? Code::kExhausted : Code::kUnavailable);
      }
      Status again = write(**store, written);
      if (was_sync) EXPECT_FALSE(again);
      if (!again) {
        // After a sync that failed nothing is taken for durable until the file is opened anew.
        EXPECT_EQ(again.error().code, Code::kUnavailable);
        store->reset();
        disk.cut_power();
        disk.restart(operation);
        store = open();
        ASSERT_TRUE(store) << store.error().message;
        expect(**store, written, 1);
        continue;
      }
      expect(**store, written, 0);
      disk.cut_power();
      store->reset();
      disk.restart(operation);
      store = open();
      ASSERT_TRUE(store) << store.error().message;
      expect(**store, written, 0);
    }
  }
}

}  // namespace
}  // namespace autoglm::store
