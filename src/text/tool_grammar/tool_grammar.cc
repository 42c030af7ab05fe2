// SPDX-License-Identifier: Apache-2.0
// The grammar of a whole answer: reasoning, free text and calls in the order that the choice allows. Free text holds no
// beginning of a call, so what the parser reads as one has always been held to the grammar of calls.
#include <algorithm>
#include <utility>

#include "text/tool_calls/call_reader.h"
#include "text/tool_format.h"
#include "text/tool_grammar/call_rules.h"
#include "text/tool_grammar/lark_grammar.h"

namespace autoglm::text {
namespace {

constexpr std::size_t kMaxNameBytes = 128;
constexpr std::string_view kBlanks = " \\t\\r";
constexpr std::string_view kSpaces = " \\t\\r\\n";
constexpr std::size_t kMaxTagLetters = 12;

Pattern object_with_name() { return sequence({literal("{"), any_number(kSpaces), literal("\"name\"")}); }

Pattern opening_fence() {
  return sequence(
      {literal("```"), up_to("a-z_", kMaxTagLetters), any_number(kBlanks), literal("\n"), any_number(kSpaces)});
}

Pattern behind_list(const Pattern& object) { return sequence({literal("["), any_number(kSpaces), object}); }

std::string_view first_character(std::string_view text) {
  std::size_t end = 1;
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
  return text.substr(0, end);
}

class AnswerGrammar {
 public:
  AnswerGrammar(std::span<const ToolSignature> tools, const ToolGrammarOptions& options,
                std::shared_ptr<const Tokenizer> tokenizer)
      : options_(options),
        callables_{tools,
                   options.any_name && options.choice != ToolChoice::kAuto && options.format != ToolFormat::kGlm4},
        grammar_(std::move(tokenizer)),
        has_json_(options.answer_schema
                      ? options.reads_json && options.format != ToolFormat::kAutoGlm
                      : options.format == ToolFormat::kJson || options.format == ToolFormat::kLlama3 ||
                            (options.reads_json && options.format != ToolFormat::kAutoGlm)) {}

  Result<std::shared_ptr<const Grammar>> compile() {
    const bool has_calls = !callables_.tools.empty() || callables_.any_name || options_.format == ToolFormat::kAutoGlm;
    add_calls(has_calls);
    add_reasoning();
    switch (options_.choice) {
      case ToolChoice::kAuto:
        options_.answer_schema ? add_auto_or_json(has_calls) : add_auto(has_calls);
        break;
      case ToolChoice::kRequired:
        if (!has_calls) return fail(Code::kInvalidArgument, "a call is required, and there are no tools", "/tools");
        grammar_.rule("start", reasoning() + " BLANK? required_calls");
        break;
      case ToolChoice::kDecide:
        add_decide(has_calls);
        break;
    }
    return grammar_.compile();
  }

 private:
  std::size_t most_calls() const { return options_.is_parallel ? std::max<std::size_t>(options_.max_calls, 1) : 1; }

  std::string times(std::string_view separator, std::string_view call) const {
    const std::size_t more = most_calls() - 1;
    if (more == 0) return "";
    return " (" + std::string(separator) + " " + std::string(call) + "){0," + std::to_string(more) + "}";
  }

