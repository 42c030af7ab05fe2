// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/mcp_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <set>
#include <utility>

#include "agent/result_text.h"
#include "base/log.h"
#include "base/mutex.h"

namespace autoglm::agent {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kNewest = "2025-11-25";
constexpr std::array<std::string_view, 4> kVersions = {"2024-11-05", "2025-03-26", "2025-06-18", kNewest};
constexpr std::int64_t kMethodNotFound = -32601;
constexpr std::size_t kMaxPages = 64;
constexpr std::size_t kMaxTools = 512;
constexpr std::size_t kMaxToolNameBytes = 256;
constexpr std::size_t kMaxDescriptionBytes = 8u << 10;
constexpr std::size_t kMaxInstructionsBytes = 8u << 10;
constexpr std::size_t kMaxCursorBytes = 4096;
constexpr std::chrono::hours kCallLimit{24};  // the scheduler's timeout comes first

std::string text_field(const json::Object& object, std::string_view name, std::size_t max_bytes) {
  const auto* field = object.if_contains(name);
  if (field == nullptr || !field->is_string()) return "";
  const auto& text = field->get_string();
  return std::string(clip_utf8({text.data(), text.size()}, max_bytes));
}

std::optional<bool> hint(const json::Object& annotations, std::string_view name) {
  const auto* value = annotations.if_contains(name);
  return value != nullptr && value->is_bool() ? std::optional<bool>(value->get_bool()) : std::nullopt;
}

const json::Object* annotations_of(const json::Object& tool) {
  const auto* field = tool.if_contains("annotations");
  return field != nullptr ? field->if_object() : nullptr;
}

// The hints are the server's word. Reading counts as such unless it is said to reach into the open world, where a
// question gives something away; changing counts as a write only where it is said to stay in a closed world.
ToolClass class_of(const json::Object& tool) {
  const json::Object* field = annotations_of(tool);
  if (field == nullptr) return ToolClass::kExternal;
  const json::Object& annotations = *field;
  const bool is_open = hint(annotations, "openWorldHint").value_or(false);
  if (hint(annotations, "readOnlyHint").value_or(false)) return is_open ? ToolClass::kExternal : ToolClass::kRead;
  const bool says_closed = hint(annotations, "openWorldHint") == false;
  const bool says_how_it_writes = hint(annotations, "readOnlyHint") || hint(annotations, "destructiveHint");
  return says_closed || (says_how_it_writes && !is_open) ? ToolClass::kWrite : ToolClass::kExternal;
}

base::Time from_now(base::Duration limit) { return std::chrono::steady_clock::now() + limit; }

class Client final : public McpClient {
 public:
  Status start(const McpConnect& connect, milliseconds limit, std::stop_token stop) {
    transport_ = TRY(connect([this](const McpMessage& message) { listen(message); }));
    listening_ = transport_.get();
    return initialise(from_now(limit), std::move(stop));
  }

  Result<std::vector<McpTool>> list_tools(milliseconds limit, std::stop_token stop,
                                          std::vector<std::string>& remarks) override {
    std::vector<McpTool> tools;
    if (!has_tools_) return tools;
    const base::Time until = from_now(limit);
    std::string cursor;
    std::set<std::string> seen;
    for (std::size_t page = 0; page < kMaxPages; ++page) {
      json::Object params;
      if (!cursor.empty()) params["cursor"] = cursor;
      const json::Object result = TRY(ask("tools/list", params, stop, until));
      const auto* list = result.if_contains("tools");
      if (list == nullptr || !list->is_array()) return fail(Code::kCorrupt, "the server's list of tools is none");
      for (const json::Value& tool : list->get_array()) {
        if (tools.size() == kMaxTools) return fail(Code::kExhausted, "the server has too many tools");
        take_tool(tool, tools, remarks);
      }
      cursor = text_field(result, "nextCursor", kMaxCursorBytes);
      if (cursor.empty()) return tools;
      if (!seen.insert(cursor).second) return fail(Code::kCorrupt, "the server's list of tools goes in a circle");
    }
    return fail(Code::kExhausted, "the server's list of tools has too many pages");
  }

