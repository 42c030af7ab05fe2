// SPDX-License-Identifier: Apache-2.0
// The response object of the Responses API, whole and as a stream of events. Works on plain values; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "protocol/openai_error.h"
#include "protocol/openai_response.h"

namespace autoglm::protocol {

struct ResponseHead {
  std::string id;  // "resp_..."
  std::string model;
  std::int64_t created = 0;
  json::Object echo;  // the request's parameters
};

// How far a response is. `status`: "in_progress", "completed", "incomplete", "failed", "cancelled".
struct ResponseState {
  std::string_view status = "in_progress";
  std::string_view incomplete_reason;  // with "incomplete"
  std::optional<ApiError> error;       // with "failed"
  json::Array output;
  std::optional<UsageCount> usage;
};

json::Object response_object(const ResponseHead& head, ResponseState state);

/// One server-sent event: `fields` with its type and number.
std::string format_event(std::string_view type, std::size_t sequence_number, json::Object fields);

}  // namespace autoglm::protocol
