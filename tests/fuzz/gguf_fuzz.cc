// SPDX-License-Identifier: Apache-2.0
// GGUF: metadata, typed accessors and tensor extents. Oracles: memory in proportion to the file, every extent inside
// it, bytes of a tensor as its shape and type say, and the same answer twice.
#include <string>

#include "base/check.h"
#include "fuzz_target.h"
#include "memory_meter.h"
#include "model/formats/gguf.h"

namespace {

using namespace autoglm;

// Keys that the loader asks for, each with every accessor: a wrong type must be an error and nothing else.
constexpr std::string_view kKeys[] = {"general.architecture",  "general.alignment",         "tokenizer.ggml.tokens",
                                      "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "llama.block_count",
                                      "llama.rope.freq_base",  "tokenizer.chat_template",   "a"};
constexpr std::uint64_t kMostElements = 100'000;

void ask_everything(const model::GgufFile& file, std::string_view key) {
  (void)file.has(key);
  (void)file.find_uint(key);
  (void)file.find_int(key);
  (void)file.find_float(key);
  (void)file.find_bool(key);
  (void)file.find_string(key);
  (void)file.get_uint(key);
  (void)file.get_float(key);
  (void)file.get_string(key);
  (void)file.array_length(key);
  if (const auto strings = file.find_strings(key, kMostElements)) CHECK(strings->size() <= kMostElements);
  if (const auto floats = file.find_floats(key, kMostElements)) CHECK(floats->size() <= kMostElements);
  if (const auto ints = file.find_ints(key, kMostElements)) CHECK(ints->size() <= kMostElements);
}

void check_extent(const model::StoredTensor& tensor, std::span<const std::byte> file) {
  CHECK(tensor.rank <= model::StoredTensor::kMaxRank) << tensor.rank;
  if (!tensor.type) {
    CHECK(tensor.bytes.empty());
    return;
  }
  if (tensor.bytes.empty()) return;
  CHECK(tensor.bytes.data() >= file.data() && tensor.bytes.size() <= file.size());
  CHECK(tensor.bytes.data() + tensor.bytes.size() <= file.data() + file.size()) << tensor.name;
  const kernels::DTypeTraits& traits = kernels::traits(*tensor.type);
  CHECK(tensor.bytes.size() == tensor.elements() / traits.block_elements * traits.block_bytes) << tensor.name;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = fuzz::as_bytes(data, size);
  std::size_t tensors = 0;
  {
    const fuzz::MemoryMeter meter;
    base::Budget budget({.bytes = std::uint64_t{512} << 20, .steps = 1'000'000, .depth = 64});
    const auto file = model::GgufFile::parse(bytes, budget);
    CHECK(meter.peak_bytes() <= fuzz::memory_allowed(size)) << meter.peak_bytes() << " bytes for " << size;
    if (!file) {
      CHECK(!file.error().message.empty());
      return 0;
    }
    tensors = file->tensors().size();
    for (const model::StoredTensor& tensor : file->tensors()) {
      check_extent(tensor, bytes);
      CHECK(file->find_tensor(tensor.name) != nullptr) << tensor.name;
      (void)tensor.shape_text();
      (void)tensor.type_text();
    }
    for (const std::string_view key : kKeys) ask_everything(*file, key);
  }
  base::Budget budget;
  const auto again = model::GgufFile::parse(bytes, budget);
  CHECK(!again || again->tensors().size() == tensors);
  return 0;
}
