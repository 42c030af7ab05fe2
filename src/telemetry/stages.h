// SPDX-License-Identifier: Apache-2.0
// Where the time goes: nanoseconds and calls of every stage of an answer, counted always, in fixed memory. One object
// for each running model, owned by its Registry, which shows it in /metrics. A stage is entered by one thread at a time
// or by many; any thread reads. A stage costs at most two clock reads and two additions.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/clock.h"

namespace autoglm::telemetry {

enum class Stage : std::uint8_t {
  kLoadTokenizer,
  kLoadWeights,
  kTemplate,
  kTokenise,
  kPlan,
  kEmbed,
  kNorm,
  kQkv,
  kRotateStore,
  kAttention,
  kAttentionOutput,
  kRoute,
  kPackExperts,
  kFfnGateUp,
  kFfnActivation,
  kFfnDown,
  kHead,
  kGrammarMask,
  kMaskWait,
  kSample,
  kDetokenise,
  kDeliver,
};
constexpr std::size_t kStageCount = static_cast<std::size_t>(Stage::kDeliver) + 1;

// Whose time it is. Stages of one step, and those of one caller, never overlap and never nest: their sum is at most the
// time that has passed.
enum class StagePlace : std::uint8_t {
  kLoad,    // once, before the first request
  kCaller,  // the thread that asks; in a server beside the engine's steps
  kStep,    // the engine's thread
  kBeside,  // a thread of its own, while a step runs: no part of the step's time
};

struct StageSpec {
  std::string_view name;  // as in tables, in JSON and in /metrics
  StagePlace place;
  std::string_view meaning;
};

// Every stage there is, in the order of the enumeration.
std::span<const StageSpec> all_stages();
const StageSpec& spec_of(Stage stage);

struct StageTime {
  std::uint64_t nanoseconds = 0;
  std::uint64_t calls = 0;
};

// What had been counted at one moment; the difference of two is what happened between them.
struct StageTimes {
  std::array<StageTime, kStageCount> stages{};

  const StageTime& operator[](Stage stage) const { return stages[static_cast<std::size_t>(stage)]; }
  StageTimes operator-(const StageTimes& earlier) const;
  StageTimes& operator+=(const StageTimes& more);
  /// Nanoseconds of all stages in `place`.
  std::uint64_t sum(StagePlace place) const;
};

class Stages final {
 public:
  /// `clock` must outlive this.
  explicit Stages(const base::Clock& clock) : clock_(clock) {}
  Stages(const Stages&) = delete;
  Stages& operator=(const Stages&) = delete;

  base::Time now() const { return clock_.now(); }
  void add(Stage stage, base::Duration duration);
  StageTimes read() const;

 private:
  struct Cell {
    std::atomic<std::uint64_t> nanoseconds = 0;
    std::atomic<std::uint64_t> calls = 0;
  };
  const base::Clock& clock_;
  std::array<Cell, kStageCount> cells_;
};

// Counts the time from its making to its end, or from one next() to the following one. Without stages it does nothing.
class StageTimer final {
 public:
  StageTimer(Stages* stages, Stage stage) : stages_(stages), stage_(stage) {
    if (stages_ != nullptr) begin_ = stages_->now();
  }
  ~StageTimer() { stop(); }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

  /// Ends the stage and begins with another one, at the same moment.
  void next(Stage stage) {
    if (stages_ != nullptr) {
      const base::Time now = stages_->now();
      stages_->add(stage_, now - begin_);
      begin_ = now;
    }
    stage_ = stage;
  }
  /// Ends the stage before the timer's own end.
  void stop() {
    if (stages_ != nullptr) stages_->add(stage_, stages_->now() - begin_);
    stages_ = nullptr;
  }

 private:
  Stages* stages_;
  Stage stage_;
  base::Time begin_{};
};

}  // namespace autoglm::telemetry
