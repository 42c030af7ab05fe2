// SPDX-License-Identifier: Apache-2.0
// Calls as JSON objects: Hermes' and Llama's between markers, and what models write bare or in a fence.
#include <string>
#include <utility>

#include "base/json.h"
#include "text/tool_calls/call_reader.h"
#include "text/tool_calls/json_scan.h"
#include "text/tool_calls/json_string.h"

namespace autoglm::text {
namespace {

using Token = JsonScan::Kind;

constexpr std::size_t kMaxCallNameBytes = 256;

// One object. Arguments stream through as they come, once the name is known. Without a marker it is a call only when
// its keys are `name` and `arguments`, in this order: what a grammar can tell too.
class ObjectReader {
 public:
  ObjectReader(bool is_certain, std::size_t max_depth, const MayBeCalled& may_be_called)
      : is_certain_(is_certain), scan_(max_depth), inner_(max_depth), may_be_called_(&may_be_called) {}

  CallReader::Step step(char c, CallSink& sink);
  bool has_begun() const { return has_begun_; }
  /// Nothing but the opening brace was read.
  bool is_fresh() const { return scan_.depth() == 1 && !has_keys_ && key_.empty(); }

 private:
  enum class Field : std::uint8_t { kNone, kName, kArguments, kOther };

  CallReader::Step broken() const {
    return is_certain_ || has_begun_ ? CallReader::Step::kBroken : CallReader::Step::kNoCall;
  }
  bool take_key(char c);
  bool take_value(Token kind, char c, CallSink& sink);
  bool take_name(Token kind, char c, CallSink& sink);
  bool take_arguments(Token kind, char c, CallSink& sink);
  bool take_quoted_arguments(char c, CallSink& sink);
  bool end_of_field();
  void begin_if_sure(CallSink& sink);
  void put(CallSink& sink, std::string_view json);
  CallReader::Step end(CallSink& sink);

  bool is_certain_;
  JsonScan scan_;
  JsonScan inner_;  // of arguments that stand in a string
  JsonUnescape unescape_;
  const MayBeCalled* may_be_called_;
  std::string key_;
  Field field_ = Field::kNone;
  bool has_keys_ = false;
  std::string name_;  // raw, with quotes, while it is read
  bool has_name_ = false;
  enum class Arguments : std::uint8_t { kNone, kObject, kQuoted, kWord } arguments_ = Arguments::kNone;
  std::string word_;
  bool has_arguments_ = false;
  bool has_put_ = false;
  bool has_begun_ = false;
  std::string held_;  // arguments that came before the name
};

bool ObjectReader::take_key(char c) {
  if (key_.size() < 16) key_ += c;  // ours are shorter
  if (scan_.is_in_string()) return true;
  const std::string key = std::exchange(key_, {});
  const std::string_view bare = std::string_view(key).substr(1, key.size() - 2);
  has_keys_ = true;
  field_ = Field::kOther;
  if (bare == "name") {
    if (has_name_) return false;
    field_ = Field::kName;
  } else if (bare == "arguments" || bare == "parameters") {
    if (std::exchange(has_arguments_, true) || !(is_certain_ || has_name_)) return false;
    field_ = Field::kArguments;
  }
  return is_certain_ || field_ != Field::kOther;
}

bool ObjectReader::take_name(Token kind, char c, CallSink& sink) {
  if (kind != Token::kString || name_.size() > kMaxCallNameBytes) return false;
  name_ += c;
  if (scan_.is_in_string()) return true;
  base::Budget budget;
  const auto parsed = json::parse(name_, budget);
  if (!parsed || parsed->get_string().empty()) return false;
  name_ = std::string(parsed->get_string());
  has_name_ = true;
  if (!is_certain_ && !(*may_be_called_)(name_)) return false;
  begin_if_sure(sink);
  return true;
}

void ObjectReader::put(CallSink& sink, std::string_view json) {
  has_put_ = has_put_ || !json.empty();
  if (has_begun_) {
    sink.arguments(json);
  } else {
    held_ += json;
  }
}

bool ObjectReader::take_quoted_arguments(char c, CallSink& sink) {
  std::string bytes;
  if (!unescape_.step(c, bytes)) return false;
  std::string json;
  for (const char byte : bytes) {
    const Token kind = inner_.step(byte);
    if (kind == Token::kWrong) return false;
    if (kind == Token::kKey || kind == Token::kString) {
      append_raw_json_byte(json, byte);
    } else {
      json += byte;
    }
  }
  put(sink, json);
  return true;
}

bool ObjectReader::take_arguments(Token kind, char c, CallSink& sink) {
  if (arguments_ == Arguments::kNone) {
    if (c != '{' && c != '"' && c != 'n') return false;
    arguments_ = c == '{' ? Arguments::kObject : c == '"' ? Arguments::kQuoted : Arguments::kWord;
    begin_if_sure(sink);
    if (c == '"') return true;
  }
  switch (arguments_) {
    case Arguments::kQuoted:
      // Its closing quote, which is no part of what it holds.
      return !scan_.is_in_string() || take_quoted_arguments(c, sink);
    case Arguments::kWord:
      word_ += c;
      return std::string_view("null").starts_with(word_);
    default:
      break;
  }
  if (kind == Token::kKey || kind == Token::kString) {
    std::string json;
    append_raw_json_byte(json, c);
    put(sink, json);
  } else {
    put(sink, std::string_view(&c, 1));
  }
  return true;
}

bool ObjectReader::take_value(Token kind, char c, CallSink& sink) {
  switch (field_) {
    case Field::kName:
      return take_name(kind, c, sink);
    case Field::kArguments:
      return take_arguments(kind, c, sink);
    default:
      return true;
  }
}

// Tells the sink of the call once it is certain to be one.
void ObjectReader::begin_if_sure(CallSink& sink) {
  if (has_begun_ || !has_name_ || !(is_certain_ || has_arguments_)) return;
  sink.begin(name_);
  has_begun_ = true;
  if (!held_.empty()) sink.arguments(std::exchange(held_, {}));
}

bool ObjectReader::end_of_field() {
  const bool is_cut = field_ == Field::kArguments && arguments_ == Arguments::kWord && word_ != "null";
  const bool is_nameless = field_ == Field::kName && !has_name_;
  field_ = Field::kNone;
  return !is_cut && !is_nameless;
}

CallReader::Step ObjectReader::end(CallSink& sink) {
  if (!has_name_) return broken();
  if (!has_begun_) {
    if (!is_certain_) return CallReader::Step::kNoCall;
    sink.begin(name_);
    has_begun_ = true;
  }
  if (!has_put_) sink.arguments("{}");
  return sink.end() ? CallReader::Step::kDone : CallReader::Step::kBroken;
}

CallReader::Step ObjectReader::step(char c, CallSink& sink) {
  const std::size_t depth = scan_.depth();
  const Token kind = scan_.step(c);
  if (kind == Token::kWrong) return broken();
  bool is_right = true;
  if (kind == Token::kClose && scan_.depth() == 0) {
    return end_of_field() ? end(sink) : broken();
  } else if (depth == 1 && kind == Token::kKey) {
    is_right = take_key(c);
  } else if (depth == 1 && kind == Token::kComma) {
    is_right = end_of_field();
  } else if (field_ != Field::kNone && !(depth == 1 && (kind == Token::kSpace || kind == Token::kColon))) {
    is_right = take_value(kind, c, sink);
  }
  return is_right ? CallReader::Step::kMore : broken();
}

class JsonCallReader final : public CallReader {
 public:
  JsonCallReader(bool is_certain, std::size_t max_depth, MayBeCalled may_be_called)
      : is_certain_(is_certain),
        max_depth_(max_depth),
        may_be_called_(std::move(may_be_called)),
        object_(is_certain, max_depth, may_be_called_) {}

