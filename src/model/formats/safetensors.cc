// SPDX-License-Identifier: Apache-2.0
#include "model/formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "base/json.h"
#include "base/log.h"
#include "model/formats/checked_math.h"

namespace autoglm::model {
namespace {

using base::printable;

struct Dtype {
  std::string_view name;
  std::uint64_t bits;
  std::optional<kernels::DType> type;  // nothing: we know its size but do not run it
};

// Source: the safetensors format's list of types; sizes in bits, as some are below a byte.
constexpr Dtype kDtypes[] = {
    {"F32", 32, kernels::DType::kF32}, {"F16", 16, kernels::DType::kF16}, {"BF16", 16, kernels::DType::kBF16},
    {"F64", 64, std::nullopt},         {"I64", 64, std::nullopt},         {"I32", 32, std::nullopt},
    {"I16", 16, std::nullopt},         {"I8", 8, std::nullopt},           {"U64", 64, std::nullopt},
    {"U32", 32, std::nullopt},         {"U16", 16, std::nullopt},         {"U8", 8, std::nullopt},
    {"BOOL", 8, std::nullopt},         {"F8_E4M3", 8, std::nullopt},      {"F8_E5M2", 8, std::nullopt},
    {"F8_E8M0", 8, std::nullopt},      {"F6_E2M3", 6, std::nullopt},      {"F6_E3M2", 6, std::nullopt},
    {"F4", 4, std::nullopt},           {"C64", 64, std::nullopt},
};

// A value of the header takes at least this many bytes of text on average in any true header; it bounds the memory that
// a hostile header can claim for its JSON tree by a multiple of its size.
constexpr std::uint64_t kHeaderBytesPerValue = 5;

std::unexpected<Error> broken(std::string message) {
  return fail(Code::kCorrupt, "safetensors: " + std::move(message));
}

std::optional<std::uint64_t> to_uint(const json::Value& value) {
  if (value.is_uint64()) return value.get_uint64();
  if (value.is_int64() && value.get_int64() >= 0) return static_cast<std::uint64_t>(value.get_int64());
  return std::nullopt;
}

struct Entry {
  StoredTensor tensor;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

Status read_shape(const json::Value& shape, const std::string& about, StoredTensor& tensor, std::uint64_t& elements) {
  if (!shape.is_array()) return broken(about + " has no shape");
  const json::Array& sizes = shape.get_array();
  if (sizes.size() > SafetensorsFile::kMaxRank) {
    return broken(about + " has " + std::to_string(sizes.size()) + " dimensions");
  }
  elements = 1;
  for (const json::Value& entry : sizes) {
    const auto size = to_uint(entry);
    if (!size) return broken(about + " has a dimension that is not a count");
    const auto product = checked_multiply(elements, *size);
    if (!product) return broken(about + ": the number of elements overflows");
    elements = *product;
    // What comes after the fifth dimension folds into it: such tensors are carried, never run.
    if (tensor.rank < StoredTensor::kMaxRank) {
      tensor.shape[tensor.rank++] = *size;
    } else {
      tensor.shape[StoredTensor::kMaxRank - 1] *= *size;
      tensor.type = std::nullopt;
    }
  }
  return {};
}

Result<Entry> read_entry(std::string_view name, const json::Value& value) {
  const std::string about = "tensor \"" + printable(name) + "\"";
  if (!value.is_object()) return broken(about + " is not described by an object");
  const json::Object& object = value.get_object();
  const json::Value* const dtype_name = object.if_contains("dtype");
  const json::Value* const shape = object.if_contains("shape");
  const json::Value* const offsets = object.if_contains("data_offsets");
  if (dtype_name == nullptr || !dtype_name->is_string() || shape == nullptr || offsets == nullptr) {
    return broken(about + " lacks dtype, shape or data_offsets");
  }
  const std::string_view wanted(dtype_name->get_string().data(), dtype_name->get_string().size());
  const auto dtype = std::ranges::find(kDtypes, wanted, &Dtype::name);
  if (dtype == std::end(kDtypes)) return broken(about + " has the unknown dtype \"" + printable(wanted) + "\"");

  Entry entry;
  entry.tensor.type = dtype->type;
  entry.tensor.stored_type_name = dtype->name;
  std::uint64_t elements = 0;
  TRY(read_shape(*shape, about, entry.tensor, elements));
  const auto bits = checked_multiply(elements, dtype->bits);
  if (!bits || *bits % 8 != 0) return broken(about + ": its size is not a number of bytes");

  if (!offsets->is_array() || offsets->get_array().size() != 2) return broken(about + " has no two data_offsets");
  const auto begin = to_uint(offsets->get_array()[0]);
  const auto end = to_uint(offsets->get_array()[1]);
  if (!begin || !end || *begin > *end) return broken(about + ": its data_offsets are not a range");
  if (*end - *begin != *bits / 8) {
    return broken(about + " needs " + std::to_string(*bits / 8) + " bytes, but its data_offsets hold " +
                  std::to_string(*end - *begin));
  }
  entry.begin = *begin;
  entry.end = *end;
  return entry;
}

}  // namespace

Result<SafetensorsFile> SafetensorsFile::parse(std::span<const std::byte> bytes, base::Budget& budget) {
  if (bytes.size() < 8) return broken("the file is shorter than its header length");
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes.size() - 8) {
    return broken("a header of " + std::to_string(header_bytes) + " bytes does not fit");
  }
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8, header_bytes);
  const std::span<const std::byte> data_part = bytes.subspan(8 + header_bytes);

