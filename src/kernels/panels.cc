// SPDX-License-Identifier: Apache-2.0
#include "kernels/panels.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace autoglm::kernels {
namespace {

constexpr std::size_t kLine = 4 * kPanelRows;  // 64 bytes: 16 rows x 4 k
constexpr std::size_t kChunk = 16;             // panels a thread packs at a time
constexpr std::size_t kSharedBuffer = std::size_t{32} << 20;

// The four codes of quad `quad` as one word.
std::uint32_t quad_of(const std::uint8_t* code, int quad) {
  std::uint32_t word;
  std::memcpy(&word, code + 4 * quad, sizeof(word));
  return word;
}

void store_word(std::byte* line, std::uint32_t word) { std::memcpy(line, &word, sizeof(word)); }

// Writes the codes of 32 consecutive k of one row; `to` is the row's place in the first line.
template <int kBits>
void store_codes(const std::uint8_t* code, std::byte* to) {
  if constexpr (kBits == 8) {
    for (int i = 0; i < 8; ++i) store_word(to + i * kLine, quad_of(code, i));
    return;
  }
  if constexpr (kBits >= 4) {
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t low = quad_of(code, 2 * i) & 0x0f0f0f0fu;
      const std::uint32_t high = quad_of(code, 2 * i + 1) & 0x0f0f0f0fu;
      store_word(to + i * kLine, low | (high << 4));
    }
    to += 4 * kLine;
  }
  if constexpr (kBits == 2 || kBits == 3 || kBits == 6) {
    constexpr int kShift = kBits == 6 ? 4 : 0;
    for (int j = 0; j < 2; ++j) {
      std::uint32_t word = 0;
      for (int i = 0; i < 4; ++i) word |= ((quad_of(code, 4 * j + i) >> kShift) & 0x03030303u) << (2 * i);
      store_word(to + j * kLine, word);
    }
    to += 2 * kLine;
  }
  if constexpr (kBits == 3 || kBits == 5) {
    std::uint32_t word = 0;
    for (int i = 0; i < 8; ++i) word |= ((quad_of(code, i) >> (kBits - 1)) & 0x01010101u) << i;
    store_word(to, word);
  }
}

// Writes one row's d, dmin, scales and minima of a block; `to` is the block's part of the scale area.
template <DType kType>
void store_scales(const DecodedBlock& block, std::size_t row, std::byte* to) {
  constexpr BlockShape kShape = block_shape(kType);
  std::memcpy(to + 2 * row, &block.d, 2);
  to += 2 * kPanelRows;
  if constexpr (kShape.has_min) {
    // Q4_1 and Q5_1 keep +min; the K types keep dmin, to be subtracted.
    std::memcpy(to + 2 * row, &block.dmin, 2);
    to += 2 * kPanelRows;
  }
  if constexpr (kShape.has_scales) {
    constexpr std::size_t kGroups = static_cast<std::size_t>(kShape.elements / kShape.group);
    for (std::size_t g = 0; g < kGroups; ++g) std::memcpy(to + g * kPanelRows + row, &block.scale[g], 1);
    to += kGroups * kPanelRows;
    if constexpr (kShape.has_min) {
      for (std::size_t g = 0; g < kGroups; ++g) std::memcpy(to + g * kPanelRows + row, &block.min[g], 1);
    }
  }
}

template <DType kType>
void pack_quantized(const Tensor& weights, const Panels& panels, std::size_t index) {
  constexpr BlockShape kShape = block_shape(kType);
  constexpr std::size_t kElements = static_cast<std::size_t>(kShape.elements);
  std::byte* const scales = panels.panel(index);
  std::byte* const codes = scales + panels.shape().scale_area;
  const std::size_t first = index * kPanelRows;
  const std::size_t rows = std::min(kPanelRows, weights.rows - first);
  const std::size_t blocks = weights.columns / kElements;
  const std::size_t stored_bytes = traits(kType).block_bytes;
  DecodedBlock block;
  // Block by block over the rows: the lines being written stay in the first-level cache.
  for (std::size_t b = 0; b < blocks; ++b) {
    for (std::size_t row = 0; row < rows; ++row) {
      decode_block(kType, weights.row(first + row) + b * stored_bytes, block, true);
      store_scales<kType>(block, row, scales + b * panel_scale_bytes(kType));
      for (std::size_t part = 0; part < kElements / 32; ++part) {
        std::byte* to = codes + (b * (kElements / 32) + part) * panel_code_bytes(kType) + 4 * row;
        store_codes<kShape.bits>(block.code + 32 * part, to);
      }
    }
  }
}

// Dense rows interleaved by elements of `kBytes`: [k][16].
template <std::size_t kBytes>
void pack_dense(const Tensor& weights, std::size_t elements, const Panels& panels, std::size_t index) {
  std::byte* const to = panels.panel(index);
  const std::size_t first = index * kPanelRows;
  const std::size_t rows = std::min(kPanelRows, weights.rows - first);
  for (std::size_t row = 0; row < rows; ++row) {
    const std::byte* from = weights.row(first + row);
    for (std::size_t k = 0; k < elements; ++k) {
      std::memcpy(to + (k * kPanelRows + row) * kBytes, from + k * kBytes, kBytes);
    }
  }
}

// Pairs of k: [k / 2][16][2].
void pack_bf16(const Tensor& weights, const Panels& panels, std::size_t index) {
  pack_dense<4>(weights, weights.columns / 2, panels, index);
  if (weights.columns % 2 == 0) return;
  const std::size_t last = weights.columns - 1;
  const std::size_t first = index * kPanelRows;
  for (std::size_t row = 0; row < std::min(kPanelRows, weights.rows - first); ++row) {
    std::memcpy(panels.panel(index) + (last / 2 * kPanelRows + row) * 4, weights.row(first + row) + 2 * last, 2);
  }
}

