// SPDX-License-Identifier: Apache-2.0
#include "text/tool_calls/json_scan.h"

#include "base/ascii.h"

namespace autoglm::text {
namespace {

using base::is_space;

bool is_scalar(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '+' || c == '.';
}

}  // namespace

JsonScan::Kind JsonScan::wrong() {
  expect_ = Expect::kNothing;
  is_in_string_ = is_in_scalar_ = false;
  return Kind::kWrong;
}

JsonScan::Kind JsonScan::step_in_string(char c) {
  if (is_escaped_) {
    is_escaped_ = false;
  } else if (c == '\\') {
    is_escaped_ = true;
  } else if (c == '"') {
    is_in_string_ = false;
    expect_ = is_key_ ? Expect::kColon : Expect::kCommaOrClose;
  }
  return is_key_ ? Kind::kKey : Kind::kString;
}

JsonScan::Kind JsonScan::begin_value(char c) {
  if (c == '{' || c == '[') {
    if (open_.size() >= max_depth_) return wrong();
    open_ += c;
    expect_ = c == '{' ? Expect::kKeyOrClose : Expect::kValueOrClose;
    return Kind::kOpen;
  }
  if (open_.empty()) return wrong();
  if (c == '"') {
    is_in_string_ = true;
    is_key_ = false;
    return Kind::kString;
  }
  if (!is_scalar(c)) return wrong();
  is_in_scalar_ = true;
  return Kind::kScalar;
}

JsonScan::Kind JsonScan::close(char c) {
  if (open_.empty() || open_.back() != (c == '}' ? '{' : '[')) return wrong();
  open_.pop_back();
  expect_ = open_.empty() ? Expect::kNothing : Expect::kCommaOrClose;
  return Kind::kClose;
}

JsonScan::Kind JsonScan::step(char c) {
  if (is_in_string_) return step_in_string(c);
  if (is_in_scalar_) {
    if (is_scalar(c)) return Kind::kScalar;
    is_in_scalar_ = false;
    expect_ = Expect::kCommaOrClose;
  }
  if (is_space(c)) return expect_ == Expect::kNothing ? wrong() : Kind::kSpace;
  switch (expect_) {
    case Expect::kValueOrClose:
      if (c == ']') return close(c);
      return begin_value(c);
    case Expect::kValue:
      return begin_value(c);
    case Expect::kKeyOrClose:
      if (c == '}') return close(c);
      [[fallthrough]];
    case Expect::kKey:
      if (c != '"') return wrong();
      is_in_string_ = is_key_ = true;
      return Kind::kKey;
    case Expect::kColon:
      if (c != ':') return wrong();
      expect_ = Expect::kValue;
      return Kind::kColon;
    case Expect::kCommaOrClose:
      if (c == '}' || c == ']') return close(c);
      if (c != ',') return wrong();
      expect_ = open_.back() == '{' ? Expect::kKey : Expect::kValue;
      return Kind::kComma;
    case Expect::kNothing:
      break;
  }
  return wrong();
}

}  // namespace autoglm::text
