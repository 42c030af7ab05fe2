// SPDX-License-Identifier: Apache-2.0
#include "agent/turn_reader.h"

#include <utility>

#include "base/budget.h"

namespace autoglm::agent {
namespace {

constexpr std::uint64_t kMaxArgumentBytes = 1u << 20;
constexpr std::uint32_t kMaxArgumentDepth = 32;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

}  // namespace

TurnReader::TurnReader(text::ToolFormat format, std::span<const text::ToolSignature> tools, bool begins_in_reasoning)
    : parser_(text::ToolCallParser::make(format, {.begins_in_reasoning = begins_in_reasoning, .tools = tools})) {}

std::string TurnReader::push(std::string_view text) { return take(parser_->push(text)); }

std::string TurnReader::take(const std::vector<text::ToolEvent>& events) {
  using Kind = text::ToolEvent::Kind;
  std::string shown;
  for (const text::ToolEvent& event : events) {
    switch (event.kind) {
      case Kind::kText:
        turn_.text += event.text;
        shown += event.text;
        break;
      case Kind::kReasoning:
        turn_.reasoning += event.text;
        break;
      case Kind::kCallBegin:
        turn_.calls.push_back({.tool = event.text});
        arguments_.clear();
        is_in_call_ = true;
        break;
      case Kind::kArguments:
        arguments_ += event.text;
        break;
      case Kind::kCallEnd:
        is_in_call_ = false;
        end_call();
        break;
      case Kind::kBroken:
        is_in_call_ = false;
        // A call whose name is known is told what was wrong with it; another one is a call of nothing.
        if (turn_.calls.size() <= event.call) turn_.calls.push_back({});
        turn_.calls.back().unusable =
            Error{Code::kInvalidArgument, "the call was not complete JSON and was not run: " + event.text, {}};
        ++turn_.invalid_calls;
        break;
    }
  }
  return shown;
}

void TurnReader::end_call() {
  ActionCall& call = turn_.calls.back();
  base::Budget budget({.bytes = kMaxArgumentBytes, .depth = kMaxArgumentDepth});
  auto value = json::parse(arguments_.empty() ? "{}" : std::string_view(arguments_), budget);
  if (value && value->is_object()) {
    call.arguments = std::move(value->get_object());
    return;
  }
  call.unusable = Error{Code::kInvalidArgument,
                        "the arguments are not a JSON object: " + (value ? arguments_ : value.error().message),
                        {}};
  ++turn_.invalid_calls;
}

ReadTurn TurnReader::finish(bool is_cut) {
  if (is_stopped_) {
    if (is_in_call_) turn_.calls.pop_back();
  } else {
    take(parser_->finish());
  }
  turn_.is_cut = is_cut && !is_stopped_;
  if (turn_.is_cut && !turn_.calls.empty() && turn_.calls.back().unusable) {
    turn_.calls.back().unusable->message += " (the answer was cut at its length limit: be shorter)";
  }
  turn_.text = std::string(trimmed(turn_.text));
  return std::move(turn_);
}

}  // namespace autoglm::agent
