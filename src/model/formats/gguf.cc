// SPDX-License-Identifier: Apache-2.0
#include "model/formats/gguf.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/log.h"
#include "model/formats/checked_math.h"

namespace autoglm::model {
namespace {

using base::printable;

// The smallest that a metadata pair and a tensor info can be: they bound the counts by the file's size.
constexpr std::uint64_t kSmallestPair = 8 + 4 + 1;
constexpr std::uint32_t kMaxRank = 4;  // the format's own bound
constexpr std::uint64_t kSmallestTensor = 8 + 4 + 8 + 4 + 8;

std::unexpected<Error> corrupt(std::string message) { return fail(Code::kCorrupt, std::move(message)); }

}  // namespace

// A place in the file that never moves past its end.
class GgufFile::Reader final {
 public:
  explicit Reader(std::span<const std::byte> file) : file_(file) {}

  template <typename T>
  Result<T> number(const char* what) {
    const std::byte* from = TRY(take(sizeof(T), what));
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
  }

  Result<const std::byte*> take(std::uint64_t size, const char* what) {
    if (size > left()) {
      return corrupt("GGUF: " + std::string(what) + " at byte " + std::to_string(place_) + " needs " +
                     std::to_string(size) + " bytes, but the file ends after " + std::to_string(left()));
    }
    const std::byte* const from = file_.data() + place_;
    place_ += size;
    return from;
  }

  Result<std::string_view> string(std::uint64_t limit, const char* what) {
    const auto size = TRY(number<std::uint64_t>(what));
    if (size > limit) {
      return corrupt("GGUF: " + std::string(what) + " at byte " + std::to_string(place_) + " has " +
                     std::to_string(size) + " bytes; at most " + std::to_string(limit) + " are allowed");
    }
    const std::byte* from = TRY(take(size, what));
    return std::string_view(reinterpret_cast<const char*>(from), size);
  }

  std::uint64_t place() const { return place_; }
  std::uint64_t left() const { return file_.size() - place_; }

 private:
  std::span<const std::byte> file_;
  std::uint64_t place_ = 0;
};

std::string_view GgufFile::type_name(Type type) {
  static constexpr std::string_view kNames[kTypeCount] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                          "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[static_cast<std::size_t>(type)];
}

std::size_t GgufFile::type_bytes(Type type) {
  static constexpr std::size_t kBytes[kTypeCount] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kBytes[static_cast<std::size_t>(type)];
}

Result<GgufFile> GgufFile::parse(std::span<const std::byte> bytes, base::Budget& budget) {
  Reader reader(bytes);
  const std::byte* magic = TRY(reader.take(4, "the magic"));
  if (std::memcmp(magic, "GGUF", 4) != 0) return corrupt("not a GGUF file: it does not begin with \"GGUF\"");
  GgufFile file;
  file.version_ = TRY(reader.number<std::uint32_t>("the version"));
  if (file.version_ != 2 && file.version_ != 3) {
    const bool is_swapped = file.version_ == 0x02000000u || file.version_ == 0x03000000u;
    return fail(Code::kInvalidArgument, is_swapped ? "GGUF: big-endian files are not supported"
                                                   : "GGUF: version " + std::to_string(file.version_) +
                                                         " is not supported; versions 2 and 3 are");
  }
  const auto tensor_count = TRY(reader.number<std::uint64_t>("the tensor count"));
  const auto pair_count = TRY(reader.number<std::uint64_t>("the metadata count"));
  TRY(file.read_metadata(reader, pair_count, budget));
  TRY(file.check_split());
  TRY(file.read_alignment());
  TRY(file.read_tensors(reader, tensor_count, budget));
  if (file.tensors_.empty()) return file;
  const auto data_begin = checked_round_up(reader.place(), file.alignment_);
  if (!data_begin || *data_begin > bytes.size()) {
    return corrupt("GGUF: the tensor data would begin behind the end of the file");
  }
  TRY(file.place_tensors(bytes, *data_begin));
  return file;
}

Status GgufFile::read_metadata(Reader& reader, std::uint64_t count, base::Budget& budget) {
  if (count > kMaxMetadata || count > reader.left() / kSmallestPair) {
    return corrupt("GGUF: a file of this size cannot hold " + std::to_string(count) + " metadata pairs");
  }
  TRY(budget.take_bytes(count * sizeof(Value), "GGUF metadata"));
  values_.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto key = TRY(reader.string(kMaxKeyBytes, "a metadata key"));
    const auto type = TRY(reader.number<std::uint32_t>("a metadata type"));
    auto value = read_value(reader, type, budget);
    if (!value) return fail_in("metadata key \"" + printable(key) + "\"", std::move(value).error());
    value->key = key;
    value->end = TRY(reader.take(0, "a value"));
    values_.push_back(*value);
  }
  std::ranges::sort(values_, {}, &Value::key);
  const auto twin = std::ranges::adjacent_find(values_, {}, &Value::key);
  if (twin != values_.end()) return corrupt("GGUF: metadata key \"" + printable(twin->key) + "\" comes twice");
  return {};
}

