// SPDX-License-Identifier: Apache-2.0
// GGUF: true files are read, and every way of lying about sizes, types and counts that broke other readers is refused.
#include "model/formats/gguf.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/random.h"
#include "model/formats/gguf_writer.h"

namespace autoglm::model {
namespace {

constexpr std::uint32_t kF32 = 0;  // ggml type ids
constexpr std::uint32_t kQ4_0 = 2;
constexpr std::uint32_t kUnknown = 99;
constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();

// The bytes live as long as the test; a heap block of their exact size lets the address sanitizer see every over-read.
struct Parsed {
  explicit Parsed(const GgufWriter& writer, base::Budget budget = base::Budget())
      : bytes(writer.bytes()), file(GgufFile::parse(bytes, budget)) {}
  std::vector<std::byte> bytes;
  Result<GgufFile> file;
};

Code refusal(const GgufWriter& writer) {
  const Parsed parsed(writer);
  EXPECT_FALSE(parsed.file);
  return parsed.file ? Code::kInternal : parsed.file.error().code;
}

TEST(Gguf, ReadsValuesAndTensors) {
  const Parsed parsed(GgufWriter()
                          .text("general.architecture", "llama")
                          .number("a", 7)
                          .number64("b", 1ull << 40)
                          .real("c", 0.5f)
                          .flag("d", true)
                          .array("e", GgufWriter::kString, 2, GgufWriter::string("x") + GgufWriter::string("yz"))
                          .array("f", GgufWriter::kU32, 2, GgufWriter::encoded(1u) + GgufWriter::encoded(2u))
                          .tensor("m", {64, 3}, kQ4_0, 3 * 36)
                          .tensor("v", {5}, kF32, 20));
  ASSERT_TRUE(parsed.file) << parsed.file.error().message;
  const GgufFile& file = *parsed.file;
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.get_string("general.architecture").value(), "llama");
  EXPECT_EQ(file.get_uint("a").value(), 7u);
  EXPECT_EQ(file.get_uint("b").value(), 1ull << 40);
  EXPECT_EQ(file.get_float("c").value(), 0.5);
  EXPECT_EQ(file.find_bool("d").value(), true);
  EXPECT_EQ(file.find_strings("e", 2).value(), (std::vector<std::string>{"x", "yz"}));
  EXPECT_EQ(file.find_ints("f", 2).value(), (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(file.array_length("f").value(), 2u);
  const StoredTensor* const matrix = file.find_tensor("m");
  ASSERT_NE(matrix, nullptr);
  EXPECT_EQ(matrix->shape_text(), "[3, 64]");  // slowest first
  EXPECT_EQ(matrix->type_text(), "Q4_0");
  EXPECT_EQ(matrix->bytes.size(), 3u * 36);
  EXPECT_EQ(file.find_tensor("v")->bytes.size(), 20u);
  EXPECT_EQ(file.find_tensor("w"), nullptr);
}

TEST(Gguf, ReadsVersionTwoAndRefusesOthers) {
  GgufWriter writer;
  writer.version = 2;
  EXPECT_TRUE(Parsed(writer).file);
  for (const std::uint32_t version : {0u, 1u, 4u, 0x03000000u}) {
    writer.version = version;
    EXPECT_EQ(refusal(writer), Code::kInvalidArgument) << version;
  }
}

TEST(Gguf, RefusesWhatIsNotGguf) {
  base::Budget budget;
  const std::vector<std::byte> short_file(3);
  EXPECT_EQ(GgufFile::parse(short_file, budget).error().code, Code::kCorrupt);
  const std::vector<std::byte> zeros(64);
  EXPECT_EQ(GgufFile::parse(zeros, budget).error().code, Code::kCorrupt);
}

TEST(Gguf, EveryCutOfATrueFileIsRefused) {
  const std::vector<std::byte> whole = GgufWriter()
                                           .text("k", "value")
                                           .array("e", GgufWriter::kU32, 1, GgufWriter::encoded(1u))
                                           .tensor("t", {8}, kF32, 32)
                                           .bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    base::Budget budget;
    EXPECT_FALSE(GgufFile::parse(cut, budget)) << size << " of " << whole.size();
  }
}

// Threat T-A1, CVE-2026-27940: sizes whose sum or product wraps to something small.
TEST(Gguf, T_A1_SizesThatWrapAreRefused) {
  const std::uint64_t half = 1ull << 63;
  EXPECT_EQ(refusal(GgufWriter().tensor_at("t", {half, 2}, kF32, 0)), Code::kCorrupt);     // product = 0
  EXPECT_EQ(refusal(GgufWriter().tensor_at("t", {1ull << 62}, kF32, 0)), Code::kCorrupt);  // bytes = 0
  EXPECT_EQ(refusal(GgufWriter().tensor_at("t", {1ull << 32, 1ull << 32, 2}, kF32, 0)), Code::kCorrupt);
  EXPECT_EQ(refusal(GgufWriter().tensor_at("t", {8}, kF32, kHuge - 31)), Code::kCorrupt);         // offset + size
  EXPECT_EQ(refusal(GgufWriter().array("a", GgufWriter::kU64, 1ull << 61, "")), Code::kCorrupt);  // 8 * n = 0
  EXPECT_EQ(refusal(GgufWriter().pair("a", GgufWriter::kString, GgufWriter::encoded(kHuge))), Code::kCorrupt);
  GgufWriter counts;
  counts.tensor_count = kHuge;
  EXPECT_EQ(refusal(counts), Code::kCorrupt);
  counts.tensor_count = 0;
  counts.pair_count = kHuge / 13 + 1;
  EXPECT_EQ(refusal(counts), Code::kCorrupt);
}

// Threat T-A1: alignment that is not one, or of the wrong type.
TEST(Gguf, T_A1_AlignmentMustBeAPowerOfTwoInRange) {
  for (const std::uint32_t alignment : {8u, 64u, 65'536u}) {
    GgufWriter writer;
    writer.alignment = alignment;
    EXPECT_TRUE(Parsed(writer.number("general.alignment", alignment).tensor("t", {2}, kF32, 8)).file) << alignment;
  }
  for (const std::uint32_t alignment : {0u, 1u, 4u, 24u, 131'072u, 0x80000000u, 0xffffffffu}) {
    EXPECT_EQ(refusal(GgufWriter().number("general.alignment", alignment)), Code::kCorrupt) << alignment;
  }
  EXPECT_EQ(refusal(GgufWriter().text("general.alignment", "32")), Code::kCorrupt);
  EXPECT_EQ(refusal(GgufWriter().number("general.alignment", 64).tensor_at("t", {1}, kF32, 32)), Code::kCorrupt);
}

// Threat T-A2, CVE-2026-7482: a tensor that ends behind the file shows other memory.
TEST(Gguf, T_A2_ExtentsStayInsideTheFile) {
  GgufWriter exact;
  exact.tensor("t", {8}, kF32, 32);
  EXPECT_TRUE(Parsed(exact).file);
  EXPECT_EQ(refusal(GgufWriter().tensor("t", {9}, kF32, 32)), Code::kCorrupt);
  EXPECT_EQ(refusal(GgufWriter().tensor("t", {8}, kF32, 32).tensor_at("u", {8}, kF32, 32)), Code::kCorrupt);
  EXPECT_EQ(refusal(GgufWriter().tensor("t", {8}, kF32, 32).tensor_at("u", {8}, kUnknown, 64)), Code::kCorrupt);
}

// Everything that a reader of the file can be shown: names, strings, and the bytes of tensors.
std::string all_that_shows(const GgufFile& file) {
  std::string shown;
  for (const char* key : {"general.architecture", "general.alignment", "s"}) {
    shown += file.find_string(key).value_or(std::nullopt).value_or("");
    for (const std::string& text : file.find_strings(key, 1'000).value_or(std::vector<std::string>())) shown += text;
  }
  for (const StoredTensor& tensor : file.tensors()) {
    shown += tensor.name;
    shown.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  }
  return shown;
}

// Threat T-A2: whatever bytes are turned, nothing but the file is shown. What other users left in memory lies around
// it.
TEST(Gguf, T_A2_MutantsShowNoOtherMemory) {
  const std::vector<std::byte> original = GgufWriter()
                                              .text("general.architecture", "llama")
                                              .number("general.alignment", 32)
                                              .array("s", GgufWriter::kString, 1, GgufWriter::string("token"))
                                              .tensor("t", {32, 2}, kQ4_0, 36)
                                              .tensor("u", {4}, kF32, 16)
                                              .bytes();
  constexpr std::uint64_t kSeed = 20260101;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  base::Random random(kSeed);
  constexpr std::string_view kSecret = "what others said ";
  std::string memory;
  while (memory.size() < 4'096) memory += kSecret;
  const std::size_t begin = memory.size();
  memory.append(original.size(), '\0');
  memory += memory.substr(0, begin);
  const std::span<std::byte> mutant(reinterpret_cast<std::byte*>(memory.data()) + begin, original.size());
  int parsed_count = 0;
  for (int i = 0; i < 100'000; ++i) {
    std::ranges::copy(original, mutant.begin());
    for (std::uint64_t turned = random.below(4) + 1; turned > 0; --turned) {
      mutant[random.below(mutant.size())] = static_cast<std::byte>(random.below(256));
    }
    base::Budget budget;
    const auto file = GgufFile::parse(mutant, budget);
    if (!file) continue;
    ++parsed_count;
    ASSERT_EQ(all_that_shows(*file).find(kSecret.substr(0, 8)), std::string::npos) << "mutant " << i;
    for (const StoredTensor& tensor : file->tensors()) {
      if (tensor.bytes.empty()) continue;
      ASSERT_GE(tensor.bytes.data(), mutant.data());
      ASSERT_LE(tensor.bytes.data() + tensor.bytes.size(), mutant.data() + mutant.size());
    }
  }
  EXPECT_GT(parsed_count, 100);  // otherwise the mutants test nothing
}

// Threat T-A3: a small file cannot make a large table.
TEST(Gguf, T_A3_CountsAreBoundedByTheFile) {
  GgufWriter pairs;
  pairs.pair_count = 1'000;
  EXPECT_EQ(refusal(pairs), Code::kCorrupt);
  GgufWriter tensors;
  tensors.tensor_count = 1'000;
  EXPECT_EQ(refusal(tensors), Code::kCorrupt);
  EXPECT_EQ(refusal(GgufWriter().array("a", GgufWriter::kString, 1'000'000, "")), Code::kCorrupt);
  EXPECT_EQ(refusal(GgufWriter().array("a", GgufWriter::kArray, 1'000'000, "")), Code::kCorrupt);
}

TEST(Gguf, T_A3_TheBudgetCountsStepsAndBytes) {
  GgufWriter writer;
  for (int i = 0; i < 10; ++i) writer.number("k" + std::to_string(i), 1);
  EXPECT_TRUE(Parsed(writer, base::Budget({.bytes = 1 << 20, .steps = 10, .depth = 1})).file);
  const Parsed few_steps(writer, base::Budget({.bytes = 1 << 20, .steps = 9, .depth = 1}));
  EXPECT_EQ(few_steps.file.error().code, Code::kExhausted);
  const Parsed few_bytes(writer, base::Budget({.bytes = 100, .steps = 10, .depth = 1}));
  EXPECT_EQ(few_bytes.file.error().code, Code::kExhausted);
}

TEST(Gguf, NestedArraysAreBoundedInDepth) {
  const auto nested = [](int depth) {
    std::string elements = GgufWriter::encoded(GgufWriter::kU32) + GgufWriter::encoded<std::uint64_t>(0);
    for (int i = 1; i < depth; ++i) {
      elements = GgufWriter::encoded(GgufWriter::kArray) + GgufWriter::encoded<std::uint64_t>(1) + elements;
    }
    return GgufWriter().array("a", GgufWriter::kArray, 1, elements);
  };
  EXPECT_TRUE(Parsed(nested(64)).file);
  EXPECT_EQ(refusal(nested(65)), Code::kExhausted);
  EXPECT_EQ(refusal(nested(10'000)), Code::kExhausted);
}

// Threat T-A4: values are only read as what they are.
TEST(Gguf, T_A4_AccessorsRefuseOtherTypes) {
  const Parsed parsed(GgufWriter()
                          .number("n", 1)
                          .real("r", 1.0f)
                          .text("t", "x")
                          .array("f", GgufWriter::kF32, 1, GgufWriter::encoded(1.0f))
                          .array("s", GgufWriter::kString, 1, GgufWriter::string("x"))
                          .pair("negative", 5, GgufWriter::encoded(-1))
                          .pair("nan", GgufWriter::kF32, GgufWriter::encoded(std::numeric_limits<float>::quiet_NaN()))
                          .pair("maybe", GgufWriter::kBool, "\x02"));
  ASSERT_TRUE(parsed.file);
  const GgufFile& file = *parsed.file;
  EXPECT_FALSE(file.find_uint("r"));
  EXPECT_FALSE(file.find_uint("f"));
  EXPECT_FALSE(file.find_float("n"));
  EXPECT_FALSE(file.find_string("n"));
  EXPECT_FALSE(file.find_string("s"));
  EXPECT_FALSE(file.find_bool("n"));
  EXPECT_FALSE(file.find_strings("f", 9));
  EXPECT_FALSE(file.find_floats("s", 9));
  EXPECT_FALSE(file.find_floats("r", 9));
  EXPECT_FALSE(file.find_ints("f", 9));
  EXPECT_FALSE(file.find_strings("s", 0));  // over the limit
  EXPECT_FALSE(file.find_uint("negative"));
  EXPECT_EQ(file.find_int("negative").value(), -1);
  EXPECT_FALSE(file.find_float("nan"));
  EXPECT_FALSE(file.find_bool("maybe"));
  EXPECT_EQ(file.get_uint("absent").error().code, Code::kCorrupt);
  EXPECT_EQ(file.find_uint("absent").value(), std::nullopt);
  EXPECT_TRUE(file.find_strings("absent", 9)->empty());
}

TEST(Gguf, UnknownTypesOfValuesAreRefused) {
  EXPECT_EQ(refusal(GgufWriter().pair("a", 13, "")), Code::kCorrupt);
  EXPECT_EQ(refusal(GgufWriter().array("a", 13, 0, "")), Code::kCorrupt);
}

TEST(Gguf, TensorsOfUnknownTypeAreCarriedWithoutBytes) {
  const Parsed parsed(GgufWriter().tensor("t", {32}, kUnknown, 32));
  ASSERT_TRUE(parsed.file);
  EXPECT_FALSE(parsed.file->tensors()[0].type);
  EXPECT_TRUE(parsed.file->tensors()[0].bytes.empty());
  EXPECT_EQ(parsed.file->tensors()[0].type_text(), "GGML type 99");
}

TEST(Gguf, NamesAreUniqueAndShapesAreSane) {
  EXPECT_EQ(refusal(GgufWriter().number("k", 1).number("k", 1)), Code::kCorrupt);
  EXPECT_EQ(refusal(GgufWriter().tensor("t", {8}, kF32, 32).tensor("t", {8}, kF32, 32)), Code::kCorrupt);
  EXPECT_EQ(refusal(GgufWriter().tensor("t", {}, kF32, 4)), Code::kCorrupt);
  EXPECT_EQ(refusal(GgufWriter().tensor("t", {1, 1, 1, 1, 1}, kF32, 4)), Code::kCorrupt);
  EXPECT_EQ(refusal(GgufWriter().tensor("t", {4, 0}, kF32, 32)), Code::kCorrupt);  // a zero hides every other size
  EXPECT_EQ(refusal(GgufWriter().tensor("t", {33}, kQ4_0, 64)), Code::kCorrupt);   // part of a block
  EXPECT_EQ(refusal(GgufWriter().tensor_at("t", {8}, kF32, 16)), Code::kCorrupt);  // off the alignment
  EXPECT_EQ(refusal(GgufWriter().tensor(std::string(256, 't'), {8}, kF32, 32)), Code::kCorrupt);
  EXPECT_TRUE(Parsed(GgufWriter().tensor(std::string(255, 't'), {8}, kF32, 32)).file);
  EXPECT_EQ(refusal(GgufWriter().number(std::string(65'536, 'k'), 1)), Code::kCorrupt);
  EXPECT_TRUE(Parsed(GgufWriter().number(std::string(65'535, 'k'), 1)).file);
}

TEST(Gguf, SplitFilesAreRefusedByName) {
  const Parsed parsed(GgufWriter().number("split.count", 3));
  ASSERT_FALSE(parsed.file);
  EXPECT_EQ(parsed.file.error().code, Code::kInvalidArgument);
  EXPECT_TRUE(Parsed(GgufWriter().number("split.count", 1)).file);
}

}  // namespace
}  // namespace autoglm::model
