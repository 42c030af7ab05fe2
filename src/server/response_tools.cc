// SPDX-License-Identifier: Apache-2.0
#include "server/response_tools.h"

#include <algorithm>
#include <utility>

namespace autoglm::server {
namespace {

using protocol::ApiError;
using protocol::ApprovalRule;

std::unexpected<ApiError> wrong(std::string message, std::string where) {
  return std::unexpected(ApiError(Error{Code::kInvalidArgument, std::move(message), std::move(where)}));
}

std::string place_of(std::size_t index, const char* field) { return "tools[" + std::to_string(index) + "]." + field; }

// A client may ask to be asked more or less than the operator's rule says, but for what is always asked.
bool asks_before(const protocol::ServerTool& server, const agent::ToolDescription& tool) {
  const std::string_view name = name_at_label(tool);
  ApprovalRule rule = server.approval;
  if (std::ranges::find(server.never, name) != server.never.end()) rule = ApprovalRule::kNever;
  if (std::ranges::find(server.always, name) != server.always.end()) rule = ApprovalRule::kAlways;
  switch (rule) {
    case ApprovalRule::kDefault:
      return tool.approval != agent::Approval::kNever;
    case ApprovalRule::kNever:
      return tool.approval == agent::Approval::kAlways;
    case ApprovalRule::kAlways:
      return true;
  }
  return true;
}

bool has_name(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

std::string_view label_of(const agent::ToolDescription& tool) {
  constexpr std::string_view kServer = "mcp:";
  const std::string_view source = tool.source;
  return source.starts_with(kServer) ? source.substr(kServer.size()) : kToolFileLabel;
}

std::string_view name_at_label(const agent::ToolDescription& tool) {
  return tool.source_name.empty() ? std::string_view(tool.name) : std::string_view(tool.source_name);
}

ApiResult<ResponseToolSet> ResponseToolSet::make(const protocol::ResponseTools& asked,
                                                 const agent::ToolRegistry* registry) {
  ResponseToolSet set;
  if (auto added = set.add_functions(asked); !added) return std::unexpected(added.error());
  for (const protocol::ServerTool& server : asked.servers) {
    if (auto added = set.add_server(server, registry); !added) return std::unexpected(added.error());
  }
  if (auto chosen = set.choose(asked); !chosen) return std::unexpected(chosen.error());
  return set;
}

ApiResult<void> ResponseToolSet::add_functions(const protocol::ResponseTools& asked) {
  for (std::size_t i = 0; i < asked.functions.size(); ++i) {
    const protocol::FunctionTool& function = asked.functions[i];
    add({.name = function.signature.name}, function.signature, function.for_template, asked.places[i]);
  }
  return {};
}

ApiResult<void> ResponseToolSet::add_server(const protocol::ServerTool& server, const agent::ToolRegistry* registry) {
  std::vector<std::string> known;
  const std::size_t before = tools_.size();
  for (std::size_t i = 0; registry != nullptr && i < registry->tools().size(); ++i) {
    const agent::ToolDescription& tool = registry->tools()[i]->description();
    if (label_of(tool) != server.label || tool.is_quiet) continue;
    known.emplace_back(name_at_label(tool));
    if (server.allowed && !has_name(*server.allowed, known.back())) continue;
    if (find(tool.name) != nullptr) {
      return wrong("a function and a tool of " + server.label + " have one name, " + tool.name,
                   place_of(server.place, "server_label"));
    }
    json::Object function = {{"name", tool.name}, {"description", tool.description}, {"parameters", tool.parameters}};
    add({.label = server.label, .name = known.back(), .own = &tool, .asks = asks_before(server, tool)},
        {.name = tool.name, .parameters = tool.parameters},
        json::Object{{"type", "function"}, {"function", std::move(function)}}, server.place);
  }
  if (known.empty()) {
    return wrong("the operator of this server has configured no tools under the label " + server.label,
                 place_of(server.place, "server_label"));
  }
  for (const auto* list : {&server.never, &server.always}) {
    for (const std::string& name : *list) {
      if (!has_name(known, name)) {
        return wrong(server.label + " has no tool " + name, place_of(server.place, "require_approval"));
      }
    }
  }
  if (server.allowed) {
    for (const std::string& name : *server.allowed) {
      if (!has_name(known, name)) {
        return wrong(server.label + " has no tool " + name, place_of(server.place, "allowed_tools"));
      }
    }
  }
  has_own_ = has_own_ || tools_.size() > before;
  labels_.push_back(server.label);
  return {};
}

void ResponseToolSet::add(ResponseTool tool, text::ToolSignature signature, json::Value for_template,
                          std::size_t place) {
  tools_.push_back(std::move(tool));
  signatures_.push_back(std::move(signature));
  for_template_.push_back(std::move(for_template));
  places_.push_back(place);
}

ApiResult<void> ResponseToolSet::choose(const protocol::ResponseTools& asked) {
  for (std::size_t i = 0; i < tools_.size(); ++i) {
    const bool is_named = asked.chosen_name.empty() || tools_[i].name == asked.chosen_name;
    const bool is_of_server = asked.chosen_server.empty() ? asked.chosen_name.empty() || tools_[i].is_function()
                                                          : tools_[i].label == asked.chosen_server;
    if (is_named && is_of_server) chosen_.push_back(i);
  }
  if (asked.use == protocol::ToolUse::kRequired && chosen_.empty()) {
    return wrong("tool_choice leaves no tool that could be called", "tool_choice");
  }
  return {};
}

const ResponseTool* ResponseToolSet::find(std::string_view model_name) const {
  const auto found = std::ranges::find(signatures_, model_name, &text::ToolSignature::name);
  return found == signatures_.end() ? nullptr : &tools_[static_cast<std::size_t>(found - signatures_.begin())];
}

const ResponseTool* ResponseToolSet::find(std::string_view label, std::string_view name) const {
  const auto is_it = [&](const ResponseTool& tool) { return tool.label == label && tool.name == name; };
  const auto found = std::ranges::find_if(tools_, is_it);
  return found == tools_.end() ? nullptr : &*found;
}

std::string ResponseToolSet::model_name(std::string_view label, std::string_view name) const {
  const ResponseTool* tool = find(label, name);
  return tool != nullptr ? tool->own->name : std::string(label) + "_" + std::string(name);
}

json::Array ResponseToolSet::listed(std::string_view label) const {
  json::Array list;
  for (const ResponseTool& tool : tools_) {
    if (tool.is_function() || tool.label != label) continue;
    list.push_back(json::Object{{"name", tool.name},
                                {"description", tool.own->description},
                                {"input_schema", tool.own->parameters},
                                {"annotations", nullptr}});
  }
  return list;
}

}  // namespace autoglm::server
