// SPDX-License-Identifier: Apache-2.0
// No allocation in a step: all memory of the scheduler, the sampler, the sequences, their block tables and the model is
// taken when they are made. What this proves: steps that admit, prefill, decode, sample, mask, preempt and end do not
// call operator new. What may:
//   - an event's text above the 15 bytes that std::string holds in place, and its list of top_logprobs: they are handed
//     to the client's sink, made anew for each event, and bounded by its token and by 20;
//   - the words of an error, when a request ends with one;
//   - the grammar's own states, inside the bridge: they are made as a text needs them, within its budget, and are not
//     seen here (the bridge does not use operator new).
// And when memory runs out there, that is the end of one request and not of the engine.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>

#include "base/log.h"
#include "engine/script.h"
#include "model/load.h"
#include "simulation/simulated_client.h"

namespace {

constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();
std::atomic<std::size_t> allocation_count = 0;
std::atomic<std::size_t> failing_allocation = kNever;  // by its number

void* counted(void* memory) {
  if (++allocation_count != failing_allocation) return memory;
  std::free(memory);
  return nullptr;
}

void* or_throw(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* aligned(std::size_t bytes, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  return std::aligned_alloc(step, (bytes + step) / step * step);
}

}  // namespace

void* operator new(std::size_t bytes) { return or_throw(counted(std::malloc(bytes + 1))); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return counted(std::malloc(bytes + 1)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return or_throw(counted(aligned(bytes, alignment)));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace autoglm::simulation {
namespace {

constexpr std::string_view kScript = "==\n<|random:29|> <|repeat|>\n";

// Hears without keeping.
class Counter final : public generation::Sink {
 public:
  void on_prompt_logprobs(std::vector<generation::TokenEvent> events) override { prompt_tokens += events.size(); }
  void on_token(generation::TokenEvent event) override {
    ++tokens;
    longest_text = std::max(longest_text, event.text.size());
  }
  void on_finish(generation::Finish finish) override {
    ++finishes;
    has_failed |= finish.error.has_value();
  }
  std::size_t prompt_tokens = 0;
  std::size_t tokens = 0;
  std::size_t longest_text = 0;
  int finishes = 0;
  bool has_failed = false;
};

struct Memory {
  std::size_t blocks = 200;
  std::size_t sequences = 8;
};

struct Measured {
  std::size_t allocations = 0;
  Counter heard;
  double preemptions = 0;
};

/// Eight requests from their admission to their ends.
Measured measure(const engine::EngineModel& model, const generation::Request& asked, const Memory& memory = {}) {
  base::VirtualClock clock;
  telemetry::Registry registry(clock);
  engine::EngineMetrics metrics(registry);
  engine::StepLoopOptions options;
  options.scheduler.max_batch_size = memory.sequences;
  options.scheduler.max_batch_tokens = 64;
  options.block_count = memory.blocks;
  engine::StepLoop loop(*model.network, options, clock, metrics);
  auto sink = std::make_shared<Counter>();
  for (int i = 0; i < 8; ++i) {
    generation::Request request = asked;
    request.sampling.seed = i;
    loop.add(make_sequence(i + 1, request, sink, model, clock.now()));
  }
  const std::size_t before = allocation_count;
  for (int i = 0; i < 5'000 && !loop.scheduler().is_idle(); ++i) loop.step();
  Measured measured{allocation_count - before, *sink, 0};
  EXPECT_EQ(measured.heard.finishes, 8);
  EXPECT_FALSE(measured.heard.has_failed);
  EXPECT_LE(measured.heard.longest_text, 15u) << "texts that a string holds in place";
  const std::string text = registry.expose();
  const std::string key = "\nopenautoglm_preemptions_total ";
  measured.preemptions = std::atof(text.c_str() + text.find(key) + key.size());
  return measured;
}

class Allocation : public testing::Test {
 protected:
  static generation::Request request(std::size_t prompt, std::size_t answer) {
    generation::Request request;
    request.prompt.assign(prompt, 'x');
    request.prompt.push_back(engine::kReplyToken);
    request.max_tokens = answer;
    return request;
  }

  engine::EngineModel model_ = engine::load_script(kScript).value();
};

TEST_F(Allocation, TheCounterCounts) {
  struct alignas(64) Wide {
    char bytes[64];
  };
  const std::size_t before = allocation_count;
  const auto something = std::make_unique<int>(1);
  const auto wide = std::make_unique<Wide>();
  EXPECT_EQ(allocation_count - before, 2u);
}

TEST_F(Allocation, DecodingAllocatesNothing) {
  const Measured plain = measure(model_, request(3, 100));
  EXPECT_EQ(plain.allocations, 0u);
  EXPECT_EQ(plain.heard.tokens, 800u);
}

TEST_F(Allocation, PrefillAllocatesNothing) { EXPECT_EQ(measure(model_, request(300, 2)).allocations, 0u); }

TEST_F(Allocation, WaitingForAPlaceAllocatesNothing) {
  EXPECT_EQ(measure(model_, request(30, 20), {.sequences = 2}).allocations, 0u);
}

TEST_F(Allocation, PreemptionAllocatesNothing) {
  const Measured tight = measure(model_, request(3, 250), {.blocks = 20});
  EXPECT_GT(tight.preemptions, 0);
  EXPECT_EQ(tight.allocations, 0u);
}

TEST_F(Allocation, SamplingAllocatesNothing) {
  generation::Request asked = request(3, 100);
  asked.sampling.top_p = 0.9f;
  asked.sampling.top_k = 40;
  asked.sampling.min_p = 0.01f;
  asked.sampling.repetition_penalty = 1.2f;
  asked.sampling.frequency_penalty = 0.1f;
  asked.sampling.presence_penalty = 0.1f;
  asked.sampling.logit_bias = {{'q', 1.0f}};
  asked.min_tokens = 5;
  EXPECT_EQ(measure(model_, asked).allocations, 0u);
}

TEST_F(Allocation, StopStringsAllocateNothing) {
  generation::Request asked = request(3, 200);
  asked.stop = {"ab", "never to be said", std::string(100, 'z')};
  const Measured stopped = measure(model_, asked);
  EXPECT_EQ(stopped.allocations, 0u);
  EXPECT_GT(stopped.heard.tokens, 50u);
}

TEST_F(Allocation, LogprobsAllocateTheListThatIsHandedOver) {
  generation::Request asked = request(40, 50);
  asked.want_logprobs = true;
  asked.want_prompt_logprobs = true;
  EXPECT_EQ(measure(model_, asked).allocations, 0u) << "without alternatives";
  asked.top_logprobs = 20;
  const Measured listed = measure(model_, asked);
  EXPECT_EQ(listed.heard.tokens, 8u * 50);
  EXPECT_EQ(listed.heard.prompt_tokens, 8u * 41);
  EXPECT_EQ(listed.allocations, 8u * 50 + 8u * 40) << "one list for each token; the first of a prompt has none";
}

TEST_F(Allocation, GrammarMasksAllocateNothingOnThisSide) {
  generation::Request asked = request(3, 60);
  asked.grammar = text::Grammar::any_json_object(model_.card.tokenizer).value();
  const Measured masked = measure(model_, asked);
  EXPECT_GT(masked.heard.tokens, 8u);
  EXPECT_EQ(masked.allocations, 0u);
  asked.grammar =
      text::Grammar::from_lark(R"(start: ("a" | "b") "cdefghijklm" /[0-9]+/)", {}, model_.card.tokenizer).value();
  const Measured forced = measure(model_, asked);
  EXPECT_GE(forced.heard.tokens, 8u * 12);
  EXPECT_EQ(forced.allocations, 0u);
}

TEST_F(Allocation, TheTransformerAllocatesNothing) {
  const base::SystemClock clock;
  telemetry::Stages stages(clock);
  model::LoadOptions options;
  options.threads = 2;
  options.stages = &stages;
  const std::filesystem::path path = std::filesystem::path(TESTDATA_DIR) / "golden" / "tiny" / "qwen2";
  for (const auto kv_type : {kernels::KvType::kF16, kernels::KvType::kInt8, kernels::KvType::kF32}) {
    options.compute = kv_type == kernels::KvType::kF32 ? kernels::Compute::kExact : kernels::Compute::kFast;
    options.kv_type = kv_type;
    model::LoadedModel loaded = model::load_model(path, options).value();
    engine::EngineModel real;
    real.network = std::move(loaded.network);
    real.card.tokenizer = std::move(loaded.tokenizer);
    generation::Request asked = request(70, 40);
    for (std::size_t i = 0; i < asked.prompt.size(); ++i) asked.prompt[i] = static_cast<int>(i % 50);
    asked.sampling.logit_bias = {{40, 100.0f}};  // a token of one letter, on every instruction set
    EXPECT_EQ(measure(real, asked).allocations, 0u);
    EXPECT_GT(stages.read()[telemetry::Stage::kHead].calls, 0u) << "with its stages counted";
  }
}

// Every allocation of a run fails once: whoever it was for ends, once, and nobody else notices.
TEST_F(Allocation, NoMemoryIsTheEndOfOneRequest) {
  ASSERT_TRUE(base::set_log_level("off"));
  std::size_t ends_with_error = 0;
  std::vector<std::string> expected;
  for (std::size_t failing = 0;; ++failing) {  // 0: none, for what is to be heard
    base::VirtualClock clock;
    telemetry::Registry registry(clock);
    engine::EngineMetrics metrics(registry);
    engine::StepLoopOptions options;
    options.block_count = 40;
    engine::StepLoop loop(*model_.network, options, clock, metrics);
    std::vector<std::shared_ptr<Recorder>> recorders;
    for (int i = 0; i < 3; ++i) {
      generation::Request asked = request(5, 12);
      asked.sampling.seed = i;
      asked.want_prompt_logprobs = i == 1;
      asked.want_logprobs = i != 0;
      asked.top_logprobs = 2;
      if (i == 2) asked.stop = {std::string(20, 'z')};
      recorders.push_back(std::make_shared<Recorder>());
      recorders.back()->heard.reserve(1 << 16);
      loop.add(make_sequence(i + 1, asked, recorders.back(), model_, clock.now()));
    }
    if (failing > 0) failing_allocation = allocation_count + failing;
    for (int i = 0; i < 200 && !loop.scheduler().is_idle(); ++i) loop.step();
    const bool has_failed = allocation_count >= failing_allocation;
    failing_allocation = kNever;
    ASSERT_TRUE(loop.scheduler().is_idle());
    EXPECT_EQ(loop.scheduler().pool().used_count(), 0u);
    std::size_t errors = 0;
    for (std::size_t i = 0; i < recorders.size(); ++i) {
      ASSERT_EQ(recorders[i]->finish_count, 1) << "allocation " << failing;
      if (failing == 0) expected.push_back(recorders[i]->heard);
      if (recorders[i]->finish->error) {
        ++errors;
        EXPECT_EQ(recorders[i]->finish->error->code, Code::kInternal);
      } else {
        EXPECT_EQ(recorders[i]->heard, expected[i]);
      }
    }
    EXPECT_LE(errors, 1u);
    ends_with_error += errors;
    if (failing > 0 && !has_failed) break;
  }
  EXPECT_GT(ends_with_error, 20u);
}

}  // namespace
}  // namespace autoglm::simulation
