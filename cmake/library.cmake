# SPDX-License-Identifier: Apache-2.0
include(GoogleTest)

# Folders whose files mostly wait for the same large headers (Asio, Beast, Boost.JSON, CLI11) are compiled in groups,
# which halves the time of a cold build. Off in the debug build, where single files are compiled again and again.
option(OPENAUTOGLM_UNITY "Compile folders that say UNITY in groups of files" ON)
set(unity_group 12)

# autoglm_gtest(PROGRAM LABEL [FILTER]): each TEST of a GoogleTest program is a ctest case. Under a sanitizer starting a
# process takes longer than most cases: there the program runs as a few cases, each with every so-manyth TEST.
set(sanitized_shards 4)
function(autoglm_gtest program label)
  set(filter "*")
  if(ARGC GREATER 2)
    set(filter "${ARGV2}")
  endif()
  if(NOT OPENAUTOGLM_SANITIZE)
    gtest_discover_tests(${program} TEST_FILTER "${filter}" NO_PRETTY_VALUES DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 600 LABELS ${label})
    return()
  endif()
  math(EXPR last "${sanitized_shards} - 1")
  foreach(shard RANGE ${last})
    add_test(NAME ${program}.${shard} COMMAND ${program} --gtest_brief=1 "--gtest_filter=${filter}")
    set_tests_properties(${program}.${shard} PROPERTIES TIMEOUT 1200 LABELS ${label}
                         ENVIRONMENT "GTEST_TOTAL_SHARDS=${sanitized_shards};GTEST_SHARD_INDEX=${shard}")
  endforeach()
endfunction()

# autoglm_library(NAME [UNITY all|library] [DEPS ...] [SYSTEM_DEPS ...] [TEST_DEPS ...])
# One folder of src/ = one static library of all its .cc files (those of its second-level folders too), but for
#   *_test.cc   -> the test program NAME_test (GoogleTest; each TEST is a ctest case)
#   *_bench.cc  -> the micro-benchmark program NAME_bench (Google Benchmark)
#   main.cc     -> left to the folder itself
# DEPS repeat the law of includes (tools/layers.txt); TEST_DEPS are what only its tests link. UNITY: names in unnamed
# namespaces must be unlike within the library and, with `all`, within its tests.
function(autoglm_library name)
  cmake_parse_arguments(arg "" "UNITY" "DEPS;SYSTEM_DEPS;TEST_DEPS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cc")
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  set(benches ${sources})
  list(FILTER benches INCLUDE REGEX "_bench\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|_bench|/main)\\.cc$")
  add_library(${name} STATIC ${sources})
  set_property(GLOBAL APPEND PROPERTY autoglm_libraries ${name})
  target_include_directories(${name} PUBLIC "${CMAKE_SOURCE_DIR}/src")
  target_link_libraries(${name} PUBLIC ${arg_DEPS} ${arg_SYSTEM_DEPS})
  set(groups ${name})
  if(tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE ${name} ${arg_TEST_DEPS} GTest::gmock GTest::gtest_main)
    target_compile_definitions(${name}_test PRIVATE TESTDATA_DIR="${CMAKE_SOURCE_DIR}/tests/testdata")
    if(arg_UNITY STREQUAL "all")
      list(APPEND groups ${name}_test)
    endif()
    autoglm_gtest(${name}_test unit)
  endif()
  if(arg_UNITY AND OPENAUTOGLM_UNITY)
    set_target_properties(${groups} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${unity_group})
  endif()
  if(benches)
    add_executable(${name}_bench ${benches})
    target_link_libraries(${name}_bench PRIVATE ${name} benchmark::benchmark_main)
  endif()
endfunction()
