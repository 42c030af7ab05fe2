// SPDX-License-Identifier: Apache-2.0
// What this binary was built from. The values come from the build itself (build_facts.cmake).
#pragma once

namespace autoglm::app {

extern const char* const kVersion;     // "0.1.0"
extern const char* const kCommit;      // of git, "-dirty" behind it when there were changes
extern const char* const kBuildType;   // "Release"
extern const char* const kSanitizers;  // empty, or as OPENAUTOGLM_SANITIZE

}  // namespace autoglm::app
