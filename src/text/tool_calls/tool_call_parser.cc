// SPDX-License-Identifier: Apache-2.0
// The text around calls: finds where reasoning and calls begin and end, and hands the calls to their readers. Works
// byte by byte, so that the splits of the text cannot matter.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/ascii.h"
#include "base/json.h"
#include "text/tool_calls/argument_kinds.h"
#include "text/tool_calls/call_reader.h"
#include "text/tool_calls/event_list.h"
#include "text/tool_calls/marker_scan.h"
#include "text/tool_format.h"

namespace autoglm::text {
namespace {

using Kind = ToolEvent::Kind;
using Step = CallReader::Step;

constexpr std::size_t kMaxHeldSpace = 64;
constexpr std::size_t kMaxFenceTag = 12;

enum class Mark : std::uint8_t {
  kThink,
  kThinkEnd,
  kCall,      // of the format's own calls, in a wrapper that ends
  kFunction,  // the first tag of such a call, without the wrapper
  kJsonCall,  // of JSON behind a marker alone
  kMistral,
  kDo,
  kFinish,
  kCallEnd,
  kFenceEnd,
  kDropped
};
struct Marker {
  std::string_view text;
  Mark mark;
};
constexpr Marker kThink = {"<think>", Mark::kThink};
constexpr Marker kThinkEnd = {"</think>", Mark::kThinkEnd};
constexpr Marker kCall = {"<tool_call>", Mark::kCall};
constexpr Marker kCallEnd = {"</tool_call>", Mark::kCallEnd};
constexpr Marker kFenceEnd = {"```", Mark::kFenceEnd};
constexpr Marker kPhiCall = {"<|tool_call|>", Mark::kCall};
constexpr Marker kPhiCallEnd = {"<|/tool_call|>", Mark::kCallEnd};
constexpr Marker kFunction = {"<function=", Mark::kFunction};
constexpr Marker kPythonTag = {"<|python_tag|>", Mark::kJsonCall};
constexpr Marker kMistralCall = {"[TOOL_CALLS]", Mark::kMistral};
constexpr Marker kAnswerEnd = {"</answer>", Mark::kDropped};
constexpr Marker kBoxEnd = {"<|end_of_box|>", Mark::kDropped};

// What begins something in the text of an answer in that format.
std::vector<Marker> openings_of(ToolFormat format) {
  switch (format) {
    case ToolFormat::kHermes:
    case ToolFormat::kGlmXml:
      return {kThink, kCall};
    case ToolFormat::kLlama3:
      return {kThink, kPythonTag};
    case ToolFormat::kFunctionXml:
      return {kThink, kCall, kFunction};
    case ToolFormat::kPhi4:
      return {kThink, kPhiCall};
    case ToolFormat::kMistral:
    case ToolFormat::kMistralArgs:
      return {kThink, kMistralCall};
    case ToolFormat::kJson:
    case ToolFormat::kGlm4:
      return {kThink};
    case ToolFormat::kAutoGlm:
      return {kThink,
              {"do(action=", Mark::kDo},
              {"finish(message=", Mark::kFinish},
              {"<answer>", Mark::kDropped},
              {"<|begin_of_box|>", Mark::kDropped},
              kAnswerEnd,
              kBoxEnd};
  }
  return {};
}

// A marker of its own begins with the bracket of a list.
bool has_bracket_marker(ToolFormat format) {
  return format == ToolFormat::kMistral || format == ToolFormat::kMistralArgs;
}

bool has_tagged_arguments(ToolFormat format) {
  return format == ToolFormat::kGlmXml || format == ToolFormat::kFunctionXml;
}

// A scan for markers that says which one it found.
class Marks {
 public:
  explicit Marks(std::vector<Marker> markers) : markers_(std::move(markers)) {
    std::vector<std::string_view> texts;
    for (const Marker& marker : markers_) texts.push_back(marker.text);
    scan_ = MarkerScan(std::move(texts));
  }
  const Marker* step(char c, std::string& plain) {
    const int found = scan_.step(c, plain);
    return found == MarkerScan::kNone ? nullptr : &markers_[static_cast<std::size_t>(found)];
  }
  bool is_idle() const { return held().empty(); }
  const std::string& held() const { return scan_.held(); }
  std::string take_held() { return scan_.take_held(); }

