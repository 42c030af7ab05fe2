// SPDX-License-Identifier: Apache-2.0
// Safetensors: true headers are read; extents, shapes and names that do not fit each other are refused.
#include "model/formats/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"

namespace autoglm::model {
namespace {

std::vector<std::byte> file_of(std::string_view header, std::size_t data_bytes,
                               std::optional<std::uint64_t> claimed_header = std::nullopt) {
  std::vector<std::byte> file(8 + header.size() + data_bytes);
  const std::uint64_t length = claimed_header.value_or(header.size());
  std::memcpy(file.data(), &length, 8);
  std::memcpy(file.data() + 8, header.data(), header.size());
  return file;
}

std::optional<Code> refusal(std::string_view header, std::size_t data_bytes) {
  const std::vector<std::byte> file = file_of(header, data_bytes);
  base::Budget budget;
  const auto parsed = SafetensorsFile::parse(file, budget);
  return parsed ? std::nullopt : std::optional(parsed.error().code);
}

TEST(Safetensors, ReadsTensorsInOrderOfTheirBytes) {
  const std::vector<std::byte> file = file_of(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},
          "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      16);
  base::Budget budget;
  const auto parsed = SafetensorsFile::parse(file, budget);
  ASSERT_TRUE(parsed) << parsed.error().message;
  ASSERT_EQ(parsed->tensors().size(), 2u);
  EXPECT_EQ(parsed->tensors()[0].name, "a");
  EXPECT_EQ(parsed->tensors()[1].name, "b");
  EXPECT_EQ(parsed->tensors()[1].shape_text(), "[2, 3]");
  EXPECT_EQ(parsed->tensors()[1].type, kernels::DType::kBF16);
  EXPECT_EQ(parsed->tensors()[1].bytes.size(), 12u);
  EXPECT_EQ(parsed->tensors()[1].bytes.data(), file.data() + file.size() - 12);
}

TEST(Safetensors, NamesSurviveAMove) {
  const std::vector<std::byte> file = file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4);
  base::Budget budget;
  auto parsed = SafetensorsFile::parse(file, budget);
  ASSERT_TRUE(parsed);
  const SafetensorsFile moved = std::move(*parsed);
  EXPECT_EQ(moved.tensors()[0].name, "a");
}

TEST(Safetensors, OtherTypesAreCarriedWithoutBytes) {
  const std::vector<std::byte> file = file_of(R"({"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}})", 4);
  base::Budget budget;
  const auto parsed = SafetensorsFile::parse(file, budget);
  ASSERT_TRUE(parsed);
  EXPECT_FALSE(parsed->tensors()[0].type);
  EXPECT_EQ(parsed->tensors()[0].type_text(), "F8_E4M3");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4), Code::kCorrupt);
}

// Threat T-A7: the header's length.
TEST(Safetensors, T_A7_HeaderLengthFitsTheFile) {
  base::Budget budget;
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::uint64_t{100'000'001}, ~std::uint64_t{0}, std::uint64_t{1} << 63}) {
    const std::vector<std::byte> file = file_of("{}", 0, length);
    const auto parsed = SafetensorsFile::parse(file, budget);
    ASSERT_FALSE(parsed) << length;
    EXPECT_EQ(parsed.error().code, Code::kCorrupt);
  }
  const std::vector<std::byte> short_file(7);
  EXPECT_FALSE(SafetensorsFile::parse(short_file, budget));
  EXPECT_EQ(refusal("{}", 0), std::nullopt);
}

// Threat T-A7: the same key twice.
TEST(Safetensors, T_A7_NamesAreUnique) {
  EXPECT_EQ(
      refusal(
          R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          2),
      Code::kCorrupt);
}

