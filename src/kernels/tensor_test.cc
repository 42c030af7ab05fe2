// SPDX-License-Identifier: Apache-2.0
#include "kernels/tensor.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <new>
#include <utility>

namespace autoglm::kernels {
namespace {

TEST(BufferTest, MemoryThatIsNotThereIsThrown) { EXPECT_THROW(Buffer(std::size_t{1} << 60), std::bad_alloc); }

TEST(BufferTest, IsZeroedAndAligned) {
  for (std::size_t bytes : {std::size_t{1}, std::size_t{4096}, std::size_t{5} << 20}) {
    const Buffer buffer(bytes);
    EXPECT_EQ(buffer.size(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 4096, 0u);
    EXPECT_EQ(buffer.data()[0], std::byte{0});
    EXPECT_EQ(buffer.data()[bytes - 1], std::byte{0});
  }
}

TEST(BufferTest, MovesItsMemory) {
  Buffer first(64);
  std::byte* const memory = first.data();
  Buffer second(std::move(first));
  EXPECT_EQ(second.data(), memory);
  Buffer third(128);
  third = std::move(second);
  EXPECT_EQ(third.data(), memory);
  EXPECT_EQ(third.size(), 64u);
  EXPECT_EQ(Buffer().data(), nullptr);
  EXPECT_EQ(Buffer(0).data(), nullptr);
}

TEST(ArenaTest, TakesAlignedPiecesUpToItsSize) {
  Arena arena(256);
  std::byte* const first = arena.take(1);
  std::byte* const second = arena.take(64);
  EXPECT_EQ(second - first, 64);
  EXPECT_EQ(arena.mark(), 128u);
  EXPECT_EQ(arena.take(0), second + 64);
  EXPECT_NE(arena.take(128), nullptr);  // the last byte
  EXPECT_DEATH(arena.take(1), "arena: 1 bytes wanted, 256 of 256 used");
  EXPECT_DEATH(arena.take(SIZE_MAX), "arena");  // rounding up overflows
}

TEST(ArenaTest, ResetsToAMark) {
  Arena arena(1024);
  arena.take(10);
  const std::size_t mark = arena.mark();
  const Tensor first = arena.take_f32(2, 8);
  arena.reset(mark);
  const Tensor again = arena.take_f32(4, 4);
  EXPECT_EQ(again.data, first.data);
  EXPECT_EQ(again.f32(1) - again.f32(0), 4);
  arena.reset();
  EXPECT_EQ(arena.mark(), 0u);
}

TEST(TensorTest, SliceSharesMemory) {
  float values[6] = {0, 1, 2, 3, 4, 5};
  const Tensor all = f32_tensor(values, 3, 2);
  const Tensor last = all.slice(1, 2);
  EXPECT_EQ(last.rows, 2u);
  EXPECT_EQ(last.f32(1)[1], 5.0f);
  EXPECT_EQ(all.slice(3, 0).rows, 0u);
}

}  // namespace
}  // namespace autoglm::kernels
