// SPDX-License-Identifier: Apache-2.0
// A Generator that says what a test wants: the words of the prompt steer it. Tests only.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "generation/generator.h"

namespace autoglm::server {

// A token for each byte, and three special ones above.
class FakeTokenizer final : public text::Tokenizer {
 public:
  static constexpr text::TokenId kStart = 256, kEnd = 257, kBos = 258;

  Result<std::vector<text::TokenId>> encode(std::string_view text, const EncodeOptions& options) const override {
    std::vector<text::TokenId> ids;
    if (options.add_special) ids.push_back(kBos);
    for (std::size_t i = 0; i < text.size() && ids.size() <= options.most_ids; ++i) {
      const text::TokenId special = options.parse_special ? special_at(text, i, options.plain) : -1;
      ids.push_back(special >= 0 ? special : static_cast<unsigned char>(text[i]));
      if (special >= 0) i += token_bytes(special).size() - 1;
    }
    return ids;
  }
  Result<std::string> decode(std::span<const text::TokenId> ids, bool skip_special) const override {
    std::string text;
    for (text::TokenId id : ids) {
      if (id < 0 || static_cast<std::size_t>(id) >= vocab()) return fail(Code::kInvalidArgument, "no such token");
      if (!skip_special || !is_special(id)) text += token_bytes(id);
    }
    return text;
  }
  std::size_t vocab() const override { return kTexts.size(); }
  std::string_view token_bytes(text::TokenId id) const override { return kTexts.at(static_cast<std::size_t>(id)); }
  bool is_special(text::TokenId id) const override { return id >= 256; }
  text::TokenId id_of(std::string_view) const override { return -1; }
  text::TokenId bos() const override { return kBos; }
  std::span<const text::TokenId> eos() const override { return {}; }
  bool adds_bos() const override { return true; }
  bool strips_leading_space() const override { return false; }

 private:
  text::TokenId special_at(std::string_view text, std::size_t at, std::span<const text::PlainRange> plain) const {
    for (const text::PlainRange& range : plain) {
      if (at >= range.begin && at < range.end) return -1;
    }
    for (text::TokenId id = 256; id < 259; ++id) {
      if (text.substr(at).starts_with(token_bytes(id))) return id;
    }
    return -1;
  }
  static inline const std::vector<std::string> kTexts = [] {
    std::vector<std::string> texts;
    for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
    for (const char* special : {"<|start|>", "<|end|>", "<s>"}) texts.emplace_back(special);
    return texts;
  }();
};

// "<|start|>ROLE\nCONTENT<|end|>" for each message, what callers wrote marked as plain.
class FakeTemplate final : public text::ChatTemplate {
 public:
  Result<text::RenderedPrompt> render(const Inputs& inputs) const override {
    text::RenderedPrompt prompt;
    for (const json::Value& message : *inputs.messages) {
      const auto& object = message.get_object();
      const std::string content(object.at("content").get_string());
      if (content == "[refused by the template]") return fail(Code::kInvalidArgument, "the template refuses this");
      if (content == "[throw]") throw std::runtime_error("a library gave up");
      prompt.text += "<|start|>" + std::string(object.at("role").get_string()) + "\n";
      prompt.plain.push_back({prompt.text.size(), prompt.text.size() + content.size()});
      prompt.text += content + "<|end|>";
    }
    if (inputs.kwargs->contains("suffix")) prompt.text += inputs.kwargs->at("suffix").get_string();
    if (inputs.add_generation_prompt) prompt.text += "<|start|>assistant\n";
    return prompt;
  }
};

// Answers with kReply, one token a byte, on a thread of its own. A prompt with
//   [hold]   gets its first token and then nothing until it is cancelled or release() is called,
//   [error]  ends with an internal error after its first token,
//   [flood]  never ends: tokens come as fast as they can until it is cancelled.
class FakeGenerator final : public generation::Generator {
 public:
  static constexpr std::string_view kReply = "Hi, w\xc3\xb6rld!";

