// SPDX-License-Identifier: Apache-2.0
#include "app/bench_stages_measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "base/random.h"
#include "engine/step_loop.h"
#include "generation/chat_prompt.h"

namespace autoglm::app {
namespace {

using telemetry::Stage;

constexpr std::uint64_t kPromptSeed = 20260101;
constexpr std::size_t kWarmUpDecodes = 16;
constexpr std::string_view kPromptWords = "The river bends twice before it reaches the mill, and nobody knows why. ";

std::size_t kv_blocks_of(std::size_t tokens) {
  return (tokens + kernels::KvLayer::kBlockTokens - 1) / kernels::KvLayer::kBlockTokens;
}

// Hears whether its sequence has begun to answer.
class FirstToken final : public generation::Sink {
 public:
  void on_token(generation::TokenEvent) override { is_heard = true; }
  void on_finish(generation::Finish) override {}
  bool is_heard = false;
};

class StagesRunner final {
 public:
  StagesRunner(engine::EngineModel& model, const StagesPlan& plan, const kernels::Roof& roof,
               telemetry::Registry& registry, const base::Clock& clock)
      : model_(model), plan_(plan), roof_(roof), stages_(registry.stages()), clock_(clock), metrics_(registry) {
    model_.card.stages = &stages_;
  }

  Status check();
  Result<StageReport> prefill();
  Result<StageReport> decode();

 private:
  std::size_t depth() const { return std::max<std::size_t>(plan_.depth, 1); }
  // While the last of the prompts are read, the first sequences decode already: so many steps at most.
  std::size_t head_start() const { return (plan_.batch * depth() - 1) / (step_rows() - plan_.batch) + 1; }
  std::size_t step_rows() const { return std::max(plan_.max_batch_tokens, 2 * plan_.batch); }
  std::size_t decode_tokens() const { return depth() + head_start() + plan_.decode_steps + 1; }
  void start();
  std::shared_ptr<FirstToken> add(std::vector<generation::TokenId> prompt, std::size_t answer);
  Status read_prompt(const std::string& text);
  Result<std::string> text_of(std::size_t tokens) const;
  std::vector<generation::TokenId> random_prompt(std::size_t tokens) const;
  void decode_steps(std::size_t steps, StageReport& report);
  /// What the roof allows `rows` rows in `steps` steps, `logit_rows` of them with logits.
  void set_least_seconds(StageReport& report, std::size_t rows, std::size_t logit_rows, std::size_t steps) const;

