// SPDX-License-Identifier: Apache-2.0
#include "text/tool_calls/tagged_arguments.h"

#include <utility>

#include "base/ascii.h"
#include "base/json.h"
#include "text/tool_calls/argument_kinds.h"
#include "text/tool_calls/json_string.h"

namespace autoglm::text {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && base::is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && base::is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string quoted(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) append_json_byte(json, c);
  return json + '"';
}

}  // namespace

TaggedArguments::TaggedArguments(std::size_t max_depth, KindsOfArgument kinds_of)
    : max_depth_(max_depth), kinds_of_(std::move(kinds_of)) {}

bool TaggedArguments::begin_call(std::string_view name, CallSink& sink) {
  name_ = std::string(trimmed(name));
  if (name_.empty()) return false;
  sink.begin(name_);
  return true;
}

void TaggedArguments::begin_value(std::string_view key, CallSink& sink) {
  const std::string_view bare = trimmed(key);
  kinds_ = kinds_of_ ? kinds_of_(name_, bare) : kAnyArgument;
  is_string_ = kinds_ == kStringArgument;
  value_.clear();
  sink.arguments((has_arguments_ ? "," : "{") + quoted(bare) + (is_string_ ? ":\"" : ":"));
  has_arguments_ = true;
}

void TaggedArguments::take(char c, CallSink& sink) {
  if (!is_string_) {
    value_ += c;
    return;
  }
  std::string json;
  append_json_byte(json, c);
  sink.arguments(json);
}

void TaggedArguments::end_value(CallSink& sink) { sink.arguments(is_string_ ? "\"" : value_json()); }

std::string TaggedArguments::value_json() const {
  const std::string_view bare = trimmed(value_);
  // Templates show the calls of earlier turns as Python writes their values, and so does the model.
  if ((kinds_ & kStringArgument) == 0 && json_word(bare) != bare) return std::string(json_word(bare));
  base::Budget budget(
      {.bytes = value_.size() + 1, .steps = value_.size() + 1, .depth = static_cast<std::uint32_t>(max_depth_)});
  const auto value = json::parse(bare, budget);
  const bool is_of_kind = value && (kind_of(*value) & kinds_) != 0;
  const bool is_json = is_of_kind || (value && (kinds_ & kStringArgument) == 0);
  return is_json ? std::string(bare) : quoted(value_);
}

CallReader::Step TaggedArguments::end_call(CallSink& sink) {
  sink.arguments(has_arguments_ ? "}" : "{}");
  return sink.end() ? CallReader::Step::kDone : CallReader::Step::kBroken;
}

}  // namespace autoglm::text
