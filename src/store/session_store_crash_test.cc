// SPDX-License-Identifier: Apache-2.0
// The store on a real disk that is full, with a process that is killed, and with a file that is damaged.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <map>

#include "base/random.h"
#include "base/temporary_folder.h"
#include "store/memory_disk.h"
#include "store/session_store.h"

namespace autoglm::store {
namespace {

namespace fs = std::filesystem;
using testing::SizeIs;

class CrashTest : public testing::Test {
 protected:
  fs::path file() const { return folder_ / "sessions.db"; }
  fs::path log_file() const { return folder_ / "sessions.db-wal"; }
  Result<std::unique_ptr<SessionStore>> open(std::chrono::milliseconds patience = {}) {
    return SessionStore::open(file(), clock_, patience);
  }

  base::VirtualClock clock_;
  const base::TemporaryFolder folder_;
};

TEST_F(CrashTest, AFullDiskLosesNothing) {
  auto store = *open();
  const std::string session = *store->create_session();
  const std::int64_t run = store->begin_run({.session = session}, {})->run;
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 1'000'000;  // stands in for a disk with no more than that for each file
  setrlimit(RLIMIT_FSIZE, &small);
  std::size_t written = 0;
  Result<std::vector<std::int64_t>> full = std::vector<std::int64_t>();
  const std::string message(5000, 'x');
  while (written < 1000 && (full = store->append_messages(run, {std::to_string(written) + message}))) ++written;
  const Status begun = store->begin_step({.run = run, .step = 1, .arguments = message + message});
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Code::kExhausted) << full.error().message;
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, Code::kExhausted) << begun.error().message;
  EXPECT_GT(written, 10u);
  EXPECT_THAT(*store->messages(session), SizeIs(written));
  // There is room again: the same store goes on.
  EXPECT_TRUE(store->append_messages(run, {message}));
  EXPECT_TRUE(store->begin_step({.run = run, .step = 1}));
  store.reset();
  store = *open();
  const auto messages = *store->messages(session);
  ASSERT_THAT(messages, SizeIs(written + 1));
  for (std::size_t i = 0; i < written; ++i) EXPECT_EQ(messages[i].json, std::to_string(i) + message);
}

// A child that writes, and says so by a byte after each write that was acknowledged.
class Child final {
 public:
  explicit Child(const std::function<void(const std::function<void()>& acknowledge)>& work) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    pid_ = fork();
    if (pid_ == 0) {
      close(ends[0]);
      work([&] {
        if (::write(ends[1], "+", 1) != 1) _exit(1);
      });
      _exit(0);
    }
    close(ends[1]);
    acknowledged_ = ends[0];
  }
  ~Child() { close(acknowledged_); }
  Child(const Child&) = delete;

  bool wait_for_acknowledgement() {
    char byte = 0;
    const bool came = read(acknowledged_, &byte, 1) == 1;
    count_ += came;
    return came;
  }
  /// Ends it without a word, and gives how many writes it had acknowledged by then.
  std::size_t kill() {
    ::kill(pid_, SIGKILL);
    while (wait_for_acknowledgement()) {
    }
    waitpid(pid_, nullptr, 0);
    return count_;
  }

 private:
  pid_t pid_ = -1;
  int acknowledged_ = -1;
  std::size_t count_ = 0;
};

TEST_F(CrashTest, KilledWritersLoseNothingThatWasAcknowledged) {
  constexpr int kRounds = 50;
  const std::uint64_t seed = base::entropy_bits();
  SCOPED_TRACE("seed " + std::to_string(seed));
  base::Random random(seed);
  std::int64_t run = 0;
  {
    auto store = *open();
    ASSERT_TRUE(store->create_session("s"));
    run = store->begin_run({.session = "s"}, {})->run;
  }
  std::size_t before = 0;
  std::size_t acknowledged_in_all = 0;
  for (int round = 0; round < kRounds; ++round) {
    Child child([&](const std::function<void()>& acknowledge) {
      auto store = open(std::chrono::seconds(30));
      if (!store) _exit(1);
      for (std::size_t i = before;; ++i) {
        // Long enough that the log is checkpointed now and then.
        if (!(*store)->append_messages(run, {std::to_string(i) + " " + std::string(i % 7 * 9000, 'x')})) _exit(1);
        acknowledge();
        if (i % 8 != 7) continue;
        store->reset();
        if (!(store = open(std::chrono::seconds(30)))) _exit(1);
      }
    });
    // At any time: while it opens the file, writes, or closes it.
    for (std::uint64_t left = random.below(8); left > 0 && child.wait_for_acknowledgement(); --left) {
    }
    const timespec pause{.tv_sec = 0, .tv_nsec = static_cast<long>(random.below(5'000'000))};
    ppoll(nullptr, 0, &pause, nullptr);
    const std::size_t acknowledged = child.kill();

    auto store = open();
    ASSERT_TRUE(store) << store.error().message;
    const auto messages = *(*store)->messages("s");
    ASSERT_GE(messages.size(), before + acknowledged);
    ASSERT_LE(messages.size(), before + acknowledged + 1);
    for (std::size_t i = before; i < messages.size(); ++i) {
      ASSERT_EQ(messages[i].json, std::to_string(i) + " " + std::string(i % 7 * 9000, 'x'));
    }
    before = messages.size();
    acknowledged_in_all += acknowledged;
  }
  EXPECT_GT(acknowledged_in_all, 50u);
}

