// SPDX-License-Identifier: Apache-2.0
// Linear layers in portable C++: the reference for the other instruction sets. Reads the same panels, with the same
// integer arithmetic and the same order over k. A part of a panel is unpacked once for all columns of the tile; the
// loops behind it have constant lengths and no branches, so that a compiler makes them vector instructions of whatever
// it compiles for. Kernel threads.
#include <algorithm>
#include <cstring>

#include "kernels/half.h"
#include "kernels/linear_kernels.h"
#include "kernels/panel_layout.h"

namespace autoglm::kernels {
namespace {

constexpr int kRows = static_cast<int>(kPanelRows);
constexpr int kLine = 4 * kRows;
constexpr int kPart = 32;  // k that are unpacked at a time
constexpr int kWide = 32;  // columns of the wide tile

// A part of a quantised panel: value = scale * code - min. Codes are as wide as the products want their factors.
struct Codes {
  std::int16_t code[kRows][kPart];  // less the type's zero
  float scale[2][kRows];            // by group of 16 or 32
  float min[2][kRows];
};

// A part of any panel as plain numbers.
using Weights = float[kPart][kRows];

// What all groups of a block share.
struct Factors {
  float d[kRows];
  float dmin[kRows];
};

// Code of quad `quad` of the row and k whose place in the first line is `from`.
template <int kBits>
std::uint8_t code_at(const std::uint8_t* from, int quad) {
  const auto line = [&](int index) { return from[index * kLine]; };
  if constexpr (kBits == 8) return line(quad);
  int code = 0;
  int lines = 0;  // read so far
  if constexpr (kBits >= 4) {
    code = (line(quad / 2) >> (4 * (quad & 1))) & 15;
    lines = 4;
  }
  if constexpr (kBits == 2 || kBits == 3 || kBits == 6) {
    const int two = (line(lines + quad / 4) >> (2 * (quad & 3))) & 3;
    code |= kBits == 6 ? two << 4 : two;
    lines += 2;
  }
  if constexpr (kBits == 3 || kBits == 5) code |= ((line(lines) >> quad) & 1) << (kBits - 1);
  return static_cast<std::uint8_t>(code);
}

// All codes of a part, still in lines of [16 rows][4 k].
template <DType kType>
void unpack_lines(const std::byte* codes, std::uint8_t (&line)[kPart / 4][kLine]) {
  constexpr BlockShape kShape = block_shape(kType);
  const auto* from = reinterpret_cast<const std::uint8_t*>(codes);
  for (int i = 0; i < kLine; ++i) {
    for (int quad = 0; quad < kPart / 4; ++quad) line[quad][i] = code_at<kShape.bits>(from + i, quad);
  }
  if constexpr (!kShape.has_table) return;
  for (auto& codes_of_quad : line) {
    for (std::uint8_t& code : codes_of_quad) code = kIq4Table[code];
  }
}

void read_halves(const std::byte* from, float (&to)[kRows]) {
  std::uint16_t bits[kRows];
  std::memcpy(bits, from, sizeof(bits));
  for (int r = 0; r < kRows; ++r) to[r] = f32_from_f16(bits[r]);
}

template <DType kType>
void read_factors(const std::byte* scales, Factors& to) {
  read_halves(scales, to.d);
  if constexpr (block_shape(kType).has_min) read_halves(scales + 2 * kRows, to.dmin);
}

// The scales and minima of part `part` of a block whose scales are at `scales`.
template <DType kType>
void unpack_scales(const Factors& factors, const std::byte* scales, std::size_t part, float (&scale)[2][kRows],
                   float (&min)[2][kRows]) {
  constexpr BlockShape kShape = block_shape(kType);
  constexpr int kGroups = kPart / kShape.group;
  constexpr int kAllGroups = kShape.elements / kShape.group;
  const auto* small = reinterpret_cast<const std::int8_t*>(scales + (kShape.has_min ? 4 : 2) * kRows);
  for (int g = 0; g < kGroups; ++g) {
    const int group = static_cast<int>(part) * kGroups + g;
    for (int r = 0; r < kRows; ++r) {
      scale[g][r] = kShape.has_scales ? factors.d[r] * static_cast<float>(small[group * kRows + r]) : factors.d[r];
      if constexpr (!kShape.has_min) continue;
      min[g][r] = kShape.has_scales ? factors.dmin[r] * static_cast<float>(small[(kAllGroups + group) * kRows + r])
                                    : -factors.dmin[r];
    }
  }
}

template <DType kType>
void unpack(const Factors& factors, const std::byte* scales, std::size_t part, const std::byte* codes, Codes& to) {
  unpack_scales<kType>(factors, scales, part, to.scale, to.min);
  std::uint8_t line[kPart / 4][kLine];
  unpack_lines<kType>(codes, line);
  for (int r = 0; r < kRows; ++r) {
    for (int k = 0; k < kPart; ++k) {
      to.code[r][k] = static_cast<std::int16_t>(line[k / 4][4 * r + k % 4] - block_shape(kType).zero);
    }
  }
}

template <DType kType>
void unpack(const Factors& factors, const std::byte* scales, std::size_t part, const std::byte* codes, Weights& to) {
  constexpr BlockShape kShape = block_shape(kType);
  float scale[2][kRows];
  float min[2][kRows];
  unpack_scales<kType>(factors, scales, part, scale, min);
  std::uint8_t line[kPart / 4][kLine];
  unpack_lines<kType>(codes, line);
  for (int quad = 0; quad < kPart / 4; ++quad) {
    const int g = 4 * quad / kShape.group;
    for (int r = 0; r < kRows; ++r) {
      std::uint32_t four;
      std::memcpy(&four, line[quad] + 4 * r, sizeof(four));
      for (int j = 0; j < 4; ++j) {
        const auto code = static_cast<std::int32_t>((four >> (8 * j)) & 255);
        const float weight = scale[g][r] * static_cast<float>(code - kShape.zero);
        to[4 * quad + j][r] = kShape.has_min ? weight - min[g][r] : weight;
      }
    }
  }
}

// `count` k of a dense panel from `first` on, which is even.
template <DType kType>
void unpack(const std::byte* panel, std::size_t first, std::size_t count, Weights& to) {
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t at = first + k;
    if constexpr (kType == DType::kF32) {
      std::memcpy(to[k], panel + at * sizeof(to[k]), sizeof(to[k]));
    } else if constexpr (kType == DType::kF16) {
      read_halves(panel + at * 2 * kRows, to[k]);
    } else {
      std::uint32_t pairs[kRows];
      std::memcpy(pairs, panel + at / 2 * sizeof(pairs), sizeof(pairs));
      for (int r = 0; r < kRows; ++r) to[k][r] = f32_from_bf16(static_cast<std::uint16_t>(pairs[r] >> (at % 2 * 16)));
    }
  }
}

template <int kCount>
std::int32_t dot(const std::int16_t* a, const std::int16_t* b) {
  std::int32_t sum = 0;
  for (int i = 0; i < kCount; ++i) sum += a[i] * b[i];
  return sum;
}

// Adds a part's products with every column's int8 activations. Step by step for all columns: a processor waits when it
// reads as a vector what it has just written in pieces. The pragmas leave vectors to the loops inside, whose elements
// lie side by side; compiled once for all widths, so that none is turned into something else.
template <DType kType>
[[gnu::noinline]] void add_products(const Codes& w, const ActivationTile& x, std::size_t width, std::size_t block,
                                    float (*sums)[kRows]) {
  constexpr BlockShape kShape = block_shape(kType);
  constexpr std::size_t kGroups = kPart / kShape.group;
  const auto columns = static_cast<std::size_t>(x.columns);
  const auto* q8 = static_cast<const std::int8_t*>(x.words) + block * kPart * width;
  const float* scale_x = x.scale + block * width;
  const float* sum_x = x.sum + block * width;
  std::int16_t column[kWide][kPart];
  for (std::size_t n = 0; n < columns; ++n) {
    for (std::size_t quad = 0; quad < kPart / 4; ++quad) {
      for (std::size_t j = 0; j < 4; ++j) column[n][4 * quad + j] = q8[4 * (quad * width + n) + j];
    }
  }
  for (std::size_t g = 0; g < kGroups; ++g) {
    std::int32_t product[kWide][kRows];
    for (std::size_t n = 0; n < columns; ++n) {
#pragma clang loop vectorize(disable) unroll(disable)
      for (int r = 0; r < kRows; ++r) {
        product[n][r] = dot<kShape.group>(w.code[r] + g * kShape.group, column[n] + g * kShape.group);
      }
    }
    const std::int32_t* minus_sum = x.sum16 + (2 * block + g) * width;
#pragma clang loop vectorize(disable)
    for (std::size_t n = 0; n < columns; ++n) {
      float sum[kRows];
      std::memcpy(sum, sums[n], sizeof(sum));
      for (int r = 0; r < kRows; ++r) {
        sum[r] += w.scale[g][r] * static_cast<float>(product[n][r]) * scale_x[n];
        if constexpr (kShape.has_min && kGroups == 1) sum[r] -= w.min[g][r] * sum_x[n];
        if constexpr (kShape.has_min && kGroups == 2) {
          sum[r] -= w.min[g][r] * static_cast<float>(-minus_sum[n]) * scale_x[n];
        }
      }
      std::memcpy(sums[n], sum, sizeof(sum));
    }
  }
}

// Adds the products of `count` k with every column's f32 activations; `x` is the first of them.
void add_products(const Weights& w, std::size_t count, const float* x, std::size_t width, int columns,
                  float (*sums)[kRows]) {
  for (int n = 0; n < columns; ++n) {
    float sum[kRows];
    std::memcpy(sum, sums[n], sizeof(sum));
    for (std::size_t k = 0; k < count; ++k) {
      for (int r = 0; r < kRows; ++r) sum[r] += w[k][r] * x[k * width + static_cast<std::size_t>(n)];
    }
    std::memcpy(sums[n], sum, sizeof(sum));
  }
}

void store(const LinearCall& call, std::size_t panel, const float (*sums)[kRows]) {
  const std::size_t first = panel * kRows;
  const std::size_t rows = std::min<std::size_t>(kRows, call.out_features - first);
  for (int n = 0; n < call.x.columns; ++n) {
    float* out = call.out + static_cast<std::size_t>(n) * call.out_stride + first;
    for (std::size_t r = 0; r < rows; ++r) {
      const float value = call.bias != nullptr ? sums[n][r] + call.bias[first + r] : sums[n][r];
      out[r] = call.accumulate ? out[r] + value : value;
    }
  }
}

template <DType kType, int kWidth, bool kExact>
void quantized(const LinearCall& call, std::size_t first_panel, std::size_t end_panel) {
  constexpr std::size_t kParts = static_cast<std::size_t>(block_shape(kType).elements / kPart);
  Factors factors;
  Codes codes;
  Weights weights;
  for (std::size_t panel = first_panel; panel < end_panel && panel * kPanelRows < call.out_features; ++panel) {
    const std::byte* scales = call.panels + panel * call.panel_bytes;
    const std::byte* packed = scales + call.scale_area;
    float sums[kWidth][kRows] = {};
    for (std::size_t block = 0; block < call.in_features / kPart; ++block, packed += panel_code_bytes(kType)) {
      const std::size_t part = block % kParts;
      const std::byte* block_scales = scales + block / kParts * panel_scale_bytes(kType);
      if (part == 0) read_factors<kType>(block_scales, factors);
      if constexpr (kExact) {
        unpack<kType>(factors, block_scales, part, packed, weights);
        const float* x = static_cast<const float*>(call.x.words) + block * kPart * kWidth;
        add_products(weights, kPart, x, kWidth, call.x.columns, sums);
      } else {
        unpack<kType>(factors, block_scales, part, packed, codes);
        add_products<kType>(codes, call.x, kWidth, block, sums);
      }
    }
    store(call, panel, sums);
  }
}

template <DType kType, int kWidth>
void dense(const LinearCall& call, std::size_t first_panel, std::size_t end_panel) {
  Weights weights;
  for (std::size_t panel = first_panel; panel < end_panel && panel * kPanelRows < call.out_features; ++panel) {
    float sums[kWidth][kRows] = {};
    for (std::size_t k = 0; k < call.in_features; k += kPart) {
      const std::size_t count = std::min<std::size_t>(kPart, call.in_features - k);
      unpack<kType>(call.panels + panel * call.panel_bytes, k, count, weights);
      const float* x = static_cast<const float*>(call.x.words) + k * kWidth;
      add_products(weights, count, x, kWidth, call.x.columns, sums);
    }
    store(call, panel, sums);
  }
}

template <DType kType>
consteval LinearTypeKernels kernels_of() {
  if constexpr (is_quantized(kType)) {
    return {.fast = {quantized<kType, 1, false>, quantized<kType, kWide, false>},
            .exact = {quantized<kType, 1, true>, quantized<kType, kWide, true>}};
  } else {
    return {.fast = {dense<kType, 1>, dense<kType, kWide>}, .exact = {dense<kType, 1>, dense<kType, kWide>}};
  }
}

template <DType kType>
constexpr LinearTypeKernels kKernels = kernels_of<kType>();

using enum DType;
constexpr LinearKernels kTable = {
    .width_count = 2,
    .widths = {1, kWide},
    .bf16_form = TileForm::kF32,
    .types = {&kKernels<kF32>, &kKernels<kF16>, &kKernels<kBF16>, &kKernels<kQ8_0>, &kKernels<kQ4_0>, &kKernels<kQ4_1>,
              &kKernels<kQ5_0>, &kKernels<kQ5_1>, &kKernels<kQ2_K>, &kKernels<kQ3_K>, &kKernels<kQ4_K>,
              &kKernels<kQ5_K>, &kKernels<kQ6_K>, &kKernels<kIQ4_NL>, &kKernels<kIQ4_XS>},
};

}  // namespace

const LinearKernels& scalar_linear_kernels() { return kTable; }

}  // namespace autoglm::kernels
