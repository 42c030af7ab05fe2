// SPDX-License-Identifier: Apache-2.0
// Safetensors: a file's header and extents, quantised matrices made of its tensors, and a sharded checkpoint's index.
// The first byte picks which. Oracles: memory in proportion to the file, extents inside it and disjoint, matrices whose
// last row can be read and is finite, shard names that stay in their folder.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/check.h"
#include "fuzz_target.h"
#include "memory_meter.h"
#include "model/formats/compressed_tensors.h"
#include "model/formats/safetensors.h"
#include "model/formats/transposed_matrix.h"

namespace {

using namespace autoglm;

void read_file(std::span<const std::byte> bytes, base::Budget& budget) {
  const auto file = model::SafetensorsFile::parse(bytes, budget);
  if (!file) return;
  const std::byte* free_from = bytes.data();
  for (const model::StoredTensor& tensor : file->tensors()) {
    CHECK(tensor.rank <= model::SafetensorsFile::kMaxRank) << tensor.rank;
    (void)tensor.shape_text();
    (void)tensor.type_text();
    if (!tensor.type || tensor.bytes.empty()) continue;
    CHECK(tensor.bytes.data() >= free_from) << tensor.name << " overlaps";
    free_from = tensor.bytes.data() + tensor.bytes.size();
    CHECK(free_from <= bytes.data() + bytes.size()) << tensor.name << " ends behind the file";
    const kernels::DTypeTraits& traits = kernels::traits(*tensor.type);
    CHECK(tensor.bytes.size() == tensor.elements() * traits.block_bytes) << tensor.name;
  }
}

// A scheme out of one byte; those that a config.json cannot ask for are left out.
model::CompressedScheme scheme_of(std::uint8_t byte) {
  using Scales = model::CompressedScheme::Scales;
  constexpr Scales kScales[] = {Scales::kTensor, Scales::kRow, Scales::kGroup, Scales::kGroup};
  model::CompressedScheme scheme{.is_packed = (byte & 1) != 0, .is_symmetric = (byte & 4) != 0};
  scheme.bits = scheme.is_packed && (byte & 2) != 0 ? 4 : 8;
  scheme.scales = kScales[(byte >> 3) & 3];
  if (scheme.scales == Scales::kGroup) scheme.group = std::size_t{8} << (byte >> 6);
  scheme.has_order = scheme.scales == Scales::kGroup && (byte & 32) != 0;
  return scheme;
}

model::TransposedScheme transposed_scheme_of(std::uint8_t byte) {
  using Layout = model::TransposedScheme::Layout;
  model::TransposedScheme scheme{.layout = (byte & 1) != 0 ? Layout::kAwq : Layout::kGptq};
  scheme.bits = (byte & 2) != 0 ? 4 : 8;
  scheme.has_order = scheme.layout == Layout::kGptq && (byte & 4) != 0;
  scheme.is_one_less = scheme.layout == Layout::kGptq && (byte & 8) != 0;
  if ((byte & 16) != 0) scheme.group = std::size_t{8} << (byte >> 6);
  return scheme;
}

void read_quantized(bool is_transposed, std::uint8_t choice, std::span<const std::byte> bytes, base::Budget& budget) {
  const auto file = model::SafetensorsFile::parse(bytes, budget);
  if (!file) return;
  std::vector<model::StoredTensor> tensors(file->tensors().begin(), file->tensors().end());
  std::ranges::sort(tensors, {}, &model::StoredTensor::name);
  const auto matrices = is_transposed ? model::gather_transposed(transposed_scheme_of(choice), tensors)
                                      : model::gather_compressed(scheme_of(choice), tensors);
  if (!matrices) {
    CHECK(matrices.error().code == Code::kCorrupt) << matrices.error().message;
    return;
  }
  for (const auto& matrix : *matrices) {
    if (matrix->columns > (1 << 16)) continue;
    std::vector<std::byte> blocks(kernels::row_bytes(matrix->block_type(), matrix->columns));
    std::vector<float> values(matrix->columns);
    matrix->expand(matrix->rows - 1, 1, blocks.data());
    kernels::dequantize(matrix->block_type(), blocks.data(), values.data(), values.size());
    CHECK(std::ranges::all_of(values, [](float value) { return std::isfinite(value); }));
  }
}

void read_index(std::string_view text, base::Budget& budget) {
  const auto names = model::parse_shard_index(text, budget);
  if (!names) return;
  for (const std::string& name : *names) {
    CHECK(!name.empty() && name != "." && name != "..");
    CHECK(name.find('/') == std::string::npos && name.find('\0') == std::string::npos) << name;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const fuzz::MemoryMeter meter;
  base::Budget budget({.bytes = std::uint64_t{512} << 20, .steps = 1'000'000, .depth = 64});
  if (data[0] == 'I') {
    read_index(fuzz::as_text(data + 1, size - 1), budget);
  } else if ((data[0] == 'C' || data[0] == 'T') && size > 1) {
    read_quantized(data[0] == 'T', data[1], fuzz::as_bytes(data + 2, size - 2), budget);
  } else {
    read_file(fuzz::as_bytes(data + 1, size - 1), budget);
  }
  CHECK(meter.peak_bytes() <= fuzz::memory_allowed(size)) << meter.peak_bytes() << " bytes for " << size;
  return 0;
}
