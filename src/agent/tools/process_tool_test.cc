// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/process_tool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "agent/fake_tool.h"
#include "agent/tools/program.h"
#include "agent/tools/sandbox.h"
#include "agent/tools/test_server.h"
#include "base/temporary_folder.h"

namespace autoglm::agent {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

// Each test runs with and without the sandbox where it holds in both.
class ProcessToolTest : public testing::TestWithParam<bool> {
 protected:
  ProcessToolConfig shell(std::string script) {
    ProcessToolConfig config;
    config.description = describe("tool", ToolClass::kWrite);
    config.command = {"sh", "-c", std::move(script)};
    config.sandbox.is_on = GetParam();
    config.sandbox.writable = {folder_.path()};
    if (!GetParam()) config.sandbox.folder = folder_.path();
    return config;
  }
  Result<ToolOutput> run(ProcessToolConfig config, std::string_view arguments = "{}", std::stop_token stop = {}) {
    auto tool = TRY(make_process_tool(std::move(config)));
    EXPECT_EQ(tool->description().is_sandboxed, GetParam());
    return tool->run(parse_json(arguments).as_object(), std::move(stop));
  }

  base::TemporaryFolder folder_;
};

TEST_P(ProcessToolTest, ArgumentsOnStdinResultOnStdout) {
  const auto output = run(shell("cat; pwd"), R"({"a":"$(id) `id` \" ' ;","n":[1,2.5]})");
  ASSERT_TRUE(output) << output.error().message;
  EXPECT_FALSE(output->is_error) << output->text;
  EXPECT_EQ(output->text, R"({"a":"$(id) `id` \" ' ;","n":[1,2.5]})" + folder_.path().string() + "\n");
}

TEST_P(ProcessToolTest, AFailureTellsWhy) {
  const auto output = run(shell("echo half; echo because >&2; exit 3"));
  ASSERT_TRUE(output);
  EXPECT_TRUE(output->is_error);
  EXPECT_THAT(output->text, HasSubstr("exit status 3"));
  EXPECT_THAT(output->text, HasSubstr("because"));
  EXPECT_THAT(output->text, HasSubstr("half"));
  EXPECT_THAT(run(shell("kill -SEGV $$"))->text, HasSubstr("signal 11"));
}

TEST_P(ProcessToolTest, InputThatIsNotReadIsNoError) {
  json::Object large;
  large["x"] = std::string(1u << 20, 'x');
  auto tool = make_process_tool(shell("exec <&-; echo ok"));
  const auto output = (*tool)->run(large, {});
  ASSERT_TRUE(output) << output.error().message;
  EXPECT_EQ(output->text, "ok\n");
}

TEST_P(ProcessToolTest, MuchOutputWhileMuchInputIsWritten) {
  json::Object large;
  large["x"] = std::string(3u << 20, 'x');
  auto tool = make_process_tool(shell("cat"));
  EXPECT_EQ((*tool)->run(large, {})->text.size(), (3u << 20) + 8);
}

TEST_P(ProcessToolTest, EndlessOutputIsBounded) {
  ProcessToolConfig endless = shell("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done");
  endless.max_output_bytes = 1u << 20;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(run(endless).error().code, Code::kExhausted);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  const auto output = run(shell("i=0; while [ $i -lt 2000 ]; do echo complaint >&2; i=$((i+1)); done; exit 1"));
  EXPECT_LT(output->text.size(), 5000u);
}

TEST_P(ProcessToolTest, OnlyTheNamedEnvironment) {
  setenv("OPENAUTOGLM_TEST_SECRET", "canary", 1);
  ProcessToolConfig config = shell("env");
  config.environment = {{"GIVEN", "value with spaces"}};
  const std::string text = run(config)->text;
  unsetenv("OPENAUTOGLM_TEST_SECRET");
  EXPECT_THAT(text, HasSubstr("GIVEN=value with spaces\n"));
  EXPECT_THAT(text, HasSubstr("PATH=/usr/local/bin:/usr/bin:/bin\n"));
  EXPECT_THAT(text, Not(HasSubstr("canary")));
}