Result<GgufFile::Value> GgufFile::read_value(Reader& reader, std::uint32_t type, base::Budget& budget) {
  TRY(budget.take_steps(1, "GGUF metadata"));
  if (type >= kTypeCount) return corrupt("GGUF: " + std::to_string(type) + " is not a type of metadata");
  Value value;
  value.type = static_cast<Type>(type);
  if (value.type == Type::kString) {
    const auto text = TRY(reader.string(std::numeric_limits<std::uint64_t>::max(), "a string"));
    value.count = text.size();
    value.data = reinterpret_cast<const std::byte*>(text.data());
    return value;
  }
  if (value.type != Type::kArray) {
    value.count = 1;
    value.data = TRY(reader.take(type_bytes(value.type), "a value"));
    return value;
  }
  const auto element = TRY(reader.number<std::uint32_t>("an array type"));
  if (element >= kTypeCount) return corrupt("GGUF: " + std::to_string(element) + " is not a type of array elements");
  value.is_array = true;
  value.type = static_cast<Type>(element);
  value.count = TRY(reader.number<std::uint64_t>("an array length"));
  value.data = TRY(reader.take(0, "an array"));
  TRY(skip_elements(reader, value.type, value.count, budget));
  return value;
}

Status GgufFile::skip_elements(Reader& reader, Type type, std::uint64_t count, base::Budget& budget) {
  if (type != Type::kString && type != Type::kArray) {
    const auto size = checked_multiply(count, type_bytes(type));
    if (!size) return corrupt("GGUF: an array of " + std::to_string(count) + " elements overflows");
    TRY(reader.take(*size, "an array"));
    return {};
  }
  // A string is at least its length, an array its type and length: the count cannot pass what the file holds.
  if (count > reader.left() / (type == Type::kString ? 8 : 12)) {
    return corrupt("GGUF: an array of " + std::to_string(count) + " elements is longer than the file");
  }
  TRY(budget.take_steps(count, "GGUF metadata"));
  if (type == Type::kString) {
    for (std::uint64_t i = 0; i < count; ++i) {
      TRY(reader.string(std::numeric_limits<std::uint64_t>::max(), "an array's string"));
    }
    return {};
  }
  TRY(budget.enter("GGUF array"));
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto element = TRY(reader.number<std::uint32_t>("an array type"));
    if (element >= kTypeCount) return corrupt("GGUF: " + std::to_string(element) + " is not a type of array elements");
    const auto length = TRY(reader.number<std::uint64_t>("an array length"));
    TRY(skip_elements(reader, static_cast<Type>(element), length, budget));
  }
  budget.leave();
  return {};
}

Status GgufFile::check_split() const {
  const auto parts = TRY(find_uint("split.count"));
  if (parts.value_or(1) > 1) {
    return fail(Code::kInvalidArgument, "this GGUF is one of " + std::to_string(*parts) +
                                            " split files; split GGUF files are not supported: join them first");
  }
  return {};
}

Status GgufFile::read_alignment() {
  const auto alignment = TRY(find_uint("general.alignment"));
  if (!alignment) return {};
  if (*alignment < kMinAlignment || *alignment > kMaxAlignment || (*alignment & (*alignment - 1)) != 0) {
    return corrupt("GGUF: alignment " + std::to_string(*alignment) + " is not a power of two between " +
                   std::to_string(kMinAlignment) + " and " + std::to_string(kMaxAlignment));
  }
  alignment_ = *alignment;
  return {};
}

