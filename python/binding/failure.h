// SPDX-License-Identifier: Apache-2.0
// How a Result becomes a Python exception, and how Ctrl-C gets through a long call. The one place of the project that
// throws: Python is told of failures by exceptions, and nanobind carries them there.
#pragma once

#include <exception>
#include <type_traits>
#include <utility>

#include "base/result.h"

namespace autoglm::python {

// An Error on its way to Python, where openautoglm.errors says which class it becomes.
class Failure final : public std::exception {
 public:
  explicit Failure(Error error) : error_(std::move(error)) {}
  const char* what() const noexcept override { return error_.message.c_str(); }
  const Error& error() const { return error_; }

 private:
  Error error_;
};

/// The value, or the error as a Failure.
template <typename T>
T take(Result<T> result) {
  if (!result) throw Failure(std::move(result).error());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// From then on a Failure is an exception of openautoglm.errors. Called once, when the module is made.
void register_failures();

/// Runs Python's handlers of signals that came. Throws what they raise: KeyboardInterrupt at Ctrl-C. With the GIL; of
/// use on Python's main thread, harmless on others.
void check_signals();

[[noreturn]] void throw_keyboard_interrupt();

}  // namespace autoglm::python
