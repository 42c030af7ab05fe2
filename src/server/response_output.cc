// SPDX-License-Identifier: Apache-2.0
#include "server/response_output.h"

#include <utility>

#include "protocol/response_items.h"

namespace autoglm::server {
namespace {

json::Object text_part(std::string_view text) {
  return {{"type", "output_text"}, {"text", text}, {"annotations", json::Array{}}, {"logprobs", json::Array{}}};
}

json::Object reasoning_part(std::string_view text) { return {{"type", "reasoning_text"}, {"text", text}}; }

json::Object own_call(const ResponseTool& tool) {
  return {
      {"type", "mcp_call"}, {"status", "in_progress"}, {"server_label", tool.label}, {"name", tool.name},
      {"arguments", ""},    {"output", nullptr},       {"error", nullptr},           {"approval_request_id", nullptr}};
}

}  // namespace

void ResponseOutput::begin_turn() {
  close("completed");
  ++turn_;
  of_turn_ = 0;
}

std::size_t ResponseOutput::add(std::string_view prefix, json::Object item, bool is_told) {
  const std::size_t index = items_.size();
  ids_.push_back(std::string(prefix) + id_ + "_" + std::to_string(turn_) + "_" + std::to_string(of_turn_++));
  item["id"] = ids_.back();
  items_.push_back(item);
  if (is_told) emit("response.output_item.added", {{"output_index", index}, {"item", std::move(item)}});
  return index;
}

void ResponseOutput::tell_done(std::size_t index) {
  if (on_event_) emit("response.output_item.done", {{"output_index", index}, {"item", items_[index]}});
}

void ResponseOutput::open_part(Open kind) {
  close("completed");
  text_.clear();
  const bool is_text = kind == Open::kText;
  json::Object item = {{"status", "in_progress"}};
  item["type"] = is_text ? "message" : "reasoning";
  if (is_text) item["role"] = "assistant";
  if (!is_text) item["summary"] = json::Array{};
  item["content"] = json::Array{};
  index_ = add(is_text ? "msg_" : "rs_", std::move(item));
  open_ = kind;
  json::Object fields = place(index_);
  fields["content_index"] = 0;
  fields["part"] = is_text ? text_part("") : reasoning_part("");
  emit("response.content_part.added", std::move(fields));
}

void ResponseOutput::text(std::string_view delta) {
  if (delta.empty()) return;
  if (open_ != Open::kText) open_part(Open::kText);
  text_ += delta;
  if (!on_event_) return;
  json::Object fields = place(index_);
  fields["content_index"] = 0;
  fields["delta"] = delta;
  fields["logprobs"] = json::Array{};
  emit("response.output_text.delta", std::move(fields));
}

void ResponseOutput::reasoning(std::string_view delta) {
  if (delta.empty()) return;
  if (open_ != Open::kReasoning) open_part(Open::kReasoning);
  text_ += delta;
  if (!on_event_) return;
  json::Object fields = place(index_);
  fields["content_index"] = 0;
  fields["delta"] = delta;
  emit("response.reasoning_text.delta", std::move(fields));
}

std::size_t ResponseOutput::begin_call(const ResponseTool& tool) {
  close("completed");
  text_.clear();
  if (tool.is_function()) {
    open_ = Open::kFunction;
    const std::string call = "call_" + id_ + "_" + std::to_string(turn_) + "_" + std::to_string(of_turn_);
    return index_ = add("fc_", {{"type", "function_call"},
                                {"status", "in_progress"},
                                {"call_id", call},
                                {"name", tool.name},
                                {"arguments", ""}});
  }
  if (tool.asks) {
    // It is told when all of it is known: there is nothing to watch.
    open_ = Open::kQuestion;
    return index_ = add(
               "mcpr_",
               {{"type", "mcp_approval_request"}, {"server_label", tool.label}, {"name", tool.name}, {"arguments", ""}},
               false);
  }
  open_ = Open::kOwnCall;
  index_ = add("mcp_", own_call(tool));
  emit("response.mcp_call.in_progress", place(index_));
  return index_;
}

void ResponseOutput::arguments(std::string_view delta) {
  text_ += delta;
  if (!on_event_ || delta.empty() || open_ == Open::kQuestion) return;
  json::Object fields = place(index_);
  fields["delta"] = delta;
  emit(open_ == Open::kFunction ? "response.function_call_arguments.delta" : "response.mcp_call_arguments.delta",
       std::move(fields));
}

void ResponseOutput::end_call() {
  if (text_.empty()) arguments("{}");
  json::Object& item = items_[index_].get_object();
  item["arguments"] = text_;
  json::Object fields = place(index_);
  fields["arguments"] = text_;
  switch (std::exchange(open_, Open::kNothing)) {
    case Open::kFunction:
      item["status"] = "completed";
      fields["name"] = item["name"];
      emit("response.function_call_arguments.done", std::move(fields));
      return tell_done(index_);
    case Open::kOwnCall:
      // It is done when it has its result.
      return emit("response.mcp_call_arguments.done", std::move(fields));
    case Open::kQuestion:
      emit("response.output_item.added", {{"output_index", index_}, {"item", item}});
      return tell_done(index_);
    default:
      return;
  }
}

void ResponseOutput::cut() {
  const Open open = open_;
  json::Object* item = open == Open::kNothing ? nullptr : items_[index_].if_object();
  if (item == nullptr) return;
  if (open == Open::kText || open == Open::kReasoning) return close("incomplete");
  open_ = Open::kNothing;
  if (open == Open::kQuestion) {
    // Nobody was told of it, and it is the last one.
    items_.pop_back();
    ids_.pop_back();
    return;
  }
  (*item)["arguments"] = text_;
  if (open == Open::kOwnCall) return end_own_call(index_, "The call was not complete and was not run.", true);
  (*item)["status"] = "incomplete";
  tell_done(index_);
}

void ResponseOutput::close(std::string_view status) {
  if (open_ == Open::kText || open_ == Open::kReasoning) return close_part(status);
  if (open_ != Open::kNothing) cut();
}

void ResponseOutput::close_part(std::string_view status) {
  const bool is_text = open_ == Open::kText;
  open_ = Open::kNothing;
  const std::string text = std::exchange(text_, {});
  json::Object part = is_text ? text_part(text) : reasoning_part(text);
  json::Object& item = items_[index_].get_object();
  item["content"] = json::Array{part};
  item["status"] = status;
  if (!on_event_) return;
  json::Object fields = place(index_);
  fields["content_index"] = 0;
  json::Object with_part = fields;
  fields["text"] = text;
  if (is_text) fields["logprobs"] = json::Array{};
  emit(is_text ? "response.output_text.done" : "response.reasoning_text.done", std::move(fields));
  with_part["part"] = std::move(part);
  emit("response.content_part.done", std::move(with_part));
  tell_done(index_);
}

void ResponseOutput::list_tools(std::string_view label, json::Array tools) {
  const std::size_t index =
      add("mcpl_", {{"type", "mcp_list_tools"}, {"server_label", label}, {"tools", json::Array{}}, {"error", nullptr}});
  emit("response.mcp_list_tools.in_progress", place(index));
  items_[index].get_object()["tools"] = std::move(tools);
  emit("response.mcp_list_tools.completed", place(index));
  tell_done(index);
}

std::size_t ResponseOutput::approved_call(const ResponseTool& tool, std::string_view text, std::string_view request) {
  close("completed");
  text_.clear();
  open_ = Open::kOwnCall;
  json::Object item = own_call(tool);
  item["approval_request_id"] = request;
  index_ = add("mcp_", std::move(item));
  emit("response.mcp_call.in_progress", place(index_));
  arguments(text);
  end_call();
  return index_;
}

void ResponseOutput::end_own_call(std::size_t index, std::string_view text, bool is_error) {
  json::Object& item = items_[index].get_object();
  item["status"] = is_error ? "failed" : "completed";
  item[is_error ? "error" : "output"] = is_error ? protocol::call_error(text) : json::Value(text);
  emit(is_error ? "response.mcp_call.failed" : "response.mcp_call.completed", place(index));
  tell_done(index);
}

void ResponseOutput::end() {
  cut();
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (protocol::text_of_field(items_[i].get_object(), "status") != "in_progress") continue;
    end_own_call(i, "It was not run: the response ended before.", true);
  }
}

}  // namespace autoglm::server
