// SPDX-License-Identifier: Apache-2.0
#include "engine/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/random.h"
#include "engine/fast_exp.h"
#include "generation/validate.h"

namespace autoglm::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::size_t kSumBlock = 256;
constexpr std::size_t kUsualForcedTokens = 256;
constexpr float kGreedyBelow = 1e-5f;  // a smaller temperature is greedy: its reciprocal would leave the range of float
constexpr std::uint64_t kSamplingStream = 0;  // of base::random_bits: other uses of a request's seed take other streams

// What runs over a whole row works lane by lane, in one order whatever the processor, and through pointers: the
// compiler makes vector code of that, which checked indices would prevent, and no element waits for the one before.
constexpr std::size_t kLanes = 16;

// The largest logit, or an error when any is NaN or +infinity. -infinity means impossible and is fine.
Result<float> checked_max(std::span<const float> row) {
  float most[kLanes];
  std::uint32_t is_wrong[kLanes] = {};
  std::ranges::fill(most, -kInfinity);
  const auto take = [&](std::size_t lane, float logit) {
    is_wrong[lane] |= logit < kInfinity ? 0u : 1u;
    most[lane] = logit > most[lane] ? logit : most[lane];
  };
  const float* const logits = row.data();
  std::size_t i = 0;
  for (; i + kLanes <= row.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) take(lane, logits[i + lane]);
  }
  for (; i < row.size(); ++i) take(i % kLanes, logits[i]);
  if (std::ranges::any_of(is_wrong, [](std::uint32_t wrong) { return wrong != 0; })) {
    return fail(Code::kInternal, "the model returned logits that are not finite numbers");
  }
  const float max = *std::ranges::max_element(most);
  if (max == -kInfinity) return fail(Code::kInternal, "no token is left to choose from");
  return max;
}

// The sum of at most kSumBlock weights.
double sum_of(const float* weights, std::size_t count) {
  double sums[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] += static_cast<double>(weights[i + lane]);
  }
  for (; i < count; ++i) sums[i % kLanes] += static_cast<double>(weights[i]);
  return std::accumulate(std::begin(sums), std::end(sums), 0.0);
}

double log_sum_exp(std::span<const float> row, float max) {
  double sum = 0;
  for (std::size_t begin = 0; begin < row.size(); begin += kSumBlock) {
    float weights[kSumBlock];
    const std::size_t count = std::min(kSumBlock, row.size() - begin);
    const float* const logits = row.data() + begin;
    for (std::size_t i = 0; i < count; ++i) weights[i] = exp_nonpositive(logits[i] - max);
    sum += sum_of(weights, count);
  }
  return max + std::log(sum);
}

// Ties go to the lowest id.
TokenId argmax(std::span<const float> row, float max) {
  for (std::size_t begin = 0; begin < row.size(); begin += kSumBlock) {
    const std::span<const float> block = row.subspan(begin, std::min(kSumBlock, row.size() - begin));
    bool is_here = false;
    for (const float logit : block) is_here |= logit == max;
    if (is_here)
      return static_cast<TokenId>(begin + static_cast<std::size_t>(std::ranges::find(block, max) - block.begin()));
  }
  return 0;
}

bool is_set(std::span<const std::uint32_t> words, TokenId token) { return (words[token >> 5] >> (token & 31)) & 1; }

void set(std::span<std::uint32_t> words, TokenId token) { words[token >> 5] |= 1u << (token & 31); }

// A grammar that costs too much at this place is the fault of who wrote it: the same request would fail again.
std::unexpected<Error> grammar_fault(Error error) {
  if (error.code == Code::kExhausted) return fail(Code::kInvalidArgument, std::move(error.message), "grammar");
  return fail(Code::kInternal, "the grammar failed: " + error.message);
}

void forbid_others(std::span<float> row, std::span<const std::uint32_t> words) {
  CHECK(words.size() * 32 >= row.size()) << words.size() << " words for " << row.size() << " tokens";
  float* const logits = row.data();
  const std::uint32_t* const bits = words.data();
  for (std::size_t i = 0; i < row.size(); ++i) logits[i] = (bits[i >> 5] >> (i & 31)) & 1 ? logits[i] : -kInfinity;
}

