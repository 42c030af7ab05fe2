// SPDX-License-Identifier: Apache-2.0
// Bit-exact serving (docs/decisions/0002-bit-exact.md): the same tokens give the same bits of logits alone or in a
// batch, whatever the chunks, the thread count and preemption, on each instruction set of this machine. Everything runs
// through the real scheduler and sampler. The last test shows that a reordered reduction is noticed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "base/log.h"
#include "base/random.h"
#include "base/sanitized.h"
#include "engine/step_loop.h"
#include "model/load.h"
#include "parity/bit_exact_witness.h"
#include "parity/golden.h"

namespace autoglm::parity {
namespace {

using base::kIsSanitized;
using engine::StepLoop;
using generation::Request;

constexpr std::size_t kMaxBatchTokens = 512;
constexpr std::size_t kMaxBatch = 32;
constexpr std::size_t kScoredRows = 128;  // above the longest prompt: scoring must not cut its chunks
constexpr std::size_t kBlockTokens = kernels::KvLayer::kBlockTokens;

// Counts what is heard: an answer that lost a token would leave nothing to compare.
class Counter final : public generation::Sink {
 public:
  void on_token(generation::TokenEvent) override { ++tokens; }
  void on_finish(generation::Finish finish) override { has_failed |= finish.error.has_value(); }
  std::size_t tokens = 0;
  bool has_failed = false;
};

// How one run differs from the next; the answer's bits must not.
struct Variant {
  std::size_t batch = 1;  // most sequences of a forward pass
  std::size_t chunk = 512;
  bool preempts = false;
};

// What is asked. Of `period` requests two reach the end of their first block in the answer, one has a long prompt that
// chunks of 64 must cut and whose every token is scored, and the others are short. The first requests are the same
// whatever the count.
struct Workload {
  std::size_t count = 32;
  std::size_t period = 8;
  std::size_t crossing_prompt = kBlockTokens - 1;
  std::size_t short_prompt = 28;  // longest of the short ones
  std::size_t long_prompt = 95;
  std::size_t answer = 8;
  std::size_t scarce_blocks = 12;  // so few that old sequences take blocks from new ones, whatever the chunks
  std::size_t longest() const { return std::max(crossing_prompt, long_prompt) + answer; }
};

std::vector<Request> make_requests(const Workload& work, std::size_t vocab) {
  base::Random random(20261123);
  std::vector<Request> requests(work.count);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    std::size_t length = 1 + random.below(work.short_prompt);
    const std::size_t place = i % work.period;
    if (place == 0 || place == 2) length = work.crossing_prompt;
    if (place == 1) length = work.long_prompt - random.below(8);
    for (std::size_t k = 0; k < length; ++k) requests[i].prompt.push_back(static_cast<int>(random.below(vocab)));
    requests[i].max_tokens = work.answer;
    requests[i].sampling.seed = i;
    requests[i].sampling.temperature = i % 2 == 0 ? 0.0f : 0.9f;
    requests[i].want_prompt_logprobs = place == 1 || place == 5;
  }
  return requests;
}

std::size_t blocks_for(std::size_t tokens) { return (tokens + kBlockTokens - 1) / kBlockTokens; }

std::size_t all_blocks(const Workload& work) { return work.count * blocks_for(work.longest()); }

/// Runs all requests to their ends and returns how often a sequence was preempted.
std::size_t run(WitnessedModel& model, const Workload& work, const Variant& variant) {
  // Tokens without text: these tests look at ids and logits only.
  const auto no_text = text::Tokenizer::ids_only(model.vocab());
  base::VirtualClock clock;
  telemetry::Registry registry(clock);
  engine::EngineMetrics metrics(registry);
  engine::StepLoopOptions options;
  // One sequence in the scheduler is never preempted: then several are there, and the model takes them one by one.
  options.scheduler.max_batch_size = variant.preempts ? kMaxBatch : variant.batch;
  model.take_at_most(variant.batch);
  options.scheduler.max_batch_tokens = kMaxBatchTokens;
  options.scheduler.max_prefill_chunk = variant.chunk;
  options.scheduler.max_scored_rows = kScoredRows;
  options.scheduler.growth_blocks = variant.preempts ? 0 : 1;
  options.block_count = variant.preempts ? work.scarce_blocks : all_blocks(work);
  StepLoop loop(model, options, clock, metrics);
  const auto sink = std::make_shared<Counter>();
  const std::vector<Request> requests = make_requests(work, model.vocab());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    engine::SamplingState state(requests[i], {}, i, model.vocab(), work.answer, nullptr);
    loop.add(std::make_unique<engine::Sequence>(i + 1, requests[i], sink, std::move(state), work.answer, *no_text,
                                                clock.now()));
  }
  for (std::size_t step = 0; step < 100'000 && !loop.scheduler().is_idle(); ++step) loop.step();
  EXPECT_TRUE(loop.scheduler().is_idle());
  EXPECT_FALSE(sink->has_failed);
  EXPECT_EQ(sink->tokens, work.count * work.answer);
  const std::string text = registry.expose();
  const std::string key = "\nopenautoglm_preemptions_total ";
  return std::strtoull(text.c_str() + text.find(key) + key.size(), nullptr, 10);
}

std::string isa_names(const std::vector<kernels::Isa>& isas, bool is_present) {
  std::string names;
  for (const kernels::Isa isa : {kernels::Isa::kScalar, kernels::Isa::kAvx2, kernels::Isa::kAvx512}) {
    if ((std::ranges::find(isas, isa) != isas.end()) == is_present) names += fmt::format(" {}", kernels::isa_name(isa));
  }
  return names.empty() ? " none" : names;
}

struct Outcome {
  std::size_t compared = 0;  // rows of logits
  std::size_t runs = 0;
  std::size_t preemptions = 0;
  Outcome& operator+=(const Outcome& other) {
    compared += other.compared;
    runs += other.runs;
    preemptions += other.preemptions;
    return *this;
  }
};

void report(std::string_view what, const Outcome& outcome) {
  const auto isas = kernels::available_isas();
  fmt::print("{}: {} rows of logits compared in {} runs, {} preemptions; instruction sets run:{}; skipped:{}\n", what,
             outcome.compared, outcome.runs, outcome.preemptions, isa_names(isas, true), isa_names(isas, false));
}

// What the variants of one checkpoint run: those with one sequence in a pass may ask less than the others.
struct Load {
  Workload alone;
  Workload together;
};

constexpr std::string_view name_of(kernels::KvType kv_type) {
  if (kv_type == kernels::KvType::kF32) return "exact";
  return kv_type == kernels::KvType::kF16 ? "fast" : "fast with keys and values in int8";
}

/// One checkpoint on one instruction set, in exact where keys and values are f32 and else in fast: every request alone
/// on one thread first, then all variants on one thread and on two.
Outcome compare(const std::filesystem::path& path, kernels::Isa isa, kernels::KvType kv_type, const Load& load,
                std::span<const Variant> variants) {
  SCOPED_TRACE(fmt::format("{} {} {}", path.string(), kernels::isa_name(isa), name_of(kv_type)));
  Outcome outcome;
  Witness witness;
  for (const int threads : {1, 2}) {
    model::LoadOptions options;
    options.isa = isa;
    options.compute = kv_type == kernels::KvType::kF32 ? kernels::Compute::kExact : kernels::Compute::kFast;
    options.kv_type = kv_type;
    options.threads = threads;
    auto network = model::load_network(path, options);
    if (!network) {
      ADD_FAILURE() << network.error().message;
      return outcome;
    }
    WitnessedModel model(**network, witness, all_blocks(load.together), kMaxBatchTokens, kMaxBatch + kScoredRows);
    if (threads == 1) {
      run(model, load.together, Variant{});
      witness.end_of_reference();
    }
    for (const Variant& variant : variants) {
      SCOPED_TRACE(fmt::format("{} threads, batch {}, chunks of {}{}", threads, variant.batch, variant.chunk,
                               variant.preempts ? ", preempting" : ""));
      const std::size_t preemptions = run(model, variant.batch == 1 ? load.alone : load.together, variant);
      EXPECT_EQ(witness.different(), 0u);
      EXPECT_EQ(preemptions > 0, variant.preempts);
      outcome.preemptions += preemptions;
      ++outcome.runs;
    }
  }
  outcome.compared = witness.compared();
  return outcome;
}

std::vector<Variant> all_variants() {
  std::vector<Variant> variants;
  for (const std::size_t batch : {1, 32}) {
    for (const std::size_t chunk : {1, 7, 64, 512}) {
      for (const bool preempts : {false, true}) variants.push_back({batch, chunk, preempts});
    }
  }
  return variants;
}

// The telling ones, where a run is slow or there are many.
constexpr Variant kFewVariants[] = {{1, 7, true}, {32, 1, true}, {32, 64, false}, {32, 512, true}};

std::vector<std::filesystem::path> golden_models(const char* folder, bool is_file) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(TESTDATA_DIR) / "golden" / folder)) {
    if (!is_file || entry.path().extension() == ".gguf") paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  return paths;
}