 private:
  std::vector<Marker> markers_;
  MarkerScan scan_;
};

using base::is_space;

class Parser final : public ToolCallParser, private CallSink {
 public:
  Parser(ToolFormat format, const Options& options)
      : format_(format),
        is_answer_json_(options.is_answer_json),
        reads_json_(is_answer_json_ ? options.reads_json && format != ToolFormat::kAutoGlm
                                    : format == ToolFormat::kJson || format == ToolFormat::kLlama3 ||
                                          (options.reads_json && format != ToolFormat::kAutoGlm)),
        reads_fences_(is_answer_json_ ? format == ToolFormat::kJson && !reads_json_ : reads_json_),
        max_call_bytes_(options.max_call_bytes),
        max_depth_(options.max_depth),
        place_(options.begins_in_reasoning ? Place::kThink : Place::kText),
        marks_(options.begins_in_reasoning ? std::vector{kThinkEnd} : openings_of(format)),
        // GLM-4's text begins with a line break, where a call would have its name.
        drops_space_(options.begins_in_reasoning || format == ToolFormat::kGlm4) {
    for (const ToolSignature& tool : options.tools) {
      names_.insert(tool.name);
      if (has_tagged_arguments(format)) kinds_.emplace(tool.name, argument_kinds(tool.parameters));
    }
  }

  std::vector<ToolEvent> push(std::string_view text) override {
    for (const char c : text) step(c);
    return events_.take(false);
  }
  std::vector<ToolEvent> finish() override;
  std::uint64_t steps() const override { return steps_; }

 private:
  enum class Place : std::uint8_t {
    kText,
    kThink,
    kFence,      // within what may be the opening of a fence
    kName,       // within what may be the line with a call's name
    kCalls,      // a reader is at work
    kAfterCall,  // where more calls, and the ends of wrappers, are expected
    kBroken,     // what follows a call that cannot be read, up to its end
  };

  void step(char c);
  void in_text(char c);
  void in_fence(char c);
  void in_name(char c);
  void in_calls(char c);
  void after_call(char c);
  void in_broken(char c);
  void found(Marker marker);

  void put_plain(char c);
  void put_all_plain(std::string_view text) {
    for (const char c : text) put_plain(c);
  }
  void go_to_text();
  void begin_fence();
  void begin_name(char c);
  bool may_begin_name(char c) const;
  bool may_begin_json(char c) const { return c == '{' || (c == '[' && !has_bracket_marker(format_)); }
  std::unique_ptr<CallReader> own_reader(bool has_tag);
  void begin_json(bool is_certain, std::string held);
  void begin_calls(std::unique_ptr<CallReader> reader, std::string raw);
  void end_calls();
  void give_up_calls();
  void break_call();
  void tell_broken();

  unsigned kinds_of_argument(std::string_view name, std::string_view key) const {
    const auto tool = kinds_.find(name);
    if (tool == kinds_.end()) return kAnyArgument;
    const auto kinds = tool->second.find(key);
    return kinds == tool->second.end() ? kAnyArgument : kinds->second;
  }

  // CallSink
  void begin(std::string_view name) override;
  void arguments(std::string_view json) override;
  bool end() override;

  ToolFormat format_;
  bool is_answer_json_;
  bool reads_json_;
  bool reads_fences_;
  std::size_t max_call_bytes_;
  std::size_t max_depth_;
  std::set<std::string, std::less<>> names_;
  std::map<std::string, std::map<std::string, unsigned, std::less<>>, std::less<>> kinds_;

  Place place_;
  Marks marks_;  // of this place
  EventList events_;
  std::uint64_t steps_ = 0;
  std::string plain_;

  std::string space_;          // white space that is shown when text follows
  bool drops_space_;           // none of it is
  bool is_beginning_ = true;   // nothing but white space and reasoning so far
  bool is_line_start_ = true;  // nothing but blanks on this line so far

