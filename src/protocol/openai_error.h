// SPDX-License-Identifier: Apache-2.0
// Errors on the wire: OpenAI's shape, our ten codes, and the HTTP status of each. Any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace autoglm::protocol {

// An error with the word that clients of the OpenAI API look for, where there is one ("model_not_found").
struct ApiError {
  Error error;
  std::string_view wire_code;  // empty = the name of error.code

  ApiError(Error cause) : error(std::move(cause)) {}  // NOT explicit: `return std::unexpected(error)` of a Result fits
  ApiError(Error cause, std::string_view word) : error(std::move(cause)), wire_code(word) {}
};

struct ErrorRow {
  Code code;
  int status;
  std::string_view type;     // OpenAI's class of errors
  std::string_view meaning;  // for docs/guides/api.md
};

// The one table from our codes to HTTP.
std::span<const ErrorRow> all_errors();
const ErrorRow& error_row(Code code);

/// {"error":{"message":...,"type":...,"param":...,"code":...}}. What went wrong inside us (kInternal, kCorrupt) is not
/// told to clients.
std::string format_error(const ApiError& error);

/// The message that a client may see: for kInternal and kCorrupt a fixed sentence; memory addresses never get through.
std::string public_message(const Error& error);

}  // namespace autoglm::protocol
