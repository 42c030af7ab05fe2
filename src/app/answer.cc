// SPDX-License-Identifier: Apache-2.0
#include "app/answer.h"

#include <chrono>
#include <memory>
#include <utility>

#include "app/interrupt.h"
#include "generation/text_sink.h"

namespace autoglm::app {

Result<Answer> take_answer(generation::Generator& generator, generation::Request request,
                           const std::function<bool(std::string_view)>& on_text) {
  const auto sink = std::make_shared<generation::TextSink>();
  const auto ticket = TRY(generator.submit(std::move(request), sink));
  Answer answer;
  bool is_wanted = static_cast<bool>(on_text);
  for (;;) {
    const auto [text, finish] = sink->wait(std::chrono::milliseconds(50));
    if (!answer.was_interrupted && Interrupts::count() > 0) {
      answer.was_interrupted = true;
      generator.cancel(ticket);
    }
    answer.text += text;
    if (is_wanted && !text.empty() && !on_text(text)) {
      is_wanted = false;
      generator.cancel(ticket);
    }
    if (!finish) continue;
    answer.reason = finish->reason;
    answer.usage = finish->usage;
    answer.prefill_seconds = finish->prefill_seconds;
    answer.decode_seconds = finish->decode_seconds;
    if (finish->reason == generation::FinishReason::kError) {
      return std::unexpected(finish->error.value_or(Error{Code::kInternal, "the answer failed", {}}));
    }
    return answer;
  }
}

}  // namespace autoglm::app
