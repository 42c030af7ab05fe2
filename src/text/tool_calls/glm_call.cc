// SPDX-License-Identifier: Apache-2.0
// Calls as GLM-4.5 and later write them. Source: the chat templates of GLM-4.5, 4.6 and 4.7.
#include <string>
#include <utility>

#include "base/ascii.h"
#include "text/tool_calls/call_reader.h"
#include "text/tool_calls/marker_scan.h"
#include "text/tool_calls/tagged_arguments.h"

namespace autoglm::text {
namespace {

using base::is_space;

class GlmCallReader final : public CallReader {
 public:
  GlmCallReader(std::size_t max_depth, KindsOfArgument kinds_of)
      : max_depth_(max_depth), arguments_(max_depth, std::move(kinds_of)) {}

  Step step(char c, CallSink& sink) override {
    if (json_ != nullptr) return json_->step(c, sink);
    if (place_ == Place::kName && text_.empty() && scan_.held().empty() && (c == '{' || c == '[')) {
      json_ = json_call_reader(true, max_depth_, {});
      return json_->step(c, sink);
    }
    plain_.clear();
    const int tag = scan_.step(c, plain_);
    for (const char byte : plain_) {
      if (!take_plain(byte, sink)) return Step::kBroken;
    }
    if (tag == MarkerScan::kNone) return Step::kMore;
    return take_tag(static_cast<Tag>(tag), sink);
  }

 private:
  enum Tag : int { kKeyTag, kKeyEnd, kValueTag, kValueEnd, kCallEnd };
  enum class Place : std::uint8_t { kName, kBetween, kKey, kBeforeValue, kValue };

  bool take_plain(char c, CallSink& sink) {
    switch (place_) {
      case Place::kName:
        if (is_space(c) && text_.empty()) return true;
        if (c == '\n') return take_name(sink);
        [[fallthrough]];
      case Place::kKey:
        text_ += c;
        return text_.size() <= kMaxTagBytes;
      case Place::kBetween:
      case Place::kBeforeValue:
        return is_space(c);
      case Place::kValue:
        arguments_.take(c, sink);
        return true;
    }
    return false;
  }

  bool take_name(CallSink& sink) {
    place_ = Place::kBetween;
    return arguments_.begin_call(std::exchange(text_, {}), sink);
  }

  Step take_tag(Tag tag, CallSink& sink) {
    if (place_ == Place::kValue && tag != kValueEnd) return take_as_text(tag, sink);
    if (place_ == Place::kName && (tag == kKeyTag || tag == kCallEnd) && !take_name(sink)) return Step::kBroken;
    if (place_ == Place::kBetween && tag == kKeyTag) {
      place_ = Place::kKey;
    } else if (place_ == Place::kKey && tag == kKeyEnd) {
      place_ = Place::kBeforeValue;
    } else if (place_ == Place::kBeforeValue && tag == kValueTag) {
      place_ = Place::kValue;
      arguments_.begin_value(std::exchange(text_, {}), sink);
    } else if (place_ == Place::kValue) {
      place_ = Place::kBetween;
      arguments_.end_value(sink);
    } else if (place_ == Place::kBetween && tag == kCallEnd) {
      return arguments_.end_call(sink);
    } else {
      return Step::kBroken;
    }
    return Step::kMore;
  }

  // Within a value only its own end counts.
  Step take_as_text(Tag tag, CallSink& sink) {
    for (const char byte : kTags[static_cast<std::size_t>(tag)]) take_plain(byte, sink);
    return Step::kMore;
  }

  static constexpr std::string_view kTags[] = {"<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>",
                                               "</tool_call>"};
  std::size_t max_depth_;
  std::unique_ptr<CallReader> json_;
  MarkerScan scan_{kTags[kKeyTag], kTags[kKeyEnd], kTags[kValueTag], kTags[kValueEnd], kTags[kCallEnd]};
  std::string plain_;
  Place place_ = Place::kName;
  std::string text_;  // of the name or key that is being read
  TaggedArguments arguments_;
};

}  // namespace

std::unique_ptr<CallReader> glm_call_reader(std::size_t max_depth, KindsOfArgument kinds_of) {
  return std::make_unique<GlmCallReader>(max_depth, std::move(kinds_of));
}

}  // namespace autoglm::text
