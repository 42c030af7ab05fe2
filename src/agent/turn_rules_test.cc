// SPDX-License-Identifier: Apache-2.0
#include "agent/turn_rules.h"

#include <gmock/gmock.h>

#include "agent/fake_tool.h"

namespace autoglm::agent {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::UnorderedElementsAre;

class TurnRulesTest : public testing::Test {
 protected:
  void SetUp() override {
    add(describe("read"));
    add(describe("list"));
    add(describe("append", ToolClass::kWrite));
    ToolDescription make = describe("make", ToolClass::kWrite);
    make.is_idempotent = true;
    add(make);
    add(describe("fetch", ToolClass::kExternal));
  }
  void add(ToolDescription description) {
    const auto says_nothing = [](const json::Object&, std::stop_token) -> Result<ToolOutput> { return ToolOutput{}; };
    ASSERT_TRUE(tools_.add(std::make_unique<FakeTool>(std::move(description), says_nothing)));
  }
  TurnRules rules(std::string_view task = "Do it.", const Aids& aids = {}) const {
    return TurnRules(tools_, aids, "answer", task);
  }
  void did(ActionCall call, ActionState state = ActionState::kDone) {
    known_.push_back({known_.size() + 1, std::move(call), {.state = state, .text = "text"}});
  }
  static ReadTurn turn(std::vector<ActionCall> calls) {
    ReadTurn read;
    read.calls = std::move(calls);
    return read;
  }
  static ActionCall on(std::string tool, std::string_view path) {
    return call_of(std::move(tool), R"({"path": ")" + std::string(path) + "\"}");
  }
  bool is_fine(const ActionCall& call) const {
    ReadTurn read = turn({call});
    return !rules().object_to(read, false, known_, 0).has_value();
  }

  ToolRegistry tools_;
  std::vector<Action> known_;
};

TEST_F(TurnRulesTest, AnOrderToChangeSomethingIsKnownByItsVerb) {
  for (const char* task : {"Append it.", "append it", "Read a.txt and append it to b.txt.", "Look, then append.",
                           "How many? Append the number.", "1. Read it\n2) append it", "Please make a copy."}) {
    EXPECT_TRUE(rules(task).is_told_to_change()) << task;
  }
  for (const char* task : {"", "Read it.", "What did they append to it?", "Appending is fine.", "What make is the car?",
                           "Fetch it.", "the_append.txt"}) {
    EXPECT_FALSE(rules(task).is_told_to_change()) << task;
  }
}

// --- repetitions ---------------------------------------------------------------------------------------------------

TEST_F(TurnRulesTest, WhatIsKnownIsNotAskedForAgain) {
  did(on("read", "a"));
  EXPECT_FALSE(is_fine(on("read", "a")));
  EXPECT_TRUE(is_fine(on("read", "b")));
  EXPECT_TRUE(is_fine(on("list", "a")));
}

TEST_F(TurnRulesTest, AChangeMakesEverythingNew) {
  did(on("read", "a"));
  did(on("append", "b"));
  EXPECT_TRUE(is_fine(on("read", "a")));
  EXPECT_TRUE(is_fine(on("append", "b")));  // twice may be what is meant
}

TEST_F(TurnRulesTest, AChangeThatFailedDoesNot) {
  did(on("read", "a"));
  did(on("append", "b"), ActionState::kFailed);
  EXPECT_FALSE(is_fine(on("read", "a")));
  EXPECT_FALSE(is_fine(on("append", "b")));
  did(on("append", "c"), ActionState::kTimedOut);  // may have had its effect
  EXPECT_TRUE(is_fine(on("read", "a")));
}

TEST_F(TurnRulesTest, AnIdempotentChangeIsNotRepeated) {
  did(on("make", "a"));
  did(on("append", "b"), ActionState::kFailed);
  EXPECT_FALSE(is_fine(on("make", "a")));
  did(on("append", "b"));
  EXPECT_TRUE(is_fine(on("make", "a")));
}

TEST_F(TurnRulesTest, AServiceThatFailedMayBeBack) {
  did(on("fetch", "a"), ActionState::kFailed);
  EXPECT_TRUE(is_fine(on("fetch", "a")));
  did(on("fetch", "a"), ActionState::kDenied);
  EXPECT_TRUE(is_fine(on("fetch", "a")));
}

TEST_F(TurnRulesTest, ABrokenCallIsNoRepetition) {
  ActionCall broken = on("read", "a");
  did(broken, ActionState::kFailed);
  broken.unusable = Error{Code::kInvalidArgument, "cut", {}};
  EXPECT_TRUE(is_fine(broken));
}

