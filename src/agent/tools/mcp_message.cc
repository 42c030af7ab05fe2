// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/mcp_message.h"

#include "base/log.h"

namespace autoglm::agent {
namespace {

constexpr std::size_t kMaxInBatch = 256;
constexpr std::size_t kMaxRequestIdBytes = 256;
constexpr std::size_t kMaxMethodBytes = 256;
constexpr std::size_t kMaxErrorTextBytes = 1000;

std::unexpected<Error> corrupt(std::string_view why) {
  return fail(Code::kCorrupt, "the server's message is not JSON-RPC: " + std::string(why));
}

Status take_error(const json::Value& error, McpMessage& message) {
  const auto* fields = error.if_object();
  if (fields == nullptr) return corrupt("its error is no object");
  message.kind = McpMessage::Kind::kError;
  if (const auto* code = fields->if_contains("code"); code != nullptr && code->is_int64()) {
    message.error_code = code->get_int64();
  }
  if (const auto* text = fields->if_contains("message"); text != nullptr && text->is_string()) {
    message.error_text = base::printable(json::view(text->get_string()), kMaxErrorTextBytes);
  }
  return {};
}

Result<McpMessage> read_one(const json::Value& value) {
  const auto* fields = value.if_object();
  if (fields == nullptr) return corrupt("it is no object");
  const auto* version = fields->if_contains("jsonrpc");
  if (version == nullptr || *version != "2.0") return corrupt("it does not say \"jsonrpc\":\"2.0\"");
  McpMessage message;
  const auto* id = fields->if_contains("id");
  if (id != nullptr && !id->is_null()) {
    const bool is_text = id->is_string() && id->get_string().size() <= kMaxRequestIdBytes;
    if (!id->is_number() && !is_text) return corrupt("its id is neither a number nor a short text");
    message.id = *id;
  }
  if (const auto* method = fields->if_contains("method")) {
    if (!method->is_string() || method->get_string().size() > kMaxMethodBytes) return corrupt("its method is no name");
    message.method = json::view(method->get_string());
    message.kind = message.id.is_null() ? McpMessage::Kind::kNotification : McpMessage::Kind::kRequest;
    const auto* params = fields->if_contains("params");
    if (params != nullptr && params->is_object()) message.content = params->get_object();
    return message;
  }
  if (const auto* error = fields->if_contains("error")) {
    TRY(take_error(*error, message));
    return message;
  }
  const auto* result = fields->if_contains("result");
  if (result == nullptr || !result->is_object()) return corrupt("it has neither a method nor a result");
  if (message.id.is_null()) return corrupt("it answers no request");
  message.kind = McpMessage::Kind::kResult;
  message.content = result->get_object();
  return message;
}

std::string opening(std::string_view id) {
  return id.empty() ? R"({"jsonrpc":"2.0")" : R"({"jsonrpc":"2.0","id":)" + std::string(id);
}

std::string call_text(std::string_view id, std::string_view method, const json::Object& params) {
  std::string text = opening(id) + R"(,"method":)";
  json::append_string(text, method);
  if (!params.empty()) text += R"(,"params":)" + json::format(params);
  return text + "}";
}

}  // namespace

Result<std::vector<McpMessage>> parse_mcp(std::string_view text) {
  base::Budget budget({.bytes = kMaxMcpMessageBytes, .steps = 1'000'000, .depth = 64});
  auto value = json::parse(text, budget);
  if (!value) {
    const bool is_large = value.error().code == Code::kExhausted;
    return fail(is_large ? Code::kExhausted : Code::kCorrupt, "the server's message: " + value.error().message);
  }
  std::vector<McpMessage> messages;
  if (const auto* list = value->if_array()) {
    if (list->size() > kMaxInBatch) return fail(Code::kExhausted, "the server sends too many messages at once");
    for (const json::Value& item : *list) messages.push_back(TRY(read_one(item)));
  } else {
    messages.push_back(TRY(read_one(*value)));
  }
  return messages;
}

std::string mcp_request(std::int64_t id, std::string_view method, const json::Object& params) {
  return call_text(std::to_string(id), method, params);
}

std::string mcp_notification(std::string_view method, const json::Object& params) {
  return call_text("", method, params);
}

std::string mcp_answer(const json::Value& id, const json::Object& result) {
  return opening(json::format(id)) + R"(,"result":)" + json::format(result) + "}";
}

std::string mcp_refusal(const json::Value& id, std::int64_t code, std::string_view text) {
  std::string out = opening(json::format(id)) + R"(,"error":{"code":)" + std::to_string(code) + R"(,"message":)";
  json::append_string(out, text);
  return out + "}}";
}

bool is_answer_to(const McpMessage& message, std::int64_t id) {
  const bool is_answer = message.kind == McpMessage::Kind::kResult || message.kind == McpMessage::Kind::kError;
  return is_answer && message.id.is_int64() && message.id.get_int64() == id;
}

}  // namespace autoglm::agent
