// SPDX-License-Identifier: Apache-2.0
#include "binding/generation.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>
#include <vector>

namespace autoglm::python {
namespace {

namespace nb = nanobind;

const char* reason_name(generation::FinishReason reason) {
  switch (reason) {
    case generation::FinishReason::kStop:
      return "stop";
    case generation::FinishReason::kLength:
      return "length";
    case generation::FinishReason::kCancelled:
      return "cancelled";
    case generation::FinishReason::kError:
      break;
  }
  return "error";
}

void throw_failure(const generation::Finish& finish) {
  if (finish.reason != generation::FinishReason::kError) return;
  throw Failure(finish.error.value_or(Error{Code::kInternal, "the answer failed", {}}));
}

using Scored = std::tuple<std::int32_t, float, std::vector<std::tuple<std::int32_t, float>>>;

std::vector<Scored> logprobs_of(const generation::Answer& answer) {
  std::vector<Scored> all;
  for (const generation::TokenEvent& event : answer.tokens) {
    if (!event.logprob) continue;
    auto& [token, logprob, top] =
        all.emplace_back(event.token, event.logprob->logprob, std::vector<std::tuple<std::int32_t, float>>());
    for (const generation::TokenLogprob& other : event.top) top.emplace_back(other.token, other.logprob);
  }
  return all;
}

std::vector<std::int32_t> ids_of(const generation::Answer& answer) {
  std::vector<std::int32_t> ids;
  for (const generation::TokenEvent& event : answer.tokens) ids.push_back(event.token);
  return ids;
}

}  // namespace

Generation::Generation(std::shared_ptr<const app::RunningModel> running, generation::Request request)
    : running_(std::move(running)), ticket_(take(running_->generator->submit(std::move(request), sink_))) {}

Generation::~Generation() {
  if (!is_finished()) cancel();
  // The engine may end with this object, and its thread with it.
  const nb::gil_scoped_release released;
  running_.reset();
}

std::optional<std::string> Generation::next(std::optional<double> longest_seconds) {
  const auto begin = std::chrono::steady_clock::now();
  const std::chrono::duration<double> longest(longest_seconds.value_or(0));
  for (;;) {
    AnswerSink::Piece piece;
    {
      const nb::gil_scoped_release released;
      const auto moment = std::chrono::duration_cast<base::Duration>(std::max(longest, longest.zero()));
      piece = sink_->wait(longest_seconds ? std::min(kMoment, moment) : kMoment);
    }
    if (!piece.text.empty()) return std::move(piece.text);
    if (piece.is_end) {
      throw_failure(answer().finish);
      return std::nullopt;
    }
    try {
      check_signals();
    } catch (...) {
      cancel();
      throw;
    }
    if (longest_seconds && std::chrono::steady_clock::now() - begin >= longest) return std::string();
  }
}

void Generation::wait() {
  while (next(std::nullopt)) {
  }
}

void Generation::cancel() { running_->generator->cancel(ticket_); }

void bind_generation(nb::module_& core) {
  nb::class_<Generation>(core, "Generation", nb::is_weak_referenceable(),
                         "One request in the engine's hands. Made by Model.submit().")
      .def("next", &Generation::next, nb::arg("longest_seconds") = nb::none(),
           "Text that has come since the last call: waits for it, without the GIL. \"\" when longest_seconds are over, "
           "None at the end.")
      .def("wait", &Generation::wait, "Waits for the end, without the GIL. Text that was not read is passed over.")
      .def("cancel", &Generation::cancel, "Ends it within a step; what there is stays.")
      .def_prop_ro("is_finished", &Generation::is_finished)
      .def_prop_ro(
          "text", [](const Generation& self) { return self.answer().text; }, "So far.")
      .def_prop_ro(
          "token_ids", [](const Generation& self) { return ids_of(self.answer()); }, "So far.")
      .def_prop_ro(
          "logprobs", [](const Generation& self) { return logprobs_of(self.answer()); },
          "Of each token when asked for: (id, natural log of its probability, [(id, that) of the likeliest]).")
      .def_prop_ro(
          "finish_reason",
          [](const Generation& self) -> std::optional<std::string> {
            if (!self.is_finished()) return std::nullopt;
            return reason_name(self.answer().finish.reason);
          },
          "\"stop\", \"length\", \"cancelled\" or \"error\"; None before the end.")
      .def_prop_ro(
          "usage",
          [](const Generation& self) {
            const generation::Usage usage = self.answer().finish.usage;
            return std::tuple(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens);
          },
          "Tokens, at the end: (of the prompt, of those found in the prefix cache, of the answer).")
      .def_prop_ro(
          "seconds",
          [](const Generation& self) {
            const generation::Finish finish = self.answer().finish;
            return std::tuple(finish.queue_seconds, finish.prefill_seconds, finish.decode_seconds);
          },
          "At the end: (waiting, prefill, decode).");
}

}  // namespace autoglm::python
