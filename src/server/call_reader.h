// SPDX-License-Identifier: Apache-2.0
// What a choice's text says when the request had tools: text, reasoning and calls, in the order that the official
// clients expect. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/openai_response.h"
#include "text/tool_format.h"

namespace autoglm::server {

// How the answers of a request with tools are read.
struct ToolPlan {
  text::ToolFormat format = text::ToolFormat::kHermes;
  std::vector<text::ToolSignature> callable;
  bool begins_in_reasoning = false;
  bool reads_json = true;  // as text::ToolCallParser's
  bool is_answer_json = false;
};

struct AnswerPart {
  enum class Kind : std::uint8_t { kText, kReasoning, kCall };
  Kind kind = Kind::kText;
  std::string text;
  protocol::ToolCallPiece call;  // its beginning (with id and name), or more of its arguments
};

class CallReader final {
 public:
  /// `answer_id` and `choice` make the ids of calls, which are then unique.
  CallReader(const ToolPlan& plan, std::string_view answer_id, std::size_t choice);

  std::vector<AnswerPart> push(std::string_view text) { return parts_of(parser_->push(text)); }
  std::vector<AnswerPart> finish() { return parts_of(parser_->finish()); }
  /// A call was complete so far.
  bool has_calls() const { return has_calls_; }

 private:
  std::vector<AnswerPart> parts_of(const std::vector<text::ToolEvent>& events);

  std::unique_ptr<text::ToolCallParser> parser_;
  std::string id_prefix_;
  std::size_t begun_ = 0;
  bool has_calls_ = false;
};

// A whole choice.
struct ReadAnswer {
  std::string text;
  std::string reasoning;
  std::vector<protocol::ToolCallPiece> calls;
  bool has_calls = false;
};
ReadAnswer read_answer(const ToolPlan& plan, std::string_view answer_id, std::size_t choice, std::string_view text);

}  // namespace autoglm::server
