// SPDX-License-Identifier: Apache-2.0
// What a context manager asks of a model, made up: a template, a count of tokens, summaries. Tests only.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/message.h"
#include "agent/window.h"

namespace autoglm::agent {

class FakeModel final {
 public:
  static constexpr std::size_t kToolTokens = 40;  // what the tools' list costs

  static std::string render(const json::Array& messages) {
    std::string text;
    for (const json::Value& value : messages) {
      const json::Object& message = value.get_object();
      text += "<|" + std::string(role_of(message)) + "|>" + std::string(content_of(message));
      if (const json::Value* calls = message.if_contains("tool_calls")) json::format_to(text, *calls);
      text += "<|end|>\n";
    }
    return text;
  }

  // Four bytes a token, the generation prompt included.
  static std::size_t tokens(const json::Array& messages) {
    return kToolTokens + (render(messages).size() + std::string_view("<|assistant|>").size() + 3) / 4;
  }

  CountTokens count() {
    return [this](const json::Array& messages) -> Result<std::size_t> {
      ++counts;
      if (count_error) return std::unexpected(*count_error);
      return tokens(messages);
    };
  }

  Summarise summarise() {
    return [this](const json::Array& messages, std::size_t /*max_tokens*/) -> Result<std::string> {
      summarised.push_back(messages);
      return summary;
    };
  }

  std::size_t counts = 0;
  std::optional<Error> count_error;
  Result<std::string> summary = "a summary";
  std::vector<json::Array> summarised;  // what was asked for
};

inline ActionCall call_named(std::string id, std::string tool, json::Object arguments = {}) {
  ActionCall call;
  call.id = std::move(id);
  call.tool = std::move(tool);
  call.arguments = std::move(arguments);
  return call;
}

}  // namespace autoglm::agent
