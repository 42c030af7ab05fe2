// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace autoglm::base {

CheckFailure::CheckFailure(const char* condition, const char* file, int line) {
  facts_ << file << ':' << line << ": CHECK failed: " << condition << ' ';
}

CheckFailure::~CheckFailure() {
  facts_ << '\n';
  const std::string text = facts_.str();
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::abort();
}

}  // namespace autoglm::base
