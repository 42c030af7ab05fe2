// SPDX-License-Identifier: Apache-2.0
// Calls as GLM-4.5 and later write them. A value carries no quotes: whether "12" is a string or a number is for the
// tool's schema to say. Source: the chat templates of GLM-4.5, 4.6 and 4.7.
#include <string>
#include <utility>

#include "base/ascii.h"
#include "base/json.h"
#include "text/tool_calls/argument_kinds.h"
#include "text/tool_calls/call_reader.h"
#include "text/tool_calls/json_string.h"
#include "text/tool_calls/marker_scan.h"

namespace autoglm::text {
namespace {

constexpr std::size_t kMaxKeyBytes = 1024;
enum Tag : int { kKeyTag, kKeyEnd, kValueTag, kValueEnd, kCallEnd };

using base::is_space;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string quoted(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) append_json_byte(json, c);
  return json + '"';
}

class GlmCallReader final : public CallReader {
 public:
  GlmCallReader(std::size_t max_depth, KindsOfArgument kinds_of)
      : max_depth_(max_depth), kinds_of_(std::move(kinds_of)) {}

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
  enum class Place : std::uint8_t { kName, kBetween, kKey, kBeforeValue, kValue };

  bool take_plain(char c, CallSink& sink) {
    switch (place_) {
      case Place::kName:
        if (is_space(c) && text_.empty()) return true;
        if (c == '\n') return take_name(sink);
        [[fallthrough]];
      case Place::kKey:
        text_ += c;
        return text_.size() <= kMaxKeyBytes;
      case Place::kBetween:
      case Place::kBeforeValue:
        return is_space(c);
      case Place::kValue:
        if (is_string_) {
          std::string json;
          append_json_byte(json, c);
          sink.arguments(json);
        } else {
          text_ += c;
        }
        return true;
    }
    return false;
  }

  bool take_name(CallSink& sink) {
    name_ = std::string(trimmed(std::exchange(text_, {})));
    if (name_.empty()) return false;
    sink.begin(name_);
    place_ = Place::kBetween;
    return true;
  }

  Step take_tag(Tag tag, CallSink& sink) {
    if (place_ == Place::kValue && tag != kValueEnd) return take_as_text(tag, sink);
    if (place_ == Place::kName && (tag == kKeyTag || tag == kCallEnd) && !take_name(sink)) return Step::kBroken;
    if (place_ == Place::kBetween && tag == kKeyTag) {
      place_ = Place::kKey;
    } else if (place_ == Place::kKey && tag == kKeyEnd) {
      place_ = Place::kBeforeValue;
      begin_value(sink);
    } else if (place_ == Place::kBeforeValue && tag == kValueTag) {
      place_ = Place::kValue;
      if (is_string_) sink.arguments("\"");
    } else if (place_ == Place::kValue) {
      place_ = Place::kBetween;
      sink.arguments(is_string_ ? "\"" : value_json(std::exchange(text_, {})));
    } else if (place_ == Place::kBetween && tag == kCallEnd) {
      sink.arguments(has_arguments_ ? "}" : "{}");
      return sink.end() ? Step::kDone : Step::kBroken;
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

  void begin_value(CallSink& sink) {
    const std::string key(trimmed(std::exchange(text_, {})));
    kinds_ = kinds_of_ ? kinds_of_(name_, key) : kAnyArgument;
    is_string_ = kinds_ == kStringArgument;
    sink.arguments((has_arguments_ ? "," : "{") + quoted(key) + ":");
    has_arguments_ = true;
  }

  std::string value_json(const std::string& text) const {
    base::Budget budget(
        {.bytes = text.size() + 1, .steps = text.size() + 1, .depth = static_cast<std::uint32_t>(max_depth_)});
    const std::string_view bare = trimmed(text);
    const auto value = json::parse(bare, budget);
    const bool is_of_kind = value && (kind_of(*value) & kinds_) != 0;
    const bool is_json = is_of_kind || (value && (kinds_ & kStringArgument) == 0);
    return is_json ? std::string(bare) : quoted(text);
  }

  static constexpr std::string_view kTags[] = {"<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>",
                                               "</tool_call>"};
  std::size_t max_depth_;
  KindsOfArgument kinds_of_;
  std::unique_ptr<CallReader> json_;
  MarkerScan scan_{kTags[kKeyTag], kTags[kKeyEnd], kTags[kValueTag], kTags[kValueEnd], kTags[kCallEnd]};
  std::string plain_;
  Place place_ = Place::kName;
  std::string name_;
  std::string text_;  // of the name, key or value that is being read
  unsigned kinds_ = kAnyArgument;
  bool is_string_ = false;
  bool has_arguments_ = false;
};

}  // namespace

std::unique_ptr<CallReader> glm_call_reader(std::size_t max_depth, KindsOfArgument kinds_of) {
  return std::make_unique<GlmCallReader>(max_depth, std::move(kinds_of));
}

}  // namespace autoglm::text
