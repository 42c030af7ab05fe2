// SPDX-License-Identifier: Apache-2.0
// SIGINT, SIGTERM and SIGHUP as something that can be asked and waited for. The handler only counts and writes to a
// pipe.
#pragma once

namespace autoglm::app {

// From its construction to its end these signals no longer end the process; a SIGHUP that is ignored (nohup) stays so.
// One at a time; main thread.
class Interrupts final {
 public:
  Interrupts();
  ~Interrupts();  // gives signals back to whom they belonged before
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// How often a signal came since construction or the last forget().
  static int count();
  /// True when the last one was SIGTERM or SIGHUP: nobody waits at a terminal.
  static bool was_terminate();
  static void forget();
  /// The next signal ends the process at once, with exit code 128 + its number.
  static void exit_on_next();
  /// Becomes readable when a signal came; never read from it but through wait() or forget().
  static int descriptor();
  /// Blocks until a signal came.
  static void wait();
};

}  // namespace autoglm::app
