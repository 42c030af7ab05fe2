// SPDX-License-Identifier: Apache-2.0
#include "app/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "base/check.h"

namespace autoglm::app {
namespace {

std::atomic<int> g_count{0};
std::atomic<int> g_last{0};
std::atomic<bool> g_exits{false};
std::array<int, 2> g_pipe{-1, -1};
// What was there before: a program that this one is a part of may hear signals itself.
struct Taken {
  int signal;
  struct sigaction before;
};
std::array<Taken, 3> g_taken{{{SIGINT, {}}, {SIGTERM, {}}, {SIGHUP, {}}}};

// Only async-signal-safe calls in here.
void on_signal(int signal) {
  if (g_exits.load()) _exit(128 + signal);
  const int saved = errno;
  g_count.fetch_add(1);
  g_last.store(signal);
  const char byte = 0;
  (void)!write(g_pipe[1], &byte, 1);
  errno = saved;
}

}  // namespace

Interrupts::Interrupts() {
  if (g_pipe[0] < 0) CHECK(pipe2(g_pipe.data(), O_CLOEXEC | O_NONBLOCK) == 0);
  g_exits.store(false);
  forget();
  struct sigaction action{};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  for (Taken& taken : g_taken) {
    sigaction(taken.signal, nullptr, &taken.before);
    const bool is_deaf = taken.signal == SIGHUP && taken.before.sa_handler == SIG_IGN;  // nohup
    if (!is_deaf) sigaction(taken.signal, &action, nullptr);
  }
}

Interrupts::~Interrupts() {
  for (const Taken& taken : g_taken) sigaction(taken.signal, &taken.before, nullptr);
}

int Interrupts::count() { return g_count.load(); }
bool Interrupts::was_terminate() { return g_last.load() == SIGTERM || g_last.load() == SIGHUP; }
int Interrupts::descriptor() { return g_pipe[0]; }

void Interrupts::exit_on_next() { g_exits.store(true); }

void Interrupts::forget() {
  g_count.store(0);
  std::array<char, 64> buffer;
  while (read(g_pipe[0], buffer.data(), buffer.size()) > 0) {
  }
}

void Interrupts::wait() {
  pollfd entry{.fd = g_pipe[0], .events = POLLIN, .revents = 0};
  while (g_count.load() == 0) poll(&entry, 1, -1);
}

}  // namespace autoglm::app
