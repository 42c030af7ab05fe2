// SPDX-License-Identifier: Apache-2.0
// Matrices in the compressed-tensors convention: codes, scales and zero points become the values that the convention
// says, and parts that do not fit each other are refused.
#include "model/formats/compressed_tensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/half.h"
#include "model/formats/output_tensor.h"
#include "model/formats/safetensors.h"

namespace autoglm::model {
namespace {

using kernels::DType;
using Scales = CompressedScheme::Scales;

// A safetensors file of a few tensors, and what is gathered from it.
class Folder final {
 public:
  template <typename T>
  Folder& add(const std::string& name, const std::string& dtype, std::vector<std::uint64_t> shape,
              const std::vector<T>& values) {
    std::string bytes(values.size() * sizeof(T), '\0');
    std::memcpy(bytes.data(), values.data(), bytes.size());
    parts_.push_back({.name = name, .shape = std::move(shape), .dtype = dtype, .bytes = bytes.size()});
    contents_[name] = std::move(bytes);
    return *this;
  }
  Folder& remove(const std::string& name) {
    std::erase_if(parts_, [&](const OutputTensor& part) { return part.name == name; });
    return *this;
  }

  Status gather(const CompressedScheme& scheme) {
    const OutputHeader header = safetensors_header(parts_);
    std::string file = header.bytes;
    file.resize(header.file_bytes);
    for (const OutputTensor& part : parts_) file.replace(part.offset, part.bytes, contents_[part.name]);
    file_.resize(file.size());
    std::memcpy(file_.data(), file.data(), file.size());
    base::Budget budget;
    parsed_ = std::make_shared<const SafetensorsFile>(TRY(SafetensorsFile::parse(file_, budget)));
    tensors.assign(parsed_->tensors().begin(), parsed_->tensors().end());
    std::ranges::sort(tensors, {}, &StoredTensor::name);
    for (auto& matrix : TRY(gather_compressed(scheme, tensors))) matrices.push_back(std::move(matrix));
    return {};
  }

  /// All values of the only matrix.
  std::vector<float> values() const {
    const QuantizedMatrix& matrix = *matrices.at(0);
    std::vector<std::byte> blocks(matrix.rows * kernels::row_bytes(matrix.block_type(), matrix.columns));
    matrix.expand(0, matrix.rows, blocks.data());
    std::vector<float> values(matrix.rows * matrix.columns);
    kernels::dequantize(matrix.block_type(), blocks.data(), values.data(), values.size());
    return values;
  }

  std::vector<StoredTensor> tensors;
  std::vector<std::shared_ptr<const QuantizedMatrix>> matrices;