// The logprob of `token` and the `top` most likely ones, from raw logits with `log_sum`; takes room for them from
// `tops`.
SampledToken describe(std::span<const float> raw, double log_sum, TokenId token, std::size_t top,
                      std::span<generation::TokenLogprob>& tops) {
  const auto logprob = [&](TokenId id) { return static_cast<float>(raw[id] - log_sum); };
  const std::span<generation::TokenLogprob> best = tops.first(std::min(top, raw.size()));
  std::size_t count = 0;
  for (std::size_t i = 0; i < raw.size() && !best.empty(); ++i) {
    if (count == best.size() && raw[i] <= best[count - 1].logprob) continue;
    std::size_t at = count < best.size() ? count++ : count - 1;
    for (; at > 0 && best[at - 1].logprob < raw[i]; --at) best[at] = best[at - 1];
    best[at] = {static_cast<TokenId>(i), raw[i]};
  }
  for (generation::TokenLogprob& entry : best) entry.logprob = logprob(entry.token);
  tops = tops.subspan(best.size());
  return {token, logprob(token), best};
}

}  // namespace

Sampler::Sampler(SamplerOptions options)
    : options_(std::move(options)),
      scratch_(options_.pool == nullptr ? 1 : static_cast<std::size_t>(options_.pool->threads())),
      sequences_(options_.max_sequences),
      rooms_(options_.max_sequences),
      tokens_(options_.max_logit_rows + options_.max_sequences * kMaxForcedTokens),
      tops_(options_.max_logit_rows * generation::kMaxTopLogprobs) {
  free_.reserve(options_.max_sequences);
  for (Scratch& scratch : scratch_) {
    scratch.raw.resize(options_.vocab);
    scratch.weights.resize(options_.vocab);
    scratch.block_sums.resize((options_.vocab + kSumBlock - 1) / kSumBlock);
    scratch.candidates.resize(options_.vocab);
    scratch.forced.reserve(kUsualForcedTokens);
  }
}

Sampled Sampler::sample(const StepPlan& plan, const model::Logits& logits) {
  CHECK(logits.rows == plan.batch.logit_rows.size() && logits.vocab == options_.vocab)
      << "logits [" << logits.rows << ", " << logits.vocab << "]";
  std::span<SampledToken> tokens = tokens_;
  std::span<generation::TokenLogprob> tops = tops_;
  free_.clear();
  for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
    const PlannedSequence& planned = plan.sequences[i];
    const std::size_t rows = planned.scored + (planned.samples ? 1 : 0);
    rooms_[i] = {tokens.first(rows + (planned.samples ? kMaxForcedTokens : 0)),
                 tops.first(rows * generation::kMaxTopLogprobs)};
    tokens = tokens.subspan(rooms_[i].tokens.size());
    tops = tops.subspan(rooms_[i].tops.size());
    if (planned.sequence->sampling.matcher() == nullptr) free_.push_back(i);
  }
  const auto sample_one = [&](std::size_t i, Scratch& scratch) {
    SampledSequence& result = sequences_[i];
    result = SampledSequence{};
    // The grammar and the allocator may throw: it is this sequence's end and nobody else's.
    try {
      sample_sequence(plan.sequences[i], logits, rooms_[i], scratch, result);
    } catch (const std::exception&) {
      result.error = Error{Code::kInternal, "sampling failed", {}};
    }
  };
  const bool shares = options_.pool != nullptr && free_.size() > 1;
  if (shares) {
    options_.pool->run(free_.size(), [&](std::size_t index, int worker) {
      sample_one(free_[index], scratch_[static_cast<std::size_t>(worker)]);
    });
  }
  for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
    // Matchers may share what they were made of: one thread at a time.
    if (!shares || plan.sequences[i].sequence->sampling.matcher() != nullptr) sample_one(i, scratch_.front());
  }
  return {sequences_.data(), plan.sequences.size()};
}

void Sampler::sample_sequence(const PlannedSequence& planned, const model::Logits& logits, Room room, Scratch& scratch,
                              SampledSequence& result) {
  if (Status status = score_prompt(planned, logits, room, result); !status) {
    result.error = std::move(status).error();
    return;
  }
  if (!planned.samples) return;
  const std::span<float> row = logits.row(planned.first_logit + planned.scored);
  if (Status status = sample_answer(*planned.sequence, row, room, scratch, result); !status) {
    result.error = std::move(status).error();
  }
}

