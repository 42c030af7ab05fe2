// SPDX-License-Identifier: Apache-2.0
// The engine's thread and the door in front of it: submit() and cancel() from any thread, one loop of steps behind a
// bounded inbox. The loop knows nothing of callers but their sinks.
#include "engine/engine.h"

#include <fmt/format.h>

#include <atomic>
#include <functional>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/bounded_queue.h"
#include "base/log.h"
#include "base/random.h"
#include "engine/kv_memory.h"
#include "engine/step_loop.h"
#include "generation/validate.h"

namespace autoglm::engine {
namespace {

constexpr std::size_t kMaxBatchSize = 4096;
constexpr std::size_t kMaxBatchTokens = 65536;
constexpr std::size_t kMaxQueue = 1u << 20;

using Ticket = generation::Ticket;

// The inbox holds new sequences; a null one only wakes the loop.
using Message = std::unique_ptr<Sequence>;

StepLoopOptions loop_options(const EngineModel& model, const EngineOptions& options, std::size_t block_count) {
  StepLoopOptions loop;
  loop.scheduler.max_batch_size = options.max_batch_size;
  loop.scheduler.max_batch_tokens = options.max_batch_tokens;
  loop.scheduler.max_prefill_chunk = options.max_prefill_chunk;
  loop.scheduler.max_waiting = options.queue_capacity;
  loop.scheduler.batch_timeout = options.batch_timeout;
  loop.scheduler.has_prefix_cache = options.has_prefix_cache;
  loop.scheduler.prefix_key = base::entropy_bits();
  loop.block_count = block_count;
  const auto ends = model.card.tokenizer->eos();
  loop.grammar_ends.assign(ends.begin(), ends.end());
  loop.is_favourite_binding = model.is_scripted;
  loop.has_jump_forward = options.has_jump_forward;
  return loop;
}

// Tells its owner that the request has ended, just before the caller's sink hears of it: whoever was told may rely on
// in_flight().
class CountingSink final : public generation::Sink {
 public:
  CountingSink(std::shared_ptr<generation::Sink> target, std::function<void()> ended)
      : target_(std::move(target)), ended_(std::move(ended)) {}
  void on_prompt_logprobs(std::vector<generation::TokenEvent> tokens) override {
    target_->on_prompt_logprobs(std::move(tokens));
  }
  void on_prompt_logits(std::size_t position, std::span<const float> logits) override {
    target_->on_prompt_logits(position, logits);
  }
  void on_token(generation::TokenEvent event) override { target_->on_token(std::move(event)); }
  void on_finish(generation::Finish finish) override {
    ended_();
    target_->on_finish(std::move(finish));
  }

 private:
  std::shared_ptr<generation::Sink> target_;
  std::function<void()> ended_;
};

class Engine final : public generation::Generator {
 public:
  Engine(EngineModel model, const EngineOptions& options, std::size_t block_count, const base::Clock& clock,
         telemetry::Registry& metrics)
      : model_(std::move(model)),
        bounds_{model_.network->vocab(), model_.card.context_length, block_count * kBlockTokens},
        clock_(clock),
        registry_(metrics),
        metrics_(metrics),
        inbox_(model_.card.max_in_flight + 1, base::WhenFull::kRefuse),
        masks_(metrics_.stages),
        seat_(options.turns == nullptr ? nullptr
                                       : std::make_unique<ComputeTurns::Seat>(*options.turns, options.weight, metrics)),
        loop_(*model_.network, loop_options(model_, options, block_count), clock, metrics_, &masks_),
        thread_([this] { serve(); }) {
    metrics_.queue_capacity.set(static_cast<double>(options.queue_capacity));
  }

  ~Engine() override {
    is_stopping_ = true;
    inbox_.close();
    thread_.join();
  }

  const generation::ModelCard& card() const override { return model_.card; }
  bool is_ready() const override { return !is_draining_ && !is_stopping_; }
  void drain() override { is_draining_ = true; }
  std::size_t in_flight() const override { return in_flight_; }

  Result<Ticket> submit(generation::Request request, std::shared_ptr<generation::Sink> sink) override {
    Result<Ticket> ticket = try_submit(std::move(request), std::move(sink));
    if (!ticket) registry_.counter("openautoglm_requests_refused_total", code_name(ticket.error().code)).add();
    return ticket;
  }

