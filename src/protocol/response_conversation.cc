// SPDX-License-Identifier: Apache-2.0
#include "protocol/response_conversation.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "protocol/openai_tools.h"
#include "protocol/response_items.h"

namespace autoglm::protocol {
namespace {

std::unexpected<Error> wrong(std::string message) { return fail(Code::kInvalidArgument, std::move(message), "input"); }

// Ids of our own items say which turn they are of: "fc_RESPONSE_TURN_NUMBER".
std::string_view turn_of(std::string_view id) {
  const std::size_t first = id.find('_');
  const std::size_t last = id.rfind('_');
  return first == std::string_view::npos || last <= first ? std::string_view() : id.substr(first + 1, last - first - 1);
}

std::string text_of_parts(const json::Object& item) {
  std::string text;
  const json::Value* content = item.if_contains("content");
  if (content == nullptr || !content->is_array()) return text;
  for (const json::Value& part : content->get_array()) {
    if (!text.empty()) text.push_back('\n');
    if (part.is_object()) text += text_of_field(part.get_object(), "text");
  }
  return text;
}

// What became of the questions for leave in a conversation.
struct Leave {
  std::optional<bool> is_given;
  std::string reason;
  const json::Object* call = nullptr;  // the call that was made with it
};

std::string result_of_call(const json::Object& call) {
  const json::Value* error = call.if_contains("error");
  if (error != nullptr && !error->is_null()) return text_of_call_error(*error);
  return std::string(text_of_field(call, "output"));
}

class Reader final {
 public:
  explicit Reader(const NameOfTool& name_of) : name_of_(name_of) {}

  Result<Conversation> read(const json::Array& items) {
    TRY(read_leaves(items));
    for (const json::Value& item : items) TRY(read_item(item.get_object()));
    TRY(end_turn());
    return std::move(out_);
  }

 private:
  struct Call {
    std::string id;
    std::optional<json::Object> result;  // a tool's message
  };

  Status read_leaves(const json::Array& items) {
    for (const json::Value& value : items) {
      const json::Object& item = value.get_object();
      const std::string_view type = text_of_field(item, "type");
      if (type == "mcp_approval_request") leaves_[std::string(text_of_field(item, "id"))];
      const std::string request(text_of_field(item, "approval_request_id"));
      if (request.empty()) continue;
      const auto leave = leaves_.find(request);
      if (type == "mcp_call" && leave != leaves_.end()) leave->second.call = &item;
      if (type != "mcp_approval_response") continue;
      if (leave == leaves_.end())
        return wrong("approval_request_id " + request + " is of no request in this conversation");
      leave->second.is_given = item.at("approve").get_bool();
      leave->second.reason = text_of_field(item, "reason");
    }
    return {};
  }

  Status read_item(const json::Object& item) {
    const std::string_view type = text_of_field(item, "type");
    if (type == "message") return read_message(item);
    if (type == "reasoning") return read_reasoning(item);
    if (type == "function_call") return read_function_call(item);
    if (type == "function_call_output") return read_function_output(item);
    if (type == "mcp_call") return read_mcp_call(item);
    if (type == "mcp_approval_request") return read_question(item);
    if (type == "mcp_list_tools") out_.listed.emplace_back(text_of_field(item, "server_label"));
    return {};
  }

  Status read_message(const json::Object& item) {
    const std::string_view role = text_of_field(item, "role");
    if (role == "assistant") {
      TRY(join_turn(text_of_field(item, "id")));
      if (!text_.empty()) text_.push_back('\n');
      text_ += text_of_parts(item);
      has_text_ = true;
      return {};
    }
    TRY(end_turn());
    // Templates know the older name.
    out_.messages.push_back(
        json::Object{{"role", role == "developer" ? "system" : role}, {"content", text_of_parts(item)}});
    return {};
  }

  Status read_reasoning(const json::Object& item) {
    TRY(join_turn(text_of_field(item, "id")));
    reasoning_ += text_of_parts(item);
    return {};
  }

  Status read_function_call(const json::Object& item) {
    if (text_of_field(item, "status") == "incomplete") return {};  // it was cut, and nobody can have run it
    const std::string_view id = text_of_field(item, "call_id");
    return add_call(id, id, text_of_field(item, "name"), text_of_field(item, "arguments"));
  }

  Status read_function_output(const json::Object& item) {
    const std::string_view id = text_of_field(item, "call_id");
    const auto call = std::ranges::find(calls_, id, &Call::id);
    if (call == calls_.end()) return wrong("call_id " + std::string(id) + " is of no call that waits for its output");
    set_result(*call, text_of_field(item, "output"));
    return {};
  }