Status Sampler::score_prompt(const PlannedSequence& planned, const model::Logits& logits, Room& room,
                             SampledSequence& result) {
  const Sequence& sequence = *planned.sequence;
  for (std::size_t i = 0; i < planned.scored; ++i) {
    const std::span<const float> row = logits.row(planned.first_logit + i);
    const double log_sum = log_sum_exp(row, TRY(checked_max(row)));
    const TokenId token = sequence.tokens[sequence.prompt_scored + 1 + i];
    room.tokens[i] = describe(row, log_sum, token, sequence.request.top_logprobs, room.tops);
    room.tokens[i].logits = row;
  }
  result.scored = room.tokens.first(planned.scored);
  room.tokens = room.tokens.subspan(planned.scored);
  return {};
}

Status Sampler::sample_answer(Sequence& sequence, std::span<float> row, Room& room, Scratch& scratch,
                              SampledSequence& result) {
  SamplingState& state = sequence.sampling;
  const float raw_max = TRY(checked_max(row));
  const bool wants_logprobs = sequence.request.want_logprobs;
  double log_sum = 0;
  if (wants_logprobs) {
    std::ranges::copy(row, scratch.raw.begin());
    log_sum = log_sum_exp(row, raw_max);
  }
  if (state.matcher() != nullptr) {
    TRY(apply_grammar(state, row, raw_max, result.is_complete));
    if (result.is_complete) return {};
  }
  state.adjust(row);
  if (sequence.answer_size() < sequence.request.min_tokens) {
    for (const TokenId token : state.ends()) row[token] = -kInfinity;
  }
  SampledToken& sampled = room.tokens.front();
  sampled = {};
  sampled.token = TRY(choose(sequence, row, scratch));
  std::size_t count = 1;
  if (state.matcher() != nullptr && !state.is_end(sampled.token)) {
    if (Status accepted = state.matcher()->accept(sampled.token); !accepted) return grammar_fault(accepted.error());
    result.is_complete = state.matcher()->is_finished();
    if (!result.is_complete) TRY(jump_forward(sequence, room.tokens, scratch, count, result.is_complete));
  }
  if (wants_logprobs) {
    sampled = describe(scratch.raw, log_sum, sampled.token, sequence.request.top_logprobs, room.tops);
  }
  result.tokens = room.tokens.first(count);
  return {};
}

// What the grammar forces after the token just accepted. Left to be sampled one by one: tokens whose logprobs are asked
// for, whose spelling a logit_bias may mean to change, or at which the answer may end.
Status Sampler::jump_forward(const Sequence& sequence, std::span<SampledToken> room, Scratch& scratch,
                             std::size_t& count, bool& is_complete) {
  const generation::Request& request = sequence.request;
  if (!options_.has_jump_forward || options_.is_favourite_binding) return {};
  if (request.want_logprobs || !request.sampling.logit_bias.empty()) return {};
  const std::size_t left = sequence.answer_limit - sequence.answer_size() - 1;  // the one just chosen is not in it yet
  if (left == 0) return {};
  text::Matcher& matcher = *sequence.sampling.matcher();
  std::vector<TokenId>& forced = scratch.forced;
  if (Status asked = matcher.forced(forced); !asked) return grammar_fault(asked.error());
  for (const TokenId token : std::span(forced).first(std::min({forced.size(), left, kMaxForcedTokens}))) {
    if (sequence.sampling.is_end(token)) break;
    if (Status accepted = matcher.accept(token); !accepted) return grammar_fault(accepted.error());
    room[count++] = {token, 0, {}, {}};
  }
  is_complete = matcher.is_finished();
  return {};
}

Status Sampler::apply_grammar(SamplingState& state, std::span<float> row, float raw_max, bool& is_complete) {
  const auto mask = state.take_mask();
  if (!mask) return grammar_fault(mask.error());
  const std::span<std::uint32_t> words = *mask;
  if (state.matcher()->is_finished()) {
    is_complete = true;
    return {};
  }
  const auto allows = [words](TokenId token) { return is_set(words, token); };
  if (std::ranges::any_of(options_.grammar_ends, allows) || std::ranges::any_of(state.ends(), allows)) {
    for (const TokenId token : state.ends()) set(words, token);
  }
  const TokenId favourite = argmax(row, raw_max);
  if (options_.is_favourite_binding && !is_set(words, favourite)) {
    return fail(Code::kInternal, fmt::format("the script's token {} is forbidden by the grammar", favourite));
  }
  forbid_others(row, words);
  return {};
}