  Result<ToolOutput> call_tool(const std::string& name, const json::Object& arguments, std::stop_token stop) override {
    json::Object params;
    params["name"] = name;
    params["arguments"] = arguments;
    const json::Object result = TRY(ask("tools/call", params, std::move(stop), from_now(kCallLimit)));
    const auto* content = result.if_contains("content");
    const bool has_structure = result.contains("structuredContent");
    if (!has_structure && (content == nullptr || !content->is_array())) {
      return fail(Code::kCorrupt, "the server's result of the tool has no content");
    }
    const auto* error = result.if_contains("isError");
    return ToolOutput{text_of_content(result), error != nullptr && error->is_bool() && error->get_bool()};
  }

  const std::string& protocol_version() const override { return version_; }
  const std::string& server_name() const override { return server_name_; }
  const std::string& instructions() const override { return instructions_; }

 private:
  Status initialise(base::Time until, std::stop_token stop) {
    json::Object params;
    params["protocolVersion"] = kNewest;
    params["capabilities"] = json::Object{};
    params["clientInfo"] = json::Object{{"name", "openautoglm"}, {"version", "0.1.0"}};
    const json::Object result = TRY(ask_once("initialize", params, stop, until));
    const std::string version = text_field(result, "protocolVersion", 64);
    if (std::ranges::find(kVersions, version) == kVersions.end()) {
      return fail(Code::kCorrupt, fmt::format("the server speaks version '{}' of the protocol, which we do not",
                                              base::printable(version, 40)));
    }
    transport_->set_protocol_version(version);
    if (version_.empty()) take_facts(version, result);
    return transport_->send(mcp_notification("notifications/initialized", {}));
  }

  void take_facts(const std::string& version, const json::Object& result) {
    version_ = version;
    const auto* capabilities = result.if_contains("capabilities");
    has_tools_ = capabilities != nullptr && capabilities->is_object() && capabilities->get_object().contains("tools");
    const auto* server = result.if_contains("serverInfo");
    if (server != nullptr && server->is_object()) {
      server_name_ = base::printable(text_field(server->get_object(), "name", 100), 100);
    }
    instructions_ = text_field(result, "instructions", kMaxInstructionsBytes);
  }

  // A session that the server has forgotten is begun anew, once; it has not seen the request.
  Result<json::Object> ask(std::string_view method, const json::Object& params, std::stop_token stop,
                           base::Time until) {
    const std::uint64_t session = sessions_;
    auto result = ask_once(method, params, stop, until);
    if (result || result.error().code != Code::kNotFound) return result;
    {
      const base::MutexLock lock(renewal_);
      if (session == sessions_) {
        TRY(initialise(std::min(until, from_now(std::chrono::seconds(30))), stop));
        ++sessions_;
      }
    }
    return ask_once(method, params, stop, until);
  }

  Result<json::Object> ask_once(std::string_view method, const json::Object& params, std::stop_token stop,
                                base::Time until) {
    const std::int64_t id = ++last_id_;
    auto answer = transport_->request(id, mcp_request(id, method, params), stop, until);
    if (!answer) {
      const Code code = answer.error().code;
      // The server may go on with what nobody waits for. Initialisation may not be cancelled.
      if ((code == Code::kCancelled || code == Code::kDeadline) && method != "initialize") {
        json::Object cancelled;
        cancelled["requestId"] = id;
        cancelled["reason"] = code == Code::kCancelled ? "the run was stopped" : "it took too long";
        (void)transport_->send(mcp_notification("notifications/cancelled", cancelled));
      }
      return std::unexpected(std::move(answer).error());
    }
    if (answer->kind == McpMessage::Kind::kError) {
      return fail(Code::kInternal,
                  fmt::format("the server refuses {}: {} ({})", method, answer->error_text, answer->error_code));
    }
    return std::move(answer->content);
  }

