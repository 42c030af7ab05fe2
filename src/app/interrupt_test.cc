// SPDX-License-Identifier: Apache-2.0
#include "app/interrupt.h"

#include <gtest/gtest.h>

#include <csignal>

namespace autoglm::app {
namespace {

TEST(Interrupts, AHangUpIsATerminate) {
  const Interrupts interrupts;
  std::raise(SIGHUP);
  EXPECT_EQ(Interrupts::count(), 1);
  EXPECT_TRUE(Interrupts::was_terminate());
}

TEST(Interrupts, AHangUpThatIsIgnoredStaysSo) {
  std::signal(SIGHUP, SIG_IGN);
  {
    const Interrupts interrupts;
    std::raise(SIGHUP);
    EXPECT_EQ(Interrupts::count(), 0);
  }
  EXPECT_EQ(std::signal(SIGHUP, SIG_DFL), SIG_IGN);
}

TEST(Interrupts, GivesSignalsBack) {
  static int heard = 0;
  std::signal(SIGINT, [](int) { ++heard; });
  {
    const Interrupts interrupts;
    std::raise(SIGINT);
    EXPECT_EQ(Interrupts::count(), 1);
    EXPECT_EQ(heard, 0);
  }
  std::raise(SIGINT);
  EXPECT_EQ(heard, 1);
  std::signal(SIGINT, SIG_DFL);
}

}  // namespace
}  // namespace autoglm::app
