// SPDX-License-Identifier: Apache-2.0
// Calls as Qwen3-Coder writes them: tags that carry their name, and each value on lines of its own. Source: the chat
// template of Qwen3-Coder-30B-A3B.
#include <string>
#include <utility>

#include "base/ascii.h"
#include "text/tool_calls/call_reader.h"
#include "text/tool_calls/marker_scan.h"
#include "text/tool_calls/tagged_arguments.h"

namespace autoglm::text {
namespace {

class FunctionCallReader final : public CallReader {
 public:
  FunctionCallReader(bool has_tag, std::size_t max_depth, KindsOfArgument kinds_of)
      : max_depth_(max_depth),
        place_(has_tag ? Place::kName : Place::kBegin),
        arguments_(max_depth, std::move(kinds_of)) {}

  Step step(char c, CallSink& sink) override {
    switch (place_) {
      case Place::kJson:
        return json_->step(c, sink);
      case Place::kBegin:
        if (begin_.held().empty() && (c == '{' || c == '[')) {
          place_ = Place::kJson;
          json_ = json_call_reader(true, max_depth_, {});
          return json_->step(c, sink);
        }
        return take_between(begin_, c, sink);
      case Place::kBetween:
        return take_between(between_, c, sink);
      case Place::kName:
      case Place::kKey:
        return take_name(c, sink);
      case Place::kValue:
        return take_value(c, sink);
    }
    return Step::kBroken;
  }

 private:
  enum class Place : std::uint8_t { kBegin, kJson, kName, kBetween, kKey, kValue };
  enum Between : int { kNextTag, kFunctionEnd };

  // Tags, with nothing but white space before them.
  Step take_between(MarkerScan& scan, char c, CallSink& sink) {
    std::string plain;
    const int tag = scan.step(c, plain);
    for (const char byte : plain) {
      if (!base::is_space(byte)) return Step::kBroken;
    }
    if (tag == kFunctionEnd) return arguments_.end_call(sink);
    if (tag == kNextTag) place_ = place_ == Place::kBegin ? Place::kName : Place::kKey;
    return Step::kMore;
  }

  // The name of the function or of an argument, up to the end of its tag.
  Step take_name(char c, CallSink& sink) {
    if (c != '>') {
      text_ += c;
      return c != '\n' && text_.size() <= kMaxTagBytes ? Step::kMore : Step::kBroken;
    }
    const std::string text = std::exchange(text_, {});
    if (std::exchange(place_, Place::kBetween) == Place::kName) {
      return arguments_.begin_call(text, sink) ? Step::kMore : Step::kBroken;
    }
    arguments_.begin_value(text, sink);
    place_ = Place::kValue;
    is_value_fresh_ = true;
    return Step::kMore;
  }

  // The line breaks behind its tag and before its end are the format's.
  Step take_value(char c, CallSink& sink) {
    std::string plain;
    if (std::exchange(is_value_fresh_, false) && c == '\n') return Step::kMore;
    const int end = value_.step(c, plain);
    for (const char byte : plain) arguments_.take(byte, sink);
    if (end == MarkerScan::kNone) return Step::kMore;
    arguments_.end_value(sink);
    place_ = Place::kBetween;
    return Step::kMore;
  }

  std::size_t max_depth_;
  Place place_;
  std::unique_ptr<CallReader> json_;
  MarkerScan begin_{"<function="};
  MarkerScan between_{"<parameter=", "</function>"};
  MarkerScan value_{"</parameter>", "\n</parameter>"};
  std::string text_;  // of the name or key that is being read
  bool is_value_fresh_ = false;
  TaggedArguments arguments_;
};

}  // namespace

std::unique_ptr<CallReader> function_call_reader(bool has_tag, std::size_t max_depth, KindsOfArgument kinds_of) {
  return std::make_unique<FunctionCallReader>(has_tag, max_depth, std::move(kinds_of));
}

}  // namespace autoglm::text
