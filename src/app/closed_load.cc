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
  Ledger(std::size_t total, const LoadProgress& progress) : total_(total), progress_(progress) {}

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
  const LoadProgress& progress_;
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

// Sends one request, the one of this seed, and waits for its end.
using Ask = std::function<Status(std::uint64_t seed)>;

Result<LoadResult> measure_clients(std::size_t clients, std::size_t requests, const Ask& ask, const base::Clock& clock,
                                   const LoadProgress& progress) {
  Ledger ledger(clients * (requests + 1), progress);
  const auto run_client = [&](std::size_t client) {
    for (std::size_t i = 0; i <= requests && !ledger.has_failed(); ++i) {
      const base::Time submitted = clock.now();
      const Status status = ask(kLoadSeed + client * (requests + 1) + i);
      const base::Time ended = clock.now();
      if (!status) return ledger.fail_with(status.error());
      ledger.enter(submitted, ended);
    }
  };
  {
    std::vector<std::jthread> threads;  // joined at the end of this block
    threads.reserve(clients);
    for (std::size_t client = 0; client < clients; ++client) threads.emplace_back([&, client] { run_client(client); });
  }
  return ledger.result(clients);
}

Status ask_generator(generation::Generator& generator, const LoadPlan& plan, std::uint64_t seed) {
  const auto answer =
      TRY(generation::generate(generator, make_request(plan, generator.card().tokenizer->vocab(), seed)));
  if (answer.tokens.size() == plan.answer_tokens) return {};
  return fail(Code::kInternal,
              fmt::format("an answer has {} tokens and not {}", answer.tokens.size(), plan.answer_tokens));
}

Status ask_embedder(generation::Embedder& embedder, const EmbeddingLoadPlan& plan, std::uint64_t seed) {
  base::Random random(seed);
  std::vector<generation::TokenId> text(plan.tokens);
  for (auto& token : text) token = static_cast<generation::TokenId>(random.below(plan.vocab));
  TRY(generation::embed(embedder, {.id = {}, .texts = {std::move(text)}, .tenant = {}}));
  return {};
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
                                       const LoadProgress& progress) {
  CHECK(plan.clients > 0 && plan.requests > 0 && plan.prompt_tokens > 0 && plan.answer_tokens > 0);
  return measure_clients(
      plan.clients, plan.requests, [&](std::uint64_t seed) { return ask_generator(generator, plan, seed); }, clock,
      progress);
}

Result<LoadResult> measure_embedding_load(generation::Embedder& embedder, const EmbeddingLoadPlan& plan,
                                          const base::Clock& clock, const LoadProgress& progress) {
  CHECK(plan.clients > 0 && plan.requests > 0 && plan.tokens > 0 && plan.vocab > 0);
  return measure_clients(
      plan.clients, plan.requests, [&](std::uint64_t seed) { return ask_embedder(embedder, plan, seed); }, clock,
      progress);
}

}  // namespace autoglm::app
