// SPDX-License-Identifier: Apache-2.0
// A folder is there whole or not at all, whatever happens on the way.
#include "model/output_folder.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <iterator>

#include "base/temporary_folder.h"

namespace autoglm::model {
namespace {

namespace fs = std::filesystem;

class OutputFolderTest : public testing::Test {
 protected:
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(home_), fs::directory_iterator()));
  }
  static std::string text_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static Status put(OutputFolder& folder, std::string_view name, std::string_view text) {
    OutputFile file = TRY(folder.create(name));
    TRY(file.write_at(0, text));
    return file.finish();
  }

  base::TemporaryFolder home_;
};

TEST_F(OutputFolderTest, AppearsWithAllItsFiles) {
  auto folder = OutputFolder::open(home_ / "model/");
  ASSERT_TRUE(folder) << folder.error().message;
  auto file = folder->create("weights");
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->write_at(4, "body"));
  EXPECT_TRUE(file->write_at(0, "head"));
  EXPECT_TRUE(file->finish());
  EXPECT_TRUE(put(*folder, "config", "{}"));
  EXPECT_FALSE(fs::exists(home_ / "model"));
  ASSERT_TRUE(folder->commit());
  EXPECT_EQ(text_of(home_ / "model/weights"), "headbody");
  EXPECT_EQ(text_of(home_ / "model/config"), "{}");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(OutputFolderTest, NothingStaysOfWhatIsNotCommitted) {
  {
    auto folder = OutputFolder::open(home_ / "model");
    ASSERT_TRUE(folder);
    EXPECT_TRUE(put(*folder, "weights", "half"));
    EXPECT_EQ(entries(), 1u);
  }
  EXPECT_EQ(entries(), 0u);
}

TEST_F(OutputFolderTest, WhatAKilledRunLeftIsRemoved) {
  fs::create_directories(home_ / ".model.partial/deep");
  std::ofstream(home_ / ".model.partial/weights") << "half";
  auto folder = OutputFolder::open(home_ / "model");
  ASSERT_TRUE(folder) << folder.error().message;
  EXPECT_TRUE(put(*folder, "config", "{}"));
  ASSERT_TRUE(folder->commit());
  EXPECT_FALSE(fs::exists(home_ / "model/weights"));
  EXPECT_FALSE(fs::exists(home_ / "model/deep"));
  EXPECT_EQ(entries(), 1u);
}

TEST_F(OutputFolderTest, WhatIsThereIsNotTouched) {
  fs::create_directories(home_ / "model");
  EXPECT_TRUE(OutputFolder::open(home_ / "model")) << "an empty folder is no loss";
  std::ofstream(home_ / "model/mine") << "keep";
  const auto refused = OutputFolder::open(home_ / "model");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_EQ(OutputFolder::open(home_ / "model/mine").error().code, Code::kInvalidArgument);
  EXPECT_EQ(OutputFolder::open(home_ / "no/model").error().code, Code::kNotFound);
  EXPECT_EQ(text_of(home_ / "model/mine"), "keep");
  EXPECT_EQ(entries(), 1u);
}

// Somebody fills the place while we write.
TEST_F(OutputFolderTest, CommitDoesNotReplaceWhatCameMeanwhile) {
  auto folder = OutputFolder::open(home_ / "model");
  ASSERT_TRUE(folder);
  EXPECT_TRUE(put(*folder, "weights", "ours"));
  fs::create_directories(home_ / "model");
  std::ofstream(home_ / "model/weights") << "theirs";
  EXPECT_EQ(folder->commit().error().code, Code::kInvalidArgument);
  EXPECT_EQ(text_of(home_ / "model/weights"), "theirs");
}

TEST_F(OutputFolderTest, OneWriterAtATime) {
  {
    auto first = OutputFolder::open(home_ / "model");
    ASSERT_TRUE(first);
    EXPECT_EQ(OutputFolder::open(home_ / "model").error().code, Code::kUnavailable);
    EXPECT_TRUE(put(*first, "weights", "still here"));
  }
  EXPECT_TRUE(OutputFolder::open(home_ / "model"));
}

TEST_F(OutputFolderTest, AFullDiskIsExhausted) {
  {
    auto folder = OutputFolder::open(home_ / "model");
    ASSERT_TRUE(folder);
    auto file = folder->create("weights");
    ASSERT_TRUE(file);
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    const auto old = std::signal(SIGXFSZ, SIG_IGN);
    rlimit small = before;
    small.rlim_cur = 100;  // stands in for a disk with 100 bytes left
    setrlimit(RLIMIT_FSIZE, &small);
    const Status full = file->write_at(0, std::string(200, 'x'));
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, old);
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code, Code::kExhausted);
  }
  EXPECT_EQ(entries(), 0u);
}

}  // namespace
}  // namespace autoglm::model
