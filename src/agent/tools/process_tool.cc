// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/process_tool.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "agent/result_text.h"
#include "agent/tools/program.h"
#include "base/log.h"

namespace autoglm::agent {
namespace {

constexpr std::string_view kDefaultPath = "/usr/local/bin:/usr/bin:/bin";

std::string path_of(const std::vector<std::string>& environment) {
  const auto found = std::ranges::find_if(environment, [](const auto& entry) { return entry.starts_with("PATH="); });
  return found == environment.end() ? std::string(kDefaultPath) : found->substr(5);
}

std::string why_it_failed(const ProgramEnd& end) {
  const std::string how = end.exit_code > 128 ? fmt::format("ended by signal {}", end.exit_code - 128)
                                              : fmt::format("exit status {}", end.exit_code);
  std::string text = fmt::format("[{}]", how);
  if (!end.complaints.empty()) text += "\n" + end.complaints;
  if (!end.output.empty()) text += "\n[its output]\n" + end.output;
  return text;
}

class ProcessTool final : public Tool {
 public:
  ProcessTool(ToolDescription description, ChildOptions child, std::size_t max_output_bytes)
      : description_(std::move(description)), child_(std::move(child)), max_output_bytes_(max_output_bytes) {}

  const ToolDescription& description() const override { return description_; }

  Result<ToolOutput> run(const json::Object& arguments, std::stop_token stop) override {
    ProgramEnd end = TRY(run_program(child_, json::format(arguments), max_output_bytes_, std::move(stop)));
    if (end.exit_code != 0) return ToolOutput{why_it_failed(end), true};
    return ToolOutput{std::move(end.output), false};
  }

 private:
  const ToolDescription description_;
  const ChildOptions child_;
  const std::size_t max_output_bytes_;
};

}  // namespace

std::vector<std::string> environment_of(const std::vector<std::pair<std::string, std::string>>& given) {
  std::map<std::string, std::string> all = {{"PATH", std::string(kDefaultPath)}, {"HOME", "/tmp"}, {"LANG", "C.UTF-8"}};
  for (const auto& [name, value] : given) all[name] = value;
  std::vector<std::string> environment;
  for (const auto& [name, value] : all) environment.push_back(name + "=" + value);
  return environment;
}

Result<std::unique_ptr<Tool>> make_process_tool(ProcessToolConfig config) {
  ChildOptions child;
  child.environment = environment_of(config.environment);
  child.arguments = TRY(sandboxed(config.command, path_of(child.environment), config.sandbox, config.limits));
  if (!config.sandbox.is_on) child.folder = config.sandbox.folder;
  config.description.is_sandboxed = config.sandbox.is_on;
  return std::make_unique<ProcessTool>(std::move(config.description), std::move(child), config.max_output_bytes);
}

Status check_sandbox() {
  ChildOptions child{.arguments = TRY(sandboxed({"true"}, std::string(kDefaultPath), {}, {})),
                     .environment = environment_of({}),
                     .folder = {}};
  const auto end = run_program(child, "", 4096, {});
  if (end && end->exit_code == 0) return {};
  return fail(Code::kPermissionDenied,
              fmt::format("the sandbox cannot be used on this machine: {}; --no-sandbox runs programs without",
                          end ? base::printable(end->complaints, 300) : end.error().message));
}

}  // namespace autoglm::agent