 private:
  std::vector<OutputTensor> parts_;
  std::map<std::string, std::string> contents_;
  std::vector<std::byte> file_;
  std::shared_ptr<const SafetensorsFile> parsed_;
};

std::vector<std::uint16_t> halves(const std::vector<float>& values) {
  std::vector<std::uint16_t> bits;
  for (const float value : values) bits.push_back(kernels::f16_from_f32(value));
  return bits;
}

constexpr CompressedScheme kInt8{.bits = 8};
constexpr CompressedScheme kInt4{.bits = 4, .is_packed = true, .scales = Scales::kGroup, .group = 32};

// [2, 64] int8, a scale for each row.
Folder int8_folder() {
  std::vector<std::int8_t> codes(128);
  for (int i = 0; i < 128; ++i) codes[static_cast<std::size_t>(i)] = static_cast<std::int8_t>(2 * i - 128);
  return Folder().add("a.weight", "I8", {2, 64}, codes).add("a.weight_scale", "F16", {2, 1}, halves({0.5f, 0.25f}));
}

// [2, 32] int4: words that count up their nibbles, one group a row.
Folder int4_folder() {
  return Folder()
      .add<std::uint32_t>("a.weight_packed", "I32", {2, 4},
                          {0x76543210, 0xfedcba98, 0x76543210, 0xfedcba98, 0, 0x11111111, 0x88888888, 0xffffffff})
      .add("a.weight_scale", "F16", {2, 1}, halves({0.5f, 2.0f}))
      .add<std::int64_t>("a.weight_shape", "I64", {2}, {2, 32});
}

TEST(CompressedTensors, SignedBytesWithAScaleForEachRowAreQ8_0) {
  Folder folder = int8_folder();
  folder.add<float>("b.weight", "F32", {1}, {1});
  ASSERT_TRUE(folder.gather(kInt8));
  ASSERT_EQ(folder.tensors.size(), 2u);
  EXPECT_EQ(folder.tensors[0].name, "a.weight");
  EXPECT_EQ(folder.tensors[0].type, DType::kQ8_0);
  EXPECT_EQ(folder.tensors[0].shape_text(), "[2, 64]");
  EXPECT_EQ(folder.tensors[0].file_bytes(), 128u + 4);
  EXPECT_EQ(folder.tensors[1].compressed, nullptr);
  const std::vector<float> values = folder.values();
  for (int i = 0; i < 128; ++i) {
    EXPECT_EQ(values[static_cast<std::size_t>(i)], static_cast<float>(2 * i - 128) * (i < 64 ? 0.5f : 0.25f)) << i;
  }
}

TEST(CompressedTensors, PackedNibblesAreQ4_0) {
  Folder folder = int4_folder();
  ASSERT_TRUE(folder.gather(kInt4));
  EXPECT_EQ(folder.matrices[0]->block_type(), DType::kQ4_0);
  const std::vector<float> values = folder.values();
  for (int i = 0; i < 32; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], 0.5f * static_cast<float>(i % 16 - 8));
  for (int i = 0; i < 32; ++i) {
    constexpr float kCodes[] = {0, 1, 8, 15};
    EXPECT_EQ(values[static_cast<std::size_t>(32 + i)], 2 * (kCodes[i / 8] - 8)) << i;
  }
}

// Zero points of eight rows share a word: row r is nibble r % 8 of word r / 8.
TEST(CompressedTensors, PackedZeroPointsLieAlongTheRows) {
  Folder folder;
  const std::vector<std::uint32_t> codes(9 * 4, 0x44444444);
  folder.add("a.weight_packed", "I32", {9, 4}, codes)
      .add("a.weight_scale", "F16", {9, 1}, halves(std::vector<float>(9, 0.5f)))
      .add<std::uint32_t>("a.weight_zero_point", "I32", {2, 1}, {0x76543210, 0x0000000f})
      .add<std::int64_t>("a.weight_shape", "I64", {2}, {9, 32});
  CompressedScheme scheme = kInt4;
  scheme.is_symmetric = false;
  ASSERT_TRUE(folder.gather(scheme));
  EXPECT_EQ(folder.matrices[0]->block_type(), DType::kQ4_1);
  const std::vector<float> values = folder.values();
  for (std::size_t row = 0; row < 9; ++row) {
    const float zero = row == 8 ? 15 : static_cast<float>(row);
    EXPECT_EQ(values[row * 32 + 5], 0.5f * (4 - zero)) << row;
  }
}

TEST(CompressedTensors, BytesWithAZeroPointAreF16) {
  Folder folder = int8_folder();
  folder.add<std::int8_t>("a.weight_zero_point", "I8", {2, 1}, {-128, 127});
  CompressedScheme scheme = kInt8;
  scheme.is_symmetric = false;
  ASSERT_TRUE(folder.gather(scheme));
  EXPECT_EQ(folder.matrices[0]->block_type(), DType::kF16);
  const std::vector<float> values = folder.values();
  EXPECT_EQ(values[1], 0.5f * (-126 + 128));
  EXPECT_EQ(values[127], 0.25f * (126 - 127));
}

TEST(CompressedTensors, GroupsThatAreNoBlocksAreF16) {
  Folder folder;
  folder.add<std::uint32_t>("a.weight_packed", "I32", {1, 3}, {0x76543210, 0xfedcba98, 0xfedcba98})
      .add<float>("a.weight_scale", "F32", {1, 3}, {1, 2, 4})
      .add<std::int64_t>("a.weight_shape", "I64", {2}, {1, 24});
  CompressedScheme scheme = kInt4;
  scheme.group = 8;
  ASSERT_TRUE(folder.gather(scheme));
  EXPECT_EQ(folder.matrices[0]->block_type(), DType::kF16);
  const std::vector<float> values = folder.values();
  EXPECT_EQ(values[0], -8);
  EXPECT_EQ(values[8], 0);
  EXPECT_EQ(values[9], 2);
  EXPECT_EQ(values[23], 28);
}

// One scale for everything; 8 bits in words; rows that do not fill their last word.
TEST(CompressedTensors, TheRarerForms) {
  Folder whole = int8_folder().remove("a.weight_scale");
  whole.add<float>("a.weight_scale", "F32", {1}, {2});
  ASSERT_TRUE(whole.gather({.bits = 8, .scales = Scales::kTensor}));
  EXPECT_EQ(whole.values()[127], 2 * 126.0f);

  Folder words;
  words.add<std::uint32_t>("a.weight_packed", "I32", {1, 2}, {0x7f80ff00, 0x00000081})
      .add("a.weight_scale", "F16", {1}, halves({1}))
      .add<std::int64_t>("a.weight_shape", "I64", {2}, {1, 5});
  ASSERT_TRUE(words.gather({.bits = 8, .is_packed = true}));
  EXPECT_EQ(words.values(), (std::vector<float>{-128, 127, 0, -1, 1}));
}

// Scales that f16 has not are rounded: within 2^-11 of themselves.
TEST(CompressedTensors, ScalesBecomeF16) {
  Folder folder = int8_folder().remove("a.weight_scale");
  folder.add<float>("a.weight_scale", "F32", {2, 1}, {0.1f, 1.0f / 3});
  ASSERT_TRUE(folder.gather(kInt8));
  const std::vector<float> values = folder.values();
  EXPECT_NEAR(values[0], -12.8f, 12.8f * 0x1p-11f);
  EXPECT_NEAR(values[127], 42, 42 * 0x1p-11f);
  EXPECT_NE(values[0], -12.8f);
}

TEST(CompressedTensors, PartsThatDoNotFitAreRefused) {
  const auto code = [](Folder folder, const CompressedScheme& scheme) {
    const Status gathered = folder.gather(scheme);
    EXPECT_FALSE(gathered);
    return gathered ? Code::kInternal : gathered.error().code;
  };
  const auto scaled = [](std::vector<std::uint64_t> shape, std::vector<float> scales) {
    Folder folder = int8_folder().remove("a.weight_scale");
    folder.add("a.weight_scale", "F32", std::move(shape), scales);
    return folder;
  };
  EXPECT_EQ(code(int8_folder().remove("a.weight_scale"), kInt8), Code::kCorrupt);
  EXPECT_EQ(code(scaled({2, 2}, {1, 1, 1, 1}), kInt8), Code::kCorrupt);
  EXPECT_EQ(code(scaled({1, 2}, {1, 1}), kInt8), Code::kCorrupt);
  EXPECT_EQ(code(scaled({2, 1}, {1, 257}), kInt8), Code::kCorrupt);
  EXPECT_EQ(code(scaled({2, 1}, {1, std::numeric_limits<float>::quiet_NaN()}), kInt8), Code::kCorrupt);
  EXPECT_EQ(code(scaled({2, 1}, {1, 1}), {.bits = 8, .is_symmetric = false}), Code::kCorrupt);  // no zero points
  EXPECT_EQ(code(scaled({2, 1}, {1, 1}), {.bits = 8, .scales = Scales::kGroup, .group = 48}), Code::kCorrupt);
  EXPECT_EQ(code(int8_folder().add<std::int8_t>("b.weight", "I8", {4}, {1, 2, 3, 4}), kInt8), Code::kCorrupt);
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{2, 33}, {2, 24}, {3, 32}, {2, -32}, {-2, 32}, {2, std::int64_t{1} << 62}, {2}}) {
    Folder folder = int4_folder().remove("a.weight_shape");
    folder.add("a.weight_shape", "I64", {shape.size()}, shape);
    EXPECT_EQ(code(std::move(folder), kInt4), Code::kCorrupt) << shape.back();
  }
  EXPECT_EQ(code(int4_folder().remove("a.weight_shape"), kInt4), Code::kCorrupt);
  Folder twice = int4_folder();
  twice.add("a.weight", "F16", {1}, halves({1}));
  EXPECT_EQ(code(std::move(twice), kInt4), Code::kCorrupt);
}