TEST_P(ProcessToolTest, AStopEndsTheWholeGroup) {
  // A grandchild that keeps the pipe open, beside one that waits.
  const std::string script = "(while :; do :; done) & echo $! > pid; while :; do :; done";
  std::stop_source stop;
  std::jthread stopper([&] {
    while (!fs::exists(folder_.path() / "pid") || fs::file_size(folder_.path() / "pid") == 0) std::this_thread::yield();
    stop.request_stop();
  });
  EXPECT_EQ(run(shell(script), "{}", stop.get_token()).error().code, Code::kCancelled);
  if (GetParam()) return;  // its number is of another namespace
  pid_t grandchild = 0;
  std::ifstream(folder_.path() / "pid") >> grandchild;
  ASSERT_GT(grandchild, 0);
  // It was killed before run() returned; somebody has yet to collect it.
  for (int i = 0; i < 1'000'000 && kill(grandchild, 0) == 0; ++i) {
    std::ifstream status("/proc/" + std::to_string(grandchild) + "/stat");
    std::string number, name, state;
    status >> number >> name >> state;
    if (state == "Z" || state == "X") return;
  }
  EXPECT_NE(kill(grandchild, 0), 0);
}

TEST_P(ProcessToolTest, WhatItLeavesBehindEndsWithIt) {
  const auto begin = std::chrono::steady_clock::now();
  // It ends while a child of its holds stdout open for ever.
  const auto output = run(shell("(exec tail -f /dev/null) & echo done"));
  ASSERT_TRUE(output) << output.error().message;
  EXPECT_EQ(output->text, "done\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST_P(ProcessToolTest, LimitsHold) {
  ProcessToolConfig file = shell("trap '' XFSZ; dd if=/dev/zero of=big bs=1000 count=10 2>&1; ls -l big");
  file.limits.file_bytes = 5000;
  run(file);
  EXPECT_LE(fs::file_size(folder_.path() / "big"), 5000u);
  ProcessToolConfig cpu = shell("while :; do :; done");
  cpu.limits.cpu_seconds = 1;
  EXPECT_THAT(run(cpu)->text, HasSubstr("signal"));
  ProcessToolConfig memory = shell("dd if=/dev/zero of=/dev/null bs=300000000 count=1 2>&1");
  memory.limits.memory_bytes = 200'000'000;
  EXPECT_TRUE(run(memory)->is_error);
  ProcessToolConfig files = shell("ulimit -n; ulimit -c");
  files.limits.open_files = 33;
  EXPECT_EQ(run(files)->text, "33\n0\n");
}

TEST_P(ProcessToolTest, NoDescriptorsOfOurs) {
  const int leaked = dup(0);                                       // without close-on-exec
  EXPECT_EQ(run(shell("ls /proc/self/fd | wc -l"))->text, "4\n");  // three, and the folder that is listed
  close(leaked);
}

TEST_P(ProcessToolTest, AProgramThatIsNotThere) {
  ProcessToolConfig config = shell("");
  config.command = {"openautoglm-no-such-program"};
  EXPECT_EQ(run(config).error().code, Code::kNotFound);
}

INSTANTIATE_TEST_SUITE_P(Sandbox, ProcessToolTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "With" : "Without"; });

// --- what only the sandbox holds
// ---------------------------------------------------------------------------------------

class SandboxTest : public testing::Test {
 protected:
  void SetUp() override {
    const Status usable = check_sandbox();
    ASSERT_TRUE(usable) << usable.error().message;
  }
  std::string run(const std::string& script, SandboxOptions options = {}) {
    ProcessToolConfig config;
    config.description = describe("tool");
    config.command = {"sh", "-c", script};
    config.sandbox = std::move(options);
    auto tool = make_process_tool(std::move(config));
    if (!tool) return "error: " + tool.error().message;
    const auto output = (*tool)->run({}, {});
    return output ? output->text : "error: " + output.error().message;
  }
  base::TemporaryFolder folder_;
};

TEST_F(SandboxTest, TheSystemIsThereAndNothingElse) {
  EXPECT_EQ(run("echo hello | tr a-z A-Z"), "HELLO\n");
  for (const char* path : {"/etc/shadow", "/root", "/home", "/var", "/run", "/sys", "/boot", "/mnt", "/opt"})
    EXPECT_EQ(run(std::string("test -e ") + path + " && echo there || echo gone"), "gone\n") << path;
  EXPECT_EQ(run("test -e " + folder_.path().string() + " && echo there || echo gone"), "gone\n");
  EXPECT_EQ(run("set -- /proc/[0-9]*; echo $#"), "2\n");  // its own: init and this shell
}

