// SPDX-License-Identifier: Apache-2.0
// Whether this build is instrumented. A sanitizer makes tests some twenty times slower: the longest run fewer rounds
// there, for what it may report; how many rounds prove a property is judged by the plain builds. For tests.
#pragma once

namespace autoglm::base {

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif

}  // namespace autoglm::base
