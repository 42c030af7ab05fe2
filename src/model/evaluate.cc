// SPDX-License-Identifier: Apache-2.0
#include "model/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>
#include <string>

#include "base/check.h"

namespace autoglm::model {
namespace {

using kernels::KvLayer;
using kernels::SequenceRows;

// Rows of one step, and of these with logits: a compromise between kernel efficiency and 64 * vocab floats of scratch.
constexpr std::size_t kChunkRows = 64;

// log of the sum of exp(logits), in double.
double log_sum(std::span<const float> logits) {
  const float largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return std::log(sum) + largest;
}

// Kullback-Leibler divergence of softmax(other) from softmax(reference). With shares p = exp(reference) / sum it is the
// mean of reference - other under p, less the difference of the log sums: one exponential an element.
double divergence(std::span<const float> reference, std::span<const float> other, double reference_sum,
                  double other_sum) {
  double mean = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    mean += std::exp(reference[i] - reference_sum) * (static_cast<double>(reference[i]) - other[i]);
  }
  return mean - (reference_sum - other_sum);
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
  restart();
}

void SoloSequence::restart(std::size_t most) {
  position_ = 0;
  const std::size_t longest = most == 0 ? max_tokens_ : most;
  is_long_ = network_.short_context() != 0 && longest > network_.short_context();
}

Logits SoloSequence::append(std::span<const TokenId> ids, Want want) {
  CHECK(!ids.empty() && ids.size() <= max_rows_ && position_ + ids.size() <= max_tokens_)
      << ids.size() << " ids at position " << position_ << " of " << max_tokens_;
  const SequenceRows sequence{.first_row = 0,
                              .rows = ids.size(),
                              .first_position = position_,
                              .block_table = block_table_.data(),
                              .is_long = is_long_};
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

namespace {

// Window and stride, checked.
Result<Perplexity> prepare(const LanguageModel& network, std::span<const TokenId> tokens,
                           const PerplexityOptions& options) {
  constexpr std::size_t kDefaultWindow = 2048;
  Perplexity result;
  result.tokens = tokens.size();
  result.window = options.window != 0 ? options.window : std::min(kDefaultWindow, network.context_length());
  result.stride = options.stride != 0 ? options.stride : std::max<std::size_t>(result.window / 2, 1);
  if (tokens.size() < 2) return fail(Code::kInvalidArgument, "perplexity needs at least two tokens");
  if (result.window < 2 || result.window > network.context_length()) {
    return fail(Code::kInvalidArgument,
                "the window of " + std::to_string(result.window) + " tokens must be from 2 to the context length of " +
                    std::to_string(network.context_length()),
                "window");
  }
  if (result.stride >= result.window) {
    return fail(Code::kInvalidArgument,
                "the stride of " + std::to_string(result.stride) + " must be smaller than the window of " +
                    std::to_string(result.window),
                "stride");
  }
  TRY(check_ids(network, tokens));
  return result;
}

void summarise(Perplexity& result) {
  result.tokens_scored = result.nll.size();
  double sum = 0;
  for (const float nll : result.nll) sum += nll;
  result.mean_nll = sum / static_cast<double>(result.tokens_scored);
  result.perplexity = std::exp(result.mean_nll);
}

// One network after the other over the same windows: visit(position, logits of `first`, logits of `second` or nothing)
// for every position that scores the token behind it, each once, in order.
template <typename Visit>
void walk(LanguageModel& first, LanguageModel* second, std::span<const TokenId> tokens, const Perplexity& frame,
          const PerplexityOptions& options, const Visit& visit) {
  const std::size_t held = std::min(frame.window, tokens.size());
  SoloSequence sequence(first, held, std::min(kChunkRows, tokens.size()));
  std::optional<SoloSequence> other;
  if (second != nullptr) other.emplace(*second, held, std::min(kChunkRows, tokens.size()));
  std::size_t scored = 0;
  for (std::size_t begin = 0; scored + 1 < tokens.size(); begin += frame.stride) {
    const std::span<const TokenId> window = tokens.subspan(begin, std::min(frame.window, tokens.size() - begin));
    sequence.restart();
    if (other) other->restart();
    // The logits of position p score token p + 1; the last position of a window scores nothing in it.
    for (std::size_t done = 0; done + 1 < window.size();) {
      const auto chunk = window.subspan(done, std::min(sequence.max_rows(), window.size() - 1 - done));
      const auto want = begin + done + chunk.size() > scored ? SoloSequence::Want::kAll : SoloSequence::Want::kNone;
      const Logits logits = sequence.append(chunk, want);
      const Logits others = other ? other->append(chunk, want) : Logits{};
      for (std::size_t i = 0; i < logits.rows; ++i) {
        if (begin + done + i < scored) continue;
        visit(scored, logits.row(i), other ? others.row(i) : std::span<const float>());
        ++scored;
      }
      done += chunk.size();
      if (options.progress) options.progress(scored, tokens.size() - 1);
    }
  }
}

}  // namespace

Result<Perplexity> perplexity(LanguageModel& network, std::span<const TokenId> tokens,
                              const PerplexityOptions& options) {
  Perplexity result = TRY(prepare(network, tokens, options));
  result.nll.reserve(tokens.size() - 1);
  walk(network, nullptr, tokens, result, options, [&](std::size_t position, std::span<const float> logits, auto) {
    const auto target = static_cast<std::size_t>(tokens[position + 1]);
    result.nll.push_back(static_cast<float>(log_sum(logits) - logits[target]));
  });
  summarise(result);
  return result;
}

Result<Comparison> compare(LanguageModel& reference, LanguageModel& other, std::span<const TokenId> tokens,
                           const PerplexityOptions& options) {
  if (reference.vocab() != other.vocab()) {
    return fail(Code::kInvalidArgument, "vocabularies of " + std::to_string(reference.vocab()) + " and " +
                                            std::to_string(other.vocab()) + " cannot be compared");
  }
  Comparison result;
  result.reference = TRY(prepare(reference, tokens, options));
  result.other = TRY(prepare(other, tokens, options));
  double sum = 0;
  walk(reference, &other, tokens, result.reference, options,
       [&](std::size_t position, std::span<const float> logits, std::span<const float> others) {
         const auto target = static_cast<std::size_t>(tokens[position + 1]);
         const double log_sums[2] = {log_sum(logits), log_sum(others)};
         result.reference.nll.push_back(static_cast<float>(log_sums[0] - logits[target]));
         result.other.nll.push_back(static_cast<float>(log_sums[1] - others[target]));
         sum += divergence(logits, others, log_sums[0], log_sums[1]);
       });
  summarise(result.reference);
  summarise(result.other);
  result.mean_kl = sum / static_cast<double>(result.reference.tokens_scored);
  return result;
}

}  // namespace autoglm::model