TEST_F(TurnRulesTest, RepetitionsBesideSomethingNewAreTakenOut) {
  did(on("read", "a"));
  ReadTurn read = turn({on("read", "a"), on("read", "b"), on("read", "b"), on("make", "c")});
  read.calls.pop_back();
  EXPECT_FALSE(rules().object_to(read, false, known_, 0));
  ASSERT_THAT(read.calls, SizeIs(1));
  EXPECT_EQ(read.calls[0].arguments, on("read", "b").arguments);
}

TEST_F(TurnRulesTest, OnePlaceIsLookedAtOnceInATurn) {
  ReadTurn read = turn({on("read", "a"), on("read", "b"), call_of("list", R"({"paths": ["a", "b"]})"),
                        call_of("list", R"({"paths": ["a", "c"]})"), call_of("list"), on("make", "a")});
  EXPECT_FALSE(rules("", *parse_aids("repeats")).object_to(read, false, known_, 0));
  ASSERT_THAT(read.calls, SizeIs(5));
  EXPECT_EQ(read.calls[2].arguments, parse_json(R"({"paths": ["a", "c"]})").as_object());
}

TEST_F(TurnRulesTest, EachAttemptLeavesLess) {
  did(on("read", "a"));
  ReadTurn read = turn({on("read", "a")});
  EXPECT_THAT(rules().object_to(read, false, known_, 0)->without, UnorderedElementsAre("read"));
  // By another tool, but of the same place.
  ReadTurn again = turn({on("list", "a")});
  EXPECT_THAT(rules().object_to(again, false, known_, 1)->without, UnorderedElementsAre("read", "list"));
  ReadTurn of_nothing = turn({call_of("list")});
  EXPECT_FALSE(rules().object_to(of_nothing, false, known_, 1)) << "it names no place";
  did(on("read", "b"), ActionState::kFailed);
  ReadTurn elsewhere = turn({on("list", "b")});  // where nothing was found another tool may
  EXPECT_FALSE(rules().object_to(elsewhere, false, known_, 1));
}

TEST_F(TurnRulesTest, WhatFailedIsTriedByChance) {
  did(on("append", "a"), ActionState::kFailed);
  ReadTurn read = turn({on("append", "a")});
  const auto objection = rules().object_to(read, false, known_, 0);
  ASSERT_TRUE(objection);
  EXPECT_TRUE(objection->is_by_chance);
  EXPECT_THAT(objection->without, IsEmpty());
  const auto next = rules().object_to(read, false, known_, 1);
  EXPECT_FALSE(next->is_by_chance);
  EXPECT_THAT(next->without, UnorderedElementsAre("append"));
}

TEST_F(TurnRulesTest, ATurnIsNotWaitedForBehindWhatDoesNotCount) {
  did(on("read", "a"));
  const TurnRules held = rules();
  const auto wants = [&](const TurnRules& its, std::vector<ActionCall> calls) { return its.wants(calls, known_); };
  EXPECT_FALSE(wants(held, {on("read", "a")}));
  EXPECT_TRUE(wants(held, {on("read", "b")}));
  EXPECT_FALSE(wants(held, {on("read", "b"), on("read", "b")}));
  EXPECT_FALSE(wants(held, {on("read", "b"), on("make", "c")}));
  EXPECT_TRUE(wants(held, {on("read", "b"), on("make", "$step_1")}));
  EXPECT_TRUE(wants(rules("", *parse_aids("none")), {on("read", "b"), on("read", "b")}));
}

// --- haste ---------------------------------------------------------------------------------------------------------

TEST_F(TurnRulesTest, ChangesBehindReadsAreGuesses) {
  ReadTurn read = turn({on("make", "x"), on("read", "a"), on("make", "b"), on("make", "$step_2.path")});
  EXPECT_FALSE(rules().object_to(read, false, known_, 0));
  ASSERT_THAT(read.calls, SizeIs(3));
  EXPECT_EQ(read.calls[2].arguments, on("make", "$step_2.path").arguments);
}

TEST_F(TurnRulesTest, SoArePlacesThatNobodyNamed) {
  did(on("list", "/srv"));
  known_[0].result.text = "a.txt b.txt";
  const auto kept = [&](ActionCall call) {
    ReadTurn read = turn({on("read", "/srv/a.txt"), std::move(call)});
    EXPECT_FALSE(rules("Compare what is in /srv; see largest.log.").object_to(read, false, known_, 0));
    return read.calls.size() == 2;
  };
  EXPECT_TRUE(kept(on("read", "/srv/b.txt")));
  EXPECT_TRUE(kept(on("read", "/srv/largest.log")));
  EXPECT_FALSE(kept(on("read", "/srv/biggest.log")));
  EXPECT_TRUE(kept(on("list", "word")));
}

