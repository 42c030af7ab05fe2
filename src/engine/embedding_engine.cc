// SPDX-License-Identifier: Apache-2.0
#include "engine/embedding_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/bounded_queue.h"
#include "base/mutex.h"
#include "engine/engine_metrics.h"
#include "engine/text_batcher.h"

namespace autoglm::engine {
namespace {

using generation::EmbeddingAnswer;
using generation::EmbeddingRequest;
using generation::EmbeddingSink;
using generation::Ticket;

constexpr std::size_t kMostTexts = 4096;    // max_batch_size
constexpr std::size_t kMostTokens = 65536;  // max_batch_tokens
constexpr std::size_t kMostWaiting = 1u << 20;

// The inbox holds new requests; a null one only wakes the loop.
using JobMessage = std::unique_ptr<TextJob>;

double seconds_between(base::Time from, base::Time to) { return std::chrono::duration<double>(to - from).count(); }

// Memory of steps is taken before the first.
template <typename T>
std::vector<T> reserved(std::size_t size) {
  std::vector<T> values;
  values.reserve(size);
  return values;
}

class EmbeddingEngine final : public generation::Embedder {
 public:
  EmbeddingEngine(EmbeddingEngineModel model, const EmbeddingOptions& options, const base::Clock& clock,
                  telemetry::Registry& metrics)
      : model_(std::move(model)),
        clock_(clock),
        registry_(metrics),
        metrics_(metrics),
        inbox_(model_.card.max_in_flight + 1, base::WhenFull::kRefuse),
        batcher_({.max_batch_size = options.max_batch_size,
                  .max_batch_tokens = options.max_batch_tokens,
                  .max_requests = options.max_requests,
                  .batch_timeout = options.batch_timeout}),
        seat_(options.turns == nullptr ? nullptr
                                       : std::make_unique<ComputeTurns::Seat>(*options.turns, options.weight, metrics)),
        tokens_(reserved<model::TokenId>(options.max_batch_tokens)),
        lengths_(reserved<std::size_t>(options.max_batch_size)),
        second_begins_(reserved<std::size_t>(options.max_batch_size)),
        thread_([this] { serve(); }) {
    metrics_.queue_capacity.set(static_cast<double>(options.queue_capacity));
  }

  ~EmbeddingEngine() override {
    is_stopping_ = true;
    inbox_.close();
    thread_.join();
  }

  const generation::EmbedderCard& card() const override { return model_.card; }
  bool is_ready() const override { return !is_draining_ && !is_stopping_; }
  void drain() override { is_draining_ = true; }
  std::size_t in_flight() const override { return in_flight_; }

  Result<Ticket> submit(EmbeddingRequest request, std::shared_ptr<EmbeddingSink> sink) override {
    Result<Ticket> ticket = try_submit(std::move(request), std::move(sink));
    if (!ticket) registry_.counter("openautoglm_requests_refused_total", code_name(ticket.error().code)).add();
    return ticket;
  }

  void cancel(Ticket ticket) override EXCLUDES(mutex_) {
    {
      base::MutexLock lock(mutex_);
      const auto found = jobs_.find(ticket);
      if (found == jobs_.end()) return;
      found->second->is_cancel_requested = true;
    }
    if (!is_wake_queued_.exchange(true)) inbox_.push(nullptr);
  }

 private:
  Status validate(const EmbeddingRequest& request) const;
  Result<Ticket> try_submit(EmbeddingRequest request, std::shared_ptr<EmbeddingSink> sink) EXCLUDES(mutex_);
  void forget(Ticket ticket) EXCLUDES(mutex_);
  void serve();
  void take_in();
  void take_in(std::optional<JobMessage> message);
  void take_turn();
  void step();
  void run(std::span<const TextBatcher::Place> places);
  void finish(TextJob& job);
  void end(TextJob& job, Error why, telemetry::Counter& counter);

  EmbeddingEngineModel model_;
  const base::Clock& clock_;
  telemetry::Registry& registry_;
  EngineMetrics metrics_;

  std::atomic<bool> is_draining_ = false;
  std::atomic<bool> is_stopping_ = false;
  std::atomic<bool> is_wake_queued_ = false;
  std::atomic<std::size_t> in_flight_ = 0;
  std::atomic<Ticket> next_ticket_ = 1;

  base::Mutex mutex_;
  // Requests that cancel() may reach; each leaves before it is destroyed.
  std::unordered_map<Ticket, TextJob*> jobs_ GUARDED_BY(mutex_);

