// SPDX-License-Identifier: Apache-2.0
#include "store/session_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "base/temporary_folder.h"
#include "store/note_words.h"

namespace autoglm::store {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class SessionStoreTest : public testing::Test {
 protected:
  fs::path file() const { return folder_ / "sessions.db"; }

  std::unique_ptr<SessionStore> open(std::chrono::milliseconds patience = std::chrono::seconds(5)) {
    auto store = SessionStore::open(file(), clock_, patience);
    EXPECT_TRUE(store) << store.error().message;
    return store ? std::move(*store) : nullptr;
  }

  Code open_error(std::chrono::milliseconds patience = {}) {
    auto store = SessionStore::open(file(), clock_, patience);
    EXPECT_FALSE(store);
    return store ? Code::kInternal : store.error().code;
  }

  // Runs SQL on the file by another connection, as some other program would.
  void sql(const char* text) {
    sqlite3* connection = nullptr;
    ASSERT_EQ(sqlite3_open(file().c_str(), &connection), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(connection, text, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(connection);
    sqlite3_close(connection);
  }

  static std::vector<std::string> texts(const Result<std::vector<NoteRow>>& notes) {
    EXPECT_TRUE(notes) << notes.error().message;
    std::vector<std::string> list;
    if (notes) {
      for (const NoteRow& note : *notes) list.push_back(note.text);
    }
    return list;
  }

  base::VirtualClock clock_;
  const base::TemporaryFolder folder_;
};

TEST_F(SessionStoreTest, SessionsAreFoundListedAndRemoved) {
  auto store = open();
  const std::string first = *store->create_session();
  EXPECT_THAT(first, testing::MatchesRegex("[0-9a-f]{32}"));
  EXPECT_EQ(*store->create_session("notes-1"), "notes-1");
  EXPECT_EQ(store->create_session("notes-1").error().code, Code::kInvalidArgument);
  for (const char* name : {"", "a b", "../x", "ä"}) {
    if (*name) EXPECT_EQ(store->create_session(name).error().code, Code::kInvalidArgument) << name;
  }
  EXPECT_EQ(store->create_session(std::string(65, 'a')).error().code, Code::kInvalidArgument);
  clock_.advance(std::chrono::seconds(10));
  ASSERT_TRUE(store->begin_run({.session = first, .system = "s", .task = "Do it\nnow", .model = "m"}, {}));
  const auto all = *store->sessions(10);
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].id, first);  // last changed first
  EXPECT_EQ(all[0].title, "Do it");
  EXPECT_EQ(all[0].runs, 1u);
  EXPECT_EQ(all[0].changed_unix_seconds, all[0].created_unix_seconds + 10);
  EXPECT_THAT(*store->sessions(1), SizeIs(1));
  EXPECT_TRUE(store->remove_session(first));
  EXPECT_EQ(store->remove_session(first).error().code, Code::kNotFound);
  EXPECT_FALSE(store->find_session(first)->has_value());
  EXPECT_TRUE(store->find_session("notes-1")->has_value());
}

TEST_F(SessionStoreTest, NamesThatWereChosenAreKnown) {
  auto store = open();
  EXPECT_FALSE(is_chosen_name(*store->create_session()));
  for (const char* name : {"work", "0", "0123456789abcdef0123456789abcdef0", "0123456789ABCDEF0123456789ABCDEF"}) {
    EXPECT_TRUE(is_chosen_name(*store->create_session(name))) << name;
  }
}

TEST_F(SessionStoreTest, ASessionIsClaimedOnce) {
  auto store = open();
  EXPECT_TRUE(store->claim("a"));
  EXPECT_EQ(store->claim("a").error().code, Code::kUnavailable);
  EXPECT_TRUE(store->claim("b"));
  store->release("a");
  EXPECT_TRUE(store->claim("a"));
}

TEST_F(SessionStoreTest, TitlesAreCutBetweenCharacters) {
  auto store = open();
  for (std::size_t shift = 0; shift < 4; ++shift) {
    const std::string id = *store->create_session();
    std::string task(shift, 'a');
    for (int i = 0; i < 50; ++i) task += "世";
    ASSERT_TRUE(store->begin_run({.session = id, .task = task}, {}));
    const std::string title = (*store->find_session(id))->title;
    EXPECT_EQ(title, task.substr(0, shift + (80 - shift) / 3 * 3) + "...");
  }
}

TEST_F(SessionStoreTest, RunsAndMessagesComeBackAsWritten) {
  const std::string odd("{\"content\":\"\0 \xFF 世\"}", 21);
  std::int64_t run = 0;
  std::string session;
  {
    auto store = open();
    session = *store->create_session();
    run = store->begin_run({.session = session, .system = "be brief", .task = "count", .model = "tiny"}, {"{\"a\":1}"})
              ->run;
    EXPECT_THAT(*store->append_messages(run, {odd, ""}), ElementsAre(2, 3));
    EXPECT_EQ(store->append_messages(99, {"x"}).error().code, Code::kNotFound);
    EXPECT_TRUE(store->replace_message(1, "{\"a\":2}"));
    EXPECT_EQ(store->replace_message(99, "x").error().code, Code::kNotFound);
    EXPECT_EQ(store->begin_run({.session = "none"}, {}).error().code, Code::kNotFound);
    EXPECT_EQ(store->set_run_state(99, "done", "").error().code, Code::kNotFound);
    EXPECT_FALSE(store->find_run(99)->has_value());
    EXPECT_TRUE(store->set_run_state(run, "done", "3"));
  }
  auto store = open();
  const auto messages = *store->messages(session);
  ASSERT_THAT(messages, SizeIs(3));
  EXPECT_EQ(messages[0].json, "{\"a\":2}");
  EXPECT_EQ(messages[1].json, odd);
  EXPECT_EQ(messages[2].json, "");
  EXPECT_EQ(messages[2].run, run);
  const RunRow row = **store->find_run(run);
  EXPECT_EQ(row.session, session);
  EXPECT_EQ(row.system, "be brief");
  EXPECT_EQ(row.task, "count");
  EXPECT_EQ(row.model, "tiny");
  EXPECT_EQ(row.state, "done");
  EXPECT_EQ(row.answer, "3");
  ASSERT_THAT(*store->runs(session), SizeIs(1));
  EXPECT_THAT(*store->runs("none"), IsEmpty());
  EXPECT_THAT(*store->messages("none"), IsEmpty());
}

TEST_F(SessionStoreTest, AFailedBatchLeavesNothing) {
  auto store = open();
  const std::string session = *store->create_session();
  const std::int64_t run = store->begin_run({.session = session}, {"1"})->run;
  const std::string too_large((64u << 20) + 1, 'x');
  EXPECT_EQ(store->append_messages(run, {"2", too_large}).error().code, Code::kExhausted);
  EXPECT_EQ(store->begin_run({.session = session}, {"2", too_large}).error().code, Code::kExhausted);
  EXPECT_THAT(*store->messages(session), SizeIs(1));
  EXPECT_THAT(*store->runs(session), SizeIs(1));
  EXPECT_TRUE(store->append_messages(run, {"2"}));
}

TEST_F(SessionStoreTest, AResultIsRecordedOnceAndNeverChanges) {
  auto store = open();
  const std::string session = *store->create_session();
  const std::int64_t run = store->begin_run({.session = session}, {})->run;
  StepRow step{
      .run = run, .step = 1, .turn = 1, .call_id = "call_1", .tool = "read", .arguments = "{}", .state = "running"};
  ASSERT_TRUE(store->begin_step(step));
  EXPECT_EQ(store->begin_step(step).error().code, Code::kInvalidArgument);
  EXPECT_FALSE(store->steps(run)->at(0).result.has_value());
  step.state = "done";
  step.result = "";  // an empty result is a result
  step.seconds = 0.5;
  ASSERT_TRUE(store->end_step(step));
  step.result = "other";
  EXPECT_EQ(store->end_step(step).error().code, Code::kInvalidArgument);
  // Refused before it began: state and result at once.
  ASSERT_TRUE(store->end_step({.run = run,
                               .step = 2,
                               .turn = 1,
                               .call_id = "call_2",
                               .tool = "no",
                               .arguments = "{}",
                               .state = "failed",
                               .result = "no such tool"}));
  EXPECT_EQ(store->begin_step({.run = 99, .step = 1}).error().code, Code::kNotFound);

  const auto steps = *store->steps(run);
  ASSERT_THAT(steps, SizeIs(2));
  EXPECT_EQ(steps[0].state, "done");
  EXPECT_EQ(steps[0].result, "");
  EXPECT_EQ(steps[0].seconds, 0.5);
  EXPECT_EQ(steps[0].call_id, "call_1");
  EXPECT_EQ(steps[1].result, "no such tool");

  const std::int64_t second = store->begin_run({.session = session}, {})->run;
  ASSERT_TRUE(store->end_step({.run = second, .step = 3, .state = "done", .result = "three"}));
  EXPECT_THAT(*store->session_steps(session), SizeIs(3));
  EXPECT_EQ((*store->find_step(session, 3))->result, "three");
  EXPECT_FALSE(store->find_step(session, 4)->has_value());
  EXPECT_FALSE(store->find_step("none", 3)->has_value());
}

TEST_F(SessionStoreTest, ASessionHasOneSummary) {
  auto store = open();
  const std::string session = *store->create_session();
  EXPECT_FALSE(store->summary(session)->has_value());
  EXPECT_TRUE(store->set_summary(session, {.last_message = 4, .text = "a"}));
  EXPECT_TRUE(store->set_summary(session, {.last_message = 9, .text = "b"}));
  EXPECT_EQ((*store->summary(session))->last_message, 9);
  EXPECT_EQ((*store->summary(session))->text, "b");
  EXPECT_EQ(store->set_summary("none", {}).error().code, Code::kNotFound);
}

TEST_F(SessionStoreTest, NotesAreFoundByAnyOfTheirWords) {
  auto store = open();
  const std::string mine = *store->create_session();
  const std::string other = *store->create_session();
  ASSERT_TRUE(store->remember(mine, "The printer is in room 7."));
  ASSERT_TRUE(store->remember(mine, "Ann likes blue; Ann's files are in reports/"));
  ASSERT_TRUE(store->remember(mine, "打印机在七号房间。"));
  ASSERT_TRUE(store->remember(other, "The printer of somebody else."));
  EXPECT_THAT(texts(store->recall(mine, "where is the PRINTER?", 9)), ElementsAre("The printer is in room 7."));
  EXPECT_THAT(texts(store->recall(mine, "filing a report", 9)), SizeIs(1));  // by its stem
  EXPECT_THAT(texts(store->recall(mine, "打印", 9)), ElementsAre("打印机在七号房间。"));
  EXPECT_THAT(texts(store->recall(mine, "房", 9)), SizeIs(1));
  EXPECT_THAT(texts(store->recall(mine, "印打", 9)), IsEmpty());
  EXPECT_THAT(texts(store->recall(mine, "zebra", 9)), IsEmpty());
  EXPECT_THAT(texts(store->recall(mine, "printer files", 9)), SizeIs(2));
  EXPECT_THAT(texts(store->recall(mine, "printer files", 1)), SizeIs(1));
  EXPECT_THAT(texts(store->recall(mine, " the ?! ", 2)), ElementsAre("打印机在七号房间。", testing::StartsWith("Ann")));
  EXPECT_TRUE(store->remove_session(mine));
  EXPECT_THAT(texts(store->recall(mine, "printer", 9)), IsEmpty());
  EXPECT_THAT(texts(store->recall(other, "printer", 9)), SizeIs(1));
}

TEST_F(SessionStoreTest, NotesAreBounded) {
  auto store = open();
  const std::string session = *store->create_session();
  EXPECT_EQ(store->remember(session, "").error().code, Code::kInvalidArgument);
  EXPECT_EQ(store->remember(session, std::string(4097, 'x')).error().code, Code::kInvalidArgument);
  EXPECT_TRUE(store->remember(session, std::string(4096, 'x')));
  EXPECT_EQ(store->remember("none", "x").error().code, Code::kNotFound);
  store.reset();
  sql("WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
      "INSERT INTO notes(session, text, words, created) SELECT (SELECT id FROM sessions), 'x', 'x', 0 FROM n;");
  store = open();
  EXPECT_EQ(store->remember(session, "one more").error().code, Code::kExhausted);
}

// What FTS5's query language would trip over, or obey.
TEST_F(SessionStoreTest, HostileQueriesAreWords) {
  auto store = open();
  const std::string session = *store->create_session();
  ASSERT_TRUE(store->remember(session, "needle"));
  std::vector<std::string> hostile = {
      "needle\"",       "\"needle",      "needle AND",        "NOT needle",
      "needle OR",      "needle NEAR",   "NEAR(needle a, 1)", "words : needle",
      "{words}:needle", "-words:needle", "^needle",           "needle + ",
      "needle*",        "(((needle",     "needle)))",         "'; DROP TABLE notes; --needle",
      "needle\\",       "needle; %s%n",  "\xFF needle \xC3",  std::string("\0 needle", 8),
      "needle \"\"\"",  "* needle",      "needle \x01\x7F",   "rank needle"};
  hostile.push_back("needle " + std::string(100'000, '('));
  hostile.push_back("needle " + std::string(100'000, 'a'));
  std::string many = "needle";
  for (int i = 0; i < 10'000; ++i) many += " word" + std::to_string(i);
  hostile.push_back(many);
  for (const std::string& words : hostile)
    EXPECT_THAT(texts(store->recall(session, words, 9)), SizeIs(1)) << words.substr(0, 40);
  for (const char* words : {"AND", "OR", "NOT", "\"", "*", "\xFF", "\u0301", "、。"}) {
    EXPECT_TRUE(store->recall(session, words, 9)) << words;
  }
}

TEST_F(SessionStoreTest, WordsBecomePhrases) {
  EXPECT_EQ(match_query("red AND \"blue*\" the"), "\"red\" OR \"blue\"");
  EXPECT_EQ(match_query("天气x"), "\"天 气\" OR \"x\"");
  EXPECT_EQ(match_query("天 天气预"), "\"天\" OR \"天 气\" OR \"气 预\"");
  EXPECT_EQ(match_query(" ?! The AND "), "");
  EXPECT_EQ(indexed_words("a天气, b"), "a 天  气   b");
}

TEST_F(SessionStoreTest, TheFileIsItsOwnersAlone) {
  auto store = open();
  ASSERT_TRUE(store->create_session());
  struct stat found{};
  for (const fs::path& path : {file(), fs::path(file().string() + "-wal")}) {
    ASSERT_EQ(stat(path.c_str(), &found), 0) << path;
    EXPECT_EQ(found.st_mode & 0777, 0600u) << path;
  }
  store.reset();
  fs::permissions(file(), fs::perms(0644));
  store = open();
  ASSERT_TRUE(store->create_session());
  for (const fs::path& path : {file(), fs::path(file().string() + "-wal")}) {
    ASSERT_EQ(stat(path.c_str(), &found), 0) << path;
    EXPECT_EQ(found.st_mode & 0777, 0600u) << path;
  }
}

TEST_F(SessionStoreTest, OneOwnerAtATime) {
  auto store = open();
  const std::string session = *store->create_session();
  EXPECT_EQ(open_error(std::chrono::milliseconds(100)), Code::kUnavailable);
  // Whoever waits gets it when it becomes free.
  std::unique_ptr<SessionStore> second;
  std::jthread waiting([&] { second = open(std::chrono::seconds(60)); });
  ASSERT_TRUE(store->remember(session, "still mine"));
  store.reset();
  waiting.join();
  ASSERT_TRUE(second);
  EXPECT_TRUE(second->find_session(session)->has_value());
}

TEST_F(SessionStoreTest, ManyWhoBeginAtOnceTakeTurns) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      auto store = open(std::chrono::seconds(60));
      ASSERT_TRUE(store);
      EXPECT_TRUE(store->create_session());
    });
  }
  threads.clear();
  EXPECT_THAT(*open()->sessions(10), SizeIs(4));
}

TEST_F(SessionStoreTest, ThreadsShareOneStore) {
  auto store = open();
  const std::string session = *store->create_session();
  const std::int64_t run = store->begin_run({.session = session}, {})->run;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int k = 0; k < 20; ++k) {
          EXPECT_TRUE(store->append_messages(run, {"{}"}));
          EXPECT_TRUE(store->remember(session, "note"));
          EXPECT_TRUE(store->recall(session, "note", 3));
        }
      });
    }
  }
  EXPECT_THAT(*store->messages(session), SizeIs(80));
}

