// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_quota.h"

#include <gtest/gtest.h>

namespace autoglm::base {
namespace {

TEST(CpuQuotaTest, ReadsVersionTwo) {
  EXPECT_EQ(cores_of_cpu_max("max 100000\n"), std::nullopt);
  EXPECT_EQ(cores_of_cpu_max("200000 100000\n"), 2);
  EXPECT_EQ(cores_of_cpu_max("250000 100000\n"), 2);  // a half is none
  EXPECT_EQ(cores_of_cpu_max("50000 100000\n"), 1);   // but one is always left
  EXPECT_EQ(cores_of_cpu_max("50000 50000"), 1);
}

TEST(CpuQuotaTest, IgnoresWhatItCannotRead) {
  for (const char* text :
       {"", "\n", "100000", "x 100000", "100000 x", "100000 0", "0 100000", "-1 100000", "100000 -5"}) {
    EXPECT_EQ(cores_of_cpu_max(text), std::nullopt) << text;
  }
  EXPECT_EQ(cores_of_cpu_max("9223372036854775807 1"), 1 << 20);
  EXPECT_EQ(cores_of_cpu_max("9223372036854775808 1"), std::nullopt);  // does not fit
}

TEST(CpuQuotaTest, ReadsVersionOne) {
  EXPECT_EQ(cores_of_cfs("-1\n", "100000\n"), std::nullopt);
  EXPECT_EQ(cores_of_cfs("400000\n", "100000\n"), 4);
  EXPECT_EQ(cores_of_cfs("10000\n", "100000\n"), 1);
  EXPECT_EQ(cores_of_cfs("", "100000\n"), std::nullopt);
}

TEST(CpuQuotaTest, FindsThePathOfTheProcess) {
  EXPECT_EQ(cgroup_path("0::/user.slice/a\n", ""), "/user.slice/a");
  EXPECT_EQ(cgroup_path("12:memory:/m\n4:cpu,cpuacct:/box\n0::/two\n", "cpu"), "/box");
  EXPECT_EQ(cgroup_path("12:memory:/m\n4:cpu,cpuacct:/box\n0::/two\n", ""), "/two");
  EXPECT_EQ(cgroup_path("4:cpuset:/box\n", "cpu"), "");
  EXPECT_EQ(cgroup_path("4:cpuset:/box\n", ""), "");
  EXPECT_EQ(cgroup_path("", "cpu"), "");
  EXPECT_EQ(cgroup_path("no colons\n:\n::\n", "cpu"), "");
}

TEST(CpuQuotaTest, WalksUp) {
  EXPECT_EQ(parent_cgroup("/a/b"), "/a");
  EXPECT_EQ(parent_cgroup("/a"), "");
  EXPECT_EQ(parent_cgroup("/"), "");
  EXPECT_EQ(parent_cgroup(""), "");
  EXPECT_EQ(parent_cgroup("odd"), "");
}

}  // namespace
}  // namespace autoglm::base
