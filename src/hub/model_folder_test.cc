// SPDX-License-Identifier: Apache-2.0
#include "hub/model_folder.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <optional>

#include "base/temporary_folder.h"
#include "hub/partial_file.h"

namespace autoglm::hub {
namespace {

namespace fs = std::filesystem;

class ModelFolderTest : public testing::Test {
 protected:
  // A complete model of one file.
  Result<StoredModel> store(const ModelFolder& folder, const std::string& name) {
    const fs::path staged = folder.staging(name) / "hub";
    fs::create_directories(staged);
    std::ofstream(staged / "x.gguf") << "bytes";
    StoredModel model{
        .name = name, .licence = "MIT", .source = "test", .load = "x.gguf", .files = {{"x.gguf", 5, ""}}, .folder = {}};
    return folder.commit(std::move(model), staged);
  }

  const base::TemporaryFolder home_;
};

TEST_F(ModelFolderTest, AModelAppearsAndDisappearsWhole) {
  const ModelFolder folder(home_);
  EXPECT_TRUE(folder.list().empty());
  EXPECT_FALSE(folder.find("m")->has_value());
  ASSERT_TRUE(store(folder, "m"));
  const auto found = folder.find("m");
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->load_path(), home_ / "models/m/x.gguf");
  EXPECT_EQ((*found)->bytes(), 5u);
  EXPECT_EQ(folder.list().size(), 1u);
  EXPECT_FALSE(fs::exists(folder.staging("m")));
  EXPECT_TRUE(*folder.remove("m"));
  EXPECT_FALSE(*folder.remove("m"));
  EXPECT_FALSE(fs::exists(home_ / "models/m"));
  EXPECT_FALSE(fs::exists(folder.staging("m")));
}

TEST_F(ModelFolderTest, BrokenManifestsAreTold) {
  const ModelFolder folder(home_);
  for (const char* text : {"", "[]", "{", R"({"name":"m","load":"../../etc/passwd"})", R"({"load":"."})",
                           R"({"name":"m","load":".","files":[1]})"}) {
    fs::create_directories(home_ / "models/m");
    std::ofstream(home_ / "models/m/manifest.json") << text;
    const auto found = folder.find("m");
    ASSERT_FALSE(found) << text;
    EXPECT_EQ(found.error().code, Code::kCorrupt) << text;
    EXPECT_TRUE(folder.list().empty());
  }
}

TEST_F(ModelFolderTest, NamesNeverLeaveTheFolder) {
  const ModelFolder folder(home_ / "inner");
  std::ofstream(home_ / "precious") << "x";
  EXPECT_FALSE(folder.find("../..")->has_value());
  EXPECT_FALSE(*folder.remove("../.."));
  EXPECT_FALSE(*folder.remove(""));
  EXPECT_TRUE(fs::exists(home_ / "precious"));
}

TEST_F(ModelFolderTest, OneAtATime) {
  const ModelFolder folder(home_);
  std::optional<FolderLock> held(std::move(*folder.lock("m")));
  const auto second = folder.lock("m");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kUnavailable);
  EXPECT_TRUE(folder.lock("other"));
  held.reset();
  EXPECT_TRUE(folder.lock("m"));
}

TEST_F(ModelFolderTest, HomeComesFromTheEnvironment) {
  const std::string data = home_ / "data";
  setenv("OPENAUTOGLM_HOME", home_.path().c_str(), 1);
  EXPECT_EQ(ModelFolder::from_environment()->home(), home_);
  unsetenv("OPENAUTOGLM_HOME");
  setenv("XDG_DATA_HOME", data.c_str(), 1);
  EXPECT_EQ(ModelFolder::from_environment()->home(), data + "/openautoglm");
  setenv("XDG_DATA_HOME", "relative", 1);
  setenv("HOME", home_.path().c_str(), 1);
  EXPECT_EQ(ModelFolder::from_environment()->home(), home_ / ".local/share/openautoglm");
  unsetenv("XDG_DATA_HOME");
  unsetenv("HOME");
  EXPECT_EQ(ModelFolder::from_environment().error().code, Code::kInvalidArgument);
}

using PartialFileTest = ModelFolderTest;

TEST_F(PartialFileTest, GrowsResumesAndGetsItsNameWhenRight) {
  const fs::path path = home_ / "sub/file";
  {
    auto file = PartialFile::open(path);
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_TRUE(file->append("abcXX"));
  }
  auto file = PartialFile::open(path);
  EXPECT_EQ(file->size(), 5u);
  ASSERT_TRUE(file->truncate(2));
  ASSERT_TRUE(file->append("c"));
  EXPECT_FALSE(fs::exists(path));
  // sha256("abc"), FIPS 180-2 appendix B.1
  const auto sha = file->finish("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  ASSERT_TRUE(sha) << sha.error().message;
  EXPECT_TRUE(fs::exists(path));
  EXPECT_FALSE(fs::exists(home_ / "sub/file.part"));
}

TEST_F(PartialFileTest, WrongBytesAreThrownAway) {
  auto file = PartialFile::open(home_ / "file");
  ASSERT_TRUE(file->append("abd"));
  const auto refused = file->finish("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kCorrupt);
  EXPECT_FALSE(fs::exists(home_ / "file"));
  EXPECT_FALSE(fs::exists(home_ / "file.part"));
}

TEST_F(PartialFileTest, AFullDiskIsExhaustedAndKeepsWhatFits) {
  auto file = PartialFile::open(home_ / "file");
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 100;  // stands in for a disk with 100 bytes left
  setrlimit(RLIMIT_FSIZE, &small);
  const auto full = file->append(std::string(200, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Code::kExhausted);
  EXPECT_EQ(file->size(), 100u);
  EXPECT_EQ(PartialFile::open(home_ / "file")->size(), 100u);
}

}  // namespace
}  // namespace autoglm::hub
