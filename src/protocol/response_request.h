// SPDX-License-Identifier: Apache-2.0
// A request to POST /v1/responses as checked plain values. What is unknown, or known and not supported, is refused by
// name, but for a closed list of parameters that cannot change the answer. Any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "protocol/openai_request.h"
#include "protocol/response_tools.h"

namespace autoglm::protocol {

struct ResponseRequest {
  std::string model;
  json::Array input;  // items as response_items.h reads them
  std::string instructions;
  std::string previous;  // previous_response_id; empty = none
  ResponseTools tools;
  std::optional<std::size_t> max_output_tokens;
  std::optional<std::size_t> max_tool_calls;
  double temperature = 1;
  double top_p = 1;
  ResponseFormat format;
  bool store = true;
  bool stream = false;
  json::Object echo;  // the parameters as the answer repeats them
};

/// Errors: kInvalidArgument, with the parameter's name in Error::where.
Result<ResponseRequest> parse_response_request(std::string_view body);

/// Names of parameters, for the documentation and its test: those that are read, the ignored ones too.
std::vector<std::string_view> response_parameters();

}  // namespace autoglm::protocol
