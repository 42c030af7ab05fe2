// SPDX-License-Identifier: Apache-2.0
// An answer as server-sent events. The engine's thread queues events; the network thread writes them when the client
// has room.
#include <atomic>
#include <optional>
#include <utility>
#include <variant>

#include "server/answer.h"

namespace autoglm::server {
namespace {

using generation::Finish;
using generation::TokenEvent;

// Events that may wait for a client that does not read; then its request is cancelled.
constexpr std::size_t kMaxQueuedEvents = 4096;

struct Event {
  std::size_t choice = 0;
  std::variant<std::vector<TokenEvent>, TokenEvent, Finish> what;
};

// Of one choice, as far as it was written. Network thread only.
struct Written {
  bool is_begun = false;
  bool is_finished = false;
  std::size_t offset = 0;           // characters, for text_offset
  std::optional<CallReader> calls;  // with tools
};

class StreamedAnswer final : public Answer,
                             public net::BodySource,
                             public std::enable_shared_from_this<StreamedAnswer> {
 public:
  StreamedAnswer(AnswerPlan plan, AnswerParts parts)
      : plan_(std::move(plan)),
        parts_(std::move(parts)),
        chunks_(plan_.head, plan_.include_usage),
        written_(plan_.choices()) {
    for (std::size_t i = 0; plan_.tools != nullptr && i < written_.size(); ++i) {
      written_[i].calls.emplace(*plan_.tools, plan_.head.id, i);
    }
  }

  void start() override {
    is_started_ = true;
    parts_.reply->stream(shared_from_this());
  }
  void abandon() override EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    is_abandoned_ = true;
    queue_.clear();
  }

  void on_prompt(std::size_t choice, std::vector<TokenEvent> tokens) override { queue({choice, std::move(tokens)}); }
  void on_token(std::size_t choice, TokenEvent event) override { queue({choice, std::move(event)}); }
  void on_finish(std::size_t choice, Finish finish) override EXCLUDES(mutex_) {
    queue({choice, std::move(finish)});
    if (++finished_ == plan_.choices()) parts_.live->remove(parts_.submission);
  }

  bool pull(std::string& out) override;

 private:
  void queue(Event event) EXCLUDES(mutex_);
  void begin(std::string& out, std::size_t choice, std::vector<protocol::TokenRecord> records);
  void write(std::string& out, std::size_t choice, const std::vector<TokenEvent>& prompt);
  void write(std::string& out, std::size_t choice, const TokenEvent& event);
  void write(std::string& out, std::size_t choice, const Finish& finish);
  void write_parts(std::string& out, std::size_t choice, const std::vector<AnswerPart>& parts);
  bool fail(std::string& out, const protocol::ApiError& error);

  const AnswerPlan plan_;
  const AnswerParts parts_;
  const protocol::ChunkWriter chunks_;
  std::atomic<bool> is_started_ = false;
  std::size_t finished_ = 0;  // engine thread

  base::Mutex mutex_;
  std::vector<Event> queue_ GUARDED_BY(mutex_);
  bool is_abandoned_ GUARDED_BY(mutex_) = false;
  bool is_overfull_ GUARDED_BY(mutex_) = false;