// Where bubblewrap is missing a program is refused, and does not run without.
TEST_F(SandboxTest, IsNeverLeftOutUnasked) {
  const auto line_of = [this](bool is_on) {
    const SandboxOptions options{.is_on = is_on, .system_path = folder_.path().string()};
    return sandboxed({"true"}, "/usr/bin:/bin", options, {});
  };
  EXPECT_EQ(line_of(false).error().code, Code::kUnavailable);  // nothing bounds it
  fs::create_symlink("/usr/bin/prlimit", folder_.path() / "prlimit");
  const auto refused = line_of(true);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kPermissionDenied);
  EXPECT_THAT(refused.error().message, testing::AllOf(HasSubstr("bubblewrap"), HasSubstr("--no-sandbox")));
  const auto without = line_of(false);
  ASSERT_TRUE(without) << without.error().message;
  EXPECT_EQ(without->front(), (folder_.path() / "prlimit").string());
}

TEST_F(SandboxTest, NothingCanBeWrittenButWhatIsListed) {
  std::ofstream(folder_.path() / "old") << "old";
  for (const char* path : {"/x", "/usr/x", "/etc/x", "/dev/x", "/bin/x"})
    EXPECT_EQ(run(std::string("touch ") + path + " 2>/dev/null && echo wrote || echo refused"), "refused\n") << path;
  EXPECT_EQ(run("find /proc -path '/proc/[0-9]*' -prune -o -type f -writable -print 2>/dev/null"), "");
  EXPECT_EQ(run("echo -100 2>/dev/null > /proc/self/oom_score_adj || echo refused; echo x > /dev/stdout"),
            "refused\nx\n");
  SandboxOptions readable;
  readable.readable = {folder_.path()};
  EXPECT_EQ(run("cat old; echo new > new || echo refused", readable), "oldrefused\n");
  SandboxOptions writable;
  writable.writable = {folder_.path()};
  EXPECT_EQ(run("echo new > new; cat new", writable), "new\n");
  EXPECT_TRUE(fs::exists(folder_.path() / "new"));
  const std::string file = "/tmp/openautoglm_sandboxed_" + std::to_string(getpid());
  EXPECT_EQ(run("echo x > " + file + "; cat " + file), "x\n");
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(SandboxTest, LinksAndDotsLeadNowhere) {
  std::ofstream(folder_.path() / "secret") << "canary";
  fs::create_directory(folder_.path() / "open");
  fs::create_symlink("../secret", folder_.path() / "open" / "link");
  fs::create_symlink("/etc/shadow", folder_.path() / "open" / "shadow");
  SandboxOptions options;
  options.writable = {folder_.path() / "open"};
  EXPECT_EQ(run("cat link shadow ../secret ../../../etc/shadow 2>/dev/null; echo end", options), "end\n");
}

TEST_F(SandboxTest, NoNetworkAndNoNeighbours) {
  EXPECT_EQ(run("cat /proc/net/dev | grep -c eth; ls /sys/class/net 2>/dev/null | wc -l"), "0\n0\n");
  EXPECT_EQ(run("kill -0 " + std::to_string(getpid()) + " 2>/dev/null && echo seen || echo unseen"), "unseen\n");
  EXPECT_EQ(run("hostname new-name 2>/dev/null; mount -t tmpfs x /tmp 2>/dev/null && echo mounted || echo refused"),
            "refused\n");
  EXPECT_EQ(run("unshare -U true 2>/dev/null && echo made || echo refused"), "refused\n");
}

// A socket of the machine's loopback network, one of the abstract ones, and a raw one.
TEST_F(SandboxTest, NoSocketLeadsOutOfIt) {
  TestServer server;
  const std::string name = "openautoglm-test-" + std::to_string(getpid());
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
  const int abstract = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  ASSERT_EQ(bind(abstract, reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(abstract, 1), 0);
  ProcessToolConfig config;
  config.description = describe("tool");
  config.command = {"/usr/bin/python3", "-c", R"(import socket, sys
def tried(act):
    try: act()
    except OSError: return "refused"
    return "open"
print(tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30)),
      tried(lambda: socket.socket(socket.AF_UNIX).connect("\0" + sys.argv[2])),
      tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))))",
                    std::to_string(server.port()), name};
  EXPECT_EQ((*make_process_tool(config))->run({}, {})->text, "refused refused refused\n");
  config.sandbox.has_network = true;
  EXPECT_EQ((*make_process_tool(config))->run({}, {})->text, "open open refused\n");
  close(abstract);
}