  engine::EngineModel& model_;
  const StagesPlan& plan_;
  const kernels::Roof& roof_;
  telemetry::Stages& stages_;
  const base::Clock& clock_;
  engine::EngineMetrics metrics_;
  std::unique_ptr<engine::StepLoop> loop_;
  generation::Ticket last_ticket_ = 0;
};

Status StagesRunner::check() {
  if (plan_.prefill_tokens == 0 && plan_.decode_steps == 0) {
    return fail(Code::kInvalidArgument, "nothing to measure: --prefill and --decode are both 0", "--prefill");
  }
  if (plan_.rounds == 0) return fail(Code::kInvalidArgument, "--rounds must be at least 1", "--rounds");
  if (plan_.batch == 0) return fail(Code::kInvalidArgument, "--batch must be at least 1", "--batch");
  const std::size_t prompt = plan_.prefill_tokens == 0 ? 0 : plan_.prefill_tokens + 1;
  const std::size_t answer = plan_.decode_steps == 0 ? 0 : decode_tokens();
  if (const std::size_t longest = std::max(prompt, answer); longest > model_.network->context_length()) {
    return fail(Code::kInvalidArgument,
                fmt::format("the plan needs a context of {} tokens; the model's is {}", longest,
                            model_.network->context_length()),
                prompt == longest ? "--prefill" : "--decode");
  }
  start();
  return {};
}

void StagesRunner::start() {
  engine::StepLoopOptions options;
  options.scheduler.max_batch_size = plan_.batch;
  options.scheduler.max_batch_tokens = step_rows();
  options.scheduler.growth_blocks = 0;  // there are blocks for all
  options.scheduler.has_prefix_cache = false;
  options.block_count = kv_blocks_of(plan_.prefill_tokens + 1);
  if (plan_.decode_steps > 0) {
    options.block_count = std::max(options.block_count, plan_.batch * kv_blocks_of(decode_tokens()));
  }
  const auto ends = model_.card.tokenizer->eos();
  options.grammar_ends.assign(ends.begin(), ends.end());
  loop_ = std::make_unique<engine::StepLoop>(*model_.network, options, clock_, metrics_);
}

// The sampling of a client that asks for nothing particular; only the length ends the answer.
std::shared_ptr<FirstToken> StagesRunner::add(std::vector<generation::TokenId> prompt, std::size_t answer) {
  generation::Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = answer;
  auto sink = std::make_shared<FirstToken>();
  engine::SamplingState state(request, {}, ++last_ticket_, model_.network->vocab(), answer, nullptr);
  loop_->add(std::make_unique<engine::Sequence>(last_ticket_, std::move(request), sink, std::move(state), answer,
                                                *model_.card.tokenizer, clock_.now()));
  return sink;
}

// Words that become at least so many tokens, and few more. Empty where there are none: tokens without text, or a
// vocabulary that takes any words for one unknown token.
Result<std::string> StagesRunner::text_of(std::size_t tokens) const {
  const text::Tokenizer& tokenizer = *model_.card.tokenizer;
  if (!tokenizer.has_text()) return std::string();
  const std::size_t each = std::max<std::size_t>(TRY(tokenizer.encode(kPromptWords, {})).size(), 1);
  for (std::size_t copies = tokens / each + 1; copies <= 2 * tokens + 2; copies += copies / 16 + 1) {
    std::string text;
    for (std::size_t i = 0; i < copies; ++i) text += kPromptWords;
    if (TRY(tokenizer.encode(text, {.add_special = true})).size() >= tokens) return text;
  }
  return std::string();
}

// Where there is no text: the work does not depend on the tokens.
std::vector<generation::TokenId> StagesRunner::random_prompt(std::size_t tokens) const {
  base::Random random(kPromptSeed);
  std::vector<generation::TokenId> prompt(tokens);
  for (auto& token : prompt) token = static_cast<generation::TokenId>(random.below(model_.network->vocab()));
  return prompt;
}

Status StagesRunner::read_prompt(const std::string& text) {
  std::vector<generation::TokenId> prompt;
  if (text.empty()) {
    prompt = random_prompt(plan_.prefill_tokens);
  } else {
    prompt = TRY(generation::encode(model_.card, text, {.add_special = true}));
    prompt.resize(plan_.prefill_tokens);
  }
  add(std::move(prompt), 1);
  while (!loop_->scheduler().is_idle()) loop_->step();
  return {};
}

Result<StageReport> StagesRunner::prefill() {
  const std::string text = TRY(text_of(plan_.prefill_tokens));
  TRY(read_prompt(text));
  StageReport report;
  report.title = fmt::format("prefill, {} tokens", plan_.prefill_tokens);
  report.unit = "prompt";
  report.units = plan_.rounds;
  const telemetry::StageTimes before = stages_.read();
  const base::Time begin = clock_.now();
  for (std::size_t round = 0; round < plan_.rounds; ++round) TRY(read_prompt(text));
  report.seconds = std::chrono::duration<double>(clock_.now() - begin).count();
  report.times = stages_.read() - before;
  set_least_seconds(report, plan_.prefill_tokens, 1, (plan_.prefill_tokens + step_rows() - 1) / step_rows());
  return report;
}

void StagesRunner::decode_steps(std::size_t steps, StageReport& report) {
  std::vector<std::shared_ptr<FirstToken>> sinks;
  for (std::size_t i = 0; i < plan_.batch; ++i) sinks.push_back(add(random_prompt(depth()), head_start() + steps + 1));
  while (!std::ranges::all_of(sinks, &FirstToken::is_heard)) loop_->step();
  const telemetry::StageTimes before = stages_.read();
  const base::Time begin = clock_.now();
  for (std::size_t step = 0; step < steps; ++step) loop_->step();
  report.seconds += std::chrono::duration<double>(clock_.now() - begin).count();
  report.times += stages_.read() - before;
  loop_->end_all(Error{Code::kCancelled, "the measurement is over", {}});
}

Result<StageReport> StagesRunner::decode() {
  StageReport warm_up;
  decode_steps(std::min(plan_.decode_steps, kWarmUpDecodes), warm_up);
  StageReport report;
  report.title = fmt::format("decode, {} sequence{} from {} token{} on", plan_.batch, plan_.batch == 1 ? "" : "s",
                             depth(), depth() == 1 ? "" : "s");
  report.unit = "step";
  report.units = plan_.rounds * plan_.decode_steps;
  for (std::size_t round = 0; round < plan_.rounds; ++round) decode_steps(plan_.decode_steps, report);
  set_least_seconds(report, plan_.batch, plan_.batch, 1);
  return report;
}

void StagesRunner::set_least_seconds(StageReport& report, std::size_t rows, std::size_t logit_rows,
                                     std::size_t steps) const {
  if (roof_.int8_macs_per_second <= 0 || roof_.read_bytes_per_second <= 0) return;
  for (std::size_t i = 0; i < telemetry::kStageCount; ++i) {
    const auto stage = static_cast<Stage>(i);
    const model::StageWork work = model_.network->work(stage);
    const bool is_head = stage == Stage::kHead;
    const double macs = work.macs_per_row * static_cast<double>(is_head ? logit_rows : rows);
    const double bytes = work.weight_bytes * static_cast<double>(is_head ? 1 : steps);
    report.least_seconds[i] = std::max(macs / roof_.int8_macs_per_second, bytes / roof_.read_bytes_per_second);
  }
}

}  // namespace

Result<std::vector<StageReport>> measure_stages(engine::EngineModel& model, const StagesPlan& plan,
                                                const kernels::Roof& roof, telemetry::Registry& registry,
                                                const base::Clock& clock,
                                                const std::function<void(std::string_view what)>& progress) {
  StagesRunner runner(model, plan, roof, registry, clock);
  TRY(runner.check());
  std::vector<StageReport> reports;
  if (plan.prefill_tokens > 0) {
    if (progress) progress("prefill");
    reports.push_back(TRY(runner.prefill()));
  }
  if (plan.decode_steps > 0) {
    if (progress) progress("decode");
    reports.push_back(TRY(runner.decode()));
  }
  return reports;
}

}  // namespace autoglm::app