  base::Budget header_budget({.bytes = std::min(budget.left().bytes, header_bytes),
                              .steps = std::min(budget.left().steps, header_bytes / kHeaderBytesPerValue + 64),
                              .depth = std::min<std::uint32_t>(budget.left().depth, 8)});
  TRY(budget.take_bytes(header_bytes, "a safetensors header"));
  auto parsed = json::parse(header, header_budget);
  if (!parsed) {
    if (parsed.error().code == Code::kInvalidArgument) parsed.error().code = Code::kCorrupt;
    return fail_in("safetensors header", std::move(parsed).error());
  }
  if (!parsed->is_object()) return broken("the header is not an object");
  const json::Object& object = parsed->get_object();
  if (object.size() > kMaxTensors) return broken("the header lists " + std::to_string(object.size()) + " tensors");
  TRY(budget.take_steps(object.size(), "a safetensors header"));
  TRY(budget.take_bytes(object.size() * sizeof(Entry), "a safetensors header"));

  std::vector<Entry> entries;
  entries.reserve(object.size());
  std::size_t name_bytes = 0;
  for (const auto& member : object) {
    const std::string_view name(member.key().data(), member.key().size());
    if (name == "__metadata__") continue;
    Entry entry = TRY(read_entry(name, member.value()));
    entry.tensor.name = name;
    entries.push_back(entry);
    name_bytes += name.size();
  }
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;  // empty tensors first
  });

  SafetensorsFile file;
  file.names_ = std::make_unique<std::string>();
  file.names_->reserve(name_bytes);
  file.tensors_.reserve(entries.size());
  std::uint64_t covered = 0;
  for (Entry& entry : entries) {
    if (entry.begin != covered) {
      return broken("tensor \"" + printable(entry.tensor.name) + "\" begins at byte " + std::to_string(entry.begin) +
                    " of the data; expected " + std::to_string(covered) + " (no gap, no overlap)");
    }
    if (entry.end > data_part.size()) {
      return broken("tensor \"" + printable(entry.tensor.name) + "\" ends behind the end of the file");
    }
    covered = entry.end;
    entry.tensor.bytes = data_part.subspan(entry.begin, entry.end - entry.begin);
    const std::size_t place = file.names_->size();
    file.names_->append(entry.tensor.name);
    entry.tensor.name = std::string_view(*file.names_).substr(place, entry.tensor.name.size());
    file.tensors_.push_back(entry.tensor);
  }
  if (covered != data_part.size()) {
    return broken("the tensors cover " + std::to_string(covered) + " bytes of " + std::to_string(data_part.size()));
  }
  return file;
}

Result<std::vector<std::string>> parse_shard_index(std::string_view index_json, base::Budget& budget) {
  auto parsed = json::parse(index_json, budget);
  if (!parsed) {
    if (parsed.error().code == Code::kInvalidArgument) parsed.error().code = Code::kCorrupt;
    return fail_in("model.safetensors.index.json", std::move(parsed).error());
  }
  const json::Value* const map = parsed->is_object() ? parsed->get_object().if_contains("weight_map") : nullptr;
  if (map == nullptr || !map->is_object()) return broken("the index has no weight_map");
  std::vector<std::string> shards;
  for (const auto& member : map->get_object()) {
    if (!member.value().is_string()) return broken("the index names a shard that is not a string");
    const std::string_view name(member.value().get_string().data(), member.value().get_string().size());
    // Only a plain name beside the index: no folder, nothing hidden, nothing that a path could turn into.
    const bool is_plain =
        !name.empty() && name.size() <= 255 && name.front() != '.' && std::ranges::all_of(name, [](char c) {
          return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                 c == '.';
        });
    if (!is_plain) return broken("the index names the shard \"" + printable(name) + "\", which is not a file name");
    if (shards.empty() || shards.back() != name) shards.emplace_back(name);
  }
  std::ranges::sort(shards);
  const auto repeated = std::ranges::unique(shards);
  shards.erase(repeated.begin(), repeated.end());
  if (shards.empty()) return broken("the index names no shard");
  return shards;
}

}  // namespace autoglm::model
