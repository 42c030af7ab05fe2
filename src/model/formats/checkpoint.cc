// SPDX-License-Identifier: Apache-2.0
#include "model/formats/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <system_error>
#include <utility>

#include "base/log.h"

namespace autoglm::model {
namespace {

using base::printable;
using std::filesystem::path;

constexpr std::uint64_t kMaxConfigBytes = 16ull << 20;
constexpr std::uint64_t kMaxIndexBytes = 64ull << 20;

// What parsing one file's header may cost: room for the largest vocabularies and tensor lists.
base::Budget header_budget() { return base::Budget({.bytes = 512ull << 20, .steps = 100'000'000, .depth = 64}); }

Result<json::Object> read_config(const path& file) {
  return read_object(file, kMaxConfigBytes, base::Budget({.bytes = kMaxConfigBytes, .steps = 4'000'000, .depth = 64}));
}

}  // namespace

Result<std::optional<std::string>> read_small_file(const path& file, std::uint64_t limit_bytes) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return std::nullopt;
  const auto mapped = TRY(MappedFile::open(file));
  if (mapped.bytes().size() > limit_bytes) {
    return fail(Code::kExhausted, file.string() + " has " + std::to_string(mapped.bytes().size()) + " bytes; at most " +
                                      std::to_string(limit_bytes) + " are read");
  }
  return std::string(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
}

Result<json::Object> read_object(const path& file, std::uint64_t limit_bytes, base::Budget budget) {
  const auto text = TRY(read_small_file(file, limit_bytes));
  if (!text) return json::Object{};
  auto value = json::parse(*text, budget);
  if (!value) {
    if (value.error().code == Code::kInvalidArgument) value.error().code = Code::kCorrupt;
    return fail_in(file.string(), std::move(value).error());
  }
  if (!value->is_object()) return fail(Code::kCorrupt, file.string() + " is not a JSON object");
  return std::move(value->get_object());
}

Result<std::optional<path>> find_gguf(const path& folder) {
  std::error_code error;
  std::optional<path> found;
  auto entry = std::filesystem::directory_iterator(folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (entry->path().extension() != ".gguf") continue;
    if (found) return fail(Code::kInvalidArgument, folder.string() + " holds several .gguf files: name one of them");
    found = entry->path();
  }
  if (error) return fail(Code::kPermissionDenied, "cannot list " + folder.string() + ": " + error.message());
  return found;
}

Result<Checkpoint> Checkpoint::open(const path& where) {
  std::error_code error;
  const auto status = std::filesystem::status(where, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    return fail(Code::kNotFound, "there is no model at " + where.string());
  }
  Checkpoint checkpoint;
  if (std::filesystem::is_directory(status)) {
    TRY(checkpoint.open_folder(where));
  } else {
    TRY(checkpoint.open_gguf(where));
  }
  TRY(checkpoint.index_tensors());
  if (auto gathered = checkpoint.gather_quantized(); !gathered) return fail_in(where.string(), gathered.error());
  return checkpoint;
}

Status Checkpoint::open_gguf(const path& file) {
  files_.push_back(TRY(MappedFile::open(file)));
  const auto bytes = files_.back().bytes();
  if (bytes.size() < 4 || std::memcmp(bytes.data(), "GGUF", 4) != 0) {
    return fail(Code::kInvalidArgument,
                file.string() + " is not a GGUF file (for safetensors, give the folder that holds config.json)");
  }
  base::Budget budget = header_budget();
  auto parsed = GgufFile::parse(bytes, budget);
  if (!parsed) return fail_in(file.string(), std::move(parsed).error());
  gguf_ = std::move(*parsed);
  return {};
}

Status Checkpoint::open_folder(const path& folder) {
  const path index = folder / "model.safetensors.index.json";
  const path single = folder / "model.safetensors";
  std::error_code error;
  if (const auto text = TRY(read_small_file(index, kMaxIndexBytes)); text) {
    base::Budget budget = header_budget();
    for (const std::string& shard : TRY(parse_shard_index(*text, budget))) TRY(add_shard(folder / shard));
  } else if (std::filesystem::exists(single, error)) {
    TRY(add_shard(single));
  } else {
    const auto gguf = TRY(find_gguf(folder));
    if (gguf) return open_gguf(*gguf);
    return fail(Code::kInvalidArgument, folder.string() + " holds neither model.safetensors nor a .gguf file");
  }
  if (!std::filesystem::exists(folder / "config.json", error)) {
    return fail(Code::kInvalidArgument, folder.string() + " has no config.json");
  }
  config_ = TRY(read_config(folder / "config.json"));
  generation_config_ = TRY(read_config(folder / "generation_config.json"));
  // Older quantisers say what they did in a file of their own.
  for (const auto& [name, method] : {std::pair("quantize_config.json", "gptq"), {"quant_config.json", "awq"}}) {
    if (config_.contains("quantization_config")) break;
    json::Object own = TRY(read_config(folder / name));
    if (own.empty()) continue;
    if (!own.contains("quant_method")) own["quant_method"] = method;
    config_["quantization_config"] = std::move(own);
  }
  return {};
}

Status Checkpoint::add_shard(const path& file) {
  files_.push_back(TRY(MappedFile::open(file)));
  base::Budget budget = header_budget();
  auto parsed = SafetensorsFile::parse(files_.back().bytes(), budget);
  if (!parsed) return fail_in(file.string(), std::move(parsed).error());
  shards_.push_back(std::move(*parsed));
  return {};
}

Status Checkpoint::index_tensors() {
  if (gguf_) tensors_.assign(gguf_->tensors().begin(), gguf_->tensors().end());
  for (const SafetensorsFile& shard : shards_) {
    tensors_.insert(tensors_.end(), shard.tensors().begin(), shard.tensors().end());
  }
  std::ranges::sort(tensors_, {}, &StoredTensor::name);
  const auto twin = std::ranges::adjacent_find(tensors_, {}, &StoredTensor::name);
  if (twin != tensors_.end()) {
    return fail(Code::kCorrupt, "tensor \"" + printable(twin->name) + "\" is in two of the shards");
  }
  return {};
}

Status Checkpoint::gather_quantized() {
  const auto scheme = TRY(find_compressed_scheme(config_));
  if (scheme) compressed_ = TRY(gather_compressed(*scheme, tensors_));
  const auto transposed = TRY(find_transposed_scheme(config_));
  if (transposed) compressed_ = TRY(gather_transposed(*transposed, tensors_));
  return {};
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(tensors_, name, {}, &StoredTensor::name);
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

std::uint64_t Checkpoint::file_bytes() const {
  std::uint64_t sum = 0;
  for (const MappedFile& file : files_) sum += file.bytes().size();
  return sum;
}

const MappedFile* Checkpoint::file_of(const StoredTensor& tensor) const {
  const std::less_equal<const std::byte*> at_most;
  for (const MappedFile& file : files_) {
    const std::byte* const begin = file.bytes().data();
    if (at_most(begin, tensor.bytes.data()) &&
        at_most(tensor.bytes.data() + tensor.bytes.size(), begin + file.bytes().size())) {
      return &file;
    }
  }
  return nullptr;
}

void Checkpoint::ask_for(const StoredTensor& tensor) const {
  if (const MappedFile* file = file_of(tensor); file != nullptr) file->ask_for(tensor.bytes);
}

void Checkpoint::let_go(const StoredTensor& tensor, std::span<const std::byte> part) const {
  if (const MappedFile* file = file_of(tensor); file != nullptr) file->let_go(part);
}

}  // namespace autoglm::model
