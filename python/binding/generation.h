// SPDX-License-Identifier: Apache-2.0
// One request in the engine's hands, as Python holds it: text as it comes, then the whole answer.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <optional>
#include <string>

#include "app/running_model.h"
#include "binding/waiting.h"
#include "generation/generator.h"

namespace autoglm::python {

class Generation final {
 public:
  /// Submits. Throws: Failure, with the errors of Generator::submit().
  Generation(std::shared_ptr<const app::RunningModel> running, generation::Request request);
  ~Generation();  // cancels what has not ended
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  /// The text that has come since the last call, once there is some; empty when `longest_seconds` are over, nothing at
  /// the end. Throws: Failure of an answer that failed; what a signal's handler raises, and then it is cancelled.
  std::optional<std::string> next(std::optional<double> longest_seconds);
  /// Waits for the end. Throws: as next().
  void wait();
  void cancel();

  bool is_finished() const { return sink_->is_finished(); }
  generation::Answer answer() const { return sink_->answer(); }

 private:
  std::shared_ptr<const app::RunningModel> running_;
  std::shared_ptr<AnswerSink> sink_ = std::make_shared<AnswerSink>();
  generation::Ticket ticket_ = 0;
};

void bind_generation(nanobind::module_& core);

}  // namespace autoglm::python
