// SPDX-License-Identifier: Apache-2.0
// Tools for tests: a description and a function. Tests only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "agent/action.h"
#include "agent/tool_registry.h"

namespace autoglm::agent {

class FakeTool final : public Tool {
 public:
  using Run = std::function<Result<ToolOutput>(const json::Object& arguments, std::stop_token stop)>;
  FakeTool(ToolDescription description, Run run) : description_(std::move(description)), run_(std::move(run)) {}
  const ToolDescription& description() const override { return description_; }
  Result<ToolOutput> run(const json::Object& arguments, std::stop_token stop) override { return run_(arguments, stop); }

 private:
  ToolDescription description_;
  Run run_;
};

inline ToolDescription describe(std::string name, ToolClass tool_class = ToolClass::kRead,
                                Approval approval = Approval::kNever) {
  ToolDescription description;
  description.name = std::move(name);
  description.description = "a tool of a test";
  description.parameters = json::Object{{"type", "object"}};
  description.tool_class = tool_class;
  description.approval = approval;
  return description;
}

inline json::Value parse_json(std::string_view text) {
  base::Budget budget;
  return json::parse(text, budget).value();
}

inline ActionCall call_of(std::string tool, std::string_view arguments = "{}") {
  ActionCall call;
  call.id = "call_" + tool;
  call.tool = std::move(tool);
  call.arguments = parse_json(arguments).as_object();
  return call;
}

}  // namespace autoglm::agent
