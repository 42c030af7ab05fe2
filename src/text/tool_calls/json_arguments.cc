// SPDX-License-Identifier: Apache-2.0
#include "text/tool_calls/json_arguments.h"

#include <string>

#include "base/ascii.h"
#include "text/tool_calls/json_string.h"

namespace autoglm::text {

CallReader::Step JsonArguments::step(char c, CallSink& sink) {
  using Step = CallReader::Step;
  using Token = JsonScan::Kind;
  if (scan_.depth() == 0 && c != '{') return base::is_space(c) ? Step::kMore : Step::kBroken;
  const Token kind = scan_.step(c);
  if (kind == Token::kWrong) return Step::kBroken;
  std::string json;
  if (kind == Token::kKey || kind == Token::kString) {
    append_raw_json_byte(json, c);
  } else {
    json = c;
  }
  sink.arguments(json);
  if (scan_.depth() > 0) return Step::kMore;
  return sink.end() ? Step::kDone : Step::kBroken;
}

}  // namespace autoglm::text
