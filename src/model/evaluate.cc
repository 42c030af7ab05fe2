// SPDX-License-Identifier: Apache-2.0
#include "model/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>

#include "base/check.h"

namespace autoglm::model {
namespace {

using kernels::KvLayer;
using kernels::SequenceRows;

// Rows of one step, and of these with logits: a compromise between kernel efficiency and 64 * vocab floats of scratch.
constexpr std::size_t kChunkRows = 64;

// -log softmax(logits)[target], in double.
double negative_log_likelihood(std::span<const float> logits, TokenId target) {
  const float largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return std::log(sum) + largest - logits[static_cast<std::size_t>(target)];
}

}  // namespace

SoloSequence::SoloSequence(LanguageModel& network, std::size_t max_tokens, std::size_t max_rows)
    : network_(network), max_tokens_(max_tokens), max_rows_(max_rows) {
  const std::size_t blocks = (max_tokens + KvLayer::kBlockTokens - 1) / KvLayer::kBlockTokens;
  block_table_.resize(blocks);
  std::iota(block_table_.begin(), block_table_.end(), 0u);
  logit_rows_.resize(max_rows);
  std::iota(logit_rows_.begin(), logit_rows_.end(), 0u);
  network_.reserve(blocks, max_rows, max_rows);
}

Logits SoloSequence::append(std::span<const TokenId> ids, Want want) {
  CHECK(!ids.empty() && ids.size() <= max_rows_ && position_ + ids.size() <= max_tokens_)
      << ids.size() << " ids at position " << position_ << " of " << max_tokens_;
  const SequenceRows sequence{
      .first_row = 0, .rows = ids.size(), .first_position = position_, .block_table = block_table_.data()};
  position_ += ids.size();
  std::span<const std::uint32_t> rows(logit_rows_.data(), ids.size());
  if (want == Want::kNone) rows = {};
  if (want == Want::kLast) rows = rows.last(1);
  return network_.forward({.tokens = ids, .sequences = {&sequence, 1}, .logit_rows = rows});
}

Status check_ids(const LanguageModel& network, std::span<const TokenId> ids) {
  for (const TokenId id : ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= network.vocab()) {
      return fail(Code::kInvalidArgument,
                  "token id " + std::to_string(id) + " is not in the vocabulary of " + std::to_string(network.vocab()));
    }
  }
  return {};
}

Result<std::vector<float>> compute_logits(LoadedModel& model, std::span<const TokenId> ids) {
  LanguageModel& network = *model.network;
  if (ids.empty()) return fail(Code::kInvalidArgument, "there are no token ids");
  if (ids.size() > network.context_length()) {
    return fail(Code::kInvalidArgument, std::to_string(ids.size()) + " ids are more than the context length of " +
                                            std::to_string(network.context_length()));
  }
  TRY(check_ids(network, ids));
  SoloSequence sequence(network, ids.size(), std::min(ids.size(), kChunkRows));
  std::vector<float> all(ids.size() * network.vocab());
  for (std::size_t done = 0; done < ids.size();) {
    const std::span<const TokenId> chunk = ids.subspan(done, std::min(kChunkRows, ids.size() - done));
    const Logits logits = sequence.append(chunk, SoloSequence::Want::kAll);
    std::memcpy(all.data() + done * network.vocab(), logits.data, logits.rows * logits.vocab * sizeof(float));
    done += chunk.size();
  }
  return all;
}

Result<Perplexity> perplexity(LoadedModel& model, std::span<const TokenId> tokens, const PerplexityOptions& options) {
  return perplexity(*model.network, tokens, options);
}

Result<Perplexity> perplexity(LanguageModel& network, std::span<const TokenId> tokens,
                              const PerplexityOptions& options) {
  constexpr std::size_t kDefaultWindow = 2048;
  Perplexity result;
  result.tokens = tokens.size();
  result.window = options.window != 0 ? options.window : std::min(kDefaultWindow, network.context_length());
  result.stride = options.stride != 0 ? options.stride : std::max<std::size_t>(result.window / 2, 1);
  if (tokens.size() < 2) return fail(Code::kInvalidArgument, "perplexity needs at least two tokens");
  if (result.window < 2 || result.window > network.context_length()) {
    return fail(Code::kInvalidArgument, "the window of " + std::to_string(result.window) +
                                            " tokens must be from 2 to the context length of " +
                                            std::to_string(network.context_length()));
  }
  if (result.stride >= result.window) {
    return fail(Code::kInvalidArgument, "the stride of " + std::to_string(result.stride) +
                                            " must be smaller than the window of " + std::to_string(result.window));
  }
  TRY(check_ids(network, tokens));
  SoloSequence sequence(network, std::min(result.window, tokens.size()), std::min(kChunkRows, tokens.size()));
  result.nll.reserve(tokens.size() - 1);
  for (std::size_t begin = 0; result.nll.size() + 1 < tokens.size(); begin += result.stride) {
    const std::span<const TokenId> window = tokens.subspan(begin, std::min(result.window, tokens.size() - begin));
    sequence.restart();
    // The logits of position p score token p + 1; the last position of a window scores nothing in it.
    for (std::size_t done = 0; done + 1 < window.size();) {
      const auto chunk = window.subspan(done, std::min(sequence.max_rows(), window.size() - 1 - done));
      const bool is_scored = begin + done + chunk.size() > result.nll.size();
      const Logits logits = sequence.append(chunk, is_scored ? SoloSequence::Want::kAll : SoloSequence::Want::kNone);
      for (std::size_t i = 0; i < logits.rows; ++i) {
        const std::size_t position = begin + done + i;
        if (position < result.nll.size()) continue;
        result.nll.push_back(static_cast<float>(negative_log_likelihood(logits.row(i), tokens[position + 1])));
      }
      done += chunk.size();
      if (options.progress) options.progress(result.nll.size(), tokens.size() - 1);
    }
  }
  result.tokens_scored = result.nll.size();
  double sum = 0;
  for (const float nll : result.nll) sum += nll;
  result.mean_nll = sum / static_cast<double>(result.tokens_scored);
  result.perplexity = std::exp(result.mean_nll);
  return result;
}

}  // namespace autoglm::model
