// SPDX-License-Identifier: Apache-2.0
// The output of a response while it grows: its items, and the events that tell of each step in the API's order. What
// is streamed and what is sent whole are thus the same. One thread at a time.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "server/response_tools.h"

namespace autoglm::server {

class ResponseOutput final {
 public:
  using OnEvent = std::function<void(std::string_view type, json::Object fields)>;

  /// `id` of the response, without "resp_". `on_event` may be empty: nobody listens.
  ResponseOutput(std::string id, OnEvent on_event) : id_(std::move(id)), on_event_(std::move(on_event)) {}

  // What a model's turn says, as it comes. Whatever was open before is closed.
  void begin_turn();
  void text(std::string_view delta);
  void reasoning(std::string_view delta);
  /// A call of a function, or of a tool of ours; a question when the client is to be asked first. Gives its index.
  std::size_t begin_call(const ResponseTool& tool);
  void arguments(std::string_view delta);
  void end_call();
  /// What was begun is cut. Nothing without an open item.
  void cut();
  /// Closes an open message.
  void end_turn() { close("completed"); }

  // What is no model's.
  void list_tools(std::string_view label, json::Array tools);
  /// A call that a client gave leave for.
  std::size_t approved_call(const ResponseTool& tool, std::string_view arguments, std::string_view request);
  /// What came of a call of ours.
  void end_own_call(std::size_t index, std::string_view text, bool is_error);
  /// Nothing more will come of what is open, nor of calls of ours without a result.
  void end();

  const json::Array& items() const { return items_; }
  const std::string& id_of(std::size_t index) const { return ids_[index]; }
  const std::string& arguments_of_last() const { return text_; }  // of the call that was ended last

 private:
  enum class Open { kNothing, kText, kReasoning, kFunction, kOwnCall, kQuestion };

  void emit(std::string_view type, json::Object fields) const {
    if (on_event_) on_event_(type, std::move(fields));
  }
  json::Object place(std::size_t index) const { return {{"item_id", ids_[index]}, {"output_index", index}}; }
  std::size_t add(std::string_view prefix, json::Object item, bool is_told = true);
  void open_part(Open kind);
  void close(std::string_view status);
  void close_part(std::string_view status);
  void tell_done(std::size_t index);

  const std::string id_;
  const OnEvent on_event_;
  json::Array items_;
  std::vector<std::string> ids_;
  std::size_t turn_ = 0;
  std::size_t of_turn_ = 0;  // items of this turn so far
  Open open_ = Open::kNothing;
  std::size_t index_ = 0;  // of the open item
  std::string text_;       // of the open item, or its arguments
};

}  // namespace autoglm::server
