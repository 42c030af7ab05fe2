// SPDX-License-Identifier: Apache-2.0
// How the row operations cut their work over the pool: enough for a thread to be worth its wake-up, and none at all for
// the row or two of a decode step. What is cut where never changes a result.
#pragma once

#include <cstddef>

#include "base/thread_pool.h"

namespace autoglm::kernels {

// Multiply-adds below which a fork and join (1 to 2 us) costs more than a second thread brings.
inline constexpr std::size_t kForkWork = 32768;
// The smallest piece of work handed to a thread.
inline constexpr std::size_t kPieceWork = 8192;

/// body(index) for each index in [0, count); `work` multiply-adds each.
template <typename Body>
void split_rows(base::ThreadPool& pool, std::size_t count, std::size_t work, const Body& body) {
  if (pool.threads() == 1 || count <= 1 || count * work < kForkWork) {
    for (std::size_t i = 0; i < count; ++i) body(i);
    return;
  }
  const std::size_t chunk = work >= kPieceWork ? 1 : (kPieceWork + work - 1) / (work == 0 ? 1 : work);
  pool.run((count + chunk - 1) / chunk, [&](std::size_t index, int) {
    const std::size_t end = index * chunk + chunk < count ? index * chunk + chunk : count;
    for (std::size_t i = index * chunk; i < end; ++i) body(i);
  });
}

}  // namespace autoglm::kernels
