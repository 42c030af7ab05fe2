// SPDX-License-Identifier: Apache-2.0
// How much KV memory an engine reserves when nobody says. Reads /proc and the cgroup; called once at start.
#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <string>

#include "engine/engine.h"
#include "kernels/ops.h"

namespace autoglm::engine {
namespace {

constexpr std::size_t kShareOfMemory = 4;  // a quarter: the weights' pages and everybody else need the rest

std::optional<std::size_t> number_in(const char* path) {
  std::ifstream file(path);
  std::string word;
  if (!(file >> word)) return std::nullopt;
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;  // "max"
  return value;
}

// MemAvailable, less where a cgroup (v2, then v1) leaves less.
std::size_t available_bytes() {
  std::size_t available = 1ull << 30;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key; meminfo >> key;) {
    std::size_t kib = 0;
    if (key == "MemAvailable:" && meminfo >> kib) {
      available = kib * 1024;
      break;
    }
  }
  struct Limit {
    const char* limit;
    const char* used;
  };
  for (const Limit& file :
       {Limit{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
        Limit{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"}}) {
    const auto limit = number_in(file.limit);
    const auto used = number_in(file.used);
    if (limit && used) available = std::min(available, *limit - std::min(*limit, *used));
  }
  return available;
}

}  // namespace

std::size_t default_kv_bytes(const model::LanguageModel& network, const EngineOptions& options) {
  const std::size_t context = options.context_length > 0 ? options.context_length : network.context_length();
  const std::size_t blocks = (context + kernels::KvLayer::kBlockTokens - 1) / kernels::KvLayer::kBlockTokens;
  const std::size_t block = network.kv_bytes_per_block();
  // Divided before it is multiplied: a context of 2^40 tokens must not wrap.
  const std::size_t most = available_bytes() / kShareOfMemory / block;
  const std::size_t wanted = most / options.max_batch_size >= blocks ? blocks * options.max_batch_size : most;
  return std::max<std::size_t>(wanted, 1) * block;
}

}  // namespace autoglm::engine
