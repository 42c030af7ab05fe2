// SPDX-License-Identifier: Apache-2.0
#include "base/budget.h"

#include <string>

namespace autoglm::base {

Status Budget::take_bytes(std::uint64_t n, const char* what) {
  if (n > left_.bytes) {
    return fail(Code::kExhausted, std::string(what) + " needs " + std::to_string(n) + " bytes, but the limit leaves " +
                                      std::to_string(left_.bytes));
  }
  left_.bytes -= n;
  return {};
}

Status Budget::take_steps(std::uint64_t n, const char* what) {
  if (n > left_.steps) {
    left_.steps = 0;
    return fail(Code::kExhausted, std::string(what) + " takes more work than the limit allows");
  }
  left_.steps -= n;
  return {};
}

Status Budget::enter(const char* what) {
  if (left_.depth == 0) return fail(Code::kExhausted, std::string(what) + " is nested too deep");
  --left_.depth;
  return {};
}

}  // namespace autoglm::base