class BitExact : public testing::Test {
 protected:
  // A model that takes its sequences one by one says so for every step.
  void SetUp() override { ASSERT_TRUE(base::set_log_level("off")); }
};
using BitExactRealModel = BitExact;

// Those whose layers have experts are small enough as GGUF only.
std::vector<std::filesystem::path> models_of_families() {
  std::vector<std::filesystem::path> paths = golden_models("tiny", false);
  for (const auto& path : golden_models("gguf", true)) {
    if (path.filename().string().contains("moe")) paths.push_back(path);
  }
  return paths;
}

TEST_F(BitExact, RandomModelsOfEveryFamilyInEveryVariant) {
  const std::vector<Variant> every = all_variants();
  Outcome all;
  for (const auto& path : models_of_families()) {
    // One family of each kind of attention, full and windowed, and one with experts are enough for what a sanitizer
    // may report.
    const std::string name = path.stem().string();
    if (kIsSanitized && name != "qwen2" && name != "gemma3_text" && name != "glm4moe-F16") continue;
    for (const kernels::Isa isa : kernels::available_isas()) {
      const Workload work{.count = kIsSanitized ? 12u : 32u, .scarce_blocks = kIsSanitized ? 5u : 12u};
      const std::span<const Variant> few(kFewVariants);
      all += compare(path, isa, kernels::KvType::kF16, {work, work}, kIsSanitized ? few : every);
      all += compare(path, isa, kernels::KvType::kInt8, {work, work}, few);
      all += compare(path, isa, kernels::KvType::kF32, {work, work}, few);
    }
  }
  report("families", all);
  EXPECT_GE(all.compared, 2000u);
}