  void cancel(Ticket ticket) override EXCLUDES(mutex_) {
    {
      base::MutexLock lock(mutex_);
      const auto found = sequences_.find(ticket);
      if (found == sequences_.end()) return;
      found->second->is_cancel_requested = true;
    }
    wake();
  }

 private:
  Result<Ticket> try_submit(generation::Request request, std::shared_ptr<generation::Sink> sink) EXCLUDES(mutex_);
  Result<std::unique_ptr<Sequence>> make_sequence(generation::Request request, std::shared_ptr<generation::Sink> sink);
  void forget(Ticket ticket) EXCLUDES(mutex_);
  void serve();
  void step();
  void take_in();
  void take_in(std::optional<Message> message);
  void wake();

  EngineModel model_;
  const generation::RequestBounds bounds_;
  const base::Clock& clock_;
  telemetry::Registry& registry_;
  EngineMetrics metrics_;

  std::atomic<bool> is_draining_ = false;
  std::atomic<bool> is_stopping_ = false;
  std::atomic<bool> is_wake_queued_ = false;
  std::atomic<std::size_t> in_flight_ = 0;
  std::atomic<Ticket> next_ticket_ = 1;

  base::Mutex mutex_;
  // Sequences that cancel() may reach; each leaves before it is destroyed.
  std::unordered_map<Ticket, Sequence*> sequences_ GUARDED_BY(mutex_);

