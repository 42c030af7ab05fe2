# SPDX-License-Identifier: Apache-2.0
# cmake -Dsource=... -Doutput=... -Dversion=... -Dbuild_type=... -Dsanitizers=... -P build_facts.cmake
# Writes build_facts.cc; asks git for the commit, and does without where there is no repository.
# safe.directory: a container's root may build what another user checked out.
execute_process(COMMAND git -c "safe.directory=${source}" -C "${source}" describe --always --dirty --abbrev=12
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR commit STREQUAL "")
  set(commit "commit unknown")
endif()
configure_file("${CMAKE_CURRENT_LIST_DIR}/build_facts.cc.in" "${output}" @ONLY)
