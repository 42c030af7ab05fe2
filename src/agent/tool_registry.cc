// SPDX-License-Identifier: Apache-2.0
#include "agent/tool_registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "protocol/openai_tools.h"

namespace autoglm::agent {
namespace {

// The schema to check against: what says nothing about its type is meant for an object.
Result<std::unique_ptr<const text::JsonSchema>> schema_of(const ToolDescription& tool) {
  json::Object parameters = tool.parameters;
  if (!parameters.contains("type")) parameters["type"] = "object";
  if (parameters["type"] != "object") {
    return fail(Code::kInvalidArgument,
                fmt::format("the parameters of {} must be of type object, not {}", tool.name,
                            base::printable(json::format(parameters["type"]), 60)),
                "/type");
  }
  auto schema = text::JsonSchema::parse(json::format(parameters));
  if (!schema) return fail_in(fmt::format("the parameters of {}", tool.name), std::move(schema).error());
  return schema;
}

// A tool whose runs at one time are bounded whoever asks for them: several runs may share a registry, and each action
// scheduler knows of its own only. Waiting is part of a run's time, and ends with its stop.
class BoundedTool final : public Tool {
 public:
  explicit BoundedTool(std::unique_ptr<Tool> tool)
      : tool_(std::move(tool)), room_(std::max<std::size_t>(tool_->description().max_concurrency, 1)) {}
  const ToolDescription& description() const override { return tool_->description(); }
  Result<ToolOutput> run(const json::Object& arguments, std::stop_token stop) override {
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [this] { return running_ < room_; })) {
        return fail(Code::kCancelled, "stopped while it waited for other runs of the tool");
      }
      ++running_;
    }
    const Leaving leaving{*this};
    return tool_->run(arguments, std::move(stop));
  }

 private:
  struct Leaving {
    BoundedTool& tool;
    ~Leaving() {
      const std::lock_guard lock(tool.mutex_);
      --tool.running_;
      tool.changed_.notify_one();
    }
  };

  const std::unique_ptr<Tool> tool_;
  const std::size_t room_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::size_t running_ = 0;
};

}  // namespace

Status ToolRegistry::add(std::unique_ptr<Tool> tool) {
  const ToolDescription& description = tool->description();
  if (!protocol::is_tool_name(description.name)) {
    return fail(Code::kInvalidArgument, fmt::format("'{}' is not a tool's name: 1 to 64 letters, digits, '_' and '-'",
                                                    base::printable(description.name, 80)));
  }
  if (find(description.name) != nullptr) {
    return fail(Code::kInvalidArgument, fmt::format("there are two tools named {}", description.name));
  }
  auto schema = TRY(schema_of(description));
  if (is_callable_) TRY(is_callable_(description));
  schemas_.push_back(std::move(schema));
  tools_.push_back(std::make_unique<BoundedTool>(std::move(tool)));
  return {};
}

void ToolRegistry::keep_first(std::size_t count) {
  CHECK(count <= tools_.size()) << count << " of " << tools_.size() << " tools";
  tools_.resize(count);
  schemas_.resize(count);
}

Tool* ToolRegistry::find(std::string_view name) const {
  const auto has_name = [name](const auto& tool) { return tool->description().name == name; };
  const auto found = std::ranges::find_if(tools_, has_name);
  return found == tools_.end() ? nullptr : found->get();
}

Status ToolRegistry::check(const Tool& tool, const json::Object& arguments) const {
  const auto is_it = [&tool](const auto& other) { return other.get() == &tool; };
  const auto found = std::ranges::find_if(tools_, is_it);
  CHECK(found != tools_.end()) << tool.description().name;
  return schemas_[static_cast<std::size_t>(found - tools_.begin())]->validate(arguments);
}

json::Array ToolRegistry::for_template() const {
  json::Array all;
  for (const auto& tool : tools_) {
    const ToolDescription& description = tool->description();
    if (description.is_quiet) continue;
    json::Object function;
    function["name"] = description.name;
    function["description"] = description.description;
    function["parameters"] = description.parameters;
    all.push_back(json::Object{{"type", "function"}, {"function", std::move(function)}});
  }
  return all;
}

}  // namespace autoglm::agent
