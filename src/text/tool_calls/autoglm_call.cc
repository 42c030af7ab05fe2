// SPDX-License-Identifier: Apache-2.0
// The phone agent's language: a Python call with keyword arguments. What a user is to read or to type (`message` of
// finish, `text` of Type) is not escaped and may hold quotes: it ends with `")` at the end of the answer.
#include <string>
#include <utility>

#include "base/ascii.h"
#include "text/tool_calls/call_reader.h"
#include "text/tool_calls/json_string.h"

namespace autoglm::text {
namespace {

constexpr std::size_t kMaxWordBytes = 64;
constexpr std::size_t kMaxHeldBytes = 64;

using base::is_space;

bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' ||
         c == '-' || c == '+';
}

class AutoGlmCallReader final : public CallReader {
 public:
  AutoGlmCallReader(std::string_view name, std::size_t max_depth) : name_(name), max_depth_(max_depth) {}

  Step step(char c, CallSink& sink) override {
    switch (place_) {
      case Place::kKey:
        return take_key(c, sink);
      case Place::kValue:
        return begin_value(c, sink);
      case Place::kString:
        return take_string(c, sink);
      case Place::kFreeString:
      case Place::kFreeStringEnd:
        return take_free_string(c, sink);
      case Place::kLiteral:
        return take_literal(c, sink);
      case Place::kAfterValue:
        return after_value(c, sink);
    }
    return Step::kBroken;
  }

  Step finish(CallSink& sink) override {
    return place_ == Place::kFreeStringEnd && held_.size() > 1 ? end_of_free_string(sink, Step::kDone) : Step::kMore;
  }

 private:
  enum class Place : std::uint8_t { kKey, kValue, kString, kFreeString, kFreeStringEnd, kLiteral, kAfterValue };

  Step take_key(char c, CallSink& sink) {
    if (is_space(c) && key_.empty()) return Step::kMore;
    if (c != '=') {
      key_ += c;
      return is_word(c) && key_.size() <= kMaxWordBytes ? Step::kMore : Step::kBroken;
    }
    if (!has_arguments_) sink.begin(name_);
    sink.arguments((has_arguments_ ? ",\"" : "{\"") + key_ + "\":");
    has_arguments_ = true;
    place_ = Place::kValue;
    return Step::kMore;
  }

  Step begin_value(char c, CallSink& sink) {
    if (is_space(c)) return Step::kMore;
    if (c == '"' || c == '\'') {
      quote_ = c;
      const bool is_typed = key_ == "text" && (action_ == "Type" || action_ == "Type_Name");
      const bool is_free = (name_ == "finish" && key_ == "message") || (name_ == "do" && is_typed);
      place_ = is_free ? Place::kFreeString : Place::kString;
      sink.arguments("\"");
      return Step::kMore;
    }
    place_ = Place::kLiteral;
    return take_literal(c, sink);
  }

  Step take_string(char c, CallSink& sink) {
    std::string json;
    if (std::exchange(is_escaped_, false)) {
      constexpr std::string_view kSame = "\\\"/bfnrtu";
      if (c == 'x') {
        json = "\\u00";
      } else if (c == '\'') {
        json = "'";
      } else if (kSame.contains(c)) {
        json = {'\\', c};
      } else {  // Python keeps the backslash of what is no escape
        json = "\\\\";
        append_json_byte(json, c);
      }
    } else if (c == '\\') {
      is_escaped_ = true;
    } else if (c == quote_) {
      place_ = Place::kAfterValue;
      json = "\"";
    } else {
      append_json_byte(json, c);
      if (key_ == "action" && action_.size() < kMaxWordBytes) action_ += c;
    }
    sink.arguments(json);
    return Step::kMore;
  }

  Step take_free_string(char c, CallSink& sink) {
    if (place_ == Place::kFreeStringEnd) {
      const bool is_closed = held_.size() > 1;  // behind `")`
      if (is_closed && (c == '<' || c == '\n')) return end_of_free_string(sink, Step::kDoneBefore);
      if (is_closed ? c == ' ' && held_.size() < kMaxHeldBytes : c == ')') {
        held_ += c;
        return Step::kMore;
      }
      for (const char byte : std::exchange(held_, {})) put(byte, sink);
      place_ = Place::kFreeString;
    }
    if (c == quote_) {
      held_.assign(1, c);
      place_ = Place::kFreeStringEnd;
    } else {
      put(c, sink);
    }
    return Step::kMore;
  }

  static void put(char c, CallSink& sink) {
    std::string json;
    append_json_byte(json, c);
    sink.arguments(json);
  }

  Step end_of_free_string(CallSink& sink, Step step) {
    sink.arguments("\"}");
    return sink.end() ? step : Step::kBroken;
  }

  // A number, a word or a list of them.
  Step take_literal(char c, CallSink& sink) {
    if (is_word(c)) {
      word_ += c;
      return word_.size() <= kMaxWordBytes ? Step::kMore : Step::kBroken;
    }
    put_word(sink);
    if (open_ == 0 && (c == ',' || c == ')')) {
      place_ = Place::kAfterValue;
      return after_value(c, sink);
    }
    if (c == '[') ++open_;
    if (c == ']' && open_-- == 0) return Step::kBroken;
    if (!(c == '[' || c == ']' || c == ',' || is_space(c)) || open_ > max_depth_) return Step::kBroken;
    if (!is_space(c)) sink.arguments(std::string_view(&c, 1));
    return Step::kMore;
  }

  void put_word(CallSink& sink) {
    sink.arguments(json_word(word_));
    word_.clear();
  }

  Step after_value(char c, CallSink& sink) {
    if (is_space(c)) return Step::kMore;
    if (c == ',') {
      key_.clear();
      place_ = Place::kKey;
      return Step::kMore;
    }
    if (c != ')') return Step::kBroken;
    sink.arguments("}");
    return sink.end() ? Step::kDone : Step::kBroken;
  }

  std::string name_;
  std::size_t max_depth_;
  Place place_ = Place::kKey;
  std::string key_;
  std::string action_;  // do's
  std::string word_;
  std::string held_;  // what may be the end of a free string: `"`, `")` and blanks behind it
  std::size_t open_ = 0;
  char quote_ = '"';
  bool is_escaped_ = false;
  bool has_arguments_ = false;
};

}  // namespace

std::unique_ptr<CallReader> autoglm_call_reader(std::string_view name, std::size_t max_depth) {
  return std::make_unique<AutoGlmCallReader>(name, max_depth);
}

}  // namespace autoglm::text