// Threat T-A7: extents are sorted, disjoint and cover the data.
TEST(Safetensors, T_A7_ExtentsTileTheData) {
  const auto two = [](const char* first, const char* second) {
    return std::string(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)") + first +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  EXPECT_EQ(refusal(two("[0,4]", "[4,8]"), 8), std::nullopt);
  EXPECT_EQ(refusal(two("[4,8]", "[0,4]"), 8), std::nullopt);
  EXPECT_EQ(refusal(two("[0,4]", "[3,7]"), 8), Code::kCorrupt);   // overlap
  EXPECT_EQ(refusal(two("[0,4]", "[5,9]"), 9), Code::kCorrupt);   // gap
  EXPECT_EQ(refusal(two("[1,5]", "[5,9]"), 9), Code::kCorrupt);   // gap before the first
  EXPECT_EQ(refusal(two("[0,4]", "[4,8]"), 9), Code::kCorrupt);   // bytes that belong to nobody
  EXPECT_EQ(refusal(two("[0,4]", "[4,8]"), 7), Code::kCorrupt);   // behind the end
  EXPECT_EQ(refusal(two("[4,0]", "[4,8]"), 8), Code::kCorrupt);   // backwards
  EXPECT_EQ(refusal(two("[-4,0]", "[0,4]"), 4), Code::kCorrupt);  // negative
  EXPECT_EQ(refusal(two("[0,4.0]", "[4,8]"), 8), Code::kCorrupt);
  EXPECT_EQ(refusal(two("[0]", "[4,8]"), 8), Code::kCorrupt);
}

// Threat T-A7: bytes = shape times type, and no product wraps to zero.
TEST(Safetensors, T_A7_BytesAreShapeTimesType) {
  const auto one = [](const char* dtype, const char* shape, const char* offsets) {
    return std::string(R"({"a":{"dtype":")") + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  EXPECT_EQ(refusal(one("F32", "[2]", "[0,8]"), 8), std::nullopt);
  EXPECT_EQ(refusal(one("F32", "[2]", "[0,4]"), 4), Code::kCorrupt);
  EXPECT_EQ(refusal(one("F32", "[4294967296,4294967296]", "[0,0]"), 0), Code::kCorrupt);
  EXPECT_EQ(refusal(one("F32", "[4611686018427387904]", "[0,0]"), 0), Code::kCorrupt);
  EXPECT_EQ(refusal(one("F32", "[0,18446744073709551615,18446744073709551615]", "[0,0]"), 0), std::nullopt);
  EXPECT_EQ(refusal(one("F32", "[-1]", "[0,4]"), 4), Code::kCorrupt);
  EXPECT_EQ(refusal(one("F4", "[3]", "[0,1]"), 1), Code::kCorrupt);  // half a byte
  EXPECT_EQ(refusal(one("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1), Code::kCorrupt);
  EXPECT_EQ(refusal(one("F32", "[1,1,1,1,1]", "[0,4]"), 4), std::nullopt);  // carried, not run
}

TEST(Safetensors, HeadersOfOtherShapesAreRefused) {
  EXPECT_EQ(refusal("[]", 0), Code::kCorrupt);
  EXPECT_EQ(refusal("{", 0), Code::kCorrupt);
  EXPECT_EQ(refusal(R"({"a":1})", 0), Code::kCorrupt);
  EXPECT_EQ(refusal(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4), Code::kCorrupt);
  EXPECT_EQ(refusal(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4), Code::kCorrupt);
  EXPECT_EQ(refusal(R"({"a":{"dtype":"F32","shape":[1]}})", 4), Code::kCorrupt);
}

// Threat T-A3: a header of many tiny values must not become a tree many times its size.
TEST(Safetensors, T_A3_ValuesOfTheHeaderAreBoundedByItsLength) {
  std::string header = R"({"a":[0)";
  for (int i = 0; i < 100'000; ++i) header += ",0";
  EXPECT_EQ(refusal(header + "]}", 0), Code::kExhausted);
}

// Threat T-A7: whatever byte is turned, a parsed extent never leaves the file.
TEST(Safetensors, T_A7_MutantsNeverPointOutside) {
  const std::vector<std::byte> original = file_of(
      R"({"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F16","shape":[4],"data_offsets":[16,24]}})",
      24);
  constexpr std::uint64_t kSeed = 20260102;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  base::Random random(kSeed);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<std::byte> mutant = original;
    mutant[random.below(mutant.size())] = static_cast<std::byte>(random.below(256));
    base::Budget budget;
    const auto parsed = SafetensorsFile::parse(mutant, budget);
    if (!parsed) continue;
    for (const StoredTensor& tensor : parsed->tensors()) {
      if (tensor.bytes.empty()) continue;
      ASSERT_GE(tensor.bytes.data(), mutant.data());
      ASSERT_LE(tensor.bytes.data() + tensor.bytes.size(), mutant.data() + mutant.size());
    }
  }
}

TEST(ShardIndex, ListsEachShardOnce) {
  base::Budget budget;
  const auto shards = parse_shard_index(
      R"({"metadata":{},"weight_map":{"a":"model-00002-of-00002.safetensors","b":"model-00001-of-00002.safetensors",
          "c":"model-00002-of-00002.safetensors"}})",
      budget);
  ASSERT_TRUE(shards);
  EXPECT_EQ(*shards,
            (std::vector<std::string>{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}));
}

TEST(ShardIndex, NamesThatLeaveTheFolderAreRefused) {
  for (const std::string name :
       {"../secret", "/etc/passwd", "a/b", "..", ".hidden", "", "a\\\\b", "a b", "a\\u0000b"}) {
    base::Budget budget;
    const auto shards = parse_shard_index(R"({"weight_map":{"a":")" + name + R"("}})", budget);
    ASSERT_FALSE(shards) << name;
    EXPECT_EQ(shards.error().code, Code::kCorrupt);
  }
  base::Budget budget;
  EXPECT_FALSE(parse_shard_index(R"({"weight_map":{}})", budget));
  EXPECT_FALSE(parse_shard_index(R"({"weight_map":{"a":1}})", budget));
  EXPECT_FALSE(parse_shard_index(R"({})", budget));
  EXPECT_FALSE(parse_shard_index(R"([])", budget));
}

}  // namespace
}  // namespace autoglm::model
