// SPDX-License-Identifier: Apache-2.0
#include "agent/memory_tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "agent/result_lines.h"

namespace autoglm::agent {
namespace {

constexpr std::size_t kMaxNotes = 8;  // that recall shows

// The schema holds when a tool runs; these only look.
std::string_view text_argument(const json::Object& arguments, std::string_view name) {
  const json::Value* value = arguments.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

std::size_t count_argument(const json::Object& arguments, std::string_view name, std::size_t otherwise) {
  const json::Value* value = arguments.if_contains(name);
  if (value == nullptr) return otherwise;
  boost::system::error_code error;
  const auto number = value->to_number<std::int64_t>(error);
  return error || number < 1 ? otherwise : static_cast<std::size_t>(number);
}

ToolOutput refused(std::string text) { return {.text = std::move(text), .is_error = true}; }

json::Object schema(json::Object properties, json::Array required) {
  return {{"type", "object"},
          {"properties", std::move(properties)},
          {"required", std::move(required)},
          {"additionalProperties", false}};
}

// What all three share: a session of a store, and a description.
class MemoryTool : public Tool {
 public:
  MemoryTool(store::SessionStore& store, std::string session, ToolClass tool_class, std::string name,
             std::string description, json::Object parameters)
      : store_(store), session_(std::move(session)) {
    description_.name = std::move(name);
    description_.description = std::move(description);
    description_.parameters = std::move(parameters);
    description_.source = "built in";
    description_.tool_class = tool_class;
    description_.approval = Approval::kNever;  // nothing but the session's own memory
  }
  const ToolDescription& description() const final { return description_; }

 protected:
  store::SessionStore& store_;
  const std::string session_;
  ToolDescription description_;
};

class ReadResult final : public MemoryTool {
 public:
  ReadResult(store::SessionStore& store, const std::string& session, std::size_t max_bytes)
      : MemoryTool(store, session, ToolClass::kRead, "read_result",
                   "Reads more of an earlier result that was shown in part: the lines from from_line on, or the lines "
                   "that hold the search text.",
                   schema({{"step", {{"type", "integer"}, {"minimum", 1}, {"description", "number of the step"}}},
                           {"from_line", {{"type", "integer"}, {"minimum", 1}}},
                           {"lines", {{"type", "integer"}, {"minimum", 1}, {"description", "how many lines"}}},
                           {"search", {{"type", "string"}, {"description", "text to look for"}}}},
                          {"step"})),
        max_bytes_(max_bytes) {
    description_.is_quiet = true;  // what is left out of a result says how to read on
  }

  Result<ToolOutput> run(const json::Object& arguments, std::stop_token /*stop*/) override {
    const std::size_t step = count_argument(arguments, "step", 0);
    const std::optional<store::StepRow> row = TRY(store_.find_step(session_, step));
    if (!row || !row->result) return refused(fmt::format("There is no step {} with a result.", step));
    const ResultLines lines(*row->result);
    const std::size_t from = count_argument(arguments, "from_line", 1);
    if (from > lines.count()) return refused(fmt::format("The result of step {} has {} lines.", step, lines.count()));
    const std::size_t most = count_argument(arguments, "lines", lines.count());
    const std::string_view search = text_argument(arguments, "search");
    return ToolOutput{search.empty() ? range(lines, step, from, most) : found(lines, step, from, most, search)};
  }

 private:
  std::string range(const ResultLines& lines, std::size_t step, std::size_t from, std::size_t most) const {
    const std::size_t count = std::min(std::max<std::size_t>(lines.fitting(from, max_bytes_), 1), most);
    std::string text = fmt::format("Lines {} to {} of {} of step {}:\n{}", from, from + count - 1, lines.count(), step,
                                   lines.lines(from, count));
    if (from + count <= lines.count()) text += more(text, step, from + count, {});
    return text;
  }

  std::string found(const ResultLines& lines, std::size_t step, std::size_t from, std::size_t most,
                    std::string_view search) const {
    std::string text;
    std::size_t shown = 0;
    std::size_t number = from;
    for (; number <= lines.count(); ++number) {
      const std::string_view line = lines.line(number);
      if (!holds(line, search)) continue;
      if (shown == most || (shown > 0 && text.size() + line.size() > max_bytes_)) break;
      text += fmt::format("{}: {}\n", number, line);
      ++shown;
    }
    if (shown == 0) return fmt::format("No line of step {} from line {} on holds \"{}\".", step, from, search);
    if (number <= lines.count()) text += more(text, step, number, search);
    return text;
  }

  static std::string more(std::string_view before, std::size_t step, std::size_t from, std::string_view search) {
    json::Object next{{"step", step}, {"from_line", from}};
    if (!search.empty()) next["search"] = search;
    return fmt::format("{}[There is more: read_result with {}.]", before.ends_with('\n') ? "" : "\n",
                       json::format(next));
  }

  // Letters of ASCII are alike in both cases.
  static bool holds(std::string_view line, std::string_view search) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
    return !std::ranges::search(line, search, {}, lower, lower).empty();
  }

  const std::size_t max_bytes_;
};

class Remember final : public MemoryTool {
 public:
  Remember(store::SessionStore& store, const std::string& session)
      : MemoryTool(store, session, ToolClass::kWrite, "remember", "Keeps a note for later tasks.",
                   schema({{"text", {{"type", "string"}, {"description", "one fact, in a sentence"}}}}, {"text"})) {}

  Result<ToolOutput> run(const json::Object& arguments, std::stop_token /*stop*/) override {
    const auto id = store_.remember(session_, text_argument(arguments, "text"));
    if (id) return ToolOutput{"Remembered."};
    const Code code = id.error().code;
    if (code == Code::kInvalidArgument || code == Code::kExhausted) return refused("Not kept: " + id.error().message);
    return std::unexpected(id.error());
  }
};

class Recall final : public MemoryTool {
 public:
  Recall(store::SessionStore& store, const std::string& session)
      : MemoryTool(
            store, session, ToolClass::kRead, "recall", "Finds notes that were kept with remember.",
            schema({{"words", {{"type", "string"}, {"description", "words that the note may hold"}}}}, {"words"})) {}

  Result<ToolOutput> run(const json::Object& arguments, std::stop_token /*stop*/) override {
    const auto notes = TRY(store_.recall(session_, text_argument(arguments, "words"), kMaxNotes));
    if (notes.empty()) return ToolOutput{"No note holds any of these words."};
    std::string text;
    for (const store::NoteRow& note : notes) text += "- " + note.text + "\n";
    return ToolOutput{std::move(text)};
  }
};

}  // namespace

std::vector<std::unique_ptr<Tool>> memory_tools(store::SessionStore& store, const std::string& session,
                                                std::size_t max_bytes) {
  std::vector<std::unique_ptr<Tool>> tools;
  tools.push_back(std::make_unique<ReadResult>(store, session, max_bytes));
  tools.push_back(std::make_unique<Remember>(store, session));
  tools.push_back(std::make_unique<Recall>(store, session));
  return tools;
}

}  // namespace autoglm::agent
