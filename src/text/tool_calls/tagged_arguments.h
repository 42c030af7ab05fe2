// SPDX-License-Identifier: Apache-2.0
// Arguments that stand one by one between tags, put together to the text of a JSON object. A value carries no quotes:
// whether "12" is a string or a number is for the tool's schema to say. One sequence's.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "text/tool_calls/call_reader.h"

namespace autoglm::text {

/// Of a name or a key.
inline constexpr std::size_t kMaxTagBytes = 1024;

class TaggedArguments final {
 public:
  TaggedArguments(std::size_t max_depth, KindsOfArgument kinds_of);

  /// Of a call of `name`, which the sink hears of. False: there is none, and the sink hears nothing.
  bool begin_call(std::string_view name, CallSink& sink);
  void begin_value(std::string_view key, CallSink& sink);
  /// A byte of the value.
  void take(char c, CallSink& sink);
  void end_value(CallSink& sink);
  /// kDone, or kBroken when a key came twice.
  CallReader::Step end_call(CallSink& sink);

 private:
  std::string value_json() const;

  std::size_t max_depth_;
  KindsOfArgument kinds_of_;
  std::string name_;
  std::string value_;  // where it is not certain to be a string
  unsigned kinds_ = 0;
  bool is_string_ = false;
  bool has_arguments_ = false;
};

}  // namespace autoglm::text
