// SPDX-License-Identifier: Apache-2.0
// Decides which texts an encoder runs next, and when: the dynamic batcher. A batch begins as soon as it is full, as
// soon as as many requests are there as the last one had (who is served comes back), or when the oldest has waited for
// batch_timeout. Knows no thread and no model. One thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "generation/embedder.h"

namespace autoglm::engine {

// A request on its way, and what has come of it.
struct TextJob {
  generation::Ticket ticket = 0;
  generation::EmbeddingRequest request;
  std::shared_ptr<generation::EmbeddingSink> sink;
  base::Time arrived;
  std::optional<base::Time> begun;  // its first text ran
  std::size_t next = 0;             // of its texts: the first that was not in a batch
  std::size_t done = 0;             // texts whose vectors are there
  std::vector<float> vectors;       // [texts, width]
  std::atomic<bool> is_cancel_requested = false;
};

struct TextBatcherOptions {
  std::size_t max_batch_size = 32;     // texts of a batch
  std::size_t max_batch_tokens = 512;  // of all its texts together; at least those of the longest text
  std::size_t max_requests = 0;        // that are at work at once, the oldest first; 0 = all
  base::Duration batch_timeout{0};     // longest wait for company; 0 = never wait
};

class TextBatcher final {
 public:
  explicit TextBatcher(const TextBatcherOptions& options) : options_(options), company_(options.max_batch_size) {
    places_.reserve(options.max_batch_size);
  }

  void add(std::unique_ptr<TextJob> job);

  struct Place {
    TextJob* job = nullptr;
    std::size_t text = 0;
  };
  /// The texts to run now: one of each request in turn, the oldest first, until the batch is full. Empty when there is
  /// nothing to run, or company is waited for. They must be committed before the next plan().
  std::span<const Place> plan(base::Time now);
  /// The planned texts have run. Returns the requests that are complete.
  std::vector<std::unique_ptr<TextJob>> commit();

  /// When plan() will give something without another add(); nothing when that is now or never.
  std::optional<base::Time> next_wake() const;
  bool is_idle() const { return jobs_.empty(); }
  std::size_t requests() const { return jobs_.size(); }

  /// Requests that were cancelled; not between plan() and commit().
  std::vector<std::unique_ptr<TextJob>> take_cancelled();
  std::vector<std::unique_ptr<TextJob>> take_all() { return std::move(jobs_); }

 private:
  bool is_due(base::Time now) const;
  bool is_full() const;
  bool has_company() const;
  std::size_t requests_at_work() const;
  template <typename Leaves>
  std::vector<std::unique_ptr<TextJob>> take(const Leaves& leaves);

  const TextBatcherOptions options_;
  std::vector<std::unique_ptr<TextJob>> jobs_;  // in the order of their arrival
  std::vector<Place> places_;
  std::size_t waiting_texts_ = 0;
  std::size_t waiting_tokens_ = 0;
  std::size_t company_;  // requests that were there when the last batch ended, those that it completed included
};

}  // namespace autoglm::engine
