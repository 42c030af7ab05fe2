// SPDX-License-Identifier: Apache-2.0
// The tools of a run, by name. Deny by default: only what was added exists. Filled before the run starts, then
// immutable until it ends; any thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/tool.h"
#include "text/json_schema.h"

namespace autoglm::agent {

class ToolRegistry final {
 public:
  /// Whether a model can be held to a tool's schema.
  using IsCallable = std::function<Status(const ToolDescription& tool)>;

  explicit ToolRegistry(IsCallable is_callable = {}) : is_callable_(std::move(is_callable)) {}

  /// Errors: kInvalidArgument (a name that is taken or ill-formed, a schema that is not one of an object), those of
  /// IsCallable.
  Status add(std::unique_ptr<Tool> tool);
  /// Between runs: drops all but the first `count`.
  void keep_first(std::size_t count);

  Tool* find(std::string_view name) const;
  /// Do `arguments` satisfy the tool's schema? Errors: as text::JsonSchema::validate().
  Status check(const Tool& tool, const json::Object& arguments) const;

  const std::vector<std::unique_ptr<Tool>>& tools() const { return tools_; }
  /// [{"type":"function","function":{"name","description","parameters"}}, ...] in the order of adding: what a chat
  /// template renders, without quiet ones. Byte-stable, so that a prompt's prefix stays reusable.
  json::Array for_template() const;

 private:
  const IsCallable is_callable_;
  std::vector<std::unique_ptr<Tool>> tools_;
  std::vector<std::unique_ptr<const text::JsonSchema>> schemas_;  // one a tool, in the same order
};

}  // namespace autoglm::agent
