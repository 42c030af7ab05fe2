// SPDX-License-Identifier: Apache-2.0
#include "kernels/quant_blocks.h"

#include <cstring>

#include "base/check.h"

namespace autoglm::kernels {
namespace {

std::uint16_t u16_at(const std::uint8_t* bytes) {
  std::uint16_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

// 16 bytes: element i in the low nibble of byte i, element i + 16 in the high one.
void split_nibbles(const std::uint8_t* bytes, std::uint8_t* code) {
  for (int i = 0; i < 16; ++i) {
    code[i] = bytes[i] & 15;
    code[i + 16] = bytes[i] >> 4;
  }
}

// Adds bit e of a 32-bit word as bit 4 of code e.
void add_fifth_bits(const std::uint8_t* bytes, std::uint8_t* code) {
  for (int e = 0; e < 32; ++e) code[e] |= static_cast<std::uint8_t>(((bytes[e >> 3] >> (e & 7)) & 1) << 4);
}

void decode_q8_0(const std::uint8_t* from, DecodedBlock& block) {
  block.d = u16_at(from);
  for (int e = 0; e < 32; ++e) block.code[e] = from[2 + e] ^ 0x80;
}

void decode_nibbles(const std::uint8_t* from, DecodedBlock& block, bool has_min, bool has_fifth) {
  block.d = u16_at(from);
  from += 2;
  if (has_min) {
    block.dmin = u16_at(from);
    block.min[0] = -1;
    from += 2;
  }
  const std::uint8_t* fifth = from;
  if (has_fifth) from += 4;
  split_nibbles(from, block.code);
  if (has_fifth) add_fifth_bits(fifth, block.code);
}

// The 12 bytes of Q4_K and Q5_K: eight 6-bit scales and eight 6-bit minima.
void decode_six_bit_scales(const std::uint8_t* b, DecodedBlock& block) {
  for (int s = 0; s < 4; ++s) {
    block.scale[s] = static_cast<std::int8_t>(b[s] & 63);
    block.min[s] = static_cast<std::int8_t>(b[4 + s] & 63);
    block.scale[4 + s] = static_cast<std::int8_t>((b[8 + s] & 15) | ((b[s] >> 6) << 4));
    block.min[4 + s] = static_cast<std::int8_t>((b[8 + s] >> 4) | ((b[4 + s] >> 6) << 4));
  }
}

// scales[16] (4-bit scale, 4-bit min), qs[64], d, dmin. Half h of 128 elements uses qs[32h..]; element 32j + l of it is
// bits 2j, 2j + 1 of byte l.
void decode_q2_k(const std::uint8_t* from, DecodedBlock& block) {
  for (int g = 0; g < 16; ++g) {
    block.scale[g] = static_cast<std::int8_t>(from[g] & 15);
    block.min[g] = static_cast<std::int8_t>(from[g] >> 4);
  }
  for (int e = 0; e < 256; ++e) {
    block.code[e] = (from[16 + (e >> 7) * 32 + (e & 31)] >> (((e >> 5) & 3) * 2)) & 3;
  }
  block.d = u16_at(from + 80);
  block.dmin = u16_at(from + 82);
}

// hmask[32], qs[64], scales[12], d. Low two bits as in Q2_K; bit e / 32 of hmask[e % 32] is the third. Scale g has its
// low nibble in scales[g % 8] (high nibble of the byte for g >= 8) and its upper two bits in scales[8 + g % 4],
// less 32.
void decode_q3_k(const std::uint8_t* from, DecodedBlock& block) {
  const std::uint8_t* low = from + 32;
  const std::uint8_t* scales = from + 96;
  for (int e = 0; e < 256; ++e) {
    const int two = (low[(e >> 7) * 32 + (e & 31)] >> (((e >> 5) & 3) * 2)) & 3;
    block.code[e] = static_cast<std::uint8_t>(two | (((from[e & 31] >> (e >> 5)) & 1) << 2));
  }
  for (int g = 0; g < 16; ++g) {
    const int nibble = g < 8 ? scales[g] & 15 : scales[g - 8] >> 4;
    const int upper = (scales[8 + (g & 3)] >> ((g >> 2) * 2)) & 3;
    block.scale[g] = static_cast<std::int8_t>((nibble | (upper << 4)) - 32);
  }
  block.d = u16_at(from + 108);
}

// d, dmin, scales[12], (Q5_K: qh[32],) qs[128]: bytes 32c.. hold sub-block 2c in low and 2c + 1 in high nibbles; bit s
// of qh[l] is the fifth bit of element l of sub-block s.
void decode_q45_k(const std::uint8_t* from, DecodedBlock& block, bool has_fifth) {
  block.d = u16_at(from);
  block.dmin = u16_at(from + 2);
  decode_six_bit_scales(from + 4, block);
  const std::uint8_t* fifth = from + 16;
  const std::uint8_t* nibbles = has_fifth ? from + 48 : from + 16;
  for (int chunk = 0; chunk < 4; ++chunk) {
    std::uint8_t* code = block.code + 64 * chunk;
    for (int l = 0; l < 32; ++l) {
      code[l] = nibbles[32 * chunk + l] & 15;
      code[32 + l] = nibbles[32 * chunk + l] >> 4;
    }
    if (!has_fifth) continue;
    for (int l = 0; l < 32; ++l) {
      code[l] |= static_cast<std::uint8_t>(((fifth[l] >> (2 * chunk)) & 1) << 4);
      code[32 + l] |= static_cast<std::uint8_t>(((fifth[l] >> (2 * chunk + 1)) & 1) << 4);
    }
  }
}

// ql[128], qh[64], i8 scales[16], d; two halves of 128 elements.
void decode_q6_k(const std::uint8_t* from, DecodedBlock& block) {
  for (int half = 0; half < 2; ++half) {
    const std::uint8_t* low = from + 64 * half;
    const std::uint8_t* high = from + 128 + 32 * half;
    std::uint8_t* code = block.code + 128 * half;
    for (int l = 0; l < 32; ++l) {
      code[l] = static_cast<std::uint8_t>((low[l] & 15) | ((high[l] & 3) << 4));
      code[l + 32] = static_cast<std::uint8_t>((low[l + 32] & 15) | (((high[l] >> 2) & 3) << 4));
      code[l + 64] = static_cast<std::uint8_t>((low[l] >> 4) | (((high[l] >> 4) & 3) << 4));
      code[l + 96] = static_cast<std::uint8_t>((low[l + 32] >> 4) | ((high[l] >> 6) << 4));
    }
  }
  std::memcpy(block.scale, from + 192, 16);
  block.d = u16_at(from + 208);
}

// d, scales_h (u16), scales_l[4], qs[128]: sub-block s of 32 as in IQ4_NL; its 6-bit scale has the low nibble in
// scales_l[s / 2] and the upper two bits in scales_h, less 32.
void decode_iq4_xs(const std::uint8_t* from, DecodedBlock& block) {
  block.d = u16_at(from);
  const int upper = u16_at(from + 2);
  for (int s = 0; s < 8; ++s) {
    const int nibble = (from[4 + s / 2] >> (4 * (s & 1))) & 15;
    block.scale[s] = static_cast<std::int8_t>((nibble | (((upper >> (2 * s)) & 3) << 4)) - 32);
    split_nibbles(from + 8 + 16 * s, block.code + 32 * s);
  }
}

}  // namespace

void decode_block(DType type, const std::byte* from, DecodedBlock& block, bool raw_table) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(from);
  block.dmin = 0;
  block.scale[0] = 1;
  block.min[0] = 0;
  switch (type) {
    case DType::kQ8_0:
      return decode_q8_0(bytes, block);
    case DType::kQ4_0:
      return decode_nibbles(bytes, block, false, false);
    case DType::kQ4_1:
      return decode_nibbles(bytes, block, true, false);
    case DType::kQ5_0:
      return decode_nibbles(bytes, block, false, true);
    case DType::kQ5_1:
      return decode_nibbles(bytes, block, true, true);
    case DType::kQ2_K:
      return decode_q2_k(bytes, block);
    case DType::kQ3_K:
      return decode_q3_k(bytes, block);
    case DType::kQ4_K:
      return decode_q45_k(bytes, block, false);
    case DType::kQ5_K:
      return decode_q45_k(bytes, block, true);
    case DType::kQ6_K:
      return decode_q6_k(bytes, block);
    case DType::kIQ4_NL:
      decode_nibbles(bytes, block, false, false);
      break;
    case DType::kIQ4_XS:
      decode_iq4_xs(bytes, block);
      break;
    default:
      CHECK(false) << traits(type).name << " is not a quantised type";
  }
  if (raw_table) return;
  const int elements = type == DType::kIQ4_NL ? 32 : 256;
  for (int e = 0; e < elements; ++e) block.code[e] = kIq4Table[block.code[e]];
}

}  // namespace autoglm::kernels
