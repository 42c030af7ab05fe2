// SPDX-License-Identifier: Apache-2.0
// Turns the engine's events about one HTTP request into its answer: gathered and sent whole, or written out as
// server-sent events. The engine's thread only appends to a bounded queue; the text is made on the network thread or a
// worker.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "protocol/openai_request.h"
#include "protocol/openai_response.h"
#include "server/call_reader.h"
#include "server/reply.h"
#include "server/submission.h"
#include "server/workers.h"
#include "text/tokenizer.h"

namespace autoglm::server {

// What an answer needs to know of its request.
struct AnswerPlan {
  protocol::AnswerHead head;
  std::size_t choices_per_prompt = 1;              // n
  std::vector<std::vector<std::int32_t>> prompts;  // token ids
  std::vector<std::string> echoes;                 // text of each prompt, when it is echoed; else empty
  std::string format_pointer;                      // where the grammar came from in the request
  bool is_echoed = false;
  bool has_logprobs = false;
  bool has_token_ids = false;
  bool shows_special_tokens = false;  // in the text
  bool include_usage = false;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const ToolPlan> tools;  // null = text is text

  std::size_t choices() const { return prompts.size() * choices_per_prompt; }
  std::size_t prompt_of(std::size_t choice) const { return choice / choices_per_prompt; }
  bool expects_prompt_logprobs() const { return is_echoed && has_logprobs; }
};

// Where an answer comes from and goes to, besides its plan.
struct AnswerParts {
  std::shared_ptr<Reply> reply;
  std::shared_ptr<Submission> submission;
  LiveSubmissions* live = nullptr;  // the submission is removed from it at its end
  Workers* finishing = nullptr;     // where whole answers are written
};

class Answer : public ChoiceEvents {
 public:
  /// To be called once all choices were submitted: a stream's head goes out. Before, an error can still be a plain
  /// response.
  virtual void start() = 0;
  /// Nothing is to be sent: some of its choices were refused, and the request was answered with that error.
  virtual void abandon() = 0;
};

std::shared_ptr<Answer> make_whole_answer(AnswerPlan plan, AnswerParts parts);
std::shared_ptr<Answer> make_streamed_answer(AnswerPlan plan, AnswerParts parts);

// Shared by both kinds.
std::string_view finish_word(generation::FinishReason reason, bool has_calls = false);
protocol::TokenRecord token_record(const generation::TokenEvent& event, const AnswerPlan& plan);
/// Of an echoed prompt's answer, the token that ended it: who scores a text asks for one token behind it and takes the
/// last one for that (lm-evaluation-harness). Nothing for other answers.
std::vector<protocol::TokenRecord> end_record(const generation::Finish& finish, const AnswerPlan& plan);
/// Why a request ended without its answer, in the client's words.
protocol::ApiError finish_error(const generation::Finish& finish, const AnswerPlan& plan);

}  // namespace autoglm::server
