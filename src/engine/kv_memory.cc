// SPDX-License-Identifier: Apache-2.0
#include "engine/kv_memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "base/cpu_quota.h"
#include "engine/block_pool.h"
#include "engine/engine.h"

namespace autoglm::engine {
namespace {

constexpr std::size_t kShareOfMemory = 4;  // a quarter: the weights' pages and everybody else need the rest
constexpr std::size_t kWhenUnknown = std::size_t{1} << 30;

std::optional<std::size_t> number_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string word;
  if (!(file >> word)) return std::nullopt;
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;  // "max"
  return value;
}

// The number after `key` in a file of lines "key number ...".
std::optional<std::size_t> number_after(const std::filesystem::path& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    std::size_t value = 0;
    if (word == key && file >> value) return value;
  }
  return std::nullopt;
}

// The names of one version of the interface.
struct Interface {
  const char* controller;  // as cgroup_path() takes it
  const char* folder;
  const char* limit;
  const char* used;
  const char* unused_files;  // in memory.stat
};

constexpr Interface kInterfaces[] = {
    {"", "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"},
    {"memory", "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}};

std::optional<std::size_t> left_by(const Interface& names, const std::filesystem::path& group) {
  const auto limit = number_in(group / names.limit);
  auto used = number_in(group / names.used);
  if (!limit || !used) return std::nullopt;
  *used -= std::min(*used, number_after(group / "memory.stat", names.unused_files).value_or(0));
  return *limit - std::min(*limit, *used);
}

}  // namespace

std::size_t available_bytes(const std::filesystem::path& root) {
  const auto kib = number_after(root / "proc/meminfo", "MemAvailable:");
  std::size_t available = kib ? *kib * 1024 : kWhenUnknown;
  std::ifstream groups_file(root / "proc/self/cgroup");
  const std::string groups(std::istreambuf_iterator<char>(groups_file), {});
  for (const Interface& names : kInterfaces) {
    for (std::string path = base::cgroup_path(groups, names.controller);; path = base::parent_cgroup(path)) {
      const std::filesystem::path group = root / names.folder / std::filesystem::path(path).relative_path();
      available = std::min(available, left_by(names, group).value_or(available));
      if (path.empty()) break;
    }
  }
  return available;
}

std::size_t default_kv_bytes(const model::LanguageModel& network, const EngineOptions& options) {
  const std::size_t context = options.context_length > 0 ? options.context_length : network.context_length();
  const std::size_t blocks = (context + kBlockTokens - 1) / kBlockTokens;
  const std::size_t block = network.kv_bytes_per_block();
  // Divided before it is multiplied: a context of 2^40 tokens must not wrap.
  const std::size_t available = available_bytes("/");
  // Half is left where weights may come to more than there is: most texts do not need all of them.
  const std::size_t promised = std::min(available / 2, network.unpacked_bytes());
  const std::size_t most = (available - promised) / kShareOfMemory / block;
  const std::size_t wanted = most / options.max_batch_size >= blocks ? blocks * options.max_batch_size : most;
  return std::max<std::size_t>(wanted, 1) * block;
}

}  // namespace autoglm::engine
