// SPDX-License-Identifier: Apache-2.0
// One answer from a Generator, taken in on the caller's thread: events come through a queue, Ctrl-C cancels. Main
// thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "generation/generator.h"

namespace autoglm::app {

struct Answer {
  std::string text;
  generation::FinishReason reason = generation::FinishReason::kStop;
  generation::Usage usage;
  double prefill_seconds = 0;
  double decode_seconds = 0;
  bool was_interrupted = false;
};

/// Submits `request` and blocks until its end; on_text gets each piece as it comes, and says whether it wants more.
/// When not, or at an interrupt (app/interrupt.h), the request is cancelled: the answer then ends with what there is.
///   Errors   as Generator::submit(), and the one a failed request ended with
Result<Answer> take_answer(generation::Generator& generator, generation::Request request,
                           const std::function<bool(std::string_view)>& on_text);

}  // namespace autoglm::app