void pack_one(const Tensor& weights, const Panels& panels, std::size_t index) {
  switch (weights.type) {
    case DType::kF32:
      return pack_dense<4>(weights, weights.columns, panels, index);
    case DType::kF16:
      return pack_dense<2>(weights, weights.columns, panels, index);
    case DType::kBF16:
      return pack_bf16(weights, panels, index);
    case DType::kQ8_0:
      return pack_quantized<DType::kQ8_0>(weights, panels, index);
    case DType::kQ4_0:
      return pack_quantized<DType::kQ4_0>(weights, panels, index);
    case DType::kQ4_1:
      return pack_quantized<DType::kQ4_1>(weights, panels, index);
    case DType::kQ5_0:
      return pack_quantized<DType::kQ5_0>(weights, panels, index);
    case DType::kQ5_1:
      return pack_quantized<DType::kQ5_1>(weights, panels, index);
    case DType::kQ2_K:
      return pack_quantized<DType::kQ2_K>(weights, panels, index);
    case DType::kQ3_K:
      return pack_quantized<DType::kQ3_K>(weights, panels, index);
    case DType::kQ4_K:
      return pack_quantized<DType::kQ4_K>(weights, panels, index);
    case DType::kQ5_K:
      return pack_quantized<DType::kQ5_K>(weights, panels, index);
    case DType::kQ6_K:
      return pack_quantized<DType::kQ6_K>(weights, panels, index);
    case DType::kIQ4_NL:
      return pack_quantized<DType::kIQ4_NL>(weights, panels, index);
    case DType::kIQ4_XS:
      return pack_quantized<DType::kIQ4_XS>(weights, panels, index);
  }
}

template <DType kType>
void set_areas(Panels::Shape& shape) {
  constexpr std::size_t kElements = static_cast<std::size_t>(block_shape(kType).elements);
  shape.scale_area = (shape.in_features / kElements * panel_scale_bytes(kType) + kLine - 1) / kLine * kLine;
  shape.panel_bytes = shape.scale_area + shape.in_features / 32 * panel_code_bytes(kType);
}

Panels::Shape shape_of(const Tensor& weights) {
  Panels::Shape shape{.type = weights.type, .out_features = weights.rows, .in_features = weights.columns};
  switch (weights.type) {
    case DType::kF32:
      shape.panel_bytes = weights.columns * 4 * kPanelRows;
      break;
    case DType::kF16:
      shape.panel_bytes = (weights.columns + 1) / 2 * 4 * kPanelRows;
      break;
    case DType::kBF16:
      shape.panel_bytes = (weights.columns + 1) / 2 * 4 * kPanelRows;
      break;
    case DType::kQ8_0:
      set_areas<DType::kQ8_0>(shape);
      break;
    case DType::kQ4_0:
      set_areas<DType::kQ4_0>(shape);
      break;
    case DType::kQ4_1:
      set_areas<DType::kQ4_1>(shape);
      break;
    case DType::kQ5_0:
      set_areas<DType::kQ5_0>(shape);
      break;
    case DType::kQ5_1:
      set_areas<DType::kQ5_1>(shape);
      break;
    case DType::kQ2_K:
      set_areas<DType::kQ2_K>(shape);
      break;
    case DType::kQ3_K:
      set_areas<DType::kQ3_K>(shape);
      break;
    case DType::kQ4_K:
      set_areas<DType::kQ4_K>(shape);
      break;
    case DType::kQ5_K:
      set_areas<DType::kQ5_K>(shape);
      break;
    case DType::kQ6_K:
      set_areas<DType::kQ6_K>(shape);
      break;
    case DType::kIQ4_NL:
      set_areas<DType::kIQ4_NL>(shape);
      break;
    case DType::kIQ4_XS:
      set_areas<DType::kIQ4_XS>(shape);
      break;
  }
  return shape;
}

}  // namespace

std::shared_ptr<std::byte> PanelMemory::take(std::size_t bytes) {
  const std::size_t rounded = (bytes + kLine - 1) / kLine * kLine;
  if (rounded > kSharedBuffer / 2) {  // large enough to have huge pages of its own
    const auto own = std::make_shared<Buffer>(rounded);
    return {own, own->data()};
  }
  if (buffer_ == nullptr || buffer_->size() - used_ < rounded) {
    buffer_ = std::make_shared<Buffer>(kSharedBuffer);
    used_ = 0;
  }
  std::byte* const memory = buffer_->data() + used_;
  used_ += rounded;
  return {buffer_, memory};
}

std::size_t packed_bytes(const Tensor& weights) { return Panels::bytes_of(shape_of(weights)); }

std::unique_ptr<Panels> pack_panels(const Tensor& weights, base::ThreadPool& pool, PanelMemory& memory) {
  CHECK(weights.rows > 0 && weights.columns > 0) << weights.rows << " x " << weights.columns;
  CHECK(weights.columns % traits(weights.type).block_elements == 0)
      << weights.columns << " columns of " << traits(weights.type).name;
  auto panels = std::make_unique<Panels>(shape_of(weights), memory);
  const std::size_t count = panels->panel_count();
  pool.run((count + kChunk - 1) / kChunk, [&](std::size_t chunk, int) {
    for (std::size_t i = chunk * kChunk; i < std::min(count, (chunk + 1) * kChunk); ++i) pack_one(weights, *panels, i);
  });
  return panels;
}

}  // namespace autoglm::kernels
