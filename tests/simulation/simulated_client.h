// SPDX-License-Identifier: Apache-2.0
// What the simulation's clients ask, and what they hear. Random requests on the scripted model, whose every letter
// depends on all tokens before it: a wrong block, a lost token or a neighbour's influence changes the answer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "engine/engine.h"
#include "engine/step_loop.h"
#include "generation/event.h"

namespace autoglm::simulation {

// All that a client heard. Two requests that are the same must hear the same, bit for bit.
class Recorder final : public generation::Sink {
 public:
  void on_prompt_logprobs(std::vector<generation::TokenEvent> tokens) override;
  void on_token(generation::TokenEvent event) override;
  void on_finish(generation::Finish finish) override;

  std::string heard;  // tokens, text and the bits of logprobs, in order
  std::string text;
  std::size_t token_count = 0;
  std::optional<generation::Finish> finish;
  int finish_count = 0;
  int events_after_finish = 0;
};

// The scripted model with faults: it throws or returns NaN for sequences that hold a poisonous token, and now and then
// it throws for a whole batch although nobody is to blame.
class FaultyModel final : public model::LanguageModel {
 public:
  static constexpr engine::TokenId kThrowingToken = 1;
  static constexpr engine::TokenId kNanToken = 2;

  explicit FaultyModel(model::LanguageModel& good) : good_(good) {}
  std::size_t vocab() const override { return good_.vocab(); }
  std::size_t context_length() const override { return good_.context_length(); }
  std::size_t short_context() const override { return good_.short_context(); }
  std::size_t kv_bytes_per_block() const override { return good_.kv_bytes_per_block(); }
  void reserve(std::size_t blocks, std::size_t max_rows, std::size_t max_logit_rows) override {
    good_.reserve(blocks, max_rows, max_logit_rows);
  }
  void copy_block(std::uint32_t from, std::uint32_t to) override { good_.copy_block(from, to); }
  model::Logits forward(const model::Batch& batch) override;

  bool throws_once = false;

 private:
  model::LanguageModel& good_;
};

// One client: its request, when it comes and when it leaves.
struct Client {
  generation::Request request;
  std::size_t arrival_step = 0;
  std::optional<std::size_t> leaves_after;  // steps after its arrival
  std::shared_ptr<Recorder> recorder = std::make_shared<Recorder>();
};

/// A random request: lengths, sampling, stop strings, logprobs, priority; now and then poison. Half of the prompts
/// begin as one of a few others do, so that the prefix cache has something to find.
generation::Request random_request(base::Random& random, std::size_t longest_prompt, std::size_t longest_answer);

std::unique_ptr<engine::Sequence> make_sequence(generation::Ticket ticket, const generation::Request& request,
                                                std::shared_ptr<generation::Sink> sink,
                                                const engine::EngineModel& model, base::Time now);

}  // namespace autoglm::simulation
