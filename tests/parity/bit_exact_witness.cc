// SPDX-License-Identifier: Apache-2.0
#include "parity/bit_exact_witness.h"

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "base/check.h"
#include "base/random.h"

namespace autoglm::parity {
namespace {

constexpr std::size_t kBlockTokens = kernels::KvLayer::kBlockTokens;

// FNV-1a's prime over words instead of bytes; any changed bit changes the digest but for 1 in 2^64.
std::uint64_t digest(std::span<const float> row) {
  std::uint64_t hash = 14695981039346656037ull;
  for (const float value : row) hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 1099511628211ull;
  return base::random_bits(hash, 0, 0);
}

}  // namespace

void Witness::see(std::uint64_t prefix, std::span<const float> logits) {
  const auto [found, is_new] = bits_.try_emplace(prefix, digest(logits));
  if (is_new && !has_reference_) return;
  ++compared_;
  if (is_new || found->second != digest(logits)) ++different_;
}

WitnessedModel::WitnessedModel(model::LanguageModel& model, Witness& witness, std::size_t blocks, std::size_t max_rows,
                               std::size_t max_logit_rows)
    : model_(model),
      witness_(witness),
      max_rows_(max_rows),
      max_logit_rows_(max_logit_rows),
      prefixes_(blocks * kBlockTokens) {
  model_.reserve(blocks, max_rows, max_logit_rows);
}

void WitnessedModel::reserve(std::size_t blocks, std::size_t max_rows, std::size_t max_logit_rows) {
  CHECK(blocks * kBlockTokens <= prefixes_.size() && max_rows <= max_rows_ && max_logit_rows <= max_logit_rows_);
}

std::uint64_t& WitnessedModel::prefix_at(const kernels::SequenceRows& rows, std::size_t position) {
  return prefixes_[rows.block_table[position / kBlockTokens] * kBlockTokens + position % kBlockTokens];
}

void WitnessedModel::copy_block(std::uint32_t from, std::uint32_t to) {
  model_.copy_block(from, to);
  std::copy_n(prefixes_.begin() + from * kBlockTokens, kBlockTokens, prefixes_.begin() + to * kBlockTokens);
}

model::Logits WitnessedModel::forward(const model::Batch& batch) {
  if (batch.sequences.size() > most_sequences_) throw std::runtime_error("this model takes fewer sequences at a time");
  const model::Logits logits = model_.forward(batch);
  std::size_t seen = 0;
  for (const kernels::SequenceRows& rows : batch.sequences) {
    for (std::size_t i = 0; i < rows.rows; ++i) {
      const std::size_t position = rows.first_position + i;
      const std::uint64_t before = position == 0 ? 0 : prefix_at(rows, position - 1);
      const std::uint64_t prefix =
          base::random_bits(before, position + 1, static_cast<std::uint64_t>(batch.tokens[rows.first_row + i]));
      prefix_at(rows, position) = prefix;
      if (seen == batch.logit_rows.size() || batch.logit_rows[seen] != rows.first_row + i) continue;
      witness_.see(prefix, logits.row(seen++));
    }
  }
  return logits;
}

}  // namespace autoglm::parity
