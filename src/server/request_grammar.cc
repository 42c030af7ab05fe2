// SPDX-License-Identifier: Apache-2.0
#include "server/request_grammar.h"

#include <algorithm>
#include <cstdlib>

#include "text/tool_format.h"

namespace autoglm::server {

using protocol::ApiError;

ApiError callers_fault(Error error, std::string where) {
  if (error.code == Code::kExhausted) error.code = Code::kInvalidArgument;
  if (error.where.empty()) error.where = std::move(where);
  return error;
}

ApiResult<std::shared_ptr<const text::Grammar>> compile_format(const generation::ModelCard& card,
                                                               const protocol::ResponseFormat& format) {
  if (format.kind == protocol::FormatKind::kText) return nullptr;
  auto grammar = format.kind == protocol::FormatKind::kJsonObject
                     ? text::Grammar::any_json_object(card.tokenizer)
                     : text::Grammar::from_json_schema(format.schema, card.tokenizer);
  if (grammar) return std::move(*grammar);
  Error error = std::move(grammar).error();
  error.where = format.pointer + error.where;  // the schema's own pointer, seen from the request
  if (error.message.find(error.where) == std::string::npos) error.message += " (at " + error.where + ")";
  return std::unexpected(callers_fault(std::move(error), format.pointer));
}

ApiResult<std::shared_ptr<const text::Grammar>> compile_tools(const generation::ModelCard& card,
                                                              const CallableTools& tools) {
  text::ToolGrammarOptions options;
  options.format = card.tool_format;
  options.choice = tools.is_required ? text::ToolChoice::kRequired : text::ToolChoice::kAuto;
  options.is_parallel = tools.is_parallel;
  options.begins_in_reasoning = tools.begins_in_reasoning;
  auto grammar = text::tool_grammar(tools.tools, options, card.tokenizer);
  if (grammar) return std::move(*grammar);
  Error error = std::move(grammar).error();
  // "/tools/I/function/...": I counts the tools that may be called, which may be some of many.
  constexpr std::string_view kList = "/tools/";
  constexpr std::string_view kFunction = "/function";
  if (error.where.starts_with(kList)) {
    const std::size_t end = std::min(error.where.find('/', kList.size()), error.where.size());
    const std::size_t index = std::strtoull(error.where.c_str() + kList.size(), nullptr, 10);
    std::string rest = error.where.substr(end);
    if (tools.is_flat && rest.starts_with(kFunction)) rest.erase(0, kFunction.size());
    if (index < tools.places.size()) error.where = std::string(kList) + std::to_string(tools.places[index]) + rest;
  }
  if (error.message.find(error.where) == std::string::npos) error.message += " (at " + error.where + ")";
  return std::unexpected(callers_fault(std::move(error), "/tools"));
}

}  // namespace autoglm::server
