// SPDX-License-Identifier: Apache-2.0
#include "engine/sampling_state.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/check.h"

namespace autoglm::engine {
namespace {

bool has_penalties(const generation::Sampling& sampling) {
  return sampling.repetition_penalty != 1 || sampling.frequency_penalty != 0 || sampling.presence_penalty != 0;
}

}  // namespace

SamplingState::SamplingState(const generation::Request& request, std::vector<TokenId> ends, std::uint64_t seed,
                             std::size_t vocab, std::size_t answer_limit, std::unique_ptr<text::Matcher> matcher)
    : sampling_(request.sampling),
      ends_(std::move(ends)),
      seed_(seed),
      has_penalties_(has_penalties(request.sampling)),
      matcher_(std::move(matcher)) {
  if (matcher_ != nullptr) mask_words_.resize((vocab + 31) / 32);
  if (!has_penalties_) return;
  occurrences_.resize(vocab);
  distinct_.reserve(std::min(vocab, request.prompt.size() + answer_limit));
  for (const TokenId token : request.prompt) {
    if (occurrences_[token] == 0) distinct_.push_back(token);
    occurrences_[token] |= kInPrompt;
  }
}

void SamplingState::count(TokenId token) {
  if (!has_penalties_) return;
  if (occurrences_[token] == 0) distinct_.push_back(token);
  ++occurrences_[token];
}

void SamplingState::adjust(std::span<float> logits) const {
  for (const TokenId token : distinct_) {
    float& logit = logits[token];
    logit = logit > 0 ? logit / sampling_.repetition_penalty : logit * sampling_.repetition_penalty;
    const std::uint32_t times = occurrences_[token] & ~kInPrompt;
    if (times == 0) continue;
    logit -= static_cast<float>(times) * sampling_.frequency_penalty + sampling_.presence_penalty;
  }
  for (const auto& [token, bias] : sampling_.logit_bias) {
    DCHECK(static_cast<std::size_t>(token) < logits.size());
    logits[token] += bias;
  }
}

void SamplingState::prepare_mask() {
  if (mask_status_) return;
  try {
    mask_status_ = matcher_->is_finished() ? Status() : matcher_->mask(mask_words_);
  } catch (const std::exception&) {
    mask_status_ = fail(Code::kInternal, "the grammar failed");
  }
}

Result<std::span<std::uint32_t>> SamplingState::take_mask() {
  prepare_mask();
  TRY(*std::exchange(mask_status_, std::nullopt));
  return mask_words_;
}

bool SamplingState::is_end(TokenId token) const { return std::ranges::find(ends_, token) != ends_.end(); }

}  // namespace autoglm::engine
