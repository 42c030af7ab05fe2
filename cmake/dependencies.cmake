# SPDX-License-Identifier: Apache-2.0
# What the project links, all of it from Debian 12 (docs/decisions tells why each was taken).
find_package(Threads REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(simdjson REQUIRED)
find_package(SQLite3 3.40 REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)  # tools and end-to-end tests
