// SPDX-License-Identifier: Apache-2.0
// Memory left, from made-up files of the kernel.
#include "engine/kv_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>

#include "engine/engine.h"
#include "model/language_model.h"

namespace autoglm::engine {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

class KvMemory : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(testing::TempDir()) /
            ("kv_memory_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(root_);
    write("proc/meminfo", "MemTotal:       8388608 kB\nMemFree:  1 kB\nMemAvailable:   4194304 kB\n");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  std::size_t left_mib() const { return available_bytes(root_) / kMiB; }

  std::filesystem::path root_;
};

TEST_F(KvMemory, IsWhatTheMachineLeaves) {
  EXPECT_EQ(left_mib(), 4096u);
  write("sys/fs/cgroup/memory.max", "max\n");
  write("sys/fs/cgroup/memory.current", "1048576\n");
  EXPECT_EQ(left_mib(), 4096u) << "a group without a limit";
  std::filesystem::remove(root_ / "proc/meminfo");
  EXPECT_EQ(left_mib(), 1024u) << "where nothing is known";
}

TEST_F(KvMemory, IsLessWhereAGroupOrItsParentLeavesLess) {
  write("proc/self/cgroup", "0::/system.slice/model.service\n");
  write("sys/fs/cgroup/system.slice/model.service/memory.max", std::to_string(2048 * kMiB));
  write("sys/fs/cgroup/system.slice/model.service/memory.current", std::to_string(48 * kMiB));
  EXPECT_EQ(left_mib(), 2000u);
  write("sys/fs/cgroup/system.slice/memory.max", std::to_string(1000 * kMiB));
  write("sys/fs/cgroup/system.slice/memory.current", std::to_string(900 * kMiB));
  EXPECT_EQ(left_mib(), 100u);
  write("sys/fs/cgroup/system.slice/memory.current", std::to_string(1001 * kMiB));
  EXPECT_EQ(left_mib(), 0u) << "above its limit";
}

TEST_F(KvMemory, FilesThatNobodyUsesAreFree) {
  write("sys/fs/cgroup/memory.max", std::to_string(2048 * kMiB));
  write("sys/fs/cgroup/memory.current", std::to_string(1500 * kMiB));
  write("sys/fs/cgroup/memory.stat", "anon 1\nfile 2\ninactive_file " + std::to_string(1000 * kMiB) + "\n");
  EXPECT_EQ(left_mib(), 1548u);
}

TEST_F(KvMemory, TheFirstVersionOfGroupsHasOtherNames) {
  write("proc/self/cgroup", "5:cpu:/elsewhere\n4:memory:/box\n");
  write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", std::to_string(512 * kMiB));
  write("sys/fs/cgroup/memory/box/memory.usage_in_bytes", std::to_string(300 * kMiB));
  write("sys/fs/cgroup/memory/box/memory.stat", "total_inactive_file " + std::to_string(100 * kMiB) + "\n");
  EXPECT_EQ(left_mib(), 312u);
}

// A model whose weights are packed later.
class LazyModel final : public model::LanguageModel {
 public:
  explicit LazyModel(std::size_t unpacked_bytes) : unpacked_bytes_(unpacked_bytes) {}
  std::size_t vocab() const override { return 1; }
  std::size_t context_length() const override { return std::size_t{1} << 40; }
  std::size_t kv_bytes_per_block() const override { return 1024; }
  std::size_t unpacked_bytes() const override { return unpacked_bytes_; }
  void reserve(std::size_t, std::size_t, std::size_t) override {}
  void copy_block(std::uint32_t, std::uint32_t) override {}
  model::Logits forward(const model::Batch&) override { return {}; }

 private:
  std::size_t unpacked_bytes_;
};

TEST_F(KvMemory, LeavesRoomForExpertsButNeverAll) {
  // Of the machine itself, whose memory others use meanwhile: twice as much is no accident.
  const std::size_t without = default_kv_bytes(LazyModel(0), {});
  const std::size_t with = default_kv_bytes(LazyModel(std::size_t{1} << 60), {});
  EXPECT_GT(without, with + with / 2);
  EXPECT_GT(with, without / 4);
}

}  // namespace
}  // namespace autoglm::engine