  std::unique_ptr<CallReader> reader_;
  bool is_fence_line_over_ = false;  // behind the first line of what may be a fence
  std::string name_;                 // what was read of the line with a call's name
  bool is_certain_ = false;          // that what reader_ reads is a call
  const Marker* wrapper_ = nullptr;  // the end of the wrapper that calls stand in
  std::string raw_;                  // what was read of this call, at most max_call_bytes
  std::string arguments_;
  std::size_t calls_ = 0;
  bool has_begun_ = false;  // call number calls_ - 1
  bool is_told_ = false;    // kBroken was put
};

void Parser::step(char c) {
  ++steps_;
  switch (place_) {
    case Place::kText:
      return in_text(c);
    case Place::kThink: {
      plain_.clear();
      const Marker* marker = marks_.step(c, plain_);
      put_all_plain(plain_);
      if (marker != nullptr) go_to_text();
      return;
    }
    case Place::kFence:
      return in_fence(c);
    case Place::kName:
      return in_name(c);
    case Place::kCalls:
      return in_calls(c);
    case Place::kAfterCall:
      return after_call(c);
    case Place::kBroken:
      return in_broken(c);
  }
}

// A byte of text or reasoning. White space waits for what follows it, within a bound.
void Parser::put_plain(char c) {
  const Kind kind = place_ == Place::kThink ? Kind::kReasoning : Kind::kText;
  if (is_space(c)) {
    if (c == '\n') is_line_start_ = true;
    if (drops_space_) return;
    space_ += c;
    if (space_.size() <= kMaxHeldSpace) return;
    events_.add(kind, 0, space_.substr(0, 1));
    space_.erase(0, 1);
    return;
  }
  events_.add(kind, 0, std::exchange(space_, {}));
  events_.add(kind, 0, std::string_view(&c, 1));
  drops_space_ = is_line_start_ = false;
  if (kind == Kind::kText) is_beginning_ = false;
}

void Parser::go_to_text() {
  place_ = Place::kText;
  marks_ = Marks(openings_of(format_));
  space_.clear();
  drops_space_ = true;
  is_line_start_ = true;
  wrapper_ = nullptr;
}

void Parser::in_text(char c) {
  if (marks_.is_idle()) {
    // What the JSON holds is nobody's marker.
    if (is_answer_json_ && !is_beginning_) return put_plain(c);
    if (is_line_start_) {
      const bool begins_json = may_begin_json(c) && (c == '{' || !is_answer_json_);
      if (reads_json_ && begins_json) return begin_json(false, std::string(1, c));
      if (reads_fences_ && c == '`') return begin_fence();
      if (may_begin_name(c)) {
        raw_.clear();
        return begin_name(c);
      }
    }
  }
  plain_.clear();
  const Marker* marker = marks_.step(c, plain_);
  put_all_plain(plain_);
  if (marker != nullptr) found(*marker);
}

void Parser::found(Marker marker) {
  switch (marker.mark) {
    case Mark::kThink:
      if (!is_beginning_) return put_all_plain(marker.text);
      place_ = Place::kThink;
      marks_ = Marks({kThinkEnd});
      space_.clear();
      drops_space_ = true;
      return;
    case Mark::kCall:
    case Mark::kFunction:  // who leaves the opening of its wrapper out may still write the end
      wrapper_ = format_ == ToolFormat::kPhi4 ? &kPhiCallEnd : &kCallEnd;
      [[fallthrough]];
    case Mark::kJsonCall:
    case Mark::kMistral:
      is_certain_ = true;
      return begin_calls(own_reader(marker.mark == Mark::kFunction), std::string(marker.text));
    case Mark::kDo:
    case Mark::kFinish: {
      is_certain_ = true;
      const std::string_view name = marker.mark == Mark::kDo ? "do" : "finish";
      begin_calls(autoglm_call_reader(name, max_depth_), std::string(name) + "(");
      for (const char c : marker.text.substr(name.size() + 1)) in_calls(c);
      return;
    }
    default:
      space_.clear();  // a marker that stands for nothing
      drops_space_ = true;
      return;
  }
}

// Of what follows the format's own marker; `has_tag`: that is the first tag of a call.
std::unique_ptr<CallReader> Parser::own_reader(bool has_tag) {
  const auto kinds_of = [this](std::string_view name, std::string_view key) { return kinds_of_argument(name, key); };
  switch (format_) {
    case ToolFormat::kGlmXml:
      return glm_call_reader(max_depth_, kinds_of);
    case ToolFormat::kFunctionXml:
      return function_call_reader(has_tag, max_depth_, kinds_of);
    case ToolFormat::kMistral:
    case ToolFormat::kMistralArgs:
      return mistral_call_reader(max_depth_);
    default:
      return json_call_reader(true, max_depth_, {});
  }
}

// raw_ holds ``` or its beginning, the fence's tag, and blanks up to what may be a call.
void Parser::in_fence(char c) {
  if (is_fence_line_over_ && may_begin_json(c)) {
    wrapper_ = &kFenceEnd;
    return begin_json(false, std::exchange(raw_, {}) + c);
  }
  const bool is_tag = (c >= 'a' && c <= 'z') || c == '_';
  bool is_right = is_space(c);
  if (raw_.size() < kFenceEnd.text.size()) {
    is_right = c == '`';
  } else if (is_tag && !is_fence_line_over_) {
    is_right = !is_space(raw_.back()) && raw_.size() < kFenceEnd.text.size() + kMaxFenceTag;
  }
  if (is_right && raw_.size() < max_call_bytes_) {
    raw_ += c;
    is_fence_line_over_ = is_fence_line_over_ || c == '\n';
    return;
  }
  give_up_calls();
  in_text(c);
}

void Parser::begin_fence() {
  place_ = Place::kFence;
  raw_ = "`";
  is_fence_line_over_ = false;
}

bool Parser::may_begin_name(char c) const {
  if (format_ != ToolFormat::kGlm4) return false;
  const auto first = names_.lower_bound(std::string_view(&c, 1));
  return first != names_.end() && first->starts_with(c);
}

void Parser::begin_name(char c) {
  place_ = Place::kName;
  name_.clear();
  in_name(c);
}

// name_ is the beginning of a tool's name; all of it, perhaps with blanks; or all of it, and the end of its line.
void Parser::in_name(char c) {
  bool is_right = false;
  if (name_.ends_with('\n')) {
    if (c == '{') {
      is_certain_ = true;
      wrapper_ = nullptr;
      const std::string_view line = name_;
      begin_calls(line_call_reader(line.substr(0, line.find_last_not_of(" \t\r\n") + 1), max_depth_),
                  std::exchange(raw_, {}));
      return in_calls(c);
    }
  } else if (c == '\n' || c == ' ' || c == '\t' || c == '\r') {
    const std::size_t size = name_.find_last_not_of(" \t\r") + 1;
    is_right = names_.contains(std::string_view(name_).substr(0, size)) &&
               (c == '\n' || name_.size() - size < kMostBlanksBehindName);
  }
  if (!is_right && !name_.ends_with('\n')) {
    const std::string longer = name_ + c;
    const auto next = names_.lower_bound(longer);
    is_right = next != names_.end() && next->starts_with(longer);
  }
  if (is_right && raw_.size() < max_call_bytes_) {
    raw_ += c;
    name_ += c;
    return;
  }
  give_up_calls();
  in_text(c);
}

void Parser::begin_json(bool is_certain, std::string held) {
  const char c = held.back();
  is_certain_ = is_certain;
  held.pop_back();
  begin_calls(json_call_reader(is_certain, max_depth_,
                               [this](std::string_view name) { return names_.empty() || names_.contains(name); }),
              std::move(held));
  in_calls(c);
}

void Parser::begin_calls(std::unique_ptr<CallReader> reader, std::string raw) {
  reader_ = std::move(reader);
  raw_ = std::move(raw);
  place_ = Place::kCalls;
}

void Parser::in_calls(char c) {
  Step step = is_certain_ ? Step::kBroken : Step::kNoCall;
  if (raw_.size() < max_call_bytes_) {
    raw_ += c;
    step = reader_->step(c, *this);
    if (step == Step::kMore) return;
    if (step == Step::kDone) return end_calls();
    if (!raw_.empty()) raw_.pop_back();  // end() has emptied it
  }
  if (step == Step::kDoneBefore) {
    end_calls();
  } else if (step == Step::kNoCall) {
    give_up_calls();
  } else {
    break_call();
  }
  this->step(c);
}

// More calls may follow at once; what separates them and closes their wrapper is no text.
void Parser::end_calls() {
  place_ = Place::kAfterCall;
  raw_.clear();
  space_.clear();
  drops_space_ = true;
  is_beginning_ = false;
  std::vector<Marker> markers = openings_of(format_);
  if (wrapper_ != nullptr) markers.push_back(*wrapper_);
  marks_ = Marks(std::move(markers));
}

// It was text. Its last line is not tried again.
void Parser::give_up_calls() {
  place_ = Place::kText;
  marks_ = Marks(openings_of(format_));
  wrapper_ = nullptr;
  steps_ += raw_.size();
  put_all_plain(std::exchange(raw_, {}));
  is_line_start_ = false;
}

void Parser::after_call(char c) {
  if (may_begin_json(c) && marks_.is_idle() && (reads_json_ || is_answer_json_ || wrapper_ == &kCallEnd)) {
    return begin_json(wrapper_ == &kCallEnd && format_ == ToolFormat::kHermes, std::exchange(raw_, {}) + c);
  }
  if (may_begin_name(c) && marks_.is_idle()) return begin_name(c);
  if (c == '`' && marks_.is_idle() && wrapper_ != &kFenceEnd && reads_fences_) return begin_fence();
  plain_.clear();
  const Marker* marker = marks_.step(c, plain_);
  const bool is_separator = plain_.find_first_not_of(" \n\t\r,;]}") == std::string::npos;
  raw_ += plain_;
  if (!is_separator || raw_.size() > kMaxHeldSpace) {
    const std::string held = marks_.take_held();
    go_to_text();
    put_all_plain(std::exchange(raw_, {}));
    for (const char byte : held) in_text(byte);
    return;
  }
  if (marker == nullptr) return;
  raw_.clear();
  const Marker next = *marker;  // it goes with marks_
  if (next.mark == Mark::kCallEnd || next.mark == Mark::kFenceEnd) {
    wrapper_ = nullptr;
    marks_ = Marks(openings_of(format_));
  } else {
    go_to_text();
    found(next);
  }
}

void Parser::break_call() {
  place_ = Place::kBroken;
  reader_.reset();
  is_told_ = false;
  std::vector<Marker> markers;
  if (wrapper_ == &kCallEnd) markers = {kCall, kCallEnd};
  if (wrapper_ == &kPhiCallEnd) markers = {kPhiCall, kPhiCallEnd};
  if (wrapper_ == &kFenceEnd) markers = {kFenceEnd};
  if (format_ == ToolFormat::kAutoGlm) markers = {kAnswerEnd, kBoxEnd};
  marks_ = Marks(std::move(markers));
  // The reader may have stopped within the end of the call.
  plain_.clear();
  for (const char c : raw_.substr(raw_.size() - std::min(raw_.size(), kPhiCallEnd.text.size() - 1)))
    marks_.step(c, plain_);
  const std::string held = marks_.held();
  raw_.resize(raw_.size() - held.size());
}

void Parser::in_broken(char c) {
  plain_.clear();
  const Marker* marker = marks_.step(c, plain_);
  if (!is_told_) {
    if (marker != nullptr && marker->mark != Mark::kCall) plain_ += marker->text;
    raw_ += plain_.substr(0, max_call_bytes_ - std::min(max_call_bytes_, raw_.size()));
    if (marker != nullptr || raw_.size() >= max_call_bytes_) tell_broken();
  }
  if (marker == nullptr) return;
  const Marker end = *marker;
  end_calls();
  wrapper_ = nullptr;
  marks_ = Marks(openings_of(format_));
  if (end.mark == Mark::kCall) found(end);
}

void Parser::tell_broken() {
  if (!has_begun_) ++calls_;
  has_begun_ = false;
  is_told_ = true;
  events_.put(Kind::kBroken, calls_ - 1, std::exchange(raw_, {}));
}

void Parser::begin(std::string_view name) {
  is_certain_ = has_begun_ = true;
  is_beginning_ = false;
  space_.clear();
  arguments_.clear();
  events_.put(Kind::kCallBegin, calls_++, name);
}

void Parser::arguments(std::string_view json) {
  arguments_ += json;
  events_.add(Kind::kArguments, calls_ - 1, json);
}

bool Parser::end() {
  base::Budget budget({.bytes = arguments_.size() + 1,
                       .steps = arguments_.size() + 1,
                       .depth = static_cast<std::uint32_t>(max_depth_) + 1});
  const auto parsed = json::parse(arguments_, budget);
  if (!parsed || !parsed->is_object()) return false;
  has_begun_ = false;
  raw_.clear();
  events_.put(Kind::kCallEnd, calls_ - 1, {});
  return true;
}

std::vector<ToolEvent> Parser::finish() {
  if (place_ == Place::kCalls) {
    is_told_ = reader_->finish(*this) == Step::kDone;
    if (is_certain_) {
      place_ = Place::kBroken;
    } else {
      give_up_calls();
    }
  }
  const std::string held = marks_.take_held();
  switch (place_) {
    case Place::kBroken:
      if (!is_told_) {
        raw_ += held.substr(0, max_call_bytes_ - std::min(max_call_bytes_, raw_.size()));
        tell_broken();
      }
      break;
    case Place::kAfterCall:
      if (wrapper_ != nullptr && wrapper_->text.starts_with(held)) break;
      go_to_text();
      put_all_plain(held);
      break;
    default:
      if (place_ == Place::kFence || place_ == Place::kName) give_up_calls();
      put_all_plain(held);
      if (place_ == Place::kText) events_.add(Kind::kText, 0, std::exchange(space_, {}));
  }
  return events_.take(true);
}

}  // namespace

std::unique_ptr<ToolCallParser> ToolCallParser::make(ToolFormat format, const Options& options) {
  return std::make_unique<Parser>(format, options);
}

}  // namespace autoglm::text