  void add_calls(bool has_calls) {
    grammar_.rule("BLANK", "/[ \\n]{1,4}/");
    grammar_.rule("SPACE", "/ |\\n[ \\t]{0,32}/");
    if (!has_calls) return;
    switch (options_.format) {
      case ToolFormat::kHermes:
        add_hermes_call(grammar_, callables_);
        break;
      case ToolFormat::kLlama3:
        add_llama_call(grammar_, callables_);
        break;
      case ToolFormat::kGlmXml:
        add_glm_call(grammar_, callables_);
        break;
      case ToolFormat::kJson:
        add_json_call(grammar_, callables_);
        break;
      case ToolFormat::kAutoGlm:
        add_autoglm_call(grammar_, callables_);
        break;
      case ToolFormat::kFunctionXml:
        add_function_call(grammar_, callables_);
        break;
      case ToolFormat::kGlm4:
        add_line_call(grammar_, callables_);
        break;
      case ToolFormat::kMistral:
        add_mistral_list(grammar_, callables_, most_calls());
        break;
      case ToolFormat::kMistralArgs:
        add_mistral_call(grammar_, callables_);
        break;
      case ToolFormat::kPhi4:
        add_phi_list(grammar_, callables_, most_calls());
        break;
    }
    if (options_.format == ToolFormat::kAutoGlm) {
      // One action an answer, framed or not.
      grammar_.rule("own_calls", grammar_.marker("<answer>") + "? own " + grammar_.marker("</answer>") + "?");
      grammar_.rule("required_calls", "own_calls");
    } else if (options_.format == ToolFormat::kLlama3 || options_.format == ToolFormat::kJson) {
      const std::string more = times(options_.format == ToolFormat::kLlama3 ? "\"; \"" : "\"\\n\"", "own_object");
      grammar_.rule("own_calls", "own" + more);
      grammar_.rule("required_calls", "own_calls | own_object" + more);
    } else if (options_.format == ToolFormat::kMistral || options_.format == ToolFormat::kPhi4) {
      grammar_.rule("own_calls", "own");  // a list
      grammar_.rule("required_calls", "own_calls");
    } else if (options_.format == ToolFormat::kGlm4 || options_.format == ToolFormat::kMistralArgs) {
      grammar_.rule("own_calls", "own" + times(options_.format == ToolFormat::kGlm4 ? "\"\\n\"" : "", "own"));
      grammar_.rule("required_calls", "own_calls");
    } else {
      grammar_.rule("own_calls", "own" + times("\"\\n\"?", "own"));
      grammar_.rule("required_calls", "own_calls");
    }
    if (has_json_) {
      grammar_.rule("json_again", "\"{\" SPACE? \"\\\"name\\\"\" json_tail");
      grammar_.rule("json_tail", "SPACE? \":\" SPACE? json_named SPACE? \"}\"");
      grammar_.rule("json_named", json_named());
      grammar_.rule("json_more",
                    times("/,?\\n{1,2}/", "json_again").empty() ? "\"\"" : times("/,?\\n{1,2}/", "json_again"));
    }
  }

  std::string json_named() {
    const std::string between =
        " SPACE? \",\" SPACE? (\"\\\"arguments\\\"\" | \"\\\"parameters\\\"\") SPACE? \":\" SPACE? ";
    if (callables_.any_name) {
      grammar_.rule("JSON_NAME", "/\"[A-Za-z_][A-Za-z0-9_.\\-]{0,63}\"/");
      return "JSON_NAME" + between + arguments_rule(grammar_, callables_, 0);
    }
    std::string named;
    for (std::size_t i = 0; i < callables_.tools.size(); ++i) {
      named += (i == 0 ? "" : " | ") + LarkGrammar::quoted("\"" + between_quotes(callables_.tools[i].name) + "\"") +
               between + arguments_rule(grammar_, callables_, i);
    }
    return named;
  }

  void add_reasoning() {
    FreeText text = {.anywhere = {literal("</think>")}, .firsts = "<", .max_bytes = options_.max_thinking_bytes};
    grammar_.free_text("thought", text);
    grammar_.rule("think_rest", "thought? " + grammar_.marker("</think>"));
    grammar_.rule("think", "\"\\n\"? " + grammar_.marker("<think>") + " think_rest");
  }

  // Whether a marker, and not only JSON, begins a call in the middle of text.
  bool has_marker() const { return options_.format != ToolFormat::kJson && !has_names(); }
  // Whether the name of a tool on a line of its own does.
  bool has_names() const { return options_.format == ToolFormat::kGlm4; }

  // Before what has to come.
  std::string reasoning() const {
    if (options_.begins_in_reasoning) return "think_rest";
    return options_.max_thinking_bytes > 0 ? "think?" : "";
  }

  // Free text of an answer; `line`: what begins a call at the beginning of a line.
  FreeText text_without(std::optional<Pattern> line) const {
    FreeText text = {.firsts = "<", .line = std::move(line), .beginning = literal("<think>")};
    text.line_firsts = " \t\r{`[";
    switch (options_.format) {
      case ToolFormat::kHermes:
      case ToolFormat::kGlmXml:
        text.anywhere = {literal("<tool_call>")};
        break;
      case ToolFormat::kFunctionXml:
        text.anywhere = {literal("<tool_call>"), literal("<function=")};
        break;
      case ToolFormat::kPhi4:
        text.anywhere = {literal("<|tool_call|>")};
        break;
      case ToolFormat::kMistral:
      case ToolFormat::kMistralArgs:
        text.firsts = "<[";
        text.anywhere = {literal("[TOOL_CALLS]")};
        break;
      case ToolFormat::kLlama3:
        text.anywhere = {literal("<|python_tag|>")};
        break;
      case ToolFormat::kGlm4:
        text.firsts.clear();
        text.line_firsts += '<';
        for (const ToolSignature& tool : callables_.tools) text.line_firsts += first_character(tool.name);
        break;
      case ToolFormat::kJson:
        text.firsts.clear();
        text.beginning.reset();
        break;
      case ToolFormat::kAutoGlm:
        text.firsts = "<df";
        text.anywhere = {literal("do(action="), literal("finish(message="), literal("<answer>")};
        break;
    }
    return text;
  }

