// SPDX-License-Identifier: Apache-2.0
// Linear layers in portable C++: the reference for the other instruction sets. Reads the same panels, with the same
// integer arithmetic and the same order over k. Kernel threads.
#include <algorithm>
#include <cstring>

#include "kernels/half.h"
#include "kernels/linear_kernels.h"
#include "kernels/panel_layout.h"

namespace autoglm::kernels {
namespace {

constexpr int kRows = static_cast<int>(kPanelRows);
constexpr int kLine = 4 * kRows;
constexpr int kWide = 8;  // columns of the wide tile

// 32 k of a panel, out of their packed form.
struct Unpacked {
  std::uint8_t code[kRows][32];
  float scale[2][kRows];  // by group of 16 or 32
  float min[2][kRows];
};

// Code `j` of quad `quad` of a row whose place in the first line is `from`.
template <int kBits>
std::uint8_t code_at(const std::uint8_t* from, int quad, int j) {
  const auto line = [&](int index) { return from[index * kLine + j]; };
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

float half_at(const std::byte* from, int index) {
  std::uint16_t bits;
  std::memcpy(&bits, from + 2 * index, sizeof(bits));
  return f32_from_f16(bits);
}

template <DType kType>
void unpack_scales(const std::byte* scales, std::size_t part, Unpacked& to) {
  constexpr BlockShape kShape = block_shape(kType);
  constexpr int kGroups = 32 / kShape.group;  // of one part
  constexpr int kAllGroups = kShape.elements / kShape.group;
  const std::byte* const d = scales;
  const std::byte* const dmin = d + 2 * kRows;
  const auto* small = reinterpret_cast<const std::int8_t*>(d + (kShape.has_min ? 4 : 2) * kRows);
  for (int g = 0; g < kGroups; ++g) {
    const int group = static_cast<int>(part) * kGroups + g;
    for (int r = 0; r < kRows; ++r) {
      const float factor = kShape.has_scales ? static_cast<float>(small[group * kRows + r]) : 1.0f;
      to.scale[g][r] = half_at(d, r) * factor;
      if constexpr (!kShape.has_min) continue;
      to.min[g][r] = kShape.has_scales ? half_at(dmin, r) * static_cast<float>(small[(kAllGroups + group) * kRows + r])
                                       : -half_at(dmin, r);
    }
  }
}

// Part `part` (32 k) of the block whose scales are at `scales`; `codes` is the part's code area.
template <DType kType>
void unpack(const std::byte* scales, std::size_t part, const std::byte* codes, Unpacked& to) {
  constexpr BlockShape kShape = block_shape(kType);
  unpack_scales<kType>(scales, part, to);
  for (int r = 0; r < kRows; ++r) {
    const auto* from = reinterpret_cast<const std::uint8_t*>(codes) + 4 * r;
    for (int quad = 0; quad < 8; ++quad) {
      for (int j = 0; j < 4; ++j) {
        const std::uint8_t code = code_at<kShape.bits>(from, quad, j);
        to.code[r][4 * quad + j] = kShape.has_table ? kIq4Table[code] : code;
      }
    }
  }
}

template <int kWidth>
void store(const LinearCall& call, std::size_t panel, const float (&acc)[kWidth][kRows]) {
  const std::size_t first = panel * kRows;
  const std::size_t rows = std::min<std::size_t>(kRows, call.out_features - first);
  for (int n = 0; n < call.x.columns; ++n) {
    float* out = call.out + static_cast<std::size_t>(n) * call.out_stride + first;
    for (std::size_t r = 0; r < rows; ++r) {
      const float value = call.bias != nullptr ? acc[n][r] + call.bias[first + r] : acc[n][r];
      out[r] = call.accumulate ? out[r] + value : value;
    }
  }
}

int dot(const std::uint8_t* code, const std::int8_t* x, int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i) sum += static_cast<std::int16_t>(code[i]) * static_cast<std::int16_t>(x[i]);
  return sum;
}

template <DType kType, int kWidth>
void add_block(const LinearCall& call, const Unpacked& w, std::size_t block, float (&acc)[kWidth][kRows]) {
  constexpr BlockShape kShape = block_shape(kType);
  constexpr int kGroups = 32 / kShape.group;
  const auto* words = static_cast<const std::byte*>(call.x.words) + block * 32 * kWidth;
  for (int n = 0; n < kWidth; ++n) {
    std::int8_t x[32];
    for (int quad = 0; quad < 8; ++quad) std::memcpy(x + 4 * quad, words + 4 * (quad * kWidth + n), 4);
    const float scale = call.x.scale[block * kWidth + static_cast<std::size_t>(n)];
    const float sum = call.x.sum[block * kWidth + static_cast<std::size_t>(n)];
    int x_sum[2] = {0, 0};
    for (int i = 0; i < 32; ++i) x_sum[i / kShape.group] += x[i];
    for (int r = 0; r < kRows; ++r) {
      for (int g = 0; g < kGroups; ++g) {
        const int product = dot(w.code[r] + g * kShape.group, x + g * kShape.group, kShape.group);
        acc[n][r] += w.scale[g][r] * static_cast<float>(product - kShape.zero * x_sum[g]) * scale;
        if (kShape.has_min && kGroups == 2) acc[n][r] -= w.min[g][r] * static_cast<float>(x_sum[g]) * scale;
      }
      if (kShape.has_min && kGroups == 1) acc[n][r] -= w.min[0][r] * sum;
    }
  }
}

template <DType kType, int kWidth>
void add_block_exact(const LinearCall& call, const Unpacked& w, std::size_t block, float (&acc)[kWidth][kRows]) {
  constexpr BlockShape kShape = block_shape(kType);
  const float* x = static_cast<const float*>(call.x.words) + block * 32 * kWidth;
  for (int k = 0; k < 32; ++k) {
    const int g = k / kShape.group;
    for (int r = 0; r < kRows; ++r) {
      float weight = w.scale[g][r] * static_cast<float>(w.code[r][k] - kShape.zero);
      if constexpr (kShape.has_min) weight -= w.min[g][r];
      for (int n = 0; n < kWidth; ++n) acc[n][r] += weight * x[k * kWidth + n];
    }
  }
}

template <DType kType, int kWidth, bool kExact>
void quantized(const LinearCall& call, std::size_t first_panel, std::size_t end_panel) {
  constexpr std::size_t kParts = static_cast<std::size_t>(block_shape(kType).elements / 32);
  Unpacked w;
  for (std::size_t panel = first_panel; panel < end_panel && panel * kPanelRows < call.out_features; ++panel) {
    const std::byte* scales = call.panels + panel * call.panel_bytes;
    const std::byte* codes = scales + call.scale_area;
    float acc[kWidth][kRows] = {};
    for (std::size_t block = 0; block < call.in_features / 32; ++block) {
      unpack<kType>(scales + block / kParts * panel_scale_bytes(kType), block % kParts,
                    codes + block * panel_code_bytes(kType), w);
      if constexpr (kExact) {
        add_block_exact<kType, kWidth>(call, w, block, acc);
      } else {
        add_block<kType, kWidth>(call, w, block, acc);
      }
    }
    store(call, panel, acc);
  }
}

template <DType kType, int kWidth>
void dense(const LinearCall& call, std::size_t first_panel, std::size_t end_panel) {
  const auto* x = static_cast<const float*>(call.x.words);
  for (std::size_t panel = first_panel; panel < end_panel && panel * kPanelRows < call.out_features; ++panel) {
    const std::byte* weights = call.panels + panel * call.panel_bytes;
    float acc[kWidth][kRows] = {};
    for (std::size_t k = 0; k < call.in_features; ++k) {
      for (int r = 0; r < kRows; ++r) {
        float weight = 0;
        const std::size_t row = static_cast<std::size_t>(r);
        if constexpr (kType == DType::kF32) {
          std::memcpy(&weight, weights + (k * kRows + row) * 4, 4);
        } else if constexpr (kType == DType::kF16) {
          weight = half_at(weights + k * kRows * 2, r);
        } else {
          std::uint16_t bits;
          std::memcpy(&bits, weights + (k / 2 * kRows + row) * 4 + k % 2 * 2, sizeof(bits));
          weight = f32_from_bf16(bits);
        }
        for (int n = 0; n < kWidth; ++n) acc[n][r] += weight * x[k * kWidth + static_cast<std::size_t>(n)];
      }
    }
    store(call, panel, acc);
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
