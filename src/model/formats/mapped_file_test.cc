// SPDX-License-Identifier: Apache-2.0
#include "model/formats/mapped_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <numeric>
#include <sstream>

#include "base/temporary_folder.h"

namespace autoglm::model {
namespace {

// Of the mapping of a file: how much this process has in memory, as the kernel tells it.
std::size_t resident_kib(const std::string& path) {
  std::ifstream maps("/proc/self/smaps");
  bool is_it = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.ends_with(path)) is_it = true;
    if (!is_it || !line.starts_with("Rss:")) continue;
    std::istringstream words(line.substr(4));
    std::size_t kib = 0;
    words >> kib;
    return kib;
  }
  ADD_FAILURE() << "there is no mapping of " << path;
  return 0;
}

unsigned sum(std::span<const std::byte> bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), 0u,
                         [](unsigned total, std::byte byte) { return total + std::to_integer<unsigned>(byte); });
}

TEST(MappedFile, WhatIsLetGoIsNoLongerInMemoryAndCanBeReadAgain) {
  constexpr std::size_t kBytes = 4u << 20;
  const base::TemporaryFolder folder;
  const std::filesystem::path path = std::filesystem::canonical(folder.path()) / "weights";
  std::ofstream(path) << std::string(kBytes, '\3');
  auto file = MappedFile::open(path);
  ASSERT_TRUE(file) << file.error().message;
  const unsigned before = sum(file->bytes());
  EXPECT_EQ(before, 3 * kBytes);
  EXPECT_EQ(resident_kib(path.string()), kBytes >> 10);
  file->let_go(file->bytes().first(kBytes / 2));
  EXPECT_LE(resident_kib(path.string()), kBytes >> 11);
  EXPECT_EQ(sum(file->bytes()), before);
  EXPECT_EQ(resident_kib(path.string()), kBytes >> 10);
  file->let_go(file->bytes().subspan(1, kBytes - 2));  // not its first and its last page, which others may want
  EXPECT_LE(resident_kib(path.string()), 128u);
  EXPECT_EQ(sum(file->bytes()), before);
}

}  // namespace
}  // namespace autoglm::model
