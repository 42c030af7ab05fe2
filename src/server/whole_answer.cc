// SPDX-License-Identifier: Apache-2.0
// An answer that is sent when all of its choices are complete.
#include <atomic>

#include "server/answer.h"

namespace autoglm::server {
namespace {

using generation::Finish;
using generation::TokenEvent;

// The engine's thread alone writes here until the last choice has finished; then a worker alone reads.
struct Gathered {
  std::string text;
  std::vector<protocol::TokenRecord> records;
  std::vector<std::int32_t> ids;
  Finish finish;
};

class WholeAnswer final : public Answer, public std::enable_shared_from_this<WholeAnswer> {
 public:
  WholeAnswer(AnswerPlan plan, AnswerParts parts)
      : plan_(std::move(plan)), parts_(std::move(parts)), choices_(plan_.choices()) {
    for (std::size_t i = 0; plan_.is_echoed && i < choices_.size(); ++i)
      choices_[i].text = plan_.echoes[plan_.prompt_of(i)];
  }

  void start() override {}
  void abandon() override { is_abandoned_ = true; }

  void on_prompt(std::size_t choice, std::vector<TokenEvent> tokens) override {
    for (const TokenEvent& event : tokens) choices_[choice].records.push_back(token_record(event, plan_));
  }
  void on_token(std::size_t choice, TokenEvent event) override {
    Gathered& gathered = choices_[choice];
    gathered.text += event.text;
    if (plan_.has_logprobs) gathered.records.push_back(token_record(event, plan_));
    if (plan_.has_token_ids) gathered.ids.push_back(event.token);
  }
  void on_finish(std::size_t choice, Finish finish) override {
    for (protocol::TokenRecord& record : end_record(finish, plan_)) {
      choices_[choice].records.push_back(std::move(record));
    }
    choices_[choice].text += finish.text;
    choices_[choice].finish = std::move(finish);
    if (++finished_ < choices_.size()) return;
    // One answer a connection is the most that can wait there, so the queue, as long as there may be connections, has
    // room.
    const bool is_taken = parts_.finishing->push([self = shared_from_this()] { self->send(); });
    if (!is_taken) send();
  }

 private:
  void send() {
    if (!is_abandoned_) write();
    parts_.live->remove(parts_.submission);
  }

  void write() {
    protocol::UsageCount usage;
    std::vector<protocol::Piece> pieces;
    std::vector<ReadAnswer> read(choices_.size());  // what the pieces show of each choice
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      const Gathered& gathered = choices_[i];
      if (gathered.finish.reason == generation::FinishReason::kError ||
          gathered.finish.reason == generation::FinishReason::kCancelled) {
        return parts_.reply->fail(finish_error(gathered.finish, plan_));
      }
      if (plan_.tools != nullptr) {
        read[i] = read_answer(*plan_.tools, plan_.head.id, i, gathered.text);
      } else {
        read[i].text = gathered.text;
      }
      const std::vector<std::int32_t>& prompt = plan_.prompts[plan_.prompt_of(i)];
      usage.completion_tokens += gathered.finish.usage.completion_tokens;
      if (i % plan_.choices_per_prompt == 0) {
        usage.prompt_tokens += prompt.size();
        usage.cached_tokens += gathered.finish.usage.cached_tokens;
      }
      pieces.push_back({.index = i,
                        .text = read[i].text,
                        .reasoning = read[i].reasoning,
                        .tool_calls = read[i].calls,
                        .records = gathered.records,
                        .has_logprobs = plan_.has_logprobs,
                        .token_ids = gathered.ids,
                        .has_token_ids = plan_.has_token_ids,
                        .prompt_ids = prompt,
                        .has_prompt_ids = plan_.has_token_ids,
                        .text_offset = 0,
                        .finish_reason = finish_word(gathered.finish.reason, read[i].has_calls)});
    }
    parts_.reply->json(protocol::format_answer(plan_.head, pieces, usage));
  }

  const AnswerPlan plan_;
  const AnswerParts parts_;
  std::vector<Gathered> choices_;
  std::size_t finished_ = 0;
  std::atomic<bool> is_abandoned_ = false;
};

}  // namespace

std::shared_ptr<Answer> make_whole_answer(AnswerPlan plan, AnswerParts parts) {
  return std::make_shared<WholeAnswer>(std::move(plan), std::move(parts));
}

}  // namespace autoglm::server
