// SPDX-License-Identifier: Apache-2.0
#include "app/answer.h"

#include <chrono>
#include <memory>
#include <utility>
#include <variant>

#include "app/interrupt.h"
#include "base/bounded_queue.h"

namespace autoglm::app {
namespace {

using Event = std::variant<std::string, generation::Finish>;

// The engine's thread pushes, the main thread pops. The queue holds every token an answer may have, so that a push
// never has to wait for a slow terminal.
class QueueSink final : public generation::Sink {
 public:
  explicit QueueSink(std::size_t capacity) : queue_(capacity, base::WhenFull::kRefuse) {}
  void on_token(generation::TokenEvent event) override {
    if (!event.text.empty()) queue_.push(std::move(event.text));
  }
  void on_finish(generation::Finish finish) override { queue_.push(std::move(finish)); }
  base::BoundedQueue<Event>& queue() { return queue_; }

 private:
  base::BoundedQueue<Event> queue_;
};

}  // namespace

Result<Answer> take_answer(generation::Generator& generator, generation::Request request,
                           const std::function<bool(std::string_view)>& on_text) {
  auto sink = std::make_shared<QueueSink>(generator.card().context_length + 2);
  const auto ticket = TRY(generator.submit(std::move(request), sink));
  Answer answer;
  bool is_wanted = true;
  const auto show = [&](std::string_view text) {
    answer.text += text;
    if (text.empty() || !on_text || !is_wanted) return;
    is_wanted = on_text(text);
    if (!is_wanted) generator.cancel(ticket);
  };
  for (;;) {
    auto event = sink->queue().pop_until(std::chrono::steady_clock::now() + std::chrono::milliseconds(50));
    if (!answer.was_interrupted && Interrupts::count() > 0) {
      answer.was_interrupted = true;
      generator.cancel(ticket);
    }
    if (!event) continue;
    if (const auto* text = std::get_if<std::string>(&*event)) {
      show(*text);
      continue;
    }
    generation::Finish& finish = std::get<generation::Finish>(*event);
    show(finish.text);
    answer.reason = finish.reason;
    answer.usage = finish.usage;
    answer.prefill_seconds = finish.prefill_seconds;
    answer.decode_seconds = finish.decode_seconds;
    if (finish.reason == generation::FinishReason::kError) {
      return std::unexpected(finish.error.value_or(Error{Code::kInternal, "the answer failed", {}}));
    }
    return answer;
  }
}

}  // namespace autoglm::app