  // Network thread.
  std::vector<Written> written_;
  std::size_t written_finishes_ = 0;
  protocol::UsageCount usage_;
  std::optional<protocol::ApiError> error_;
  bool is_complete_ = false;
};

void StreamedAnswer::queue(Event event) {
  bool is_too_much = false;
  {
    base::MutexLock lock(mutex_);
    if (is_abandoned_ || is_overfull_) return;
    is_too_much = queue_.size() >= kMaxQueuedEvents;
    if (is_too_much) {
      is_overfull_ = true;
    } else {
      queue_.push_back(std::move(event));
    }
  }
  if (is_too_much) parts_.submission->cancel();
  if (is_started_) parts_.reply->wake();
}

// The first chunk of a choice: a chat's role, a completion's echoed prompt, and the prompt's ids.
void StreamedAnswer::begin(std::string& out, std::size_t choice, std::vector<protocol::TokenRecord> records) {
  Written& written = written_[choice];
  if (written.is_begun) return;
  written.is_begun = true;
  const std::size_t prompt = plan_.prompt_of(choice);
  protocol::Piece piece{.index = choice,
                        .records = records,
                        .has_logprobs = !records.empty(),
                        .prompt_ids = plan_.prompts[prompt],
                        .has_prompt_ids = plan_.has_token_ids};
  if (plan_.head.kind == protocol::AnswerKind::kChat) {
    chunks_.append_role(out, piece);
    return;
  }
  if (!plan_.is_echoed && !plan_.has_token_ids) return;
  if (plan_.is_echoed) piece.text = plan_.echoes[prompt];
  chunks_.append_piece(out, piece);
  written.offset = protocol::count_characters(records);
}

void StreamedAnswer::write(std::string& out, std::size_t choice, const std::vector<TokenEvent>& prompt) {
  std::vector<protocol::TokenRecord> records;
  for (const TokenEvent& event : prompt) records.push_back(token_record(event, plan_));
  begin(out, choice, std::move(records));
}

void StreamedAnswer::write(std::string& out, std::size_t choice, const TokenEvent& event) {
  begin(out, choice, {});
  std::optional<CallReader>& calls = written_[choice].calls;
  // With tools the text says later what it is; the token's own facts go ahead.
  const std::string_view text = calls ? std::string_view() : event.text;
  if (text.empty() && !plan_.has_logprobs && !plan_.has_token_ids) {
    if (calls) write_parts(out, choice, calls->push(event.text));
    return;
  }
  std::vector<protocol::TokenRecord> records;
  if (plan_.has_logprobs) records.push_back(token_record(event, plan_));
  chunks_.append_piece(out, {.index = choice,
                             .text = text,
                             .records = records,
                             .has_logprobs = plan_.has_logprobs,
                             .token_ids = {&event.token, 1},
                             .has_token_ids = plan_.has_token_ids,
                             .text_offset = written_[choice].offset});
  written_[choice].offset += protocol::count_characters(records);
  if (calls) write_parts(out, choice, calls->push(event.text));
}

void StreamedAnswer::write_parts(std::string& out, std::size_t choice, const std::vector<AnswerPart>& parts) {
  for (const AnswerPart& part : parts) {
    const bool is_call = part.kind == AnswerPart::Kind::kCall;
    chunks_.append_piece(out, {.index = choice,
                               .text = part.kind == AnswerPart::Kind::kText ? part.text : std::string_view(),
                               .reasoning = part.kind == AnswerPart::Kind::kReasoning ? part.text : std::string_view(),
                               .tool_calls = {&part.call, is_call ? std::size_t{1} : std::size_t{0}}});
  }
}

void StreamedAnswer::write(std::string& out, std::size_t choice, const Finish& finish) {
  ++written_finishes_;
  if (finish.reason == generation::FinishReason::kError || finish.reason == generation::FinishReason::kCancelled) {
    if (!error_) error_ = finish_error(finish, plan_);
    return;
  }
  begin(out, choice, {});
  std::optional<CallReader>& calls = written_[choice].calls;
  if (calls) {
    write_parts(out, choice, calls->push(finish.text));
    write_parts(out, choice, calls->finish());
  } else if (!finish.text.empty()) {
    chunks_.append_piece(out, {.index = choice, .text = finish.text, .text_offset = written_[choice].offset});
  }
  const std::vector<protocol::TokenRecord> records = end_record(finish, plan_);
  chunks_.append_piece(out, {.index = choice,
                             .records = records,
                             .has_logprobs = !records.empty(),
                             .text_offset = written_[choice].offset,
                             .finish_reason = finish_word(finish.reason, calls && calls->has_calls())});
  usage_.completion_tokens += finish.usage.completion_tokens;
  if (choice % plan_.choices_per_prompt == 0) {
    usage_.prompt_tokens += plan_.prompts[plan_.prompt_of(choice)].size();
    usage_.cached_tokens += finish.usage.cached_tokens;
  }
}

// An event tells the client, and the stream ends without [DONE]: a cut answer must not look like a whole one.
bool StreamedAnswer::fail(std::string& out, const protocol::ApiError& error) {
  protocol::ChunkWriter::append_error(out, error);
  is_complete_ = true;
  parts_.submission->cancel();
  parts_.reply->fail_stream(error);
  parts_.reply->finish_stream();
  return true;
}

bool StreamedAnswer::pull(std::string& out) {
  if (is_complete_) return true;
  if (!plan_.expects_prompt_logprobs()) {  // otherwise a choice begins with those
    for (std::size_t choice = 0; choice < plan_.choices(); ++choice) begin(out, choice, {});
  }
  std::vector<Event> events;
  bool is_overfull = false;
  {
    base::MutexLock lock(mutex_);
    events.swap(queue_);
    is_overfull = is_overfull_;
  }
  for (const Event& event : events) {
    std::visit([&](const auto& what) { write(out, event.choice, what); }, event.what);
    if (error_) return fail(out, *error_);
  }
  if (is_overfull) return fail(out, Error{Code::kCancelled, "the client did not read its stream fast enough", {}});
  if (written_finishes_ < plan_.choices()) return false;
  chunks_.append_usage(out, usage_);
  protocol::ChunkWriter::append_done(out);
  is_complete_ = true;
  parts_.reply->finish_stream();
  return true;
}

}  // namespace

std::shared_ptr<Answer> make_streamed_answer(AnswerPlan plan, AnswerParts parts) {
  return std::make_shared<StreamedAnswer>(std::move(plan), std::move(parts));
}

}  // namespace autoglm::server
