// SPDX-License-Identifier: Apache-2.0
// What a request's schemas and tools make of its answer: a grammar, compiled on the thread of its caller and never on
// the engine's. Worker threads and those of responses.
#pragma once

#include <expected>
#include <memory>
#include <span>
#include <string>

#include "generation/generator.h"
#include "protocol/openai_error.h"
#include "protocol/openai_request.h"
#include "text/grammar.h"

namespace autoglm::server {

template <typename T>
using ApiResult = std::expected<T, protocol::ApiError>;

/// A budget that ran out over a caller's own text is that caller's error: sending it again will not help.
protocol::ApiError callers_fault(Error error, std::string where);

/// Null for plain text. Errors: kInvalidArgument with the place in the request's schema.
ApiResult<std::shared_ptr<const text::Grammar>> compile_format(const generation::ModelCard& card,
                                                               const protocol::ResponseFormat& format);

// Tools that an answer may call, and where they stand in the request.
struct CallableTools {
  std::span<const text::ToolSignature> tools;
  std::span<const std::size_t> places;  // of each in the request's `tools`
  bool is_required = false;
  bool is_parallel = true;
  bool begins_in_reasoning = false;  // the prompt ends where thinking begins
  bool is_flat = false;              // /tools/I/parameters, not /tools/I/function/parameters
};

/// Whether JSON without a marker is a call in an answer of that format: not where the answer itself could look like
/// one.
bool reads_json_calls(const protocol::ResponseFormat& format);

/// A call is held to the tools from its first token on, and an answer without one to the format; where a call is
/// required, the format is only looked at. Errors: kInvalidArgument with the place in the request.
ApiResult<std::shared_ptr<const text::Grammar>> compile_tools(const generation::ModelCard& card,
                                                              const CallableTools& tools,
                                                              const protocol::ResponseFormat& format);

}  // namespace autoglm::server
