# SPDX-License-Identifier: Apache-2.0
# Flags of every translation unit. Instruction-set flags are never set here: only the units under
# src/kernels/<isa>/ get them, so that no inline function compiled for AVX-512 can be linked into shared code.
add_compile_options(-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wthread-safety -Wimplicit-fallthrough
                    -Wno-gnu-statement-expression -Wno-missing-field-initializers)
if(OPENAUTOGLM_WERROR)
  add_compile_options(-Werror)
endif()
# x86-64-v2 (SSE4.2, POPCNT: every x86-64 server since 2009) is the floor; AVX2 and AVX-512 are chosen at run time.
add_compile_options(-march=x86-64-v2 -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -fno-math-errno -ffp-contract=off)
add_compile_options($<$<CONFIG:RelWithDebInfo>:-gline-tables-only>)
add_compile_options(-fstack-protector-strong -fcf-protection)
add_compile_definitions(_GLIBCXX_ASSERTIONS)
if(OPENAUTOGLM_SANITIZE)
  string(REPLACE ";" "," sanitizers "${OPENAUTOGLM_SANITIZE}")
  add_compile_options(-fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${sanitizers})
  if(OPENAUTOGLM_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
  endif()
else()
  add_compile_definitions($<$<CONFIG:Release>:_FORTIFY_SOURCE=3>)
  add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie> -Wl,-z,relro,-z,now -Wl,--gc-sections)
endif()