Status GgufFile::read_tensors(Reader& reader, std::uint64_t count, base::Budget& budget) {
  if (count > kMaxTensors || count > reader.left() / kSmallestTensor) {
    return corrupt("GGUF: a file of this size cannot hold " + std::to_string(count) + " tensors");
  }
  TRY(budget.take_bytes(count * (sizeof(StoredTensor) + sizeof(std::uint64_t) + sizeof(std::uint32_t)),
                        "GGUF tensors"));
  TRY(budget.take_steps(count, "GGUF tensors"));
  tensors_.reserve(count);
  offsets_.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    StoredTensor tensor;
    tensor.name = TRY(reader.string(kMaxTensorNameBytes, "a tensor name"));
    tensor.rank = TRY(reader.number<std::uint32_t>("a tensor's dimensions"));
    if (tensor.rank < 1 || tensor.rank > kMaxRank) {
      return corrupt("GGUF: tensor \"" + printable(tensor.name) + "\" has " + std::to_string(tensor.rank) +
                     " dimensions; 1 to 4 are allowed");
    }
    // The file writes the fastest dimension first.
    for (std::uint32_t d = tensor.rank; d-- > 0;) tensor.shape[d] = TRY(reader.number<std::uint64_t>("a dimension"));
    tensor.stored_type = TRY(reader.number<std::uint32_t>("a tensor type"));
    tensor.type = kernels::dtype_from_ggml(tensor.stored_type);
    offsets_.push_back(TRY(reader.number<std::uint64_t>("a tensor offset")));
    tensors_.push_back(tensor);
  }
  tensor_order_.resize(tensors_.size());
  std::iota(tensor_order_.begin(), tensor_order_.end(), 0u);
  const auto name_of = [this](std::uint32_t index) { return tensors_[index].name; };
  std::ranges::sort(tensor_order_, {}, name_of);
  const auto twin = std::ranges::adjacent_find(tensor_order_, {}, name_of);
  if (twin != tensor_order_.end()) return corrupt("GGUF: tensor \"" + printable(name_of(*twin)) + "\" comes twice");
  return {};
}

Status GgufFile::place_tensors(std::span<const std::byte> file, std::uint64_t data_begin) {
  const std::uint64_t data_bytes = file.size() - data_begin;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    StoredTensor& tensor = tensors_[i];
    const std::uint64_t offset = offsets_[i];
    const auto about = [&] { return "GGUF: tensor \"" + printable(tensor.name) + "\" " + tensor.shape_text(); };
    std::optional<std::uint64_t> elements = 1;
    for (std::uint32_t d = 0; d < tensor.rank && elements; ++d) {
      if (tensor.shape[d] == 0) return corrupt(about() + " has no elements");
      elements = checked_multiply(*elements, tensor.shape[d]);
    }
    if (!elements) return corrupt(about() + ": the number of elements overflows");
    if (offset % alignment_ != 0) return corrupt(about() + ": its offset is not a multiple of the alignment");
    if (offset > data_bytes) return corrupt(about() + " begins behind the end of the file");
    if (!tensor.type) continue;  // the extent of a type that we do not know is not ours to judge
    const kernels::DTypeTraits& type = kernels::traits(*tensor.type);
    if (tensor.shape[tensor.rank - 1] % type.block_elements != 0) {
      return corrupt(about() + ": rows of " + std::string(type.name) + " must be a multiple of " +
                     std::to_string(type.block_elements));
    }
    const auto bytes = checked_multiply(*elements / type.block_elements, type.block_bytes);
    if (!bytes || *bytes > data_bytes - offset) return corrupt(about() + " ends behind the end of the file");
    tensor.bytes = file.subspan(data_begin + offset, *bytes);
  }
  offsets_ = {};
  return {};
}

std::vector<GgufFile::Pair> GgufFile::pairs() const {
  std::vector<Pair> pairs;
  for (const Value& value : values_) {
    const auto* const begin = reinterpret_cast<const std::byte*>(value.key.data() + value.key.size());
    pairs.push_back({value.key, {begin, value.end}});
  }
  return pairs;
}

const StoredTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto name_of = [this](std::uint32_t index) { return tensors_[index].name; };
  const auto found = std::ranges::lower_bound(tensor_order_, name, {}, name_of);
  return found != tensor_order_.end() && name_of(*found) == name ? &tensors_[*found] : nullptr;
}

}  // namespace autoglm::model
