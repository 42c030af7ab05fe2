// SPDX-License-Identifier: Apache-2.0
#include "agent/tool.h"

#include <algorithm>
#include <array>
#include <utility>

namespace autoglm::agent {
namespace {

constexpr std::array<std::pair<ToolClass, std::string_view>, 3> kClasses = {
    {{ToolClass::kRead, "read"}, {ToolClass::kWrite, "write"}, {ToolClass::kExternal, "external"}}};
constexpr std::array<std::pair<Approval, std::string_view>, 3> kApprovals = {
    {{Approval::kNever, "never"}, {Approval::kAsk, "ask"}, {Approval::kAlways, "always"}}};

template <typename Table, typename Value>
std::string_view name_in(const Table& table, Value value) {
  return std::ranges::find(table, value, &Table::value_type::first)->second;
}

template <typename Table>
auto value_in(const Table& table, std::string_view name) {
  const auto found = std::ranges::find(table, name, &Table::value_type::second);
  using Value = typename Table::value_type::first_type;
  return found == table.end() ? std::optional<Value>() : std::optional<Value>(found->first);
}

}  // namespace

std::string_view class_name(ToolClass tool_class) { return name_in(kClasses, tool_class); }
std::optional<ToolClass> parse_class(std::string_view name) { return value_in(kClasses, name); }
std::string_view approval_name(Approval approval) { return name_in(kApprovals, approval); }
std::optional<Approval> parse_approval(std::string_view name) { return value_in(kApprovals, name); }

}  // namespace autoglm::agent
