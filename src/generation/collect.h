// SPDX-License-Identifier: Apache-2.0
// The blocking way through the door: submit a request, wait for its end, have everything it said. For the command line,
// benchmarks and tests. Never call it on the engine's thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "generation/generator.h"

namespace autoglm::generation {

// All of one request's events.
struct Answer {
  std::vector<TokenEvent> prompt_logprobs;
  std::vector<TokenEvent> tokens;
  std::string text;  // of all tokens and of the end
  Finish finish;
};

// Keeps what the engine says until the end. The engine's thread writes, one other thread waits.
class CollectingSink final : public Sink {
 public:
  using OnText = std::function<void(std::string_view)>;
  /// `on_text`, when given, hears each piece of text on the engine's thread.
  explicit CollectingSink(OnText on_text = {}) : on_text_(std::move(on_text)) {}

  void on_prompt_logprobs(std::vector<TokenEvent> tokens) override EXCLUDES(mutex_);
  void on_token(TokenEvent event) override EXCLUDES(mutex_);
  void on_finish(Finish finish) override EXCLUDES(mutex_);

  /// Waits for the end.
  Answer wait() EXCLUDES(mutex_);
  bool is_finished() const EXCLUDES(mutex_);
  /// How often on_finish was called: a test's proof that every request ends exactly once.
  int finish_count() const EXCLUDES(mutex_);
  std::size_t token_count() const EXCLUDES(mutex_);

 private:
  OnText on_text_;
  mutable base::Mutex mutex_;
  std::condition_variable changed_;
  Answer answer_ GUARDED_BY(mutex_);
  int finish_count_ GUARDED_BY(mutex_) = 0;
};

/// Submits and waits. Errors: those of submit(); a request that ended with an error or was cancelled is its error.
Result<Answer> generate(Generator& generator, Request request, CollectingSink::OnText on_text = {});

}  // namespace autoglm::generation