TEST_F(BitExact, EveryWeightType) {
  Outcome all;
  for (const auto& path : golden_models("gguf", true)) {
    for (const kernels::Isa isa : kernels::available_isas()) {
      for (const auto kv_type : {kernels::KvType::kF16, kernels::KvType::kF32}) {
        if (kIsSanitized && kv_type == kernels::KvType::kF32) continue;
        const Workload work{.count = 8, .short_prompt = 16, .long_prompt = 72, .answer = 4, .scarce_blocks = 4};
        all += compare(path, isa, kv_type, {work, work},
                       std::span<const Variant>(kFewVariants).first(kIsSanitized ? 1 : std::size(kFewVariants)));
      }
    }
  }
  report("weight types", all);
  EXPECT_GE(all.compared, 2000u);
}

TEST_F(BitExactRealModel, QwenInFastMode) {
  const std::filesystem::path path = real_model("qwen05.gguf");
  Outcome all;
  for (const kernels::Isa isa : kernels::available_isas()) {
    const Workload alone{
        .count = 3, .period = 32, .short_prompt = 5, .long_prompt = 72, .answer = 4, .scarce_blocks = 4};
    Workload together = alone;
    together.count = 32;
    together.scarce_blocks = 7;
    const auto start = std::chrono::steady_clock::now();
    all += compare(path, isa, kernels::KvType::kF16, {alone, together}, all_variants());
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    fmt::print("{}: {:.0f} s\n", kernels::isa_name(isa), passed.count());
  }
  report("qwen2.5-coder-0.5b, fast", all);
  EXPECT_GE(all.compared, 2000u);
}

