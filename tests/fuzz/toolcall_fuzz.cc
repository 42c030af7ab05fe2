// SPDX-License-Identifier: Apache-2.0
// What a model writes when it may call tools, in every format: the first byte says which, and what the parser is told.
// Oracles: the same events wherever the text is split; calls are numbered in order and end once; arguments that are
// said to be complete are a JSON object; the work is linear.
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "fuzz_target.h"
#include "text/tool_format.h"

namespace {

using namespace autoglm;
using text::ToolEvent;
using Kind = ToolEvent::Kind;

constexpr std::size_t kFormats = 10;
constexpr std::size_t kAllSplits = 128;  // texts up to so many bytes are split everywhere

const std::vector<text::ToolSignature>& tools() {
  static const std::vector<text::ToolSignature> all = [] {
    base::Budget budget;
    const auto schema = json::parse(
        R"({"type":"object","properties":{"s":{"type":"string"},"n":{"type":"integer"},"m":{"type":["string","null"]}}})",
        budget);
    return std::vector<text::ToolSignature>{{"f", schema->get_object()}, {"g", {}}};
  }();
  return all;
}

std::unique_ptr<text::ToolCallParser> make(std::uint8_t how) {
  text::ToolCallParser::Options options = {.reads_json = (how & 0x10) == 0, .begins_in_reasoning = (how & 0x20) != 0};
  if ((how & 0x40) == 0) options.tools = tools();
  if ((how & 0x80) != 0) options.max_call_bytes = 40;
  options.max_depth = 8;
  return text::ToolCallParser::make(static_cast<text::ToolFormat>((how & 0x0F) % kFormats), options);
}

void add(std::vector<ToolEvent>& all, std::vector<ToolEvent> events) {
  for (ToolEvent& event : events) {
    const bool is_delta = event.kind == Kind::kText || event.kind == Kind::kReasoning || event.kind == Kind::kArguments;
    if (is_delta && !all.empty() && all.back().kind == event.kind && all.back().call == event.call) {
      all.back().text += event.text;
    } else {
      all.push_back(std::move(event));
    }
  }
}

std::vector<ToolEvent> parse(std::uint8_t how, const std::vector<std::string_view>& pieces) {
  const auto parser = make(how);
  std::vector<ToolEvent> all;
  std::size_t bytes = 0;
  for (const std::string_view piece : pieces) {
    add(all, parser->push(piece));
    bytes += piece.size();
  }
  add(all, parser->finish());
  CHECK(parser->steps() <= 3 * bytes) << "the work is not linear";
  return all;
}

void check_same(const std::vector<ToolEvent>& a, const std::vector<ToolEvent>& b) {
  CHECK(a.size() == b.size()) << "a split changes the number of events";
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].kind == b[i].kind && a[i].call == b[i].call && a[i].text == b[i].text) << "a split changes event " << i;
  }
}

void check_rules(const std::vector<ToolEvent>& events) {
  std::size_t ended = 0;
  bool is_open = false;
  std::string arguments;
  for (const ToolEvent& event : events) {
    const bool is_of_call = event.kind != Kind::kText && event.kind != Kind::kReasoning;
    CHECK(!is_of_call || event.call == ended) << "calls are out of order";
    CHECK(is_of_call || !is_open) << "text within a call";
    if (event.kind == Kind::kCallBegin) {
      CHECK(!is_open) << "a call within a call";
      is_open = true;
      arguments.clear();
    }
    if (event.kind == Kind::kArguments) arguments += event.text;
    if (event.kind == Kind::kCallEnd) {
      base::Budget budget;
      const auto parsed = json::parse(arguments, budget);
      CHECK(is_open && parsed && parsed->is_object()) << "the arguments are no object";
    }
    if (event.kind == Kind::kCallEnd || event.kind == Kind::kBroken) {
      is_open = false;
      ++ended;
    }
  }
  CHECK(!is_open) << "a call without an end";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::uint8_t how = data[0];
  const std::string_view text = fuzz::as_text(data + 1, size - 1);
  const std::vector<ToolEvent> whole = parse(how, {text});
  check_rules(whole);
  std::vector<std::string_view> bytes;
  for (std::size_t i = 0; i < text.size(); ++i) bytes.push_back(text.substr(i, 1));
  check_same(whole, parse(how, bytes));
  const std::size_t step = text.size() <= kAllSplits ? 1 : text.size() / 16;
  for (std::size_t i = step; i < text.size(); i += step) {
    check_same(whole, parse(how, {text.substr(0, i), text.substr(i)}));
  }
  return 0;
}