TEST_F(CrashTest, AnotherProcessKeepsTheFileUntilItDies) {
  Child child([&](const std::function<void()>& acknowledge) {
    auto store = open();
    if (!store || !(*store)->create_session("of-the-child")) _exit(1);
    acknowledge();
    pause();
  });
  ASSERT_TRUE(child.wait_for_acknowledgement());
  const auto refused = open(std::chrono::milliseconds(100));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
  EXPECT_NE(refused.error().message.find("another process"), std::string::npos);
  child.kill();
  auto store = open();
  ASSERT_TRUE(store) << store.error().message;
  EXPECT_TRUE((*store)->find_session("of-the-child")->has_value());
}

class DamageTest : public CrashTest {
 protected:
  // A file with something of everything, and the log that a killed process leaves.
  void make() {
    auto store = *open();
    for (const char* session : {"a", "b"}) {
      ASSERT_TRUE(store->create_session(session));
      const std::int64_t run =
          store->begin_run({.session = session, .system = "s", .task = "t", .model = "m"}, {"{}"})->run;
      for (std::size_t i = 1; i <= 20; ++i) {
        const std::string text = std::to_string(i) + std::string(i * 50, 'y');
        ASSERT_TRUE(store->begin_step({.run = run, .step = i, .arguments = "{}", .state = "running"}));
        ASSERT_TRUE(store->end_step({.run = run, .step = i, .state = "done", .result = text}));
        ASSERT_TRUE(store->append_messages(run, {text}));
        ASSERT_TRUE(store->remember(session, "note " + text.substr(0, 200)));
      }
      if (*session == 'a') store = nullptr, store = *open();  // the first half in the file, the second in the log
    }
    ASSERT_TRUE(store->set_summary("a", {.last_message = 3, .text = "so far"}));
    file_bytes_ = disk_.contents(file());
    log_bytes_ = disk_.contents(log_file());
    ASSERT_GT(file_bytes_.size(), 50'000u);
    ASSERT_GT(log_bytes_.size(), 50'000u);
  }

  static void damage(std::string& bytes, base::Random& random) {
    switch (random.below(4)) {
      case 0:
        bytes.resize(random.below(bytes.size()));
        return;
      case 1:  // a block that never reached the disk
        bytes.replace(random.below(bytes.size() / 4096) * 4096, 4096, std::string(4096, '\0'));
        return;
      case 2:  // the header and the first page: the schema
        bytes[random.below(200)] ^= static_cast<char>(1 + random.below(255));
        return;
      default:
        for (std::uint64_t i = 1 + random.below(8); i > 0; --i) {
          bytes[random.below(bytes.size())] ^= static_cast<char>(1 + random.below(255));
        }
    }
  }

  // Everything that a store can do. Errors are answers too, when they are of the kinds that the header tells.
  static void use(SessionStore& store) {
    const auto judge = [](const auto& result) {
      if (!result) EXPECT_EQ(result.error().code, Code::kCorrupt) << result.error().message;
    };
    judge(store.sessions(10));
    for (const char* session : {"a", "b"}) {
      judge(store.find_session(session));
      judge(store.messages(session));
      judge(store.session_steps(session));
      judge(store.summary(session));
      judge(store.recall(session, "note 3yyyyy", 10));
      judge(store.recall(session, "", 10));
      const auto runs = store.runs(session);
      judge(runs);
      if (!runs) continue;
      for (const RunRow& run : *runs) {
        judge(store.steps(run.id));
        (void)store.begin_step({.run = run.id, .step = 100});
        (void)store.append_messages(run.id, {"{}"});
      }
      (void)store.remember(session, "one more");
      (void)store.remove_session(session);
    }
  }

  MemoryDisk disk_;  // a thousand files on a real one would wait for it most of the time
  std::string file_bytes_;
  std::string log_bytes_;
};

TEST_F(DamageTest, AThousandDamagedFilesAreDetectedOrHarmless) {
  make();
  const std::uint64_t seed = base::entropy_bits();
  std::map<std::string, int> outcomes;
  for (std::uint64_t i = 0; i < 1000 && !HasFailure(); ++i) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", file " + std::to_string(i));
    base::Random random(base::random_bits(seed, i, 0));
    std::string bytes = file_bytes_;
    std::string log_bytes = log_bytes_;
    const std::uint64_t where = random.below(3);
    if (where != 1) damage(bytes, random);
    if (where != 0) damage(log_bytes, random);
    disk_.contents(file()) = bytes;
    disk_.contents(log_file()) = log_bytes;
    const auto store = open();
    if (!store) {
      EXPECT_FALSE(store.error().message.empty());
      // A flipped version looks like a newer one: of our tables, or of SQLite, which may then only be read.
      const Code code = store.error().code;
      const bool looks_newer = code == Code::kInvalidArgument || code == Code::kPermissionDenied;
      EXPECT_TRUE(store.error().code == Code::kCorrupt || looks_newer) << store.error().message;
      ++outcomes[std::string(code_name(store.error().code))];
      continue;
    }
    ++outcomes["opened"];
    use(**store);
  }
  for (const auto& [name, count] : outcomes) RecordProperty(name, count);
  EXPECT_GT(outcomes["corrupt"], 100);
  EXPECT_GT(outcomes["opened"], 100);
}

}  // namespace
}  // namespace autoglm::store
