// SPDX-License-Identifier: Apache-2.0
#include "hub/model_name.h"

#include <gtest/gtest.h>

namespace autoglm::hub {
namespace {

TEST(ModelName, ValidNames) {
  EXPECT_TRUE(is_valid_name("qwen2.5-coder_0.5b"));
  EXPECT_TRUE(is_valid_name(std::string(128, 'a')));
  EXPECT_FALSE(is_valid_name(std::string(129, 'a')));
  for (const char* name :
       {"", ".", "..", ".hidden", "-flag", "a/b", "a\\b", "a b", "a\nb", "caf\xc3\xa9", "a:b", "a%2e"}) {
    EXPECT_FALSE(is_valid_name(name)) << name;
  }
  EXPECT_FALSE(is_valid_name(std::string_view("a\0b", 3)));
}

TEST(ModelName, SafePaths) {
  for (const char* path : {"a", "1_Pooling/config.json", ".gitattributes", "a/b/c/d/e/f/g/h", "x+y.gguf"}) {
    EXPECT_TRUE(is_safe_path(path)) << path;
  }
  for (const char* path : {"", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/.", "a\\b", "a b", "a/b/c/d/e/f/g/h/i"}) {
    EXPECT_FALSE(is_safe_path(path)) << path;
  }
  EXPECT_TRUE(is_safe_path(std::string(128, 'a') + "/" + std::string(126, 'a')));
  EXPECT_FALSE(is_safe_path(std::string(128, 'a') + "/" + std::string(127, 'a')));
  EXPECT_FALSE(is_safe_path(std::string(129, 'a')));
}

TEST(ModelName, HubReferences) {
  EXPECT_FALSE(parse_hub_reference("smollm2")->has_value());
  const auto whole = parse_hub_reference("hf:Qwen/Qwen3-0.6B");
  ASSERT_TRUE(whole);
  EXPECT_EQ((*whole)->repository, "Qwen/Qwen3-0.6B");
  EXPECT_EQ((*whole)->folder_name(), "hf--Qwen--Qwen3-0.6B");
  const auto file = parse_hub_reference("hf:o/n:sub/x.gguf");
  ASSERT_TRUE(file);
  EXPECT_EQ((*file)->file, "sub/x.gguf");
  EXPECT_EQ((*file)->folder_name(), "hf--o--n--sub--x.gguf");
  for (const char* text :
       {"hf:", "hf:a", "hf:a/", "hf:/b", "hf:a/b/c", "hf:a/..", "hf:../b", "hf:a/b:", "hf:a/b:../c",
        "hf:a/b:/etc/passwd", "hf:a b/c", "hf:a/b:c\nd",
        // Each would have the folder of another one.
        "hf:a/b:sub--x.gguf", "hf:a--b/c", "hf:a/b:x+y.gguf", "hf:a/b:sub-/x", "hf:a/b:sub/-x", "hf:a-/b"}) {
    const auto refused = parse_hub_reference(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument) << text;
  }
  EXPECT_FALSE(parse_hub_reference("hf:a/b:" + std::string(120, 'x') + "/" + std::string(100, 'x')));
}

TEST(ModelName, EditDistances) {
  EXPECT_EQ(edit_distance("smollm2", "SmolLM2"), 0u);
  EXPECT_EQ(edit_distance("smolm2", "smollm2"), 1u);
  EXPECT_EQ(edit_distance("smlolm2", "smollm2"), 1u);  // neighbours swapped
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

}  // namespace
}  // namespace autoglm::hub
