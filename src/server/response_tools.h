// SPDX-License-Identifier: Apache-2.0
// The tools of one response as its model knows them: the client's functions and the operator's tools, by one name each.
// Immutable once made; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/tool_registry.h"
#include "protocol/response_tools.h"
#include "server/request_grammar.h"
#include "text/tool_format.h"

namespace autoglm::server {

/// The label of the tools that come from a file of tools and not from a server.
inline constexpr std::string_view kToolFileLabel = "tools";

/// The label by which clients name where a tool comes from, and its name there.
std::string_view label_of(const agent::ToolDescription& tool);
std::string_view name_at_label(const agent::ToolDescription& tool);

struct ResponseTool {
  std::string label;                            // empty = a function of the client's
  std::string name;                             // as the client knows it
  const agent::ToolDescription* own = nullptr;  // null = a function of the client's
  bool asks = false;                            // the client is asked before it is called
  bool is_function() const { return own == nullptr; }
};

class ResponseToolSet final {
 public:
  /// `registry` may be null: the operator configured none. Errors: kInvalidArgument naming what there is not.
  static ApiResult<ResponseToolSet> make(const protocol::ResponseTools& asked, const agent::ToolRegistry* registry);

  const ResponseTool* find(std::string_view model_name) const;
  const ResponseTool* find(std::string_view label, std::string_view name) const;
  /// The model's name for a server's tool, also for one that is not among these.
  std::string model_name(std::string_view label, std::string_view name) const;

  bool has_own() const { return has_own_; }  // some that we call
  bool empty() const { return tools_.empty(); }
  const std::vector<std::string>& labels() const { return labels_; }  // in the request's order
  /// {"name","description","input_schema"} of each tool under a label.
  json::Array listed(std::string_view label) const;

  const json::Array& for_template() const { return for_template_; }
  const std::vector<text::ToolSignature>& signatures() const { return signatures_; }
  const std::vector<std::size_t>& places() const { return places_; }
  /// Those that tool_choice leaves, as indices: all, or what it names.
  const std::vector<std::size_t>& chosen() const { return chosen_; }

 private:
  ApiResult<void> add_functions(const protocol::ResponseTools& asked);
  ApiResult<void> add_server(const protocol::ServerTool& server, const agent::ToolRegistry* registry);
  void add(ResponseTool tool, text::ToolSignature signature, json::Value for_template, std::size_t place);
  ApiResult<void> choose(const protocol::ResponseTools& asked);

  std::vector<ResponseTool> tools_;
  std::vector<text::ToolSignature> signatures_;  // of each, under the model's name for it
  std::vector<std::size_t> places_;
  std::vector<std::size_t> chosen_;
  std::vector<std::string> labels_;
  json::Array for_template_;
  bool has_own_ = false;
};

}  // namespace autoglm::server
