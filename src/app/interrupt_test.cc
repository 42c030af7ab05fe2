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

}  // namespace
}  // namespace autoglm::app