TEST_F(SessionStoreTest, OtherFilesAreRefusedUntouched) {
  const auto bytes = [&] {
    std::ifstream in(file(), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  std::ofstream(file()) << "not a database, but a precious text that is long enough to be read as a header, "
                           "which has a hundred bytes in SQLite's files";
  const std::string text = bytes();
  EXPECT_EQ(open_error(), Code::kCorrupt);
  EXPECT_EQ(bytes(), text);
  fs::remove(file());
  sql("CREATE TABLE precious(x); INSERT INTO precious VALUES(1);");
  const std::string database = bytes();
  EXPECT_EQ(open_error(), Code::kCorrupt);
  EXPECT_EQ(bytes(), database);
  fs::remove(file());
  fs::create_directory(file());
  EXPECT_EQ(open_error(), Code::kInvalidArgument);
  EXPECT_EQ(SessionStore::open(folder_ / "no/such/file", clock_).error().code, Code::kNotFound);
  const std::string uri = "file:uri?mode=memory";
  fs::current_path(folder_);
  EXPECT_TRUE(SessionStore::open(uri, clock_));
  EXPECT_TRUE(fs::exists(folder_ / uri));  // a name, not a URI
  fs::current_path("/");
}

TEST_F(SessionStoreTest, AnEmptyFileIsTakenForANewOne) {
  std::ofstream(file()).close();
  EXPECT_TRUE(open());
}

TEST_F(SessionStoreTest, NewerSchemasAreLeftAlone) {
  open().reset();
  sql("PRAGMA user_version=2");
  EXPECT_EQ(open_error(), Code::kInvalidArgument);
  sql("PRAGMA user_version=0");
  EXPECT_EQ(open_error(), Code::kCorrupt);
  sql("PRAGMA user_version=1");
  EXPECT_TRUE(open());
}

TEST_F(SessionStoreTest, ASchemaThatBringsItsOwnCodeIsRefused) {
  open().reset();
  sql("CREATE TRIGGER evil AFTER INSERT ON sessions BEGIN DELETE FROM runs; END;");
  EXPECT_EQ(open_error(), Code::kCorrupt);
  sql("DROP TRIGGER evil; ALTER TABLE notes ADD COLUMN extra TEXT;");
  EXPECT_EQ(open_error(), Code::kCorrupt);
}

TEST_F(SessionStoreTest, ADamagedIndexIsMadeAnew) {
  auto store = open();
  const std::string session = *store->create_session();
  ASSERT_TRUE(store->remember(session, "needle"));
  store.reset();
  sql("UPDATE notes_index_data SET block = x'00';");
  store = open();
  ASSERT_TRUE(store);
  EXPECT_THAT(texts(store->recall(session, "needle", 9)), ElementsAre("needle"));
}

TEST_F(SessionStoreTest, InMemoryKeepsNothing) {
  auto store = SessionStore::open(":memory:", clock_);
  ASSERT_TRUE(store) << store.error().message;
  ASSERT_TRUE((*store)->create_session("a"));
  EXPECT_THAT(*(*store)->sessions(9), SizeIs(1));
  EXPECT_THAT(*(*SessionStore::open(":memory:", clock_))->sessions(9), IsEmpty());
  EXPECT_FALSE(fs::exists(":memory:"));
}

}  // namespace
}  // namespace autoglm::store
