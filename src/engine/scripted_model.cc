// SPDX-License-Identifier: Apache-2.0
#include "engine/scripted_model.h"

#include <algorithm>

#include "base/check.h"
#include "base/random.h"
#include "engine/block_pool.h"

namespace autoglm::engine {
namespace {

// The script's token has logit 0 and every other one between -70 and -60: at any allowed temperature it is drawn, but
// penalties and logit_bias can overrule it, and logprobs are finite.
constexpr float kOthersAtMost = -60;
constexpr float kOthersSpread = 10;
constexpr float kLettersSpread = 3;  // of a random letter: between likely and unlikely lie 3 nats

bool ends_prompt(model::TokenId token) { return token == kAssistantToken || token == kReplyToken; }

}  // namespace

std::size_t ScriptedModel::kv_bytes_per_block() const { return kBlockTokens * sizeof(model::TokenId); }

void ScriptedModel::reserve(std::size_t blocks, std::size_t, std::size_t max_logit_rows) {
  memory_.assign(blocks * kBlockTokens, 0);
  logits_.resize(max_logit_rows * kScriptVocab);
  prefix_.reserve(kContextLength);
  prompt_.reserve(kContextLength);
}

void ScriptedModel::copy_block(std::uint32_t from, std::uint32_t to) {
  std::copy_n(memory_.begin() + from * kBlockTokens, kBlockTokens, memory_.begin() + to * kBlockTokens);
}

model::Logits ScriptedModel::forward(const model::Batch& batch) {
  std::size_t written = 0;
  for (const kernels::SequenceRows& rows : batch.sequences) {
    store(rows, batch.tokens.subspan(rows.first_row, rows.rows));
    for (; written < batch.logit_rows.size() && batch.logit_rows[written] < rows.first_row + rows.rows; ++written) {
      const std::size_t length = rows.first_position + batch.logit_rows[written] - rows.first_row + 1;
      recall(rows, length);
      write_logits(length, {logits_.data() + written * kScriptVocab, kScriptVocab});
    }
  }
  return {written, kScriptVocab, logits_.data()};
}

void ScriptedModel::store(const kernels::SequenceRows& rows, std::span<const model::TokenId> tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::size_t position = rows.first_position + i;
    memory_[rows.block_table[position / kBlockTokens] * kBlockTokens + position % kBlockTokens] = tokens[i];
  }
}

void ScriptedModel::recall(const kernels::SequenceRows& rows, std::size_t length) {
  prefix_.clear();
  for (std::size_t position = 0; position < length; ++position) {
    prefix_.push_back(memory_[rows.block_table[position / kBlockTokens] * kBlockTokens + position % kBlockTokens]);
  }
}

void ScriptedModel::write_logits(std::size_t length, std::span<float> row) {
  std::uint64_t key = 0;
  std::size_t prompt_end = 0;
  for (std::size_t i = 0; i < length; ++i) {
    key = base::random_bits(key, 1, static_cast<std::uint64_t>(prefix_[i]));
    if (ends_prompt(prefix_[i])) prompt_end = i + 1;
  }
  spread(key, row);
  if (prompt_end == 0) {
    // Within a prompt that has not ended: anything may follow. A prompt that never ends is answered by the end.
    row[kEndToken] = 0;
    return;
  }
  prompt_.clear();
  for (std::size_t i = 0; i < prompt_end; ++i) {
    if (prefix_[i] < 256) {
      prompt_ += static_cast<char>(prefix_[i]);
    } else {
      prompt_ += script_token_text(prefix_[i]);
    }
  }
  const model::TokenId slot = script_.reply_to(prompt_).slot(length - prompt_end);
  if (slot != ScriptReply::kAnyLetter) {
    row[slot] = 0;
    return;
  }
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    row[letter] = -kLettersSpread * static_cast<float>(base::random_unit(key, 2, static_cast<std::uint64_t>(letter)));
  }
}

void ScriptedModel::spread(std::uint64_t key, std::span<float> row) const {
  for (std::size_t i = 0; i < row.size(); ++i) {
    row[i] = kOthersAtMost - kOthersSpread * static_cast<float>(base::random_unit(key, 3, i));
  }
}

}  // namespace autoglm::engine
