// SPDX-License-Identifier: Apache-2.0
#include "server/call_reader.h"

namespace autoglm::server {

CallReader::CallReader(const ToolPlan& plan, std::string_view answer_id, std::size_t choice)
    : parser_(text::ToolCallParser::make(plan.format, {.reads_json = plan.reads_json,
                                                       .begins_in_reasoning = plan.begins_in_reasoning,
                                                       .is_answer_json = plan.is_answer_json,
                                                       .tools = plan.callable})) {
  const std::size_t dash = answer_id.find('-');
  const std::string_view own = dash == std::string_view::npos ? answer_id : answer_id.substr(dash + 1);
  id_prefix_ = "call_" + std::string(own) + "_" + std::to_string(choice) + "_";
}

std::vector<AnswerPart> CallReader::parts_of(const std::vector<text::ToolEvent>& events) {
  using Kind = text::ToolEvent::Kind;
  std::vector<AnswerPart> parts;
  for (const text::ToolEvent& event : events) {
    AnswerPart part;
    part.call.index = event.call;
    switch (event.kind) {
      case Kind::kText:
        part.text = event.text;
        break;
      case Kind::kReasoning:
        part.kind = AnswerPart::Kind::kReasoning;
        part.text = event.text;
        break;
      case Kind::kCallBegin:
        part.kind = AnswerPart::Kind::kCall;
        part.call.id = id_prefix_ + std::to_string(event.call);
        part.call.name = event.text;
        begun_ = event.call + 1;
        break;
      case Kind::kArguments:
        part.kind = AnswerPart::Kind::kCall;
        part.call.arguments = event.text;
        break;
      case Kind::kCallEnd:
        has_calls_ = true;
        continue;
      case Kind::kBroken:
        // What a client already knows as a call stays one, cut; what never became one was text.
        if (event.call < begun_) continue;
        part.text = event.text;
        break;
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

ReadAnswer read_answer(const ToolPlan& plan, std::string_view answer_id, std::size_t choice, std::string_view text) {
  CallReader reader(plan, answer_id, choice);
  ReadAnswer answer;
  const auto take = [&](std::vector<AnswerPart> parts) {
    for (AnswerPart& part : parts) {
      if (part.kind == AnswerPart::Kind::kText) {
        answer.text += part.text;
      } else if (part.kind == AnswerPart::Kind::kReasoning) {
        answer.reasoning += part.text;
      } else if (!part.call.id.empty()) {
        answer.calls.push_back(std::move(part.call));
      } else {
        answer.calls.back().arguments += part.call.arguments;
      }
    }
  };
  take(reader.push(text));
  take(reader.finish());
  answer.has_calls = reader.has_calls();
  return answer;
}

}  // namespace autoglm::server
