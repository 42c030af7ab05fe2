// SPDX-License-Identifier: Apache-2.0
// A generator that says what a test tells it, answer by answer, from a thread of its own; what it was asked stays to be
// looked at. A token is a byte. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "agent/fake_model.h"
#include "base/mutex.h"
#include "generation/generator.h"
#include "text/byte_tokenizer.h"

namespace autoglm::agent {

// The tools as JSON, then the messages as FakeModel shows them, then what begins the answer.
class FakeTemplate final : public text::ChatTemplate {
 public:
  explicit FakeTemplate(std::string answer_begin = "") : answer_begin_(std::move(answer_begin)) {}

  Result<text::RenderedPrompt> render(const Inputs& inputs) const override {
    std::string text = inputs.tools == nullptr ? "" : "<|tools|>" + json::format(*inputs.tools) + "\n";
    return text::RenderedPrompt{text + FakeModel::render(*inputs.messages) + answer_begin_, {}};
  }

 private:
  std::string answer_begin_;
};

struct FakeReply {
  std::string text;
  generation::FinishReason reason = generation::FinishReason::kStop;
  std::optional<Error> error;
  bool is_endless = false;          // says its text, and comes to its end by cancel() only
  bool breaks_grammar = false;      // else the grammar has to allow the text: a model cannot leave it
  std::function<void()> meanwhile;  // on the thread that asked, before the answer comes
};

class FakeGenerator final : public generation::Generator {
 public:
  FakeGenerator() {
    card_.name = "fake";
    card_.context_length = 1u << 20;
    card_.tokenizer = std::make_shared<text::ByteTokenizer>();
    card_.chat_template = std::make_shared<FakeTemplate>();
    card_.template_shows_tools = true;
  }

  /// Answers begin like this in its prompts.
  void begin_answers_with(std::string text) { card_.chat_template = std::make_shared<FakeTemplate>(std::move(text)); }

  const generation::ModelCard& card() const override { return card_; }

  Result<generation::Ticket> submit(generation::Request request, std::shared_ptr<generation::Sink> sink) override {
    if (submit_error) return std::unexpected(*submit_error);
    requests.push_back(std::move(request));
    if (replies.empty()) return fail(Code::kInternal, "the test has no more answers");
    FakeReply reply = std::move(replies.front());
    replies.pop_front();
    const bool is_whole = reply.reason == generation::FinishReason::kStop && !reply.error && !reply.is_endless;
    if (is_whole && !reply.breaks_grammar) {
      EXPECT_TRUE(may_say(requests.size() - 1, reply.text)) << "the grammar forbids: " << reply.text;
    }
    if (reply.is_endless) {
      base::MutexLock lock(mutex_);
      endless_ = sink;
    }
    if (reply.meanwhile) reply.meanwhile();
    if (reply.is_endless && !reply.text.empty()) {
      thread_ = std::jthread([text = reply.text, sink = std::move(sink)] { sink->on_token({.text = text}); });
    } else if (!reply.is_endless) {
      thread_ = std::jthread([this, reply = std::move(reply), sink = std::move(sink), number = requests.size() - 1] {
        say(reply, *sink, usage_of(number, reply.text.size()));
      });
    }
    return requests.size();
  }

  void cancel(generation::Ticket ticket) override EXCLUDES(mutex_) {
    std::shared_ptr<generation::Sink> sink;
    {
      base::MutexLock lock(mutex_);
      sink = std::exchange(endless_, nullptr);
    }
    if (sink == nullptr) return;
    sink->on_finish({.reason = generation::FinishReason::kCancelled,
                     .text = {},
                     .usage = usage_of(ticket - 1, 0),
                     .error = Error{Code::kCancelled, "the request was cancelled", {}}});
  }

  bool is_ready() const override { return true; }
  void drain() override {}
  std::size_t in_flight() const override { return 0; }

  /// The prompt of a request.
  std::string prompt(std::size_t number) const {
    const auto& ids = requests.at(number).prompt;
    return {ids.begin(), ids.end()};
  }
  /// Whether a request's grammar allows the text as a whole answer.
  bool may_say(std::size_t number, std::string_view text) const {
    const auto& grammar = requests.at(number).grammar;
    if (grammar == nullptr) return true;
    const auto matcher = grammar->start().value();
    const auto accepts = [&](char c) { return matcher->accept(static_cast<unsigned char>(c)).has_value(); };
    return std::ranges::all_of(text, accepts) && may_end(*matcher);
  }

  std::deque<FakeReply> replies;
  std::vector<generation::Request> requests;
  std::optional<Error> submit_error;

 private:
  bool may_end(text::Matcher& matcher) const {
    if (matcher.is_finished()) return true;
    std::vector<std::uint32_t> mask((card_.tokenizer->vocab() + 31) / 32);
    const auto end = static_cast<std::size_t>(card_.tokenizer->eos()[0]);
    return matcher.mask(mask) && (mask[end / 32] >> (end % 32) & 1u) != 0;
  }

  // What a prompt shares with the one before counts as cached.
  generation::Usage usage_of(std::size_t number, std::size_t answer) const {
    const auto& prompt = requests[number].prompt;
    std::size_t shared = 0;
    if (number > 0) {
      shared =
          static_cast<std::size_t>(std::ranges::mismatch(prompt, requests[number - 1].prompt).in1 - prompt.begin());
    }
    return {.prompt_tokens = prompt.size(), .cached_tokens = shared, .completion_tokens = answer};
  }

  // In three pieces, the last of them held back until the end.
  static void say(const FakeReply& reply, generation::Sink& sink, const generation::Usage& usage) {
    const std::size_t third = reply.text.size() / 3;
    sink.on_token({.text = reply.text.substr(0, third)});
    sink.on_token({.text = reply.text.substr(third, third)});
    sink.on_finish(
        {.reason = reply.reason, .text = reply.text.substr(2 * third), .usage = usage, .error = reply.error});
  }

  generation::ModelCard card_;
  base::Mutex mutex_;
  std::shared_ptr<generation::Sink> endless_ GUARDED_BY(mutex_);
  std::jthread thread_;  // last: it ends before what it reads
};

}  // namespace autoglm::agent