  // What begins a call at the beginning of a line.
  struct LineCalls {
    std::vector<Pattern> marks;
    std::string begin;  // options at the beginning of the answer
    std::string later;
  };

  static void add_option(std::string& options, const std::string& option) {
    options += (options.empty() ? "" : " | ") + option;
  }

  // The name of a tool alone on its line is no call yet: what follows it says so.
  void add_names(LineCalls& calls) {
    const std::string more = times("\"\\n\"", "own");
    grammar_.rule("names_more", more.empty() ? "\"\"" : more);
    for (std::size_t i = 0; i < callables_.tools.size(); ++i) {
      const Pattern line =
          sequence({any_number(kBlanks), literal(callables_.tools[i].name), up_to(kBlanks, kMostBlanksBehindName)});
      calls.marks.push_back(sequence({line, literal("\n{")}));
      const std::string number = std::to_string(i);
      const std::string rest = number + " " + arguments_rule(grammar_, callables_, i) + " names_more";
      grammar_.rule("NAME_BEGIN" + number, "/\\n?" + line.all + "\\n/");
      grammar_.rule("NAME_LATER" + number, "/\\n" + line.all + "\\n/");
      add_option(calls.begin, "NAME_BEGIN" + rest);
      add_option(calls.later, "NAME_LATER" + rest);
    }
  }

  // An answer that is text, or words and calls.
  std::string text_or_calls(bool has_calls, const LineCalls& lines) {
    if (!has_calls) return "text";
    std::string options = "text";
    std::string later;
    if (has_marker()) {
      add_option(options, "BLANK? own_calls");
      add_option(later, "own_calls");
    }
    if (!lines.begin.empty()) {
      grammar_.rule("line_begin", lines.begin);
      grammar_.rule("line_later", lines.later);
      add_option(options, "line_begin");
      add_option(later, "line_later");
    }
    // Words may come before a call; how many, a turn's tokens bound.
    return later.empty() ? options : options + " | text (" + later + ")";
  }

  // What the model wants to be a call is one by its first key.
  void add_decide(bool has_calls) {
    LineCalls lines;
    if (has_calls && has_names()) add_names(lines);
    if (has_calls && has_json_) add_decide_json(lines);
    grammar_.free_text("text", text_without(line_of(lines.marks)));
    grammar_.rule("start", reasoning() + " (" + text_or_calls(has_calls, lines) + ")");
  }

  void add_decide_json(LineCalls& calls) {
    const Pattern bare = sequence({any_number(kBlanks), object_with_name()});
    const Pattern fenced = sequence({any_number(kBlanks), opening_fence(), object_with_name()});
    calls.marks.insert(calls.marks.end(), {bare, fenced});
    add_lists(calls, object_with_name());
    const auto add = [&](const std::string& name, const std::string& newline, std::string& options) {
      grammar_.rule("JSON_" + name, "/" + newline + bare.all + "/");
      grammar_.rule("FENCE_" + name, "/" + newline + fenced.all + "/");
      add_option(options, "JSON_" + name + " json_tail json_more");
      add_option(options, "FENCE_" + name + " json_tail json_more SPACE? \"```\"");
    };
    add("BEGIN", "\\n?", calls.begin);
    add("LATER", "\\n", calls.later);
  }

  // Only what names a tool, and gives it arguments, is a call.
  void add_auto(bool has_calls) {
    LineCalls lines;
    if (has_calls && has_names()) add_names(lines);
    if (has_calls && has_json_) {
      for (std::size_t i = 0; i < callables_.tools.size(); ++i) add_auto_json(i, lines);
      add_lists(lines, named_object(std::nullopt));
    }
    std::string tail = "text?";
    if (has_calls && has_marker()) add_option(tail, "text? own_calls");
    if (!lines.begin.empty()) {
      grammar_.rule("line_begin", lines.begin);
      grammar_.rule("line_later", lines.later);
      add_option(tail, "line_begin | text line_later");
    }
    grammar_.free_text("text", text_without(line_of(lines.marks)));
    grammar_.rule("tail", tail);
    grammar_.rule(
        "start", options_.begins_in_reasoning ? "thought? (" + grammar_.marker("</think>") + " tail)?" : "think? tail");
  }

  // Calls, or JSON of the answer's schema: by the first character where a marker begins calls, else by the name.
  void add_auto_or_json(bool has_calls) {
    std::string answer = grammar_.json(json::format(*options_.answer_schema), "/answer");
    if (has_calls && (has_marker() || has_names() || !has_json_)) answer += " | BLANK? own_calls";
    if (has_calls && has_json_) answer += " | json_again json_more";
    grammar_.rule("start", (options_.begins_in_reasoning ? "think_rest (" : "think? (") + answer + ")");
  }

