// SPDX-License-Identifier: Apache-2.0
// Whether this build is instrumented: frames are larger there, and the bit-exact tests, some twenty times slower, run
// fewer variants. For tests.
#pragma once

namespace autoglm::base {

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif

}  // namespace autoglm::base