TEST_F(TurnRulesTest, NamesAreLookedForBeforePlacesAreMadeUp) {
  add(describe("read_all"));
  ReadTurn read = turn({on("read", "/srv/service1.toml")});
  TurnRules held = rules("One file in /srv ends in .toml. Read it.");
  EXPECT_THAT(held.object_to(read, false, known_, 0)->without, UnorderedElementsAre("read", "read_all", "answer"));
  EXPECT_FALSE(held.object_to(read, false, known_, 1)) << "once a turn";
  did(on("list", "/srv"));
  known_[0].result.text = "service1.toml";
  EXPECT_FALSE(held.object_to(read, false, known_, 0));
}

TEST_F(TurnRulesTest, UnlessNothingElseLooks) {
  tools_.keep_first(1);
  ReadTurn read = turn({on("read", "/srv/service1.toml")});
  EXPECT_FALSE(rules().object_to(read, false, known_, 0));
}

TEST_F(TurnRulesTest, ItDoesNotGiveUpWhileAnotherToolMightFindIt) {
  did(on("read", "a.txt"), ActionState::kFailed);
  ReadTurn read;
  TurnRules held = rules("Where is a.txt?");
  EXPECT_THAT(held.object_to(read, true, known_, 0)->without, UnorderedElementsAre("read", "answer"));
  EXPECT_TRUE(held.object_to(read, true, known_, 1));
  EXPECT_FALSE(held.object_to(read, true, known_, 2)) << "twice in a run";
  TurnRules narrow = rules("Where is a.txt?");
  narrow.narrow();
  did(on("list", "b"), ActionState::kFailed);
  did(on("fetch", "b"), ActionState::kFailed);
  EXPECT_FALSE(narrow.object_to(read, true, known_, 0)) << "nothing is left to try";
  known_.back().result.state = ActionState::kDenied;
  EXPECT_FALSE(rules("Where is a.txt?").object_to(read, true, known_, 0)) << "somebody said no";
  known_.back().result.state = ActionState::kDone;
  EXPECT_FALSE(rules("Where is a.txt?").object_to(read, true, known_, 0)) << "it has a result";
}

TEST_F(TurnRulesTest, NothingIsWrittenBeforeTheTasksPlacesWereLookedAt) {
  TurnRules held = rules("Copy /srv/a.txt to /srv/b.txt.");
  ReadTurn read = turn({call_of("make", R"({"path": "/srv/b.txt", "text": "what is in /srv/a.txt"})")});
  const auto objection = held.object_to(read, false, known_, 0);
  ASSERT_TRUE(objection);
  EXPECT_THAT(objection->without, UnorderedElementsAre("append", "make", "fetch", "answer"));
  EXPECT_FALSE(held.object_to(read, false, known_, 1)) << "only once";
}

TEST_F(TurnRulesTest, ACallThatHasThemAllIsFine) {
  ReadTurn read = turn({call_of("make", R"({"from": "/srv/a.txt", "to": "/srv/b.txt"})")});
  EXPECT_FALSE(rules("Move /srv/a.txt to /srv/b.txt.").object_to(read, false, known_, 0));
}

TEST_F(TurnRulesTest, NorIsAnythingAnswered) {
  did(on("read", "/srv/a.txt"));
  ReadTurn read;
  TurnRules held = rules("Compare /srv/a.txt and /srv/b.txt.");
  EXPECT_THAT(held.object_to(read, true, known_, 0)->without, UnorderedElementsAre("answer"));
  EXPECT_FALSE(held.object_to(read, true, known_, 1)) << "only once";
  did(on("read", "/srv/b.txt"));
  EXPECT_FALSE(rules("Compare /srv/a.txt and /srv/b.txt.").object_to(read, true, known_, 0));
  EXPECT_FALSE(rules("Compare /srv/a.txt and /srv/c.txt.", *parse_aids("repeats")).object_to(read, true, known_, 0));
}

TEST_F(TurnRulesTest, PathsGetTheirRootBack) {
  std::vector<ActionCall> calls = {call_of("read", R"({"paths": ["srv/b.txt", "/srv/c.txt", "usr/d", 7]})")};
  EXPECT_THAT(rules("Read /srv/a.txt.").mend(calls, known_), ElementsAre("srv/b.txt -> /srv/b.txt"));
  EXPECT_EQ(calls[0].arguments, call_of("read", R"({"paths": ["/srv/b.txt", "/srv/c.txt", "usr/d", 7]})").arguments);
  EXPECT_THAT(rules("Read a.txt or /a.").mend(calls, known_), IsEmpty());
}

