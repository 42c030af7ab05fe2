// SPDX-License-Identifier: Apache-2.0
// No allocation in a step: all memory of the scheduler, the sampler, the sequences and their block tables is taken when
// they are made. What this proves: steps that decode, prefill, preempt and admit do not call operator new. What it
// leaves out: an event's text above the 15 bytes that std::string holds in place, and its list of top_logprobs; those
// belong to the client's sink and are made anew for each event.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "engine/script.h"
#include "simulation/simulated_client.h"

namespace {

std::atomic<std::size_t> allocation_count = 0;

}  // namespace

void* operator new(std::size_t bytes) {
  ++allocation_count;
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  ++allocation_count;
  return std::malloc(bytes == 0 ? 1 : bytes);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace autoglm::simulation {
namespace {

constexpr std::string_view kScript = "==\n<|random:29|> <|repeat|>\n";

// Hears without keeping.
class Counter final : public generation::Sink {
 public:
  void on_token(generation::TokenEvent event) override { bytes += event.text.size(); }
  void on_finish(generation::Finish) override { ++finishes; }
  std::size_t bytes = 0;
  int finishes = 0;
};

struct Measured {
  std::size_t allocations = 0;
  std::size_t bytes = 0;
  double preemptions = 0;
};

Measured measure(const generation::Sampling& sampling, std::size_t block_count, std::size_t prompt_length, int steps) {
  engine::EngineModel model = engine::load_script(kScript).value();
  base::VirtualClock clock;
  telemetry::Registry registry;
  engine::EngineMetrics metrics(registry);
  engine::StepLoopOptions options;
  options.scheduler.max_batch_size = 8;
  options.scheduler.max_batch_tokens = 64;
  options.block_count = block_count;
  engine::StepLoop loop(*model.network, options, clock, metrics);
  auto sink = std::make_shared<Counter>();
  for (int i = 0; i < 8; ++i) {
    generation::Request request;
    request.prompt.assign(prompt_length, 'x');
    request.prompt.push_back(engine::kReplyToken);
    request.max_tokens = 300;
    request.sampling = sampling;
    request.sampling.seed = i;
    loop.add(make_sequence(i + 1, request, sink, model, clock.now()));
  }
  loop.step();
  const std::size_t before = allocation_count;
  for (int i = 0; i < steps; ++i) loop.step();
  Measured measured{allocation_count - before, sink->bytes, 0};
  EXPECT_EQ(sink->finishes, 0) << "ends are not a steady state";
  const std::string text = registry.expose();
  const std::string key = "\nopenautoglm_preemptions_total ";
  measured.preemptions = std::atof(text.c_str() + text.find(key) + key.size());
  return measured;
}

TEST(Allocation, TheCounterCounts) {
  const std::size_t before = allocation_count;
  const auto something = std::make_unique<int>(1);
  EXPECT_EQ(allocation_count - before, 1u);
}

TEST(Allocation, DecodingAllocatesNothing) {
  generation::Sampling sampling;
  const Measured plain = measure(sampling, 200, 3, 100);
  EXPECT_EQ(plain.allocations, 0u);
  EXPECT_GT(plain.bytes, 700u);
  sampling.top_p = 0.9f;
  sampling.top_k = 40;
  sampling.repetition_penalty = 1.2f;
  sampling.frequency_penalty = 0.1f;
  sampling.logit_bias = {{'q', 1.0f}};
  EXPECT_EQ(measure(sampling, 200, 3, 100).allocations, 0u);
}

TEST(Allocation, PrefillAllocatesNothing) { EXPECT_EQ(measure({}, 200, 300, 30).allocations, 0u); }

TEST(Allocation, PreemptionAllocatesNothing) {
  const Measured tight = measure({}, 20, 3, 250);
  EXPECT_GT(tight.preemptions, 0);
  EXPECT_EQ(tight.allocations, 0u);
}

}  // namespace
}  // namespace autoglm::simulation
