// SPDX-License-Identifier: Apache-2.0
// A step loop on the scripted model and a virtual clock, and the clients' side of it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/log.h"
#include "engine/script.h"
#include "simulation/simulated_client.h"

namespace autoglm::simulation {

class StepLoopTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(base::set_log_level("off"));
    options_.scheduler.max_batch_size = 4;
    options_.scheduler.max_batch_tokens = 16;
    options_.scheduler.max_waiting = 64;
    options_.block_count = 40;
    start();
  }

  static constexpr std::string_view kScript = "== end\n<|random:12|>\n==\n<|random:29|> <|repeat|>\n";

  void start() { loop_ = std::make_unique<engine::StepLoop>(faulty_, options_, clock_, metrics_); }

  static generation::Request request(std::string_view text, std::size_t max_tokens, std::uint64_t seed = 1) {
    generation::Request request;
    request.prompt.assign(text.begin(), text.end());
    request.prompt.push_back(engine::kReplyToken);
    request.max_tokens = max_tokens;
    request.sampling.seed = seed;
    return request;
  }

  engine::Sequence* submit(const generation::Request& asked, std::shared_ptr<Recorder> recorder) {
    auto sequence = make_sequence(++last_ticket_, asked, std::move(recorder), model_, clock_.now());
    engine::Sequence* raw = sequence.get();
    loop_->add(std::move(sequence));
    return raw;
  }

  void step(int times = 1) {
    for (int i = 0; i < times; ++i) {
      loop_->step();
      loop_->scheduler().check_invariants();
    }
  }

  void run_to_end() {
    for (int i = 0; i < 10'000 && !loop_->scheduler().is_idle(); ++i) step();
    EXPECT_TRUE(loop_->scheduler().is_idle());
    EXPECT_EQ(loop_->scheduler().pool().used_count(), 0u);
  }

  std::string heard_alone(const generation::Request& asked) {
    auto recorder = std::make_shared<Recorder>();
    submit(asked, recorder);
    run_to_end();
    return recorder->heard;
  }

  base::VirtualClock clock_;
  telemetry::Registry registry_{clock_};
  engine::EngineMetrics metrics_{registry_};
  engine::EngineModel model_ = engine::load_script(kScript).value();
  FaultyModel faulty_{*model_.network};
  engine::StepLoopOptions options_;
  std::unique_ptr<engine::StepLoop> loop_;
  generation::Ticket last_ticket_ = 0;
};

}  // namespace autoglm::simulation
