// SPDX-License-Identifier: Apache-2.0
#include "app/closed_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>
#include <thread>

#include "base/check.h"
#include "base/mutex.h"
#include "base/random.h"
#include "generation/collect.h"

namespace autoglm::app {
namespace {

constexpr std::uint64_t kLoadSeed = 20260101;

// What all clients write to.
class Ledger final {
 public:
  Ledger(const LoadPlan& plan, const std::function<void(std::size_t, std::size_t)>& progress)
      : total_(plan.clients * (plan.requests + 1)), progress_(progress) {}

  void enter(base::Time submitted, base::Time ended) EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    entries_.push_back({submitted, ended});
    if (progress_) progress_(entries_.size(), total_);
  }

  void fail_with(Error error) EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    if (!error_) error_ = std::move(error);
  }

  bool has_failed() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    return error_.has_value();
  }

  /// When every client has stopped.
  Result<LoadResult> result(std::size_t uncounted) EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    if (error_) return std::unexpected(*error_);
    CHECK(entries_.size() > uncounted);
    std::ranges::sort(entries_, {}, &Entry::ended);
    LoadResult result;
    for (const Entry& entry : std::span(entries_).subspan(uncounted)) {
      result.seconds.push_back(std::chrono::duration<double>(entry.ended - entry.submitted).count());
    }
    result.span_seconds = std::chrono::duration<double>(entries_.back().ended - entries_[uncounted - 1].ended).count();
    return result;
  }

 private:
  struct Entry {
    base::Time submitted, ended;
  };
  const std::size_t total_;
  const std::function<void(std::size_t, std::size_t)>& progress_;
  base::Mutex mutex_;
  std::vector<Entry> entries_ GUARDED_BY(mutex_);
  std::optional<Error> error_ GUARDED_BY(mutex_);
};

generation::Request make_request(const LoadPlan& plan, std::size_t vocab, std::uint64_t seed) {
  base::Random random(seed);
  generation::Request request;
  request.prompt.resize(plan.prompt_tokens);
  for (generation::TokenId& token : request.prompt) token = static_cast<generation::TokenId>(random.below(vocab));
  request.sampling.temperature = 0;
  request.max_tokens = plan.answer_tokens;
  request.ignore_eos = true;
  return request;
}

void run_client(generation::Generator& generator, const LoadPlan& plan, const base::Clock& clock, std::size_t client,
                Ledger& ledger) {
  const std::size_t vocab = generator.card().tokenizer->vocab();
  for (std::size_t i = 0; i <= plan.requests && !ledger.has_failed(); ++i) {
    generation::Request request = make_request(plan, vocab, kLoadSeed + client * (plan.requests + 1) + i);
    const base::Time submitted = clock.now();
    const auto answer = generation::generate(generator, std::move(request));
    const base::Time ended = clock.now();
    if (!answer) return ledger.fail_with(answer.error());
    if (answer->tokens.size() != plan.answer_tokens) {
      return ledger.fail_with(
          {Code::kInternal,
           fmt::format("an answer has {} tokens and not {}", answer->tokens.size(), plan.answer_tokens),
           {}});
    }
    ledger.enter(submitted, ended);
  }
}

}  // namespace

double LoadResult::mean() const {
  if (seconds.empty()) return 0;
  return std::accumulate(seconds.begin(), seconds.end(), 0.0) / static_cast<double>(seconds.size());
}

double LoadResult::percentile(double share) const {
  if (seconds.empty()) return 0;
  std::vector<double> sorted = seconds;
  std::ranges::sort(sorted);
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  return sorted[static_cast<std::size_t>(std::clamp(rank, 1.0, static_cast<double>(sorted.size()))) - 1];
}

double LoadResult::requests_per_second() const {
  return static_cast<double>(seconds.size()) / std::max(span_seconds, 1e-9);
}

Result<LoadResult> measure_closed_load(generation::Generator& generator, const LoadPlan& plan, const base::Clock& clock,
                                       const std::function<void(std::size_t done, std::size_t total)>& progress) {
  CHECK(plan.clients > 0 && plan.requests > 0 && plan.prompt_tokens > 0 && plan.answer_tokens > 0);
  Ledger ledger(plan, progress);
  {
    std::vector<std::jthread> clients;  // joined at the end of this block
    clients.reserve(plan.clients);
    for (std::size_t client = 0; client < plan.clients; ++client) {
      clients.emplace_back([&, client] { run_client(generator, plan, clock, client, ledger); });
    }
  }
  return ledger.result(plan.clients);
}

}  // namespace autoglm::app