  // {"name": "weather", "arguments": of one tool, or of any.
  Pattern named_object(std::optional<std::size_t> tool) const {
    std::vector<Pattern> names;
    for (std::size_t i = 0; i < callables_.tools.size(); ++i) {
      if (!tool || *tool == i) names.push_back(literal("\"" + between_quotes(callables_.tools[i].name) + "\""));
    }
    const Pattern spaces = any_number(kSpaces);
    return sequence({object_with_name(), spaces, literal(":"), spaces, either(names), spaces, literal(","), spaces,
                     either({literal("\"arguments\""), literal("\"parameters\"")}), spaces, literal(":")});
  }

  void add_auto_json(std::size_t tool, LineCalls& calls) {
    const Pattern object = named_object(tool);
    const Pattern bare = sequence({any_number(kBlanks), object});
    const Pattern fenced = sequence({any_number(kBlanks), opening_fence(), object});
    const std::string number = std::to_string(tool);
    const std::string rest = " SPACE? " + arguments_rule(grammar_, callables_, tool) + " SPACE? \"}\" json_more";
    const auto add = [&](const std::string& name, const std::string& newline, std::string& options) {
      grammar_.rule("JSON_" + name, "/" + newline + bare.all + "/");
      grammar_.rule("FENCE_" + name, "/" + newline + fenced.all + "/");
      add_option(options, "JSON_" + name + rest);
      add_option(options, "FENCE_" + name + rest + " SPACE? \"```\"");
    };
    add("BEGIN" + number, "\\n?", calls.begin);
    add("LATER" + number, "\\n", calls.later);
    calls.marks.insert(calls.marks.end(), {bare, fenced});
  }

  // Lists of such objects are read, and are no way to begin. Where a bracket begins a marker they are not read.
  void add_lists(LineCalls& calls, const Pattern& object) const {
    if (options_.format == ToolFormat::kMistral || options_.format == ToolFormat::kMistralArgs) return;
    calls.marks.push_back(sequence({any_number(kBlanks), behind_list(object)}));
    calls.marks.push_back(sequence({any_number(kBlanks), opening_fence(), behind_list(object)}));
  }

  static std::optional<Pattern> line_of(const std::vector<Pattern>& marks) {
    if (marks.empty()) return std::nullopt;
    return either(marks);
  }

  const ToolGrammarOptions& options_;
  Callables callables_;
  LarkGrammar grammar_;
  bool has_json_;
};

bool is_word(const json::Value& value, std::string_view word) {
  return value.is_string() && value.get_string() == word;
}

bool is_scalar_kind(const json::Value& type) {
  return type.is_string() && !is_word(type, "object") && !is_word(type, "array");
}

}  // namespace

bool may_read_as_call(const json::Value& schema) {
  const json::Object* object = schema.if_object();
  const json::Value* type = object == nullptr ? nullptr : object->if_contains("type");
  if (type == nullptr) return true;
  if (type->is_array()) return !std::ranges::all_of(type->get_array(), is_scalar_kind);
  if (is_scalar_kind(*type)) return false;
  const json::Value* others = object->if_contains("additionalProperties");
  const bool is_closed = others != nullptr && others->is_bool() && !others->get_bool();
  if (!is_word(*type, "object") || !is_closed || object->contains("patternProperties")) return true;
  const json::Value* properties = object->if_contains("properties");
  const json::Object* members = properties == nullptr ? nullptr : properties->if_object();
  return members != nullptr && members->contains("name") &&
         (members->contains("arguments") || members->contains("parameters"));
}

Result<std::shared_ptr<const Grammar>> tool_grammar(std::span<const ToolSignature> tools,
                                                    const ToolGrammarOptions& options,
                                                    std::shared_ptr<const Tokenizer> tokenizer) {
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const std::string place = "/tools/" + std::to_string(i) + "/function";
    if (tools[i].name.empty() || tools[i].name.size() > kMaxNameBytes)
      return fail(Code::kInvalidArgument, "a tool's name has 1 to 128 bytes", place + "/name");
    const json::Value* type = tools[i].parameters.if_contains("type");
    if (type != nullptr && !(type->is_string() && type->get_string() == "object"))
      return fail(Code::kInvalidArgument, "a tool's arguments are an object", place + "/parameters/type");
  }
  return AnswerGrammar(tools, options, std::move(tokenizer)).compile();
}

}  // namespace autoglm::text