  // Progress, logs and changed lists are not acted upon: the tools of a run stay what they were when it began.
  void listen(const McpMessage& message) {
    McpTransport* transport = listening_;  // null while it is still being made
    if (message.kind != McpMessage::Kind::kRequest || transport == nullptr) return;
    const std::string answer = message.method == "ping"
                                   ? mcp_answer(message.id, {})
                                   : mcp_refusal(message.id, kMethodNotFound, "this client does not offer that");
    (void)transport->send(answer);
  }

  static void take_tool(const json::Value& value, std::vector<McpTool>& tools, std::vector<std::string>& remarks) {
    const auto* fields = value.if_object();
    McpTool tool;
    if (fields != nullptr) tool.name = text_field(*fields, "name", kMaxToolNameBytes);
    if (tool.name.empty()) return remarks.push_back("a tool without a name is left out");
    const auto* schema = fields->if_contains("inputSchema");
    if (schema == nullptr || !schema->is_object()) {
      return remarks.push_back(
          fmt::format("the tool {} is left out: it has no input schema", base::printable(tool.name, 80)));
    }
    tool.description = text_field(*fields, "description", kMaxDescriptionBytes);
    tool.parameters = schema->get_object();
    tool.tool_class = class_of(*fields);
    if (const json::Object* annotations = annotations_of(*fields)) {
      tool.is_idempotent = hint(*annotations, "idempotentHint").value_or(false);
    }
    tools.push_back(std::move(tool));
  }

  std::atomic<std::int64_t> last_id_ = 0;
  std::atomic<std::uint64_t> sessions_ = 0;
  base::Mutex renewal_;
  // Written before connect() returns, then constant.
  bool has_tools_ = false;
  std::string version_;
  std::string server_name_;
  std::string instructions_;
  std::atomic<McpTransport*> listening_ = nullptr;
  std::unique_ptr<McpTransport> transport_;  // last: its thread calls listen() until it has ended
};

// One part of a result's content.
std::string text_of_part(const json::Value& part) {
  const auto* fields = part.if_object();
  if (fields == nullptr) return "[a part that cannot be read]";
  const std::string type = text_field(*fields, "type", 40);
  if (type == "text") return text_field(*fields, "text", kMaxMcpMessageBytes);
  const auto note = [](const json::Object& object, std::string_view what) {
    const auto* data = object.if_contains(what == "resource" ? "blob" : "data");
    const std::size_t size = data != nullptr && data->is_string() ? data->get_string().size() * 3 / 4 : 0;
    return fmt::format("[{}: {}, about {} bytes]", what, base::printable(text_field(object, "mimeType", 100)), size);
  };
  if (type == "image" || type == "audio") return note(*fields, type);
  if (type == "resource_link") {
    return fmt::format("[resource {}: {}]", base::printable(text_field(*fields, "name", 200)),
                       base::printable(text_field(*fields, "uri", 1000), 1000));
  }
  const auto* resource = fields->if_contains("resource");
  if (type == "resource" && resource != nullptr && resource->is_object()) {
    const json::Object& inner = resource->get_object();
    if (inner.contains("text")) return text_field(inner, "text", kMaxMcpMessageBytes);
    return note(inner, "resource");
  }
  return fmt::format("[a part of type {}]", base::printable(type, 40));
}

}  // namespace

std::string text_of_content(const json::Object& result) {
  std::string text;
  if (const auto* content = result.if_contains("content"); content != nullptr && content->is_array()) {
    bool is_first = true;
    for (const json::Value& part : content->get_array()) {
      if (!std::exchange(is_first, false)) text += '\n';
      text += text_of_part(part);
    }
  }
  const auto* structure = result.if_contains("structuredContent");
  if (text.empty() && structure != nullptr) return json::format(*structure);
  return text;
}

Result<std::shared_ptr<McpClient>> McpClient::connect(const McpConnect& connect, milliseconds limit,
                                                      std::stop_token stop) {
  auto client = std::make_shared<Client>();
  TRY(client->start(connect, limit, std::move(stop)));
  return client;
}

}  // namespace autoglm::agent
