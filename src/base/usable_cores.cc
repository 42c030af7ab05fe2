// SPDX-License-Identifier: Apache-2.0
// usable_cores() of base/thread_pool.h: what affinity, topology and control groups leave. Linux files; whatever cannot
// be read does not limit.
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "base/cpu_quota.h"
#include "base/thread_pool.h"

namespace autoglm::base {
namespace {

constexpr int kMostProcessors = 8192;

std::optional<std::string> text_of(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Processors that share a core (SMT) count once: kernels fill a core's vector units with one thread.
int cores_of_affinity() {
  const auto free_set = [](cpu_set_t* set) { CPU_FREE(set); };
  const std::unique_ptr<cpu_set_t, decltype(free_set)> set(CPU_ALLOC(kMostProcessors), free_set);
  const std::size_t bytes = CPU_ALLOC_SIZE(kMostProcessors);
  CPU_ZERO_S(bytes, set.get());
  if (::sched_getaffinity(0, bytes, set.get()) != 0) return static_cast<int>(std::thread::hardware_concurrency());
  std::set<std::pair<std::string, std::string>> cores;
  for (int cpu = 0; cpu < kMostProcessors; ++cpu) {
    if (!CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes, set.get())) continue;
    const std::string topology = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const auto package = text_of(topology + "physical_package_id");
    const auto core = text_of(topology + "core_id");
    if (package && core) {
      cores.emplace(*package, *core);
    } else {
      cores.emplace("cpu", std::to_string(cpu));
    }
  }
  return static_cast<int>(cores.size());
}

// The least over this process's control group and its parents, in either version of the interface.
std::optional<int> cores_of_cgroups() {
  const std::string groups = text_of("/proc/self/cgroup").value_or("");
  std::optional<int> least;
  const auto take = [&least](std::optional<int> cores) {
    if (cores && (!least || *cores < *least)) least = cores;
  };
  for (std::string path = cgroup_path(groups, "");; path = parent_cgroup(path)) {
    if (const auto max = text_of("/sys/fs/cgroup" + path + "/cpu.max")) take(cores_of_cpu_max(*max));
    if (path.empty()) break;
  }
  for (std::string path = cgroup_path(groups, "cpu");; path = parent_cgroup(path)) {
    const std::string folder = "/sys/fs/cgroup/cpu" + path;
    const auto quota = text_of(folder + "/cpu.cfs_quota_us");
    const auto period = text_of(folder + "/cpu.cfs_period_us");
    if (quota && period) take(cores_of_cfs(*quota, *period));
    if (path.empty()) break;
  }
  return least;
}

}  // namespace

int usable_cores() {
  const int cores = std::max(1, cores_of_affinity());
  return std::min(cores, cores_of_cgroups().value_or(cores));
}

}  // namespace autoglm::base