Result<TokenId> Sampler::choose(const Sequence& sequence, std::span<const float> row, Scratch& scratch) {
  const generation::Sampling& sampling = sequence.sampling.sampling();
  const float max = TRY(checked_max(row));
  if (sampling.temperature < kGreedyBelow) return argmax(row, max);
  const double unit = base::random_unit(sequence.sampling.seed(), kSamplingStream, sequence.tokens.size());
  const bool cuts = sampling.top_p < 1 || (sampling.top_k > 0 && static_cast<std::size_t>(sampling.top_k) < row.size());
  return cuts ? draw_from_best(row, max, sampling, unit, scratch) : draw_from_all(row, max, sampling, unit, scratch);
}

// Sums blocks of weights, finds the block that the draw falls into, then the token in it.
TokenId Sampler::draw_from_all(std::span<const float> row, float max, const generation::Sampling& sampling, double unit,
                               Scratch& scratch) {
  std::vector<float>& weights = scratch.weights;
  std::vector<double>& block_sums = scratch.block_sums;
  const float scale = 1 / sampling.temperature;
  const float least = sampling.min_p;
  double total = 0;
  for (std::size_t begin = 0, block = 0; begin < row.size(); begin += kSumBlock, ++block) {
    const std::size_t count = std::min(kSumBlock, row.size() - begin);
    const float* const logits = row.data() + begin;
    float* const some = weights.data() + begin;
    for (std::size_t i = 0; i < count; ++i) {
      const float weight = exp_nonpositive((logits[i] - max) * scale);
      some[i] = weight < least ? 0 : weight;
    }
    block_sums[block] = sum_of(some, count);
    total += block_sums[block];
  }
  double left = unit * total;
  std::size_t block = 0;
  while (block + 1 < block_sums.size() && left >= block_sums[block]) left -= block_sums[block++];
  TokenId chosen = -1;  // rounding may leave a little after the last token: then the last possible one is meant
  for (std::size_t i = block * kSumBlock; i < std::min((block + 1) * kSumBlock, row.size()); ++i) {
    if (weights[i] <= 0) continue;
    chosen = static_cast<TokenId>(i);
    if (left < weights[i]) break;
    left -= weights[i];
  }
  return chosen >= 0 ? chosen : argmax(row, max);
}

// top_k, then top_p of what is left, then min_p of the best. Sorts only as far as top_p reaches.
TokenId Sampler::draw_from_best(std::span<const float> row, float max, const generation::Sampling& sampling,
                                double unit, Scratch& scratch) {
  std::vector<Candidate>& candidates = scratch.candidates;
  std::vector<float>& weights = scratch.weights;
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  std::size_t count = 0;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (row[i] > -kInfinity) candidates[count++] = {row[i], static_cast<TokenId>(i)};
  }
  const auto begin = candidates.begin();
  if (sampling.top_k > 0 && static_cast<std::size_t>(sampling.top_k) < count) {
    std::nth_element(begin, begin + sampling.top_k, begin + count, better);
    count = sampling.top_k;
  }
  const float scale = 1 / sampling.temperature;
  double total = 0;
  for (std::size_t i = 0; i < count; ++i) total += exp_nonpositive((candidates[i].logit - max) * scale);
  const double wanted = sampling.top_p < 1 ? sampling.top_p * total : kInfinity;

  double kept_sum = 0;
  std::size_t kept = 0;
  for (std::size_t sorted = 0; kept < count && (kept == 0 || kept_sum < wanted); ++kept) {
    if (kept == sorted) {
      const std::size_t next = std::min(count, sorted + std::max(kSumBlock, sorted));
      if (next < count) std::nth_element(begin + sorted, begin + next, begin + count, better);
      std::sort(begin + sorted, begin + next, better);
      sorted = next;
    }
    const float weight = exp_nonpositive((candidates[kept].logit - max) * scale);
    if (kept > 0 && weight < sampling.min_p) break;
    weights[kept] = weight;
    kept_sum += weight;
  }
  double left = unit * kept_sum;
  std::size_t chosen = 0;
  while (chosen + 1 < kept && left >= weights[chosen]) left -= weights[chosen++];
  return candidates[chosen].token;
}

}  // namespace autoglm::engine
