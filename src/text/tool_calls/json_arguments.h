// SPDX-License-Identifier: Apache-2.0
// Arguments that stand as one JSON object behind a call's name, handed on as they come. One sequence's.
#pragma once

#include <cstddef>

#include "text/tool_calls/call_reader.h"
#include "text/tool_calls/json_scan.h"

namespace autoglm::text {

class JsonArguments final {
 public:
  explicit JsonArguments(std::size_t max_depth) : scan_(max_depth) {}

  /// Takes a byte, white space before the object too: kMore, kDone (its closing brace) or kBroken.
  CallReader::Step step(char c, CallSink& sink);

 private:
  JsonScan scan_;
};

}  // namespace autoglm::text
