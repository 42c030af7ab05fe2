// SPDX-License-Identifier: Apache-2.0
#include "engine/scheduler.h"

#include <algorithm>
#include <exception>

#include "base/check.h"
#include "base/log.h"

namespace autoglm::engine {
namespace {

using generation::FinishReason;

std::size_t blocks_for(std::size_t tokens) { return (tokens + kBlockTokens - 1) / kBlockTokens; }

void insert_in_order(std::vector<std::unique_ptr<Sequence>>& queue, std::unique_ptr<Sequence> sequence) {
  CHECK(queue.size() < queue.capacity()) << "a queue of " << queue.capacity() << " sequences is full";
  const auto at = std::ranges::upper_bound(
      queue, sequence, [](const auto& left, const auto& right) { return is_before(*left, *right); });
  queue.insert(at, std::move(sequence));
}

std::unique_ptr<Sequence> take_at(std::vector<std::unique_ptr<Sequence>>& queue, std::size_t index) {
  std::unique_ptr<Sequence> sequence = std::move(queue[index]);
  queue.erase(queue.begin() + static_cast<std::ptrdiff_t>(index));
  return sequence;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, std::size_t block_count, EngineMetrics& metrics)
    : options_(options),
      metrics_(metrics),
      delivery_(metrics),
      cache_(options.has_prefix_cache ? block_count : 0, options.prefix_key),
      pool_(block_count, options.has_prefix_cache ? &cache_ : nullptr) {
  CHECK(options.max_batch_size > 0 && options.max_batch_tokens > 0 && options.max_scored_rows > 0);
  waiting_.reserve(options.max_waiting + options.max_batch_size);
  running_.reserve(options.max_batch_size);
  tokens_.reserve(options.max_batch_tokens);
  rows_.reserve(options.max_batch_size);
  planned_.reserve(options.max_batch_size);
  copies_.reserve(options.max_batch_size);
  logit_rows_.reserve(options.max_batch_size + options.max_scored_rows);
  alone_logit_rows_.reserve(options.max_batch_size + options.max_scored_rows);
}

void Scheduler::add(std::unique_ptr<Sequence> sequence) {
  metrics_.submitted.add();
  const std::size_t longest = sequence->prompt_size() + sequence->answer_limit;
  sequence->is_long = options_.short_context != 0 && longest > options_.short_context;
  sequence->root = cache_.root(sequence->request.tenant, sequence->is_long);
  insert_in_order(waiting_, std::move(sequence));
}

void Scheduler::expire(base::Time now) {
  for (Queue* queue : {&waiting_, &running_}) {
    for (const auto& sequence : *queue) {
      if (sequence->is_cancel_requested) {
        sequence->end(FinishReason::kCancelled, Error{Code::kCancelled, "the request was cancelled", {}});
      } else if (sequence->request.deadline && *sequence->request.deadline <= now) {
        sequence->end(FinishReason::kError, Error{Code::kDeadline, "the request's time ran out", {}});
      }
    }
  }
  retire(now);
}

const StepPlan& Scheduler::plan(base::Time now) {
  telemetry::StageTimer time(&metrics_.stages, telemetry::Stage::kPlan);
  tokens_.clear();
  rows_.clear();
  planned_.clear();
  logit_rows_.clear();
  copies_.clear();
  scored_rows_left_ = options_.max_scored_rows;
  if (!waits_for_company(now)) {
    const auto decodes = static_cast<std::size_t>(std::ranges::count_if(running_, &Sequence::is_decoding));
    // Decodes go first, but leave prompts a row, so that a batch of long answers cannot keep others from starting.
    const bool has_prompts = decodes < running_.size() || !waiting_.empty();
    const std::size_t kept = has_prompts && options_.max_batch_tokens > 1 ? 1 : 0;
    const std::size_t decode_rows = std::min(decodes, options_.max_batch_tokens - kept);
    prefill_rows_left_ = options_.max_batch_tokens - decode_rows;
    plan_running(decode_rows);
    admit();
  }
  for (const PlannedSequence& planned : planned_) {
    if (!planned.sequence->first_planned) {
      planned.sequence->first_planned = now;
      metrics_.queue_seconds.observe(std::chrono::duration<double>(now - planned.sequence->submitted).count());
      metrics_.prompt_tokens.add(static_cast<double>(planned.sequence->prompt_size()));
    }
  }
  plan_ = {{tokens_, rows_, logit_rows_}, planned_, copies_};
  return plan_;
}

bool Scheduler::waits_for_company(base::Time now) const {
  if (!running_.empty() || waiting_.size() >= options_.max_batch_size) return false;
  return std::ranges::all_of(waiting_, [&](const auto& sequence) { return now < end_of_wait(*sequence); });
}

// One that was preempted has begun: it does not wait for company again.
base::Time Scheduler::end_of_wait(const Sequence& sequence) const {
  return sequence.first_planned ? base::Time::min() : sequence.submitted + options_.batch_timeout;
}

void Scheduler::plan_running(std::size_t decode_rows) {
  const auto decodes = static_cast<std::size_t>(std::ranges::count_if(running_, &Sequence::is_decoding));
  std::size_t decode_index = 0;
  // running_ may lose members at its end while this goes on: they are preempted for the sake of earlier ones.
  for (std::size_t i = 0; i < running_.size(); ++i) {
    std::size_t set_aside = 0;
    if (running_[i]->is_decoding()) {
      const std::size_t turn = (decode_index++ + decodes - decode_turn_ % decodes) % decodes;
      if (turn >= decode_rows) continue;
      set_aside = 1;
    }
    plan_sequence(i, std::min({running_[i]->remaining(), set_aside + prefill_rows_left_, prefill_chunk()}), set_aside);
  }
  if (decodes > 0) decode_turn_ = (decode_turn_ + decode_rows) % decodes;
}

void Scheduler::admit() {
  while (!waiting_.empty() && running_.size() < options_.max_batch_size && prefill_rows_left_ > 0) {
    // Room for all its tokens and some growth for those that run: else one of the next steps would preempt it again.
    // The first in line is never passed over, so that nobody starves.
    const Reuse reuse = find_reuse(*waiting_.front());
    const std::size_t needed = blocks_for(waiting_.front()->tokens.size()) - reuse.blocks + reuse.left_blocks;
    if (!running_.empty() && pool_.free_count() < needed + running_.size() * options_.growth_blocks) {
      waiting_.front()->blocks.clear();
      return;
    }
    CHECK(pool_.free_count() >= needed) << "a request of " << needed << " blocks was let in, the pool has "
                                        << pool_.block_count();
    Sequence* sequence = waiting_.front().get();
    insert_in_order(running_, take_at(waiting_, 0));
    take_reuse(*sequence, reuse);
    const std::size_t planned_before = planned_.size();
    const std::size_t wanted = std::min({sequence->remaining(), prefill_rows_left_, prefill_chunk()});
    const std::size_t rows = rows_with_logits(*sequence, wanted);
    while (sequence->blocks.size() < blocks_for(sequence->computed + rows)) sequence->blocks.push_back(*pool_.take());
    prefill_rows_left_ -= rows;
    if (rows > 0) emit(*sequence, rows);
    if (planned_.size() == planned_before) return;
  }
}

void Scheduler::plan_sequence(std::size_t index, std::size_t wanted, std::size_t set_aside) {
  const std::size_t rows = make_room(index, rows_with_logits(*running_[index], wanted));
  if (rows == 0) return;
  prefill_rows_left_ -= rows - set_aside;
  emit(*running_[index], rows);
}

// Fewer rows when a step has no more logits for scored prompt tokens.
std::size_t Scheduler::rows_with_logits(const Sequence& sequence, std::size_t wanted) const {
  if (!sequence.request.want_prompt_logprobs) return wanted;
  const std::size_t first_scored = std::max(sequence.computed, sequence.prompt_scored);
  if (first_scored + 1 >= sequence.prompt_size()) return wanted;
  const std::size_t last = std::min(sequence.computed + wanted, sequence.prompt_size() - 1);
  if (last <= first_scored + scored_rows_left_) return wanted;
  return first_scored + scored_rows_left_ - sequence.computed;
}

std::size_t Scheduler::make_room(std::size_t index, std::size_t wanted) {
  Sequence& sequence = *running_[index];
  while (true) {
    const std::size_t room = sequence.blocks.size() * kBlockTokens - sequence.computed;
    if (room >= wanted) return wanted;
    if (const auto block = pool_.take()) {
      sequence.blocks.push_back(*block);
    } else if (room > 0) {
      return room;
    } else if (index + 1 < running_.size()) {
      preempt_newest();
    } else {
      return 0;  // the newest: it waits with its blocks, which older ones may still take from it
    }
  }
}

void Scheduler::preempt_newest() {
  // The newest, not the largest: it has the least work to recompute, and first-come order holds.
  std::unique_ptr<Sequence> sequence = take_at(running_, running_.size() - 1);
  give_back_blocks(*sequence);
  metrics_.preemptions.add();
  insert_in_order(waiting_, std::move(sequence));
}

void Scheduler::emit(Sequence& sequence, std::size_t rows) {
  PlannedSequence planned{&sequence, static_cast<std::uint32_t>(rows), static_cast<std::uint32_t>(logit_rows_.size()),
                          0, false};
  const std::size_t first_row = tokens_.size();
  const std::size_t end = sequence.computed + rows;
  if (sequence.request.want_prompt_logprobs) {
    const std::size_t last_scored = std::min(end, sequence.prompt_size() - 1);
    for (std::size_t p = std::max(sequence.computed, sequence.prompt_scored); p < last_scored; ++p) {
      logit_rows_.push_back(static_cast<std::uint32_t>(first_row + p - sequence.computed));
      ++planned.scored;
    }
    scored_rows_left_ -= planned.scored;
  }
  if (end == sequence.tokens.size() && !sequence.request.prompt_only) {
    planned.samples = true;
    logit_rows_.push_back(static_cast<std::uint32_t>(first_row + rows - 1));
  }
  const auto from = sequence.tokens.begin() + static_cast<std::ptrdiff_t>(sequence.computed);
  tokens_.insert(tokens_.end(), from, from + static_cast<std::ptrdiff_t>(rows));
  rows_.push_back({first_row, rows, sequence.computed, sequence.blocks.data(), sequence.is_long});
  planned_.push_back(planned);
}

const StepPlan& Scheduler::plan_alone(std::size_t index) {
  alone_planned_ = planned_[index];
  alone_rows_ = rows_[index];
  alone_logit_rows_.clear();
  const std::size_t logits = alone_planned_.scored + (alone_planned_.samples ? 1 : 0);
  for (std::size_t i = 0; i < logits; ++i) {
    alone_logit_rows_.push_back(logit_rows_[alone_planned_.first_logit + i] -
                                static_cast<std::uint32_t>(alone_rows_.first_row));
  }
  const std::span<const model::TokenId> tokens = std::span(tokens_).subspan(alone_rows_.first_row, alone_rows_.rows);
  alone_rows_.first_row = 0;
  alone_planned_.first_logit = 0;
  alone_ = {{tokens, {&alone_rows_, 1}, alone_logit_rows_}, {&alone_planned_, 1}};
  return alone_;
}

void Scheduler::commit(const StepPlan& plan, Sampled sampled, base::Time now) {
  CHECK(sampled.size() == plan.sequences.size());
  for (std::size_t i = 0; i < sampled.size(); ++i) {
    // A sink that throws, or no memory for an event, is the end of this sequence and of no other.
    try {
      commit_one(plan.sequences[i], sampled[i], now);
    } catch (const std::exception& thrown) {
      const Sequence& sequence = *plan.sequences[i].sequence;
      LOG_ERROR("request {}: delivering failed: {}", base::printable(sequence.request.id), thrown.what());
      fail(plan.sequences[i], Error{Code::kInternal, "delivering the answer failed", {}});
    }
  }
  retire(now);
}

void Scheduler::commit_one(const PlannedSequence& planned, const SampledSequence& sampled, base::Time now) {
  Sequence& sequence = *planned.sequence;
  if (sequence.computed < sequence.highest_computed) {
    const std::size_t end = std::min(sequence.computed + planned.rows, sequence.highest_computed);
    metrics_.recomputed_tokens.add(static_cast<double>(end - sequence.computed));
  }
  sequence.computed += planned.rows;
  sequence.highest_computed = std::max(sequence.highest_computed, sequence.computed);
  remember(sequence);
  if (sampled.error) return sequence.end(FinishReason::kError, sampled.error);
  delivery_.prompt_scores(sequence, sampled.scored);
  for (const SampledToken& token : sampled.tokens) {
    if (sequence.is_finished()) return;
    if (sequence.sampling.is_end(token.token)) return delivery_.end_token(sequence, token);
    if (&token != sampled.tokens.data()) metrics_.forced_tokens.add();
    sequence.tokens.push_back(token.token);
    sequence.sampling.count(token.token);
    delivery_.token(sequence, token, now);
    if (sequence.answer_size() == sequence.answer_limit && !sampled.is_complete) sequence.end(FinishReason::kLength);
  }
  if (sampled.is_complete) sequence.end(FinishReason::kStop);
  if (sequence.request.prompt_only && sequence.remaining() == 0) sequence.end(FinishReason::kLength);
}

void Scheduler::fail(const PlannedSequence& planned, Error error) {
  planned.sequence->end(FinishReason::kError, std::move(error));
}

void Scheduler::retire(base::Time now) {
  retire_from(waiting_, now);
  retire_from(running_, now);
}

void Scheduler::retire_from(Queue& queue, base::Time now) {
  for (std::size_t i = 0; i < queue.size();) {
    if (!queue[i]->is_finished()) {
      ++i;
      continue;
    }
    const std::unique_ptr<Sequence> sequence = take_at(queue, i);
    give_back_blocks(*sequence);
    delivery_.finish(*sequence, now);
  }
}

// From the end, so that the cache loses the end of a prefix before its beginning. What is left of a block stays known
// too: the next turn of a conversation begins there.
void Scheduler::give_back_blocks(Sequence& sequence) {
  const std::size_t known = sequence.known_blocks * kBlockTokens;
  if (options_.has_prefix_cache && sequence.computed > known) {
    const auto part = std::span(sequence.tokens).subspan(known, sequence.computed - known);
    const auto found = cache_.find_part(sequence.prefix, part);
    if (!found || found->tokens < part.size()) {
      cache_.insert(sequence.prefix, part, sequence.blocks[sequence.known_blocks]);
    }
  }
  for (std::size_t i = sequence.blocks.size(); i > 0; --i) pool_.give_back(sequence.blocks[i - 1]);
  sequence.blocks.clear();
  sequence.known_blocks = 0;
  sequence.computed = 0;
}

Scheduler::Reuse Scheduler::find_reuse(Sequence& sequence) {
  Reuse reuse;
  if (!options_.has_prefix_cache) return reuse;
  // The last token is always computed, for its logits; so are prompt tokens whose logits are asked for.
  std::size_t most = sequence.tokens.size() - 1;
  if (sequence.request.want_prompt_logprobs) most = std::min(most, sequence.prompt_scored);
  const auto tokens = std::span<const model::TokenId>(sequence.tokens).first(most);
  sequence.prefix = sequence.root;
  sequence.blocks.clear();
  while (tokens.size() - reuse.blocks * kBlockTokens >= kBlockTokens) {
    const auto found = cache_.find(sequence.prefix, tokens.subspan(reuse.blocks * kBlockTokens, kBlockTokens));
    if (!found) break;
    sequence.blocks.push_back(found->block);
    sequence.prefix = found->serial;
    ++reuse.blocks;
    if (pool_.ref_count(found->block) == 0) ++reuse.left_blocks;
  }
  reuse.part = cache_.find_part(sequence.prefix,
                                tokens.subspan(reuse.blocks * kBlockTokens)
                                    .first(std::min(kBlockTokens, tokens.size() - reuse.blocks * kBlockTokens)));
  return reuse;
}

void Scheduler::take_reuse(Sequence& sequence, const Reuse& reuse) {
  if (!options_.has_prefix_cache) return;
  for (const BlockIndex block : sequence.blocks) pool_.share(block);
  sequence.known_blocks = reuse.blocks;
  sequence.computed = reuse.blocks * kBlockTokens;
  if (reuse.part) {
    pool_.share(reuse.part->block);  // so that it is not the block that is taken for the copy
    if (const auto copy = pool_.take()) {
      copies_.push_back({reuse.part->block, *copy});
      sequence.blocks.push_back(*copy);
      sequence.computed += reuse.part->tokens;
    }
    pool_.give_back(reuse.part->block);
  }
  if (sequence.first_planned) return;
  sequence.cached_tokens = std::min(sequence.computed, sequence.prompt_size());
  metrics_.cached_tokens.add(static_cast<double>(sequence.cached_tokens));
}

void Scheduler::remember(Sequence& sequence) {
  if (!options_.has_prefix_cache) return;
  while ((sequence.known_blocks + 1) * kBlockTokens <= sequence.computed) {
    const auto tokens = std::span(sequence.tokens).subspan(sequence.known_blocks * kBlockTokens, kBlockTokens);
    BlockIndex& block = sequence.blocks[sequence.known_blocks];
    if (const auto found = cache_.find(sequence.prefix, tokens)) {
      // Somebody computed the same beside us: the same bits, of which one copy is enough.
      pool_.share(found->block);
      pool_.give_back(block);
      block = found->block;
      sequence.prefix = found->serial;
    } else {
      sequence.prefix = cache_.insert(sequence.prefix, tokens, block);
    }
    ++sequence.known_blocks;
  }
}

void Scheduler::end_all(const Error& why, base::Time now) {
  for (Queue* queue : {&waiting_, &running_}) {
    for (const auto& sequence : *queue) sequence->end(FinishReason::kCancelled, why);
  }
  retire(now);
}

std::size_t Scheduler::prefill_chunk() const {
  return options_.max_prefill_chunk > 0 ? options_.max_prefill_chunk : options_.max_batch_tokens;
}

std::optional<base::Time> Scheduler::next_wake() const {
  if (!running_.empty() || waiting_.empty() || waiting_.size() >= options_.max_batch_size) return std::nullopt;
  base::Time wake = base::Time::max();
  for (const auto& sequence : waiting_) {
    wake = std::min(wake, end_of_wait(*sequence));
    if (sequence->request.deadline) wake = std::min(wake, *sequence->request.deadline);
  }
  return wake;
}

void Scheduler::check_invariants() const {
  pool_.check_invariants();
  std::vector<std::uint32_t> holders(pool_.block_count(), 0);
  for (const auto& sequence : running_) {
    for (const BlockIndex block : sequence->blocks) ++holders[block];
    CHECK(sequence->blocks.size() == blocks_for(sequence->computed)) << "sequence " << sequence->ticket;
    CHECK(sequence->computed <= sequence->tokens.size()) << "sequence " << sequence->ticket;
    CHECK(sequence->known_blocks * kBlockTokens <= sequence->computed) << "sequence " << sequence->ticket;
    CHECK(sequence->tokens.size() <= sequence->prompt_size() + sequence->answer_limit)
        << "sequence " << sequence->ticket;
  }
  for (const auto& sequence : waiting_) {
    CHECK(sequence->blocks.empty() && sequence->computed == 0 && sequence->known_blocks == 0)
        << "sequence " << sequence->ticket << " waits with blocks";
  }
  for (std::size_t block = 0; block < holders.size(); ++block) {
    CHECK(holders[block] == pool_.ref_count(static_cast<BlockIndex>(block)))
        << "block " << block << " is in " << holders[block] << " tables";
  }
  const auto ordered = [](const auto& left, const auto& right) { return is_before(*left, *right); };
  CHECK(std::ranges::is_sorted(waiting_, ordered) && std::ranges::is_sorted(running_, ordered));
  CHECK(running_.size() <= options_.max_batch_size);
}

}  // namespace autoglm::engine