  base::BoundedQueue<JobMessage> inbox_;
  TextBatcher batcher_;
  const std::unique_ptr<ComputeTurns::Seat> seat_;  // null = no other model runs
  std::vector<model::TokenId> tokens_;              // of a step
  std::vector<std::size_t> lengths_;
  std::vector<std::size_t> second_begins_;
  std::thread thread_;  // last: it uses all of the above
};

std::string place_of(std::size_t text, std::size_t texts) {
  return texts == 1 ? "input" : fmt::format("input[{}]", text);
}

Status EmbeddingEngine::validate(const EmbeddingRequest& request) const {
  const std::size_t texts = request.texts.size();
  if (texts == 0 || texts > generation::kMaxTexts) {
    return fail(Code::kInvalidArgument, fmt::format("{} texts; from 1 to {} are taken", texts, generation::kMaxTexts),
                "input");
  }
  if (!request.second_begins.empty() && request.second_begins.size() != texts) {
    return fail(
        Code::kInvalidArgument,
        fmt::format("{} texts, but {} places where the second of a pair begins", texts, request.second_begins.size()),
        "input");
  }
  for (std::size_t i = 0; i < texts; ++i) {
    const auto& ids = request.texts[i];
    if (ids.empty()) return fail(Code::kInvalidArgument, "a text has no tokens", place_of(i, texts));
    if (ids.size() > model_.card.context_length) {
      return fail(
          Code::kInvalidArgument,
          fmt::format("a text has {} tokens, and this model takes at most {}", ids.size(), model_.card.context_length),
          place_of(i, texts));
    }
    for (const auto id : ids) {
      if (id >= 0 && static_cast<std::size_t>(id) < model_.network->vocab()) continue;
      return fail(Code::kInvalidArgument,
                  fmt::format("the token id {} is outside the vocabulary of {}", id, model_.network->vocab()),
                  place_of(i, texts));
    }
  }
  return {};
}

Result<Ticket> EmbeddingEngine::try_submit(EmbeddingRequest request, std::shared_ptr<EmbeddingSink> sink) {
  if (!is_ready()) return fail(Code::kUnavailable, "the engine is shutting down and takes no new requests");
  TRY(validate(request));
  if (in_flight_.fetch_add(1) >= model_.card.max_in_flight) {
    --in_flight_;
    return fail(Code::kExhausted,
                fmt::format("{} requests are running or waiting already; try again later", model_.card.max_in_flight));
  }
  auto job = std::make_unique<TextJob>();
  const Ticket ticket = next_ticket_++;
  job->ticket = ticket;
  job->vectors.resize(request.texts.size() * model_.card.width);
  job->request = std::move(request);
  job->sink = std::move(sink);
  job->arrived = clock_.now();
  {
    base::MutexLock lock(mutex_);
    jobs_.emplace(ticket, job.get());
  }
  metrics_.waiting.add(1);
  if (!inbox_.push(std::move(job))) {
    metrics_.waiting.add(-1);
    forget(ticket);
    return fail(Code::kUnavailable, "the engine is shutting down and takes no new requests");
  }
  return ticket;
}

void EmbeddingEngine::forget(Ticket ticket) {
  {
    base::MutexLock lock(mutex_);
    jobs_.erase(ticket);
  }
  --in_flight_;
}

void EmbeddingEngine::serve() {
  while (!is_stopping_) {
    take_in();
    take_turn();
  }
  if (seat_ != nullptr) seat_->rest();
  while (auto message = inbox_.try_pop()) {
    if (*message != nullptr) batcher_.add(std::move(*message));
  }
  for (const auto& job : batcher_.take_all()) {
    end(*job, Error{Code::kUnavailable, "the engine was stopped", {}}, metrics_.finished_error);
  }
}

// Everything that has arrived; sleeps while there is nothing to do.
void EmbeddingEngine::take_in() {
  std::optional<JobMessage> message = inbox_.try_pop();
  if (!message && batcher_.is_idle()) {
    if (seat_ != nullptr) seat_->rest();
    message = inbox_.pop();
  } else if (const auto until = batcher_.next_wake(); !message && until && *until > clock_.now()) {
    if (seat_ != nullptr) seat_->rest();
    message = inbox_.pop_until(*until);
  }
  take_in(std::move(message));
}

void EmbeddingEngine::take_in(std::optional<JobMessage> message) {
  for (; message || (message = inbox_.try_pop()); message.reset()) {
    if (*message == nullptr) {
      is_wake_queued_ = false;
      continue;
    }
    metrics_.submitted.add();
    batcher_.add(std::move(*message));
  }
}

// Among several models each batch waits for its turn, and takes along what has come meanwhile.
void EmbeddingEngine::take_turn() {
  if (seat_ == nullptr) return step();
  seat_->take();
  take_in(std::nullopt);
  step();
  seat_->give_back();
}

void EmbeddingEngine::step() {
  for (const auto& job : batcher_.take_cancelled()) {
    end(*job, Error{Code::kCancelled, "the request was cancelled", {}}, metrics_.finished_cancelled);
  }
  const base::Time started = clock_.now();
  const auto places = batcher_.plan(started);
  if (places.empty()) return;
  run(places);
  metrics_.steps.add();
  metrics_.batch_rows.observe(static_cast<double>(tokens_.size()));
  metrics_.batch_sequences.observe(static_cast<double>(places.size()));
  metrics_.prompt_tokens.add(static_cast<double>(tokens_.size()));
  metrics_.step_seconds.observe(seconds_between(started, clock_.now()));
  for (const auto& job : batcher_.commit()) finish(*job);
}

void EmbeddingEngine::run(std::span<const TextBatcher::Place> places) {
  tokens_.clear();
  lengths_.clear();
  second_begins_.clear();
  for (const TextBatcher::Place& place : places) {
    const auto& ids = place.job->request.texts[place.text];
    tokens_.insert(tokens_.end(), ids.begin(), ids.end());
    lengths_.push_back(ids.size());
    const auto& begins = place.job->request.second_begins;
    second_begins_.push_back(begins.empty() ? ids.size() : begins[place.text]);
  }
  const model::Vectors vectors =
      model_.network->forward({.tokens = tokens_, .lengths = lengths_, .second_begins = second_begins_});
  for (std::size_t i = 0; i < places.size(); ++i) {
    const auto from = vectors.row(i);
    std::ranges::copy(from,
                      places[i].job->vectors.begin() + static_cast<std::ptrdiff_t>(places[i].text * model_.card.width));
  }
}

void EmbeddingEngine::finish(TextJob& job) {
  const base::Time now = clock_.now();
  EmbeddingAnswer answer{.vectors = std::move(job.vectors),
                         .queue_seconds = seconds_between(job.arrived, job.begun.value_or(now)),
                         .total_seconds = seconds_between(job.arrived, now)};
  metrics_.queue_seconds.observe(answer.queue_seconds);
  metrics_.request_seconds.observe(answer.total_seconds);
  metrics_.finished_stop.add();
  metrics_.waiting.add(-1);
  // Before the caller hears of it: who was told may rely on in_flight().
  forget(job.ticket);
  job.sink->on_end(std::move(answer));
}

void EmbeddingEngine::end(TextJob& job, Error why, telemetry::Counter& counter) {
  counter.add();
  metrics_.waiting.add(-1);
  forget(job.ticket);
  job.sink->on_end(std::unexpected(std::move(why)));
}

Status check_range(const char* name, std::size_t value, std::size_t most) {
  if (value >= 1 && value <= most) return {};
  return fail(Code::kInvalidArgument, fmt::format("{} must be between 1 and {}, got {}", name, most, value), name);
}

}  // namespace

Result<std::unique_ptr<generation::Embedder>> start_embedding_engine(EmbeddingEngineModel model,
                                                                     const EmbeddingOptions& options,
                                                                     const base::Clock& clock,
                                                                     telemetry::Registry& metrics) {
  TRY(check_range("max_batch_size", options.max_batch_size, kMostTexts));
  TRY(check_range("max_batch_tokens", options.max_batch_tokens, kMostTokens));
  TRY(check_range("queue_capacity", options.queue_capacity, kMostWaiting));
  TRY(check_range("context_length", model.card.context_length, model.network->max_tokens()));
  EmbeddingOptions chosen = options;
  chosen.max_batch_tokens = std::max(options.max_batch_tokens, model.card.context_length);
  model.card.width = model.network->width();
  model.card.max_batch_size = options.max_batch_size;
  model.card.max_in_flight = options.max_batch_size + options.queue_capacity;
  model.card.stages = &metrics.stages();
  try {
    model.network->reserve(std::max(chosen.max_batch_tokens, options.max_batch_size), options.max_batch_size);
    return std::make_unique<EmbeddingEngine>(std::move(model), chosen, clock, metrics);
  } catch (const std::bad_alloc&) {
    return fail(Code::kExhausted,
                fmt::format("the memory for batches of {} tokens could not be reserved", chosen.max_batch_tokens),
                "max_batch_tokens");
  }
}

}  // namespace autoglm::engine
