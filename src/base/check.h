// SPDX-License-Identifier: Apache-2.0
// CHECK: an invariant of ours, always on. It prints the facts and aborts: a failed CHECK is a bug in this program and
// never reachable from untrusted bytes (those get a Result). DCHECK is for inner loops and lives in debug builds only.
#pragma once

#include <sstream>

namespace autoglm::base {

// Collects the facts streamed after CHECK(...) and aborts when it goes out of scope.
class CheckFailure final {
 public:
  CheckFailure(const char* condition, const char* file, int line);
  [[noreturn]] ~CheckFailure();
  CheckFailure(const CheckFailure&) = delete;
  CheckFailure& operator=(const CheckFailure&) = delete;
  std::ostream& stream() { return facts_; }

 private:
  std::ostringstream facts_;
};

// Lets the macro below be one expression of type void whether or not facts are streamed.
struct CheckVoidify final {
  void operator&(std::ostream&) const {}
};

}  // namespace autoglm::base

#define CHECK(condition)                              \
  (__builtin_expect(static_cast<bool>(condition), 1)) \
      ? (void)0                                       \
      : ::autoglm::base::CheckVoidify() & ::autoglm::base::CheckFailure(#condition, __FILE__, __LINE__).stream()

#ifdef NDEBUG
#define DCHECK(condition) \
  while (false) CHECK(condition)
#else
#define DCHECK(condition) CHECK(condition)
#endif