// Sums one vector per token of the prefix into the logits. In the right order each position adds to the sum of all
// before it; in the reordered one the rows of a chunk are summed among themselves first, as a kernel would that splits
// a reduction by what happens to be in the batch.
class SumModel final : public model::LanguageModel {
 public:
  static constexpr std::size_t kVocab = 64;
  explicit SumModel(bool is_reordered) : is_reordered_(is_reordered) {}
  std::size_t vocab() const override { return kVocab; }
  std::size_t context_length() const override { return 4096; }
  std::size_t kv_bytes_per_block() const override { return kBlockTokens * kVocab * sizeof(float); }
  void reserve(std::size_t blocks, std::size_t, std::size_t max_logit_rows) override {
    sums_.resize(blocks * kBlockTokens * kVocab);
    logits_.resize(max_logit_rows * kVocab);
  }
  void copy_block(std::uint32_t from, std::uint32_t to) override {
    const std::size_t values = kBlockTokens * kVocab;
    std::copy_n(sums_.begin() + from * values, values, sums_.begin() + to * values);
  }
  model::Logits forward(const model::Batch& batch) override {
    std::size_t written = 0;
    for (const kernels::SequenceRows& rows : batch.sequences) {
      std::vector<float> chunk(kVocab, 0.0f);
      for (std::size_t i = 0; i < rows.rows; ++i) {
        const std::size_t position = rows.first_position + i;
        const std::size_t before = is_reordered_ ? rows.first_position : position;
        for (std::size_t k = 0; k < kVocab; ++k) {
          const auto token = static_cast<std::uint64_t>(batch.tokens[rows.first_row + i]);
          const auto value = static_cast<float>(base::random_unit(token, position, k) - 0.5);
          chunk[k] = is_reordered_ ? chunk[k] + value : value;
          sum_at(rows, position)[k] = (before == 0 ? 0.0f : sum_at(rows, before - 1)[k]) + chunk[k];
        }
        if (written == batch.logit_rows.size() || batch.logit_rows[written] != rows.first_row + i) continue;
        std::copy_n(sum_at(rows, position), kVocab, logits_.data() + written++ * kVocab);
      }
    }
    return {written, kVocab, logits_.data()};
  }

 private:
  float* sum_at(const kernels::SequenceRows& rows, std::size_t position) {
    return sums_.data() + (rows.block_table[position / kBlockTokens] * kBlockTokens + position % kBlockTokens) * kVocab;
  }

  const bool is_reordered_;
  std::vector<float> sums_;
  std::vector<float> logits_;
};

TEST_F(BitExact, AReorderedReductionIsNoticed) {
  const Workload work;
  for (const bool is_reordered : {false, true}) {
    SumModel sum(is_reordered);
    Witness witness;
    WitnessedModel model(sum, witness, all_blocks(work), kMaxBatchTokens, kMaxBatch + kScoredRows);
    run(model, work, Variant{});
    witness.end_of_reference();
    for (const Variant& variant : all_variants()) run(model, work, variant);
    EXPECT_GE(witness.compared(), 2000u);
    if (is_reordered) {
      EXPECT_GT(witness.different(), witness.compared() / 10);
    } else {
      EXPECT_EQ(witness.different(), 0u);
    }
  }
}

}  // namespace
}  // namespace autoglm::parity
