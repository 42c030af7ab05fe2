// SPDX-License-Identifier: Apache-2.0
// Result<T>: the value, or an Error with one of our ten codes. How every expected failure travels (bad input, missing
// file, full queue); bugs are CHECKs (base/check.h). Any thread; never throws.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace autoglm {

/// The ten codes. One table in protocol/ maps them to HTTP statuses.
enum class Code {
  kInvalidArgument,   // the caller's words are wrong; the same call can never succeed
  kUnauthenticated,   // no key, or an unknown one
  kPermissionDenied,  // a known caller who may not
  kNotFound,          // no such model, route, file
  kExhausted,         // a bound was reached: queue, memory, disk, budget; may succeed later
  kUnavailable,       // a peer or resource is away (network, port taken, draining)
  kDeadline,          // the request's time ran out
  kCancelled,         // the caller went away
  kCorrupt,           // stored or downloaded bytes are not what they must be
  kInternal,          // our fault
};

/// "invalid_argument", "not_found", ...: the name used on the wire, in logs and in metrics.
std::string_view code_name(Code code);

struct Error {
  Code code = Code::kInternal;
  std::string message;  // what was expected, what came, and where; a full sentence without secrets
  std::string where;    // JSON pointer or field of a request that the error is about, else empty
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

/// `return fail(Code::kNotFound, "...");`
inline std::unexpected<Error> fail(Code code, std::string message, std::string where = {}) {
  return std::unexpected<Error>(Error{code, std::move(message), std::move(where)});
}

/// Puts `context` before an error's message: "reading model.gguf: <message>".
inline std::unexpected<Error> fail_in(std::string_view context, Error error) {
  error.message = std::string(context) + ": " + error.message;
  return std::unexpected<Error>(std::move(error));
}

}  // namespace autoglm

// `auto x = TRY(f());` takes the value or returns the error from the enclosing function. A GNU statement expression, so
// not for coroutines. `TRY(f());` alone serves a Status.
#define TRY(...)                                                              \
  ({                                                                          \
    auto try_result_ = (__VA_ARGS__);                                         \
    if (!try_result_) return std::unexpected(std::move(try_result_).error()); \
    std::move(try_result_).value();                                           \
  })