  Step step(char c, CallSink& sink) override {
    if (place_ == Place::kObject) return step_in_object(c, sink);
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') return Step::kMore;
    const bool may_begin = place_ == Place::kBegin || place_ == Place::kItem;
    if (c == '{' && may_begin) {
      place_ = Place::kObject;
      object_ = ObjectReader(is_certain_, max_depth_, may_be_called_);
      return object_.step(c, sink);
    }
    if (c == '[' && place_ == Place::kBegin) {
      is_list_ = true;
      place_ = Place::kItem;
      return Step::kMore;
    }
    if (c == ',' && place_ == Place::kAfterItem) {
      place_ = Place::kItem;
      return Step::kMore;
    }
    if (c == ']' && place_ == Place::kAfterItem) return Step::kDone;
    return is_certain_ ? Step::kBroken : Step::kNoCall;
  }

 private:
  enum class Place : std::uint8_t { kBegin, kItem, kObject, kAfterItem };

  Step step_in_object(char c, CallSink& sink) {
    // Some templates show their example with its braces doubled, and some models follow it.
    if (c == '{' && object_.is_fresh()) object_ = ObjectReader(is_certain_, max_depth_, may_be_called_);
    const Step step = object_.step(c, sink);
    is_certain_ = is_certain_ || object_.has_begun();
    if (step != Step::kDone || !is_list_) return step;
    place_ = Place::kAfterItem;
    return Step::kMore;
  }

  bool is_certain_;
  std::size_t max_depth_;
  MayBeCalled may_be_called_;
  Place place_ = Place::kBegin;
  bool is_list_ = false;
  ObjectReader object_;
};

}  // namespace

std::unique_ptr<CallReader> json_call_reader(bool is_certain, std::size_t max_depth, MayBeCalled may_be_called) {
  return std::make_unique<JsonCallReader>(is_certain, max_depth, std::move(may_be_called));
}

}  // namespace autoglm::text
