// SPDX-License-Identifier: Apache-2.0
// The goldens, and what a checkpoint computes. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/evaluate.h"
#include "model/load.h"

namespace autoglm::model {

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(TESTDATA_DIR) / "golden" / name;
}

inline std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// In the vocabulary of every golden.
inline constexpr TokenId kIds[] = {3,  10, 17,  24,  31,  38,  45,  52,  59,  66,  73,  80,
                                   87, 94, 101, 108, 115, 122, 129, 136, 143, 150, 157, 164};

/// The bits of all logits, computed exactly.
inline std::vector<float> logits_of(const std::filesystem::path& path, std::span<const TokenId> ids = kIds) {
  LoadedModel model;
  auto network = load_network(path, {.compute = kernels::Compute::kExact});
  EXPECT_TRUE(network) << network.error().message;
  if (!network) return {};
  model.network = std::move(*network);
  return compute_logits(model, ids).value();
}

}  // namespace autoglm::model
