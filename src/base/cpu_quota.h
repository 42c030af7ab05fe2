// SPDX-License-Identifier: Apache-2.0
// How many processors a control group's CPU quota leaves, from the text of its files. Behind usable_cores(); apart so
// that it can be tested without a control group. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace autoglm::base {

/// cgroup v2 `cpu.max`: "max 100000" or "150000 100000" (microseconds of quota and period). Nothing without a limit or
/// with text that is not of this form. A fraction of a processor counts as none, but at least 1 is left.
std::optional<int> cores_of_cpu_max(std::string_view text);

/// cgroup v1 `cpu.cfs_quota_us` ("-1" = no limit) and `cpu.cfs_period_us`.
std::optional<int> cores_of_cfs(std::string_view quota, std::string_view period);

/// The path of this process in `/proc/self/cgroup`: of the v2 hierarchy ("0::/a/b" -> "/a/b"), or of the v1 hierarchy
/// that has `controller` ("4:cpu,cpuacct:/a" -> "/a"). Empty when it is not listed.
std::string cgroup_path(std::string_view proc_self_cgroup, std::string_view controller);

/// The parent of a cgroup path: "/a/b" -> "/a", "/a" -> "", "" -> "".
std::string parent_cgroup(std::string_view path);

}  // namespace autoglm::base