  Status read_mcp_call(const json::Object& item) {
    const std::string_view id = text_of_field(item, "id");
    const auto asked = leaves_.find(std::string(text_of_field(item, "approval_request_id")));
    if (asked != leaves_.end() && asked->second.call == &item) return {};  // it stands where it was asked about
    TRY(add_server_call(id, item));
    set_result(calls_.back(), result_of_call(item));
    return {};
  }

  Status read_question(const json::Object& item) {
    const std::string_view id = text_of_field(item, "id");
    TRY(add_server_call(id, item));
    const Leave& leave = leaves_.at(std::string(id));
    if (leave.call != nullptr) {
      set_result(calls_.back(), result_of_call(*leave.call));
    } else if (leave.is_given == true) {
      out_.approved.push_back({.request = std::string(id),
                               .server_label = std::string(text_of_field(item, "server_label")),
                               .name = std::string(text_of_field(item, "name")),
                               .arguments = std::string(text_of_field(item, "arguments"))});
      set_result(calls_.back(), "It was not run.");
    } else if (leave.is_given == false) {
      set_result(calls_.back(),
                 "It was not run: the user did not allow it" + (leave.reason.empty() ? "." : ": " + leave.reason));
    } else {
      set_result(calls_.back(), "It was not run: the user was asked and has not answered.");
    }
    return {};
  }

  Status add_server_call(std::string_view id, const json::Object& item) {
    const std::string name = name_of_(text_of_field(item, "server_label"), text_of_field(item, "name"));
    return add_call(id, id.empty() ? "call_" + std::to_string(out_.messages.size() + calls_.size()) : std::string(id),
                    name, text_of_field(item, "arguments"));
  }

  Status add_call(std::string_view item_id, std::string_view call_id, std::string_view name,
                  std::string_view arguments) {
    TRY(join_turn(item_id));
    if (std::ranges::find(calls_, call_id, &Call::id) != calls_.end()) {
      return wrong("there are two calls with the id " + std::string(call_id));
    }
    calls_.push_back({.id = std::string(call_id), .result = {}});
    names_.emplace_back(name);
    call_objects_.push_back(
        json::Object{{"id", call_id},
                     {"type", "function"},
                     {"function", json::Object{{"name", name}, {"arguments", arguments_for_template(arguments)}}}});
    return {};
  }

  // What comes next is of the turn that is open, unless that has calls which all have their results and the ids do not
  // say that both are of one turn.
  Status join_turn(std::string_view id) {
    const bool has_all = std::ranges::all_of(calls_, [](const Call& call) { return call.result.has_value(); });
    const std::string_view key = turn_of(id);
    const bool is_same = !key.empty() && key == key_;
    if (!calls_.empty() && has_all && !is_same) TRY(end_turn());
    key_ = key;
    return {};
  }

  void set_result(Call& call, std::string_view text) const {
    const auto index = static_cast<std::size_t>(&call - calls_.data());
    call.result = json::Object{{"role", "tool"}, {"tool_call_id", call.id}, {"name", names_[index]}, {"content", text}};
  }

  Status end_turn() {
    key_.clear();
    if (calls_.empty() && !has_text_ && reasoning_.empty()) return {};
    json::Object message = {{"role", "assistant"}, {"content", std::exchange(text_, {})}};
    if (!reasoning_.empty()) message["reasoning_content"] = std::exchange(reasoning_, {});
    if (!call_objects_.empty()) message["tool_calls"] = std::exchange(call_objects_, {});
    out_.messages.push_back(std::move(message));
    has_text_ = false;
    for (Call& call : calls_) {
      if (!call.result) return wrong("there is no output of the function call " + call.id);
      out_.messages.push_back(std::move(*call.result));
    }
    calls_.clear();
    names_.clear();
    return {};
  }

  const NameOfTool& name_of_;
  Conversation out_;
  std::map<std::string, Leave> leaves_;
  // The assistant's turn that is being put together.
  std::string key_;
  std::string text_;
  std::string reasoning_;
  bool has_text_ = false;
  std::vector<Call> calls_;
  std::vector<std::string> names_;  // of each call
  json::Array call_objects_;
};

}  // namespace

Result<Conversation> read_conversation(const json::Array& items, const NameOfTool& name_of) {
  return Reader(name_of).read(items);
}

}  // namespace autoglm::protocol