  base::BoundedQueue<Message> inbox_;
  MaskWorker masks_;
  const std::unique_ptr<ComputeTurns::Seat> seat_;  // null = no other model runs
  StepLoop loop_;
  std::thread thread_;  // last: it uses all of the above
};

Result<Ticket> Engine::try_submit(generation::Request request, std::shared_ptr<generation::Sink> sink) {
  if (!is_ready()) return fail(Code::kUnavailable, "the engine is shutting down and takes no new requests");
  TRY(generation::validate(request, bounds_));
  if (in_flight_.fetch_add(1) >= model_.card.max_in_flight) {
    --in_flight_;
    return fail(Code::kExhausted,
                fmt::format("{} requests are running or waiting already; try again later", model_.card.max_in_flight));
  }
  Result<std::unique_ptr<Sequence>> made = make_sequence(std::move(request), std::move(sink));
  if (!made) {
    --in_flight_;
    return std::unexpected(std::move(made).error());
  }
  const Ticket ticket = (*made)->ticket;
  {
    base::MutexLock lock(mutex_);
    sequences_.emplace(ticket, made->get());
  }
  if (!inbox_.push(std::move(*made))) {
    forget(ticket);
    return fail(Code::kUnavailable, "the engine is shutting down and takes no new requests");
  }
  return ticket;
}

Result<std::unique_ptr<Sequence>> Engine::make_sequence(generation::Request request,
                                                        std::shared_ptr<generation::Sink> sink) {
  std::unique_ptr<text::Matcher> matcher;
  if (request.grammar != nullptr) matcher = TRY(request.grammar->start());
  std::vector<TokenId> ends = request.stop_tokens;
  if (!request.ignore_eos) ends.insert(ends.end(), model_.eos.begin(), model_.eos.end());
  const std::uint64_t seed = request.sampling.seed ? *request.sampling.seed : base::entropy_bits();
  const std::size_t limit = generation::answer_limit(request, bounds_);
  SamplingState state(request, std::move(ends), seed, bounds_.vocab, limit, std::move(matcher));
  const Ticket ticket = next_ticket_++;
  auto counting = std::make_shared<CountingSink>(std::move(sink), [this, ticket] { forget(ticket); });
  return std::make_unique<Sequence>(ticket, std::move(request), std::move(counting), std::move(state), limit,
                                    *model_.card.tokenizer, clock_.now());
}

void Engine::forget(Ticket ticket) {
  {
    base::MutexLock lock(mutex_);
    sequences_.erase(ticket);
  }
  --in_flight_;
}

void Engine::wake() {
  if (!is_wake_queued_.exchange(true)) inbox_.push(nullptr);
}

void Engine::serve() {
  while (!is_stopping_) {
    take_in();
    step();
  }
  if (seat_ != nullptr) seat_->rest();
  while (auto message = inbox_.try_pop()) {
    if (*message != nullptr) loop_.add(std::move(*message));
  }
  loop_.end_all(Error{Code::kUnavailable, "the engine was stopped", {}});
}

// Among several models each step waits for its turn, and takes along what has come meanwhile.
void Engine::step() {
  if (seat_ == nullptr) return loop_.step();
  seat_->take();
  take_in(std::nullopt);
  loop_.step();
  seat_->give_back();
}

// Everything that has arrived; sleeps while there is nothing to do.
void Engine::take_in() {
  const Scheduler& scheduler = loop_.scheduler();
  std::optional<Message> message = inbox_.try_pop();
  if (!message && scheduler.is_idle()) {
    if (seat_ != nullptr) seat_->rest();
    message = inbox_.pop();
  } else if (const auto until = scheduler.next_wake(); !message && until && *until > clock_.now()) {
    if (seat_ != nullptr) seat_->rest();
    message = inbox_.pop_until(*until);
  }
  take_in(std::move(message));
}

void Engine::take_in(std::optional<Message> message) {
  for (; message || (message = inbox_.try_pop()); message.reset()) {
    if (*message == nullptr) {
      is_wake_queued_ = false;
    } else {
      loop_.add(std::move(*message));
    }
  }
}

Status validate_options(const EngineOptions& options) {
  const auto in_range = [](const char* name, std::size_t value, std::size_t low, std::size_t high) -> Status {
    if (value >= low && value <= high) return {};
    return fail(Code::kInvalidArgument, fmt::format("{} must be between {} and {}, got {}", name, low, high, value),
                name);
  };
  TRY(in_range("max_batch_size", options.max_batch_size, 1, kMaxBatchSize));
  TRY(in_range("max_batch_tokens", options.max_batch_tokens, 1, kMaxBatchTokens));
  TRY(in_range("max_prefill_chunk", options.max_prefill_chunk, 0, kMaxBatchTokens));
  TRY(in_range("queue_capacity", options.queue_capacity, 1, kMaxQueue));
  return {};
}

}  // namespace

Result<std::unique_ptr<generation::Generator>> start_engine(EngineModel model, const EngineOptions& options,
                                                            const base::Clock& clock, telemetry::Registry& metrics) {
  TRY(validate_options(options));
  const std::size_t longest = model.network->context_length();
  if (options.context_length > longest) {
    return fail(Code::kInvalidArgument,
                fmt::format("context_length is {}, but the model runs at most {}", options.context_length, longest),
                "context_length");
  }
  model.card.context_length = options.context_length > 0 ? options.context_length : longest;
  model.card.max_batch_size = options.max_batch_size;
  model.card.control_spellings = text::control_spellings(*model.card.tokenizer);
  model.card.stages = &metrics.stages();
  model.card.max_in_flight = options.max_batch_size + options.queue_capacity;
  const std::size_t block_bytes = model.network->kv_bytes_per_block();
  const std::size_t bytes = options.kv_bytes > 0 ? options.kv_bytes : default_kv_bytes(*model.network, options);
  // More blocks than the batch can ever fill are not reserved.
  const std::size_t useful = (model.card.context_length + kBlockTokens - 1) / kBlockTokens * options.max_batch_size;
  const std::size_t block_count = std::min(bytes / block_bytes, useful);
  if (block_count == 0) {
    return fail(Code::kExhausted,
                fmt::format("{} bytes of KV memory do not hold one block of {} tokens ({} bytes)", bytes, kBlockTokens,
                            block_bytes),
                "kv_bytes");
  }
  model.card.kv_bytes = block_count * block_bytes;
  model.card.kv_tokens = block_count * kBlockTokens;
  // Pages are taken as they are used: what is not there would end the process later, amid its work.
  const std::size_t available = available_bytes("/");
  if (model.card.kv_bytes > available) {
    return fail(Code::kExhausted,
                fmt::format("{} bytes of KV memory are wanted, and {} bytes of memory are left", model.card.kv_bytes,
                            available),
                "kv_bytes");
  }
  if (const std::size_t unpacked = model.network->unpacked_bytes(); unpacked > available - model.card.kv_bytes) {
    LOG_WARN("experts may take {} bytes as they are first used, and {} bytes of memory are left beside the KV cache",
             unpacked, available - model.card.kv_bytes);
  }
  // One sequence may fill it, and no more.
  model.card.context_length = std::min(model.card.context_length, model.card.kv_tokens);
  try {
    return std::make_unique<Engine>(std::move(model), options, block_count, clock, metrics);
  } catch (const std::bad_alloc&) {
    return fail(Code::kExhausted, fmt::format("{} bytes of KV memory could not be reserved", bytes), "kv_bytes");
  }
}

}  // namespace autoglm::engine
