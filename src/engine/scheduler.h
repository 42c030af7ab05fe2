// SPDX-License-Identifier: Apache-2.0
// Decides before every step which sequences run and how many tokens each may use.
// The only code that takes or gives back KV blocks. Engine thread only; never allocates in plan().
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "engine/block_pool.h"
#include "engine/delivery.h"
#include "engine/plan.h"

namespace autoglm::engine {

struct SchedulerOptions {
  std::size_t max_batch_size = 32;     // sequences of a step
  std::size_t max_batch_tokens = 512;  // rows of a step
  std::size_t max_prefill_chunk = 0;   // rows of one sequence in a step; 0 = what max_batch_tokens leaves
  std::size_t max_scored_rows = 32;    // prompt rows of a step that want logits (echo with logprobs)
  std::size_t max_waiting = 256;       // sequences in the engine that do not run, besides max_batch_size
  std::size_t growth_blocks = 1;       // kept free for each running sequence when another is let in
  base::Duration batch_timeout{0};     // longest wait of a lonely request for company
  std::size_t short_context = 0;       // the model's
  bool has_prefix_cache = true;        // KV of earlier prompts and answers is found again
  std::uint64_t prefix_key = 0;        // of the prefix cache's hashes; base::entropy_bits()
};

class Scheduler final {
 public:
  Scheduler(const SchedulerOptions& options, std::size_t block_count, EngineMetrics& metrics);

  /// Takes in a sequence; it waits in the order of is_before(). At most max_waiting + max_batch_size at a time (a
  /// CHECK).
  void add(std::unique_ptr<Sequence> sequence);

  /// Ends what was cancelled or is past its deadline, wherever it is, and frees its blocks.
  void expire(base::Time now);

  /// The next step: one row for each sequence that decodes, then prompt chunks, and further known tokens of answers, of
  /// running sequences in order, then waiting ones while there is room. When blocks run out the newest sequence is
  /// preempted: it keeps its tokens, loses its blocks and waits again (docs/decisions/0005-preemption.md). Empty when
  /// there is nothing to do at `now`.
  const StepPlan& plan(base::Time now);

  /// The same step for only one of the sequences of the latest plan, to find out which of them made a step fail.
  const StepPlan& plan_alone(std::size_t index);
  std::size_t planned_count() const { return planned_.size(); }

  /// After forward and sampling: appends tokens, feeds the sinks, ends sequences and frees their blocks.
  void commit(const StepPlan& plan, Sampled sampled, base::Time now);

  /// Ends one planned sequence with an error. Call retire() after the last one.
  void fail(const PlannedSequence& planned, Error error);
  void retire(base::Time now);

  /// Ends everything, for shutdown.
  void end_all(const Error& why, base::Time now);

  std::size_t waiting_count() const { return waiting_.size(); }
  std::size_t running_count() const { return running_.size(); }
  bool is_idle() const { return waiting_.empty() && running_.empty(); }
  /// Until when plan() has nothing to do unless something arrives: a lonely request's wait is over, or a deadline.
  /// Nothing when it has something to do now, or nothing at all.
  std::optional<base::Time> next_wake() const;
  const BlockPool& pool() const { return pool_; }
  const PrefixCache& prefix_cache() const { return cache_; }

  /// CHECKs that block tables and pool agree, every sequence holds the blocks of what it computed and no more, and
  /// orders hold. For tests, after each step.
  void check_invariants() const;

 private:
  using Queue = std::vector<std::unique_ptr<Sequence>>;

  bool waits_for_company(base::Time now) const;
  base::Time end_of_wait(const Sequence& sequence) const;
  void plan_running(std::size_t decode_rows);
  void admit();
  /// Plans up to `wanted` rows of running_[index], for `set_aside` of which there is a row; the others come out of
  /// prefill_rows_left_. May preempt what comes after it.
  void plan_sequence(std::size_t index, std::size_t wanted, std::size_t set_aside);
  std::size_t rows_with_logits(const Sequence& sequence, std::size_t wanted) const;
  std::size_t make_room(std::size_t index, std::size_t wanted);
  void preempt_newest();
  void emit(Sequence& sequence, std::size_t rows);
  // What the prefix cache has of a waiting sequence.
  struct Reuse {
    std::size_t blocks = 0;                  // whole ones, shared
    std::size_t left_blocks = 0;             // of these, held by nobody: sharing them leaves that many fewer to take
    std::optional<PrefixCache::Match> part;  // of the next one, copied
  };
  Reuse find_reuse(Sequence& sequence);
  void take_reuse(Sequence& sequence, const Reuse& reuse);
  /// Makes the blocks that are now computed known to the cache.
  void remember(Sequence& sequence);
  void commit_one(const PlannedSequence& planned, const SampledSequence& sampled, base::Time now);
  void retire_from(Queue& queue, base::Time now);
  void give_back_blocks(Sequence& sequence);
  std::size_t prefill_chunk() const;

  const SchedulerOptions options_;
  EngineMetrics& metrics_;
  Delivery delivery_;
  PrefixCache cache_;
  BlockPool pool_;
  Queue waiting_;  // in the order of is_before(); hold no blocks
  Queue running_;  // in the order of is_before(); at most max_batch_size

  // The plan's memory, sized at start.
  std::vector<model::TokenId> tokens_;
  std::vector<kernels::SequenceRows> rows_;
  std::vector<std::uint32_t> logit_rows_;
  std::vector<PlannedSequence> planned_;
  std::vector<BlockCopy> copies_;
  std::size_t prefill_rows_left_ = 0;
  std::size_t scored_rows_left_ = 0;
  std::size_t decode_turn_ = 0;  // whose turn it is when more sequences decode than a step has rows
  StepPlan plan_;
  StepPlan alone_;
  kernels::SequenceRows alone_rows_;
  PlannedSequence alone_planned_;
  std::vector<std::uint32_t> alone_logit_rows_;
};

}  // namespace autoglm::engine