TEST_F(SandboxTest, NoCapabilities) { EXPECT_EQ(run("grep CapEff /proc/self/status"), "CapEff:\t0000000000000000\n"); }

TEST_F(SandboxTest, WhoeverLeavesTheGroupStillEnds) {
  SandboxOptions options;
  options.writable = {folder_.path()};
  // A survivor in a session of its own would write when the tool is long over.
  EXPECT_EQ(
      run("setsid sh -c 'while :; do date +%s%N > beat; done' & while ! [ -s beat ]; do :; done; echo over", options),
      "over\n");
  // The kernel takes a moment to end a process namespace: soon it beats no more.
  const auto beat = [this] {
    std::string text;
    std::ifstream(folder_.path() / "beat") >> text;
    return text;
  };
  bool has_stopped = false;
  for (int i = 0; i < 100 && !has_stopped; ++i) {
    const std::string before = beat();
    for (int j = 0; j < 100'000; ++j) std::this_thread::yield();
    has_stopped = beat() == before;
  }
  EXPECT_TRUE(has_stopped);
}

// Running processes of this machine that have `mark` in their command line.
std::size_t processes_with(const std::string& mark) {
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline");
    std::ostringstream line;
    line << file.rdbuf();  // one that has just ended cannot be read: nothing of it, and nothing is thrown
    if (line.str().contains(mark)) ++count;
  }
  return count;
}

// Processes that make processes that wait for ever. Root is exempt from limits on their number, so the bomb is of 255.
TEST_F(SandboxTest, AForkBombIsBoundedAndNothingOfItSurvives) {
  const std::string mark = "fork-bomb-of-" + std::to_string(getpid());
  ProcessToolConfig config;
  config.description = describe("tool");
  config.command = {
      "sh", "-c",
      "mkfifo /tmp/never\n"
      "bomb() { if [ $1 -gt 0 ]; then bomb $(($1 - 1)) & bomb $(($1 - 1)) & fi; read -r x < /tmp/never; }\n"
      "bomb 7",
      mark};
  const bool is_root = geteuid() == 0;
  const std::size_t enough = is_root ? 255 : config.limits.processes / 2;
  std::stop_source stop;
  std::size_t most = 0;
  std::jthread stopper([&] {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (most < enough && std::chrono::steady_clock::now() < give_up) most = std::max(most, processes_with(mark));
    stop.request_stop();
  });
  EXPECT_EQ((*make_process_tool(config))->run({}, stop.get_token()).error().code, Code::kCancelled);
  stopper.join();
  EXPECT_GE(most, enough);
  if (!is_root) EXPECT_LE(most, config.limits.processes + 2);  // and bubblewrap, outside and as their first one
  // The kernel takes a moment to end a process namespace.
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (processes_with(mark) > 0 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  EXPECT_EQ(processes_with(mark), 0u);
}

TEST_F(SandboxTest, ThePrivateFoldersAreBounded) {
  for (const std::string folder : {"/tmp/", "/dev/shm/"}) {
    ProcessToolConfig config;
    config.description = describe("tool");
    config.command = {"sh", "-c",
                      "i=0; while [ $i -lt 10 ]; do head -c 1000000 /dev/zero > " + folder +
                          "$i || break; i=$((i+1)); done; echo $i"};
    config.limits.file_bytes = 4'000'000;
    const auto output = (*make_process_tool(config))->run({}, {});
    EXPECT_LT(std::strtol(output->text.c_str(), nullptr, 10), 5) << folder << output->text;
  }
}

TEST_F(SandboxTest, AFolderThatIsMissingIsSaidAtOnce) {
  SandboxOptions options;
  options.writable = {"/no/such/folder"};
  EXPECT_THAT(run("true", options), HasSubstr("/no/such/folder"));
}

}  // namespace
}  // namespace autoglm::agent
