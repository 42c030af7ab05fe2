// SPDX-License-Identifier: Apache-2.0
// Reads GGUF v2 and v3: metadata and tensor extents, as views on bytes that the caller keeps (a mapped file). Every
// number in the file is untrusted: sizes are checked for overflow and against the file, types by typed accessors only,
// and memory stays in proportion to the file. Immutable after parse(); any thread. Layout: docs/formats/gguf.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/budget.h"
#include "base/result.h"
#include "model/formats/stored_tensor.h"

namespace autoglm::model {

class GgufFile final {
 public:
  // Bounds of our own, far above any checkpoint that we know of.
  static constexpr std::uint64_t kMaxMetadata = 65'536;
  static constexpr std::uint64_t kMaxTensors = 262'144;
  static constexpr std::uint64_t kMaxKeyBytes = 65'535;
  static constexpr std::uint64_t kMaxTensorNameBytes = 255;
  static constexpr std::uint64_t kMinAlignment = 8;
  static constexpr std::uint64_t kMaxAlignment = 65'536;

  /// Parses the file that lies in `file`, which must outlive the result.
  ///   Errors   kCorrupt (naming what and where), kInvalidArgument (a version or a split file that we lack),
  ///            kExhausted (budget: one step a value or tensor, bytes for the tables)
  static Result<GgufFile> parse(std::span<const std::byte> file, base::Budget& budget);

  std::uint32_t version() const { return version_; }
  std::uint64_t alignment() const { return alignment_; }
  std::span<const StoredTensor> tensors() const { return tensors_; }  // in the file's order
  const StoredTensor* find_tensor(std::string_view name) const;

  /// Every metadata pair by key, its value as the file has it: type id, then what the type asks for.
  struct Pair {
    std::string_view key;
    std::span<const std::byte> value;
  };
  std::vector<Pair> pairs() const;

  bool has(std::string_view key) const { return find_value(key) != nullptr; }

  // Typed access. find_*: nothing when the key is absent. get_*: an absent key is kCorrupt. A value of another type is
  // kCorrupt in both. Integers accept every integer type whose value fits; floats accept f32 and f64.
  Result<std::optional<std::uint64_t>> find_uint(std::string_view key) const;
  Result<std::optional<std::int64_t>> find_int(std::string_view key) const;
  Result<std::optional<double>> find_float(std::string_view key) const;
  Result<std::optional<bool>> find_bool(std::string_view key) const;
  Result<std::optional<std::string_view>> find_string(std::string_view key) const;
  Result<std::uint64_t> get_uint(std::string_view key) const;
  Result<double> get_float(std::string_view key) const;
  Result<std::string_view> get_string(std::string_view key) const;

  /// Elements of an array value, at most `limit`. An absent key gives an empty vector.
  Result<std::vector<std::string>> find_strings(std::string_view key, std::uint64_t limit) const;
  Result<std::vector<float>> find_floats(std::string_view key, std::uint64_t limit) const;
  Result<std::vector<std::int32_t>> find_ints(std::string_view key, std::uint64_t limit) const;
  /// Elements of an array value without reading them; 0 when absent.
  Result<std::uint64_t> array_length(std::string_view key) const;

 private:
  // Type ids of values. Source: ggml docs/gguf.md.
  enum class Type : std::uint8_t {
    kU8,
    kI8,
    kU16,
    kI16,
    kU32,
    kI32,
    kF32,
    kBool,
    kString,
    kArray,
    kU64,
    kI64,
    kF64,
  };
  static constexpr std::uint32_t kTypeCount = 13;

  // A value where it lies; arrays and strings are checked to be inside the file.
  struct Value {
    std::string_view key;
    std::uint64_t count = 0;          // elements of an array, bytes of a string, else 1
    const std::byte* data = nullptr;  // first element, first character
    const std::byte* end = nullptr;   // behind the value
    Type type = Type::kU8;            // of the value; of the elements when it is an array
    bool is_array = false;
  };

  class Reader;

  static Result<Value> read_value(Reader& reader, std::uint32_t type, base::Budget& budget);
  static Status skip_elements(Reader& reader, Type type, std::uint64_t count, base::Budget& budget);
  Status read_metadata(Reader& reader, std::uint64_t count, base::Budget& budget);
  Status read_tensors(Reader& reader, std::uint64_t count, base::Budget& budget);
  Status place_tensors(std::span<const std::byte> file, std::uint64_t data_begin);
  Status check_split() const;
  Status read_alignment();

  const Value* find_value(std::string_view key) const;
  Result<const Value*> find_array(std::string_view key) const;
  static std::string_view type_name(Type type);
  static std::size_t type_bytes(Type type);
  static std::unexpected<Error> wrong_type(const Value& value, std::string_view expected);

  std::uint32_t version_ = 0;
  std::uint64_t alignment_ = 32;
  std::vector<Value> values_;                // sorted by key
  std::vector<StoredTensor> tensors_;        // in the file's order
  std::vector<std::uint64_t> offsets_;       // of tensors_, relative to the data; only while parsing
  std::vector<std::uint32_t> tensor_order_;  // indices into tensors_, sorted by name
};

}  // namespace autoglm::model
