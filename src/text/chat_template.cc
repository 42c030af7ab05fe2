// SPDX-License-Identifier: Apache-2.0
#include "text/chat_template.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <optional>
#include <utility>

#include "text/bridge_call.h"
#include "text/control_marks.h"

namespace autoglm::text {
namespace {

// Instructions that one rendering may run. The largest templates in use take under 200 for a message.
constexpr std::uint64_t kFuel = 1'000'000;
constexpr std::size_t kMaxOutputBytes = 16u << 20;
// Requests are bounded more tightly when they are parsed.
constexpr std::uint32_t kMaxDepth = 100;

// Names that a template must find as we mean them. chat_template_kwargs may not take their place.
constexpr std::array<std::string_view, 16> kOurNames = {
    "messages",
    "tools",
    "documents",
    "add_generation_prompt",
    "bos_token",
    "eos_token",
    "raise_exception",
    "strftime_now",
    "namespace",
    "range",
    "dict",
    "loop",
    "chat_template",
    "tokenize",
    "self",
    "caller",
};

struct FreeTemplate {
  void operator()(bridge_template* compiled) const { bridge_template_free(compiled); }
};

/// Writes a JSON value for the template, with a mark in every string after the beginning of a control token.
class MarkedWriter {
 public:
  MarkedWriter(std::string& out, const ControlMarks& marks) : out_(out), marks_(marks) {}

  Status write(const json::Value& value, std::uint32_t depth = 0) {
    if (depth > kMaxDepth) return fail(Code::kExhausted, "the messages are nested too deep");
    if (value.is_string()) {
      write_string(value.get_string());
    } else if (value.is_array()) {
      char before = '[';
      for (const json::Value& item : value.get_array()) {
        out_ += std::exchange(before, ',');
        TRY(write(item, depth + 1));
      }
      out_ += before == '[' ? "[]" : "]";
    } else if (value.is_object()) {
      TRY(write_object(value.get_object(), depth));
    } else {
      json::format_to(out_, value);
    }
    return {};
  }

  /// A message: keys with null are left out, and reasoning goes by the names that templates read.
  Status write_message(const json::Value& message) {
    if (!message.is_object()) return fail(Code::kInvalidArgument, "a message must be an object", "/messages");
    json::Object fields;
    for (const auto& [key, value] : message.get_object()) {
      if (!value.is_null()) fields.emplace(key, value);
    }
    for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
      const json::Value* reasoning = fields.if_contains(name);
      if (reasoning == nullptr) continue;
      const json::Value copy = *reasoning;
      fields["reasoning_content"] = copy;
      fields.emplace("thinking", copy);
      break;
    }
    return write_object(fields, 1);
  }

 private:
  Status write_object(const json::Object& object, std::uint32_t depth) {
    char before = '{';
    for (const auto& [key, value] : object) {
      out_ += std::exchange(before, ',');
      write_string(key);
      out_ += ':';
      TRY(write(value, depth + 1));
    }
    out_ += before == '{' ? "{}" : "}";
    return {};
  }

  void write_string(std::string_view text) { json::append_string(out_, marks_.mark(text)); }

  std::string& out_;
  const ControlMarks& marks_;
};

std::int64_t local_seconds() {
  const std::time_t now = std::time(nullptr);
  std::tm broken_down = {};
  if (localtime_r(&now, &broken_down) == nullptr) return now;
  return now + broken_down.tm_gmtoff;
}

class BridgeChatTemplate final : public ChatTemplate {
 public:
  BridgeChatTemplate(std::unique_ptr<bridge_template, FreeTemplate> compiled, std::string_view source,
                     std::string_view bos, std::string_view eos)
      : compiled_(std::move(compiled)), source_(source), bos_(bos), eos_(eos) {}

  Result<RenderedPrompt> render(const Inputs& inputs) const override {
    const std::string mark = TRY(choose_mark(inputs));
    const ControlMarks marks(inputs.special, mark);
    std::string context;
    TRY(write_context(inputs, marks, context));
    std::string text;
    TRY(call_bridge([&](bridge_sink error) {
      return bridge_template_render(compiled_.get(), bytes_of(context), kMaxOutputBytes, local_seconds(),
                                    sink_into(text), error);
    }));
    return marks.remove(text);
  }

  std::string_view source() const override { return source_; }

 private:
  // A mark that nothing the template sees contains: whatever carries one in the output got it from us.
  Result<std::string> choose_mark(const Inputs& inputs) const {
    std::string seen = source_ + bos_ + eos_;
    const ControlMarks none({}, "");
    MarkedWriter writer(seen, none);
    if (inputs.messages != nullptr) TRY(writer.write(*inputs.messages));
    if (inputs.tools != nullptr) TRY(writer.write(*inputs.tools));
    if (inputs.kwargs != nullptr) TRY(writer.write(*inputs.kwargs));
    return ControlMarks::choose(seen);
  }

  Status write_context(const Inputs& inputs, const ControlMarks& marks, std::string& context) const {
    MarkedWriter writer(context, marks);
    context += R"({"messages":)";
    char before = '[';
    for (const json::Value& message : inputs.messages == nullptr ? json::Array() : *inputs.messages) {
      context += std::exchange(before, ',');
      TRY(writer.write_message(message));
    }
    context += before == '[' ? "[]" : "]";
    context += R"(,"tools":)";
    if (inputs.tools == nullptr) {
      context += "null";
    } else {
      TRY(writer.write(*inputs.tools));
    }
    context += R"(,"documents":null,"add_generation_prompt":)";
    context += inputs.add_generation_prompt ? "true" : "false";
    for (const auto& [name, text] : {std::pair("bos_token", &bos_), std::pair("eos_token", &eos_)}) {
      context += std::string(",\"") + name + "\":";
      json::append_string(context, *text);
    }
    if (inputs.kwargs != nullptr) {
      for (const auto& [key, value] : *inputs.kwargs) {
        if (key.starts_with("__") || std::ranges::find(kOurNames, std::string_view(key)) != kOurNames.end()) {
          return fail(Code::kInvalidArgument, "chat_template_kwargs may not set " + std::string(key),
                      json::pointer_to("/chat_template_kwargs", key));
        }
        context += ',';
        json::append_string(context, key);
        context += ':';
        TRY(writer.write(value));
      }
    }
    context += '}';
    return {};
  }

  std::unique_ptr<bridge_template, FreeTemplate> compiled_;
  std::string source_, bos_, eos_;
};

}  // namespace

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::parse(std::string_view source, std::string_view bos,
                                                          std::string_view eos) {
  bridge_template* compiled = nullptr;
  TRY(call_bridge([&](bridge_sink error) { return bridge_template_parse(bytes_of(source), kFuel, error, &compiled); }));
  return std::make_unique<BridgeChatTemplate>(std::unique_ptr<bridge_template, FreeTemplate>(compiled), source, bos,
                                              eos);
}

}  // namespace autoglm::text