  explicit FakeGenerator(std::size_t context_length = 4096) {
    card_.name = "fake-model";
    card_.created_unix_seconds = 1'700'000'000;
    card_.context_length = context_length;
    card_.max_batch_size = 4;
    card_.max_in_flight = 64;
    card_.tokenizer = std::make_shared<FakeTokenizer>();
    card_.chat_template = std::make_shared<FakeTemplate>();
    card_.control_spellings = text::control_spellings(*card_.tokenizer);
    thread_ = std::thread([this] { run(); });
  }
  ~FakeGenerator() override {
    {
      base::MutexLock lock(mutex_);
      is_stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  FakeGenerator(const FakeGenerator&) = delete;
  FakeGenerator& operator=(const FakeGenerator&) = delete;

  generation::ModelCard& card_for_test() { return card_; }
  const generation::ModelCard& card() const override { return card_; }

  Result<generation::Ticket> submit(generation::Request request, std::shared_ptr<generation::Sink> sink) override
      EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    if (is_draining_) return fail(Code::kUnavailable, "the engine is draining");
    if (jobs_.size() >= capacity_) return fail(Code::kExhausted, "the queue is full");
    for (const auto id : request.prompt) {
      if (static_cast<std::size_t>(id) >= card_.tokenizer->vocab()) {
        return fail(Code::kInvalidArgument, "the vocabulary has no such token", "prompt");
      }
    }
    const generation::Ticket ticket = ++last_ticket_;
    submitted_.push_back(request);
    jobs_[ticket] = {.request = std::move(request), .sink = std::move(sink)};
    changed_.notify_all();
    return ticket;
  }
  void cancel(generation::Ticket ticket) override EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    if (auto job = jobs_.find(ticket); job != jobs_.end()) job->second.is_cancelled = true;
    changed_.notify_all();
  }
  bool is_ready() const override EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    return !is_draining_;
  }
  void drain() override EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    is_draining_ = true;
    changed_.notify_all();
  }
  std::size_t in_flight() const override EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    return jobs_.size();
  }

  // For tests.
  void set_capacity(std::size_t capacity) EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    capacity_ = capacity;
  }
  void release() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    is_released_ = true;
    changed_.notify_all();
  }
  std::vector<generation::Request> submitted() const EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    return submitted_;
  }
  void wait_until_draining() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    while (!is_draining_) lock.wait(changed_);
  }
  void wait_until_in_flight(std::size_t count) EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    while (jobs_.size() != count) lock.wait(changed_);
  }
  void wait_until_cancelled(std::size_t count) EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    while (cancelled_count_ < count) lock.wait(changed_);
  }
  std::size_t cancelled_count() const EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    return cancelled_count_;
  }

 private:
  struct Job {
    generation::Request request;
    std::shared_ptr<generation::Sink> sink;
    bool is_cancelled = false;
    std::size_t said = 0;
    bool has_begun = false;
  };

  static bool asks(const Job& job, std::string_view word) {
    std::string prompt;
    for (auto id : job.request.prompt) prompt.push_back(id < 256 ? static_cast<char>(id) : '|');
    return prompt.find(word) != std::string::npos;
  }

  void run() EXCLUDES(mutex_) {
    while (true) {
      std::vector<generation::Ticket> tickets;
      {
        base::MutexLock lock(mutex_);
        while (!is_stopping_ && !has_work()) lock.wait(changed_);
        if (is_stopping_) return;
        for (const auto& [ticket, job] : jobs_) tickets.push_back(ticket);
      }
      for (generation::Ticket ticket : tickets) step(ticket);
    }
  }

  bool has_work() REQUIRES(mutex_) {
    for (const auto& [ticket, job] : jobs_) {
      if (job.is_cancelled || job.said == 0 || is_released_ || !asks(job, "[hold]")) return true;
    }
    return false;
  }

  // One token of one job; the sink is called without the lock, as an engine would.
  void step(generation::Ticket ticket) EXCLUDES(mutex_) {
    Job job;
    bool is_released = false;
    {
      base::MutexLock lock(mutex_);
      job = jobs_.at(ticket);
      is_released = is_released_;
      jobs_.at(ticket).has_begun = true;
    }
    if (!job.has_begun && job.request.want_prompt_logprobs) tell_prompt(job);
    if (job.is_cancelled)
      return finish(ticket, job, generation::FinishReason::kCancelled, Error{Code::kCancelled, "cancelled", {}});
    if (job.request.prompt_only) return finish(ticket, job, generation::FinishReason::kLength, {});
    if (job.said == 1 && asks(job, "[hold]") && !is_released) return;
    if (job.said == 1 && asks(job, "[error]")) {
      return finish(ticket, job, generation::FinishReason::kError,
                    Error{Code::kInternal, "at 0x7fff12345678 in /usr/lib/x.so\x1b[m", {}});
    }
    const bool is_endless = asks(job, "[flood]");
    const std::size_t most =
        job.request.max_tokens == 0 ? kReply.size() : std::min(job.request.max_tokens, kReply.size());
    if (!is_endless && job.said >= most) {
      return finish(ticket, job,
                    most < kReply.size() ? generation::FinishReason::kLength : generation::FinishReason::kStop, {});
    }
    job.sink->on_token(event(job, static_cast<unsigned char>(kReply[job.said % kReply.size()])));
    base::MutexLock lock(mutex_);
    ++jobs_.at(ticket).said;
  }

  // Text is held back while a character is incomplete.
  static generation::TokenEvent event(const Job& job, std::int32_t token) {
    generation::TokenEvent event;
    event.token = token;
    if (token == 0xb6) {
      event.text = "\xc3\xb6";
    } else if (token != 0xc3) {
      event.text = std::string(1, static_cast<char>(token));
    }
    if (job.request.want_logprobs) {
      event.logprob = {token, -0.5f};
      event.top = top_of(job, 0);
    }
    return event;
  }
  // "a", "b", ... from this logprob downwards, whatever was chosen.
  static std::vector<generation::TokenLogprob> top_of(const Job& job, float first) {
    std::vector<generation::TokenLogprob> top;
    for (std::size_t i = 0; i < job.request.top_logprobs; ++i)
      top.push_back({static_cast<std::int32_t>('a' + i), first - static_cast<float>(i)});
    return top;
  }
  static void tell_prompt(const Job& job) {
    std::vector<generation::TokenEvent> tokens;
    for (std::int32_t token : job.request.prompt) {
      generation::TokenEvent told{.token = token};
      if (!tokens.empty()) {
        told.logprob = {token, -2.0f};
        told.top = top_of(job, -2.0f);
      }
      tokens.push_back(std::move(told));
    }
    job.sink->on_prompt_logprobs(std::move(tokens));
  }
  void finish(generation::Ticket ticket, const Job& job, generation::FinishReason reason, std::optional<Error> error)
      EXCLUDES(mutex_) {
    generation::Finish finish;
    finish.reason = reason;
    finish.error = std::move(error);
    if (reason == generation::FinishReason::kStop && job.request.want_logprobs)
      finish.end_token = event(job, FakeTokenizer::kEnd);
    finish.usage = {.prompt_tokens = job.request.prompt.size(), .cached_tokens = 3, .completion_tokens = job.said};
    job.sink->on_finish(std::move(finish));
    base::MutexLock lock(mutex_);
    if (reason == generation::FinishReason::kCancelled) ++cancelled_count_;
    jobs_.erase(ticket);
    changed_.notify_all();
  }

  generation::ModelCard card_;
  mutable base::Mutex mutex_;
  std::condition_variable changed_;
  std::map<generation::Ticket, Job> jobs_ GUARDED_BY(mutex_);
  std::vector<generation::Request> submitted_ GUARDED_BY(mutex_);
  generation::Ticket last_ticket_ GUARDED_BY(mutex_) = 0;
  std::size_t capacity_ GUARDED_BY(mutex_) = 64;
  std::size_t cancelled_count_ GUARDED_BY(mutex_) = 0;
  bool is_draining_ GUARDED_BY(mutex_) = false;
  bool is_released_ GUARDED_BY(mutex_) = false;
  bool is_stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace autoglm::server
