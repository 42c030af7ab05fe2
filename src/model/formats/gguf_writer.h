// SPDX-License-Identifier: Apache-2.0
// Writes GGUF bytes for tests, true ones and broken ones: every count, type and offset can be set to a lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace autoglm::model {

class GgufWriter final {
 public:
  static constexpr std::uint32_t kU32 = 4, kF32 = 6, kBool = 7, kString = 8, kArray = 9, kU64 = 10;

  // Lies: what the header says instead of the truth.
  std::uint32_t version = 3;
  std::optional<std::uint64_t> tensor_count, pair_count;
  std::uint64_t alignment = 32;  // of the data that bytes() writes; a general.alignment pair is up to the test

  GgufWriter& number(std::string_view key, std::uint32_t value) { return pair(key, kU32, encoded(value)); }
  GgufWriter& number64(std::string_view key, std::uint64_t value) { return pair(key, kU64, encoded(value)); }
  GgufWriter& real(std::string_view key, float value) { return pair(key, kF32, encoded(value)); }
  GgufWriter& flag(std::string_view key, bool value) { return pair(key, kBool, encoded<std::uint8_t>(value)); }
  GgufWriter& text(std::string_view key, std::string_view value) { return pair(key, kString, string(value)); }
  /// An array with any claim about its length before `elements`.
  GgufWriter& array(std::string_view key, std::uint32_t type, std::uint64_t length, const std::string& elements) {
    return pair(key, kArray, encoded(type) + encoded(length) + elements);
  }
  GgufWriter& pair(std::string_view key, std::uint32_t type, const std::string& value) {
    pairs_ += string(key) + encoded(type) + value;
    ++pairs_written_;
    return *this;
  }

  /// A tensor of zeros behind the ones before it; `shape` fastest dimension first, as the file has it.
  GgufWriter& tensor(std::string_view name, const std::vector<std::uint64_t>& shape, std::uint32_t type,
                     std::uint64_t bytes) {
    tensor_at(name, shape, type, data_.size());
    data_.append((bytes + alignment - 1) / alignment * alignment, '\0');
    return *this;
  }
  /// A tensor of these bytes.
  GgufWriter& tensor_of(std::string_view name, const std::vector<std::uint64_t>& shape, std::uint32_t type,
                        std::string_view bytes) {
    tensor_at(name, shape, type, data_.size());
    data_ += bytes;
    data_.resize((data_.size() + alignment - 1) / alignment * alignment, '\0');
    return *this;
  }
  /// A tensor that claims to lie at `offset`; adds no bytes of its own.
  GgufWriter& tensor_at(std::string_view name, const std::vector<std::uint64_t>& shape, std::uint32_t type,
                        std::uint64_t offset) {
    infos_ += string(name) + encoded(static_cast<std::uint32_t>(shape.size()));
    for (const std::uint64_t size : shape) infos_ += encoded(size);
    infos_ += encoded(type) + encoded(offset);
    ++tensors_written_;
    return *this;
  }

  std::vector<std::byte> bytes() const {
    std::string file = "GGUF" + encoded(version) + encoded(tensor_count.value_or(tensors_written_)) +
                       encoded(pair_count.value_or(pairs_written_)) + pairs_ + infos_;
    if (tensors_written_ > 0) file.resize((file.size() + alignment - 1) / alignment * alignment, '\0');
    file += data_;
    std::vector<std::byte> bytes(file.size());
    std::memcpy(bytes.data(), file.data(), file.size());
    return bytes;
  }

  template <typename T>
  static std::string encoded(T value) {
    std::string bytes(sizeof(T), '\0');
    std::memcpy(bytes.data(), &value, sizeof(T));
    return bytes;
  }
  static std::string string(std::string_view text) {
    return encoded(static_cast<std::uint64_t>(text.size())) + std::string(text);
  }

 private:
  std::string pairs_, infos_, data_;
  std::uint64_t pairs_written_ = 0, tensors_written_ = 0;
};

}  // namespace autoglm::model
