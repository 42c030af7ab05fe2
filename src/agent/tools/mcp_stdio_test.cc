// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/mcp_stdio.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <mutex>
#include <thread>

#include "agent/fake_tool.h"
#include "agent/tools/process_tool.h"

namespace autoglm::agent {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

base::Time deadline() { return std::chrono::steady_clock::now() + std::chrono::minutes(2); }

ChildOptions python(const std::string& script) {
  // Each message in, as `m`; say() writes one out.
  const std::string begin =
      "import sys, json\n"
      "def say(o): sys.stdout.write((o if isinstance(o, str) else json.dumps(o)) + '\\n'); sys.stdout.flush()\n"
      "def answer(m, r): say({'jsonrpc': '2.0', 'id': m['id'], 'result': r})\n";
  ChildOptions child;
  child.arguments = {"python3", "-c", begin + script};
  child.environment = environment_of({{"PATH", getenv("PATH")}});
  return child;
}

constexpr const char* kEcho =
    "for line in sys.stdin:\n"
    "  m = json.loads(line)\n"
    "  if 'id' in m and 'method' in m: answer(m, {'method': m['method']})\n";

std::unique_ptr<McpTransport> connect(const std::string& script, McpListener listener = [](const McpMessage&) {}) {
  auto transport = connect_mcp_stdio(python(script), std::move(listener));
  EXPECT_TRUE(transport) << transport.error().message;
  return std::move(*transport);
}

Result<McpMessage> ask(McpTransport& transport, std::int64_t id, std::stop_token stop = {}) {
  return transport.request(id, mcp_request(id, "m" + std::to_string(id), {}), std::move(stop), deadline());
}

TEST(McpStdio, AsksAndAnswers) {
  const auto transport = connect(kEcho);
  const auto answer = ask(*transport, 1);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(json::format(answer->content), R"({"method":"m1"})");
  EXPECT_TRUE(transport->send(mcp_notification("note", {})));
  EXPECT_TRUE(ask(*transport, 2));
}

TEST(McpStdio, AnswersInAnyOrderToManyThreads) {
  // Collects four requests, then answers from the last to the first, each twice.
  const auto transport = connect(
      "got = [json.loads(sys.stdin.readline()) for _ in range(4)]\n"
      "for m in reversed(got):\n"
      "  answer(m, {'method': m['method']}); answer(m, {'method': 'twice'}); "
      "say({'jsonrpc':'2.0','id':99,'result':{}})\n"
      "sys.stdin.read()\n");
  std::vector<std::jthread> threads;
  for (int id = 1; id <= 4; ++id) {
    threads.emplace_back([&transport, id] {
      const auto answer = ask(*transport, id);
      ASSERT_TRUE(answer) << answer.error().message;
      EXPECT_EQ(json::format(answer->content), R"({"method":"m)" + std::to_string(id) + "\"}");
    });
  }
}

TEST(McpStdio, RequestsOfTheServerAreHeardAndAnswered) {
  McpTransport* live = nullptr;
  std::latch ready(1);
  const auto transport = connect(
      "m = json.loads(sys.stdin.readline())\n"
      "say('hello, this is a greeting and no message')\n"
      "say({'jsonrpc': '2.0', 'id': 'p', 'method': 'ping'})\n"
      "reply = json.loads(sys.stdin.readline())\n"
      "answer(m, {'reply': reply['id']})\n"
      "sys.stdin.read()\n",
      [&](const McpMessage& message) {
        ready.wait();
        EXPECT_EQ(message.method, "ping");
        EXPECT_TRUE(live->send(mcp_answer(message.id, {})));
      });
  live = transport.get();
  ready.count_down();
  EXPECT_EQ(json::format(ask(*transport, 1)->content), R"({"reply":"p"})");
}

TEST(McpStdio, AServerThatEndsFailsAllWhoWait) {
  const auto transport = connect("sys.stdin.readline(); sys.stderr.write('out of luck'); sys.exit(3)\n");
  const auto answer = ask(*transport, 1);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
  EXPECT_THAT(answer.error().message, HasSubstr("out of luck"));
  EXPECT_EQ(ask(*transport, 2).error().code, Code::kUnavailable);
  EXPECT_EQ(transport->send("{}").error().code, Code::kUnavailable);
}

TEST(McpStdio, ACancelAndADeadlineEndTheWait) {
  const auto transport = connect("sys.stdin.read()\n");
  std::stop_source stop;
  std::jthread stopper([&stop] { stop.request_stop(); });
  EXPECT_EQ(ask(*transport, 1, stop.get_token()).error().code, Code::kCancelled);
  EXPECT_EQ(transport->request(2, mcp_request(2, "x", {}), {}, std::chrono::steady_clock::now()).error().code,
            Code::kDeadline);
}

TEST(McpStdio, AProgramThatIsNotThere) {
  ChildOptions child = python("");
  child.arguments = {"openautoglm-no-such-program"};
  EXPECT_EQ(connect_mcp_stdio(child, [](const McpMessage&) {}).error().code, Code::kNotFound);
}

TEST(McpStdio, AServerThatDoesNotWantToEndIsEnded) {
  const auto begin = std::chrono::steady_clock::now();
  {
    const auto transport = connect(
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "answer(json.loads(sys.stdin.readline()), {})\n"
        "while True: time.sleep(60)\n");
    EXPECT_TRUE(ask(*transport, 1));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

TEST(McpStdio, HostileServersAreBounded) {
  // Each: what it writes instead of an answer, and what comes of it.
  const std::pair<const char*, Code> cases[] = {
      {"while True: sys.stdout.write('{' * 65536)", Code::kExhausted},       // a line without end
      {"while True: say('noise')", Code::kCorrupt},                          // nothing but noise
      {"say('[' * 100000 + ']' * 100000)", Code::kExhausted},                // a bomb of brackets
      {"say('{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":')", Code::kCorrupt},  // cut
      {"sys.stdout.buffer.write(b'{\"\\xff\\xfe\":1}\\n'); sys.stdout.flush()", Code::kCorrupt},
      {"say({'jsonrpc': '2.0', 'id': 1, 'result': 7})", Code::kCorrupt},
  };
  for (const auto& [script, code] : cases) {
    const auto transport = connect("sys.stdin.readline()\n" + std::string(script) + "\nsys.stdin.read()\n");
    const auto answer = ask(*transport, 1);
    ASSERT_FALSE(answer) << script;
    EXPECT_EQ(answer.error().code, code) << script << ": " << answer.error().message;
  }
}

TEST(McpStdio, AServerThatFloodsWithRequestsAndDoesNotReadIsCutOff) {
  McpTransport* live = nullptr;
  std::latch ready(1);
  const auto transport = connect(
      "sys.stdin.readline()\n"
      "while True: say({'jsonrpc': '2.0', 'id': 'x' * 200, 'method': 'ping'})\n",
      [&](const McpMessage& message) {
        ready.wait();
        for (int i = 0; i < 1000; ++i) (void)live->send(mcp_answer(message.id, {}));
      });
  live = transport.get();
  ready.count_down();
  Status sent;
  while (sent) sent = transport->send(std::string(1u << 20, ' '));
  EXPECT_EQ(sent.error().code, Code::kExhausted);
}

}  // namespace
}  // namespace autoglm::agent