TEST_F(TurnRulesTest, NamesFromAListingGetTheirFolderBack) {
  const auto mended = [&](const Aids& aids = {}) {
    std::vector<ActionCall> calls = {on("read", "a.txt")};
    return rules("Do it.", aids).mend(calls, known_);
  };
  did(on("list", "/srv"));
  known_.back().result.text = "[FILE] a.txt";
  EXPECT_THAT(mended(), ElementsAre("a.txt -> /srv/a.txt"));
  EXPECT_THAT(mended(*parse_aids("none")), IsEmpty());
  known_.back().call = on("read", "/srv/list.txt");  // a file that names another one
  EXPECT_THAT(mended(), IsEmpty());
  known_.back().call = on("list", "/srv");
  known_.back().result.state = ActionState::kFailed;
  EXPECT_THAT(mended(), IsEmpty());
}

TEST_F(TurnRulesTest, WhatIsMovedOntoAFolderOfTheTaskGoesIntoIt) {
  std::vector<ActionCall> calls = {call_of("make", R"({"source": "/srv/a.txt", "destination": "/srv/done"})")};
  EXPECT_THAT(rules("Rename /srv/a.txt to /srv/done.").mend(calls, known_), IsEmpty());
  EXPECT_THAT(rules("Move /srv/a.txt into the folder /srv/done.").mend(calls, known_),
              ElementsAre("/srv/done -> /srv/done/a.txt"));
}

TEST_F(TurnRulesTest, AToolThatTheTaskNamesIsCalledBeforeItIsAnswered) {
  add(describe("get-sum"));
  TurnRules held = rules("Add them with get-sum.");
  EXPECT_FALSE(held.has_seen_all(known_));
  ReadTurn read;
  EXPECT_THAT(held.object_to(read, true, known_, 0)->without, UnorderedElementsAre("answer"));
  did(call_of("get-sum", R"({"a": 1})"));
  EXPECT_TRUE(rules("Add them with get-sum.").has_seen_all(known_));
}

TEST_F(TurnRulesTest, ATaskThatSaysReadIsNotSeenBeforeAReadOfAnyKind) {
  add(describe("read_lines"));
  did(on("list", "/srv"));
  EXPECT_TRUE(rules("Which names are ready to be spread?").has_seen_all(known_));
  EXPECT_FALSE(rules("Find the only file. Read it.").has_seen_all(known_));
  did(on("read_lines", "/srv/a.txt"));
  EXPECT_TRUE(rules("List all, read one.").has_seen_all(known_));
  ReadTurn read;
  EXPECT_FALSE(rules("Read aloud.").object_to(read, true, {}, 0)) << "only a guess: no rule for an answer";
}

TEST_F(TurnRulesTest, NothingIsCalculatedFromNumbersThatNobodyHasNamed) {
  add(describe("add"));
  const std::string task = "Add 3 and the number in /srv/a.txt.";
  const auto objection_to = [&](std::vector<ActionCall> calls) {
    ReadTurn read = turn(std::move(calls));
    return rules(task).object_to(read, false, known_, 0);
  };
  const ActionCall invented = call_of("add", R"({"a": 3, "b": 45})");
  EXPECT_THAT(objection_to({invented})->without, UnorderedElementsAre("add", "answer"));
  EXPECT_FALSE(objection_to({call_of("add", R"({"a": 3})")}));
  EXPECT_FALSE(objection_to({call_of("read", R"({"path": "/srv/a.txt", "head": 45})")})) << "how much of it";
  ReadTurn both = turn({invented, on("read", "/srv/a.txt")});
  EXPECT_FALSE(rules(task).object_to(both, false, known_, 0));
  EXPECT_THAT(both.calls, SizeIs(1));
  did(on("read", "/srv/a.txt"));
  EXPECT_FALSE(objection_to({invented})) << "it may be a sum of what was read";
}

TEST_F(TurnRulesTest, ATurnStaysAsItIsWhereThereIsNothingElse) {
  tools_.keep_first(0);
  add(describe("add"));
  ReadTurn read = turn({call_of("add", R"({"b": 45})")});
  EXPECT_FALSE(rules("Add the number in /srv/a.txt.").object_to(read, false, known_, 0));
  EXPECT_THAT(read.calls, SizeIs(1));
}

// --- narrowing -----------------------------------------------------------------------------------------------------

TEST_F(TurnRulesTest, ATaskThatChangesNothingHasNoUseForWrites) {
  TurnRules held = rules();
  EXPECT_THAT(held.withheld(), IsEmpty());
  held.narrow();
  EXPECT_THAT(held.withheld(), UnorderedElementsAre("append", "make"));
}

}  // namespace
}  // namespace autoglm::agent
