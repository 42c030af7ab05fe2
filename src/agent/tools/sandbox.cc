// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/sandbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "agent/tools/child.h"

namespace autoglm::agent {
namespace {

namespace fs = std::filesystem;

// The parts of the system that programs need to start. Not /home, /root, /var, /run, and of /etc only this.
constexpr std::array<const char*, 6> kSystemFolders = {"/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32"};
constexpr std::array<const char*, 10> kSystemFiles = {
    "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf",   "/etc/passwd",
    "/etc/group",        "/etc/mime.types",  "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/python3"};
constexpr std::array<const char*, 2> kNetworkFiles = {"/etc/resolv.conf", "/etc/hosts"};

void append(std::vector<std::string>& line, std::initializer_list<std::string> words) {
  line.insert(line.end(), words);
}

bool is_within(const fs::path& path, const fs::path& folder) {
  const auto [mismatch, unused] = std::ranges::mismatch(folder, path);
  return mismatch == folder.end();
}

Result<fs::path> existing(const fs::path& path) {
  std::error_code error;
  fs::path real = fs::canonical(path, error);
  if (error) return fail(Code::kNotFound, fmt::format("there is no {}", path.string()));
  return real;
}

// A folder is bound under the name it was given and under the one it really has, so that both work inside.
Status bind(std::vector<std::string>& line, const char* how, const fs::path& path) {
  const fs::path real = TRY(existing(path));
  append(line, {how, real.string(), real.string()});
  const fs::path named = fs::absolute(path).lexically_normal();
  if (named != real) append(line, {how, real.string(), named.string()});
  return {};
}

void bind_system(std::vector<std::string>& line, bool has_network) {
  std::error_code error;
  for (const char* folder : kSystemFolders) {
    if (fs::is_symlink(folder, error)) {
      append(line, {"--symlink", fs::read_symlink(folder, error).string(), folder});
    } else {
      append(line, {"--ro-bind-try", folder, folder});
    }
  }
  for (const char* file : kSystemFiles) append(line, {"--ro-bind-try", file, file});
  if (!has_network) return;
  for (const char* file : kNetworkFiles) append(line, {"--ro-bind-try", file, file});
}

fs::path first_of(const SandboxOptions& options) {
  const auto& folders = options.writable.empty() ? options.readable : options.writable;
  return folders.empty() ? fs::path() : fs::absolute(folders[0]).lexically_normal();
}

std::vector<std::string> limited(const std::string& prlimit, const ProcessLimits& limits, bool counts_processes) {
  std::vector<std::string> line = {prlimit, fmt::format("--cpu={}", limits.cpu_seconds),
                                   fmt::format("--fsize={}", limits.file_bytes),
                                   fmt::format("--nofile={}", limits.open_files), "--core=0"};
  if (limits.memory_bytes > 0) line.push_back(fmt::format("--as={}", limits.memory_bytes));
  // Outside of a user namespace it would count everything that the user runs.
  if (counts_processes) line.push_back(fmt::format("--nproc={}", limits.processes));
  return line;
}

}  // namespace

Result<std::vector<std::string>> sandboxed(const std::vector<std::string>& arguments, const std::string& path,
                                           const SandboxOptions& options, const ProcessLimits& limits) {
  const fs::path program = find_program(arguments.at(0), path);
  if (program.empty())
    return fail(Code::kNotFound, fmt::format("there is no program {} that can be run", arguments[0]));
  const fs::path prlimit = find_program("prlimit", options.system_path);
  if (prlimit.empty()) return fail(Code::kUnavailable, "the program prlimit (of util-linux) is missing");
  std::vector<std::string> line;
  if (options.is_on) {
    const fs::path bubblewrap = find_program("bwrap", options.system_path);
    if (bubblewrap.empty()) {
      return fail(Code::kPermissionDenied,
                  "programs run in a sandbox, and bubblewrap is not installed (apt-get install bubblewrap); "
                  "--no-sandbox runs them without");
    }
    append(line, {bubblewrap.string(), "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent",
                  "--new-session", "--cap-drop", "ALL"});
    if (options.has_network) line.emplace_back("--share-net");
    bind_system(line, options.has_network);
    append(line, {"--proc", "/proc", "--dev", "/dev", "--size", std::to_string(limits.file_bytes), "--tmpfs", "/tmp"});
    append(line, {"--size", std::to_string(limits.file_bytes), "--tmpfs", "/dev/shm"});
    for (const fs::path& folder : options.readable) TRY(bind(line, "--ro-bind", folder));
    for (const fs::path& folder : options.writable) TRY(bind(line, "--bind", folder));
    const fs::path real = TRY(existing(program));
    if (!is_within(real, "/usr")) TRY(bind(line, "--ro-bind", program));
    // Without the last one root, even without capabilities, would own the files below /proc/sys: the whole machine's.
    append(line, {"--remount-ro", "/", "--remount-ro", "/dev", "--remount-ro", "/proc"});
    fs::path folder = options.folder;
    if (folder.empty()) folder = first_of(options);
    append(line, {"--chdir", folder.empty() ? "/tmp" : folder.string(), "--"});
  }
  const auto limit_line = limited(prlimit.string(), limits, options.is_on);
  line.insert(line.end(), limit_line.begin(), limit_line.end());
  line.push_back(program.string());
  line.insert(line.end(), arguments.begin() + 1, arguments.end());
  return line;
}

}  // namespace autoglm::agent
