// SPDX-License-Identifier: Apache-2.0
#include "server/request_grammar.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "base/budget.h"
#include "base/json.h"
#include "text/tool_format.h"

namespace autoglm::server {

using protocol::ApiError;

ApiError callers_fault(Error error, std::string where) {
  if (error.code == Code::kExhausted) error.code = Code::kInvalidArgument;
  if (error.where.empty()) error.where = std::move(where);
  return error;
}

namespace {

// What the answer is held to; null: nothing.
std::optional<json::Value> schema_of(const protocol::ResponseFormat& format) {
  switch (format.kind) {
    case protocol::FormatKind::kText:
      return std::nullopt;
    case protocol::FormatKind::kJsonObject:
      return json::Object{{"type", "object"}};
    case protocol::FormatKind::kJsonSchema:
      break;
  }
  base::Budget budget;
  return json::parse(format.schema, budget).value();  // it was written by json::format()
}

// A place of a grammar's own as it stands in the request.
std::string place_in_request(const std::string& where, const CallableTools& tools,
                             const protocol::ResponseFormat& format) {
  constexpr std::string_view kAnswer = "/answer";
  if (where.starts_with(kAnswer)) return format.pointer + where.substr(kAnswer.size());
  // "/tools/I/function/...": I counts the tools that may be called, which may be some of many.
  constexpr std::string_view kList = "/tools/";
  constexpr std::string_view kFunction = "/function";
  if (!where.starts_with(kList)) return where;
  const std::size_t end = std::min(where.find('/', kList.size()), where.size());
  const std::size_t index = std::strtoull(where.c_str() + kList.size(), nullptr, 10);
  std::string rest = where.substr(end);
  if (tools.is_flat && rest.starts_with(kFunction)) rest.erase(0, kFunction.size());
  return index < tools.places.size() ? std::string(kList) + std::to_string(tools.places[index]) + rest : where;
}

}  // namespace

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

bool reads_json_calls(const protocol::ResponseFormat& format) {
  const auto schema = schema_of(format);
  return !schema || !text::may_read_as_call(*schema);
}

ApiResult<std::shared_ptr<const text::Grammar>> compile_tools(const generation::ModelCard& card,
                                                              const CallableTools& tools,
                                                              const protocol::ResponseFormat& format) {
  text::ToolGrammarOptions options;
  options.format = card.tool_format;
  options.choice = tools.is_required ? text::ToolChoice::kRequired : text::ToolChoice::kAuto;
  options.is_parallel = tools.is_parallel;
  options.begins_in_reasoning = tools.begins_in_reasoning;
  if (tools.is_required) {
    if (auto good = compile_format(card, format); !good) return good;
  } else {
    options.answer_schema = schema_of(format);
    options.reads_json = reads_json_calls(format);
  }
  auto grammar = text::tool_grammar(tools.tools, options, card.tokenizer);
  if (grammar) return std::move(*grammar);
  Error error = std::move(grammar).error();
  error.where = place_in_request(error.where, tools, format);
  if (error.message.find(error.where) == std::string::npos) error.message += " (at " + error.where + ")";
  return std::unexpected(callers_fault(std::move(error), "/tools"));
}

}  // namespace autoglm::server