Result<std::optional<CompressedScheme>> scheme_of(const std::string& text) {
  base::Budget budget;
  return find_compressed_scheme(json::parse(text, budget)->as_object());
}

std::string config_with(const std::string& weights, const std::string& more = "") {
  return R"({"quantization_config":{"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":
      {"group_0":{"targets":["Linear"],"weights":{)" +
         weights + "}}}" + more + "}}";
}

// Each column names its group: the row becomes F16.
TEST(CompressedTensors, ColumnsMayBeOfAnyGroup) {
  CompressedScheme scheme = kInt4;
  scheme.group = 16;
  scheme.has_order = true;
  std::vector<std::uint32_t> order(32);
  for (std::uint32_t i = 0; i < 32; ++i) order[i] = i % 2;
  const auto folder = [&] {
    Folder made;
    made.add<std::uint32_t>("a.weight_packed", "I32", {1, 4}, {0x76543210, 0xfedcba98, 0x76543210, 0xfedcba98})
        .add("a.weight_scale", "F16", {1, 2}, halves({0.5f, 2.0f}))
        .add("a.weight_g_idx", "I32", {order.size()}, order)
        .add<std::int64_t>("a.weight_shape", "I64", {2}, {1, 32});
    return made;
  };
  Folder whole = folder();
  ASSERT_TRUE(whole.gather(scheme));
  EXPECT_EQ(whole.tensors.size(), 1u);
  EXPECT_EQ(whole.matrices[0]->block_type(), DType::kF16);
  const std::vector<float> values = whole.values();
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(values[static_cast<std::size_t>(i)], (i % 2 == 0 ? 0.5f : 2.0f) * static_cast<float>(i % 16 - 8)) << i;
  }
  order[7] = 2;
  EXPECT_EQ(folder().gather(scheme).error().code, Code::kCorrupt);
  order[7] = 0xffffffffu;
  EXPECT_EQ(folder().gather(scheme).error().code, Code::kCorrupt);
  order.pop_back();
  EXPECT_EQ(folder().gather(scheme).error().code, Code::kCorrupt);
  EXPECT_EQ(folder().remove("a.weight_g_idx").gather(scheme).error().code, Code::kCorrupt);
}

TEST(CompressedScheme, ReadsWhatOthersWrite) {
  EXPECT_EQ(*scheme_of("{}"), std::nullopt);
  EXPECT_EQ(*scheme_of(R"({"quantization_config":null})"), std::nullopt);
  EXPECT_EQ(
      *scheme_of(config_with(R"("num_bits":4,"type":"int","symmetric":false,"strategy":"group","group_size":128,
                                      "actorder":"weight","dynamic":false,"observer":"minmax")")),
      (CompressedScheme{.bits = 4, .is_packed = true, .is_symmetric = false, .scales = Scales::kGroup, .group = 128}));
  for (const char* order : {"\"group\"", "true"}) {
    EXPECT_EQ(
        *scheme_of(config_with(R"("num_bits":4,"group_size":32,"actorder":)" + std::string(order))),
        (CompressedScheme{.bits = 4, .is_packed = true, .scales = Scales::kGroup, .group = 32, .has_order = true}));
  }
  EXPECT_EQ(*scheme_of(config_with(R"("num_bits":8,"group_size":-1)")),
            (CompressedScheme{.bits = 8, .is_packed = true}));
  EXPECT_EQ(*scheme_of(config_with(R"("num_bits":8)", R"(,"ignore":["lm_head"],"kv_cache_scheme":null)")),
            (CompressedScheme{.bits = 8, .is_packed = true, .scales = Scales::kTensor}));
}

TEST(CompressedScheme, RefusesWhatWeDoNotRun) {
  const std::string four = R"("num_bits":4,"group_size":32)";
  const std::pair<std::string, Code> cases[] = {
      {R"({"quantization_config":7})", Code::kCorrupt},
      {R"({"quantization_config":{"quant_method":"fp8"}})", Code::kInvalidArgument},
      {R"({"quantization_config":{"quant_method":"compressed-tensors","format":"float-quantized"}})",
       Code::kInvalidArgument},
      {R"({"quantization_config":{"quant_method":"compressed-tensors","format":"pack-quantized"}})", Code::kCorrupt},
      {config_with(R"("num_bits":3,"group_size":32)"), Code::kInvalidArgument},
      {config_with(R"("num_bits":4,"group_size":32,"type":"float")"), Code::kInvalidArgument},
      {config_with(R"("num_bits":4,"group_size":32,"dynamic":true)"), Code::kInvalidArgument},
      {config_with(R"("num_bits":4,"group_size":32,"actorder":"random")"), Code::kInvalidArgument},
      {config_with(R"("num_bits":4,"group_size":-1,"actorder":"group")"), Code::kInvalidArgument},
      {config_with(R"("num_bits":4,"strategy":"block")"), Code::kInvalidArgument},
      {config_with(R"("num_bits":4,"strategy":"group","group_size":0)"), Code::kCorrupt},
      {config_with(R"("num_bits":4,"strategy":"group","group_size":9000000)"), Code::kCorrupt},
      {config_with(R"("num_bits":"4")"), Code::kCorrupt},
      {config_with(R"("num_bits":4,"symmetric":false)"), Code::kInvalidArgument},
      {config_with(four, R"(,"transform_config":{"config_groups":{}})"), Code::kInvalidArgument},
      {config_with(four, R"(,"sparsity_config":{"format":"sparse-24-bitmask"})"), Code::kInvalidArgument},
      {config_with(four, R"(,"quantization_status":"calibration")"), Code::kInvalidArgument},
  };
  EXPECT_TRUE(scheme_of(config_with(four, R"(,"sparsity_config":{"format":"dense"},"transform_config":{})")));
  for (const auto& [text, code] : cases) {
    const auto refused = scheme_of(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, code) << text;
  }
  const std::string two = R"({"quantization_config":{"quant_method":"compressed-tensors","format":"pack-quantized",
      "config_groups":{"a":{"weights":{"num_bits":4,"group_size":32}},"b":{"weights":{"num_bits":8,"group_size":32}}}}})";
  EXPECT_EQ(scheme_of(two).error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace autoglm::model
