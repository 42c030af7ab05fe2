// SPDX-License-Identifier: Apache-2.0
// How a model writes tool calls into its text, and how we read them back: one interface, the formats are data chosen by
// the model's chat template. Parsers are incremental and linear, and give the same events at every split of the text;
// what a model writes is untrusted. Any thread; a parser is one sequence's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

namespace autoglm::text {

enum class ToolFormat : std::uint8_t {
  kHermes,       // <tool_call>{"name":...,"arguments":{...}}</tool_call>: ChatML, Qwen, SmolLM
  kLlama3,       // {"name":...,"parameters":{...}}, perhaps after <|python_tag|>
  kGlmXml,       // <tool_call>name<arg_key>k</arg_key><arg_value>v</arg_value>...</tool_call>: GLM-4.5 and later
  kJson,         // bare or fenced {"name":...,"arguments":{...}}: what coder models write, whatever their template says
  kAutoGlm,      // do(action="Tap", element=[1,2]) and finish(message="..."): the phone agent's language
  kGlm4,         // a line with the name, and {"k":v,...} behind it: GLM-4-0414 and glm-4-9b-chat
  kMistral,      // [TOOL_CALLS][{"name":...,"arguments":{...}}, ...]: Mistral up to version 7 of its tokenizer
  kMistralArgs,  // [TOOL_CALLS]name[ARGS]{...}, once a call: from version 11 on
  kFunctionXml,  // <tool_call><function=name><parameter=k>v</parameter>...</function></tool_call>: Qwen3-Coder
  kPhi4,         // <|tool_call|>[{"name":...,"arguments":{...}}, ...]<|/tool_call|>: Phi-4-mini
};

std::string_view tool_format_name(ToolFormat format);
/// The format that a chat template asks its model for; nothing when the template knows no tools.
std::optional<ToolFormat> tool_format_of(std::string_view template_source);

struct ToolSignature {
  std::string name;
  json::Object parameters;  // JSON schema of an object; empty = any object
};

// One thing that the parser has understood. Deltas of a call's arguments, put together, are the text of a JSON object.
struct ToolEvent {
  enum class Kind : std::uint8_t {
    kText,
    kReasoning,
    kCallBegin,
    kArguments,
    kCallEnd,  // the arguments are complete, and base/json reads them
    kBroken,   // it began as a call, and is none or was cut; it may have had its kCallBegin and arguments
  };
  Kind kind = Kind::kText;
  std::size_t call = 0;  // number of the call within the answer, from 0
  std::string text;      // kCallBegin: the name; kBroken: what was read as the call, clipped
};

class ToolCallParser {
 public:
  struct Options {
    // Also reads JSON calls that stand at the beginning of a line, bare or in a fence, in every format but AutoGLM's:
    // {"name": ..., "arguments" or "parameters": ...}, and lists of them.
    bool reads_json = true;
    bool begins_in_reasoning = false;  // the prompt ended with <think>
    // What is no call is JSON to its end: calls stand at its beginning only, and JSON is one with reads_json only, in
    // whatever format. Without reads_json a format that has no marker has its calls in fences.
    bool is_answer_json = false;
    // Read by make(): types of arguments between tags, and the names that make such JSON a call; none: every name does.
    // GLM-4's calls have nothing but the names to be known by.
    std::span<const ToolSignature> tools;
    std::size_t max_call_bytes = 1u << 20;
    std::size_t max_depth = 64;  // of arguments
  };
  virtual ~ToolCallParser() = default;
  static std::unique_ptr<ToolCallParser> make(ToolFormat format, const Options& options);

  /// Reads on. What may be the beginning of a marker is held back, and so is part of a character. White space next to a
  /// call or to reasoning is left out. `text` shows special tokens by their spelling: some vocabularies have markers
  /// among them.
  virtual std::vector<ToolEvent> push(std::string_view text) = 0;
  /// The end of the text: what was held back, and kBroken for a call that was cut.
  virtual std::vector<ToolEvent> finish() = 0;
  /// Bytes looked at so far, some of them twice: the measure of work.
  virtual std::uint64_t steps() const = 0;
};

// What the grammar of an answer with tools allows. In each, text holds no beginning of a call that the parser would
// read.
enum class ToolChoice : std::uint8_t {
  kAuto,      // free text until the format's opening marker, or JSON that names a tool; from it on calls; then the end
  kRequired,  // calls, from the first token on, in the format's own way
  kDecide,    // an agent's turn: calls in whichever way the model begins one, or an answer
};

struct ToolGrammarOptions {
  ToolFormat format = ToolFormat::kHermes;
  ToolChoice choice = ToolChoice::kAuto;
  bool is_parallel = true;  // more than one call
  // Not kAuto, and not GLM-4's format: names and arguments are not held to the registry (they are mapped later).
  bool any_name = false;
  bool reads_json = true;            // as the parser's
  bool begins_in_reasoning = false;  // as the parser's; the reasoning has to end before a call that is required
  std::size_t max_calls = 16;
  // Of reasoning (<think>...</think>). 0: none, but in kAuto no bound. Counted in pieces of up to 32 characters, never
  // more than this in bytes. Words before a call are bounded by the turn's tokens only.
  std::size_t max_thinking_bytes = 0;
  // Only kAuto. An answer that is no call is JSON of this schema, with no words before it or before a call; null: it is
  // free text. The parser is to know of it (is_answer_json), and both may have reads_json only where
  // may_read_as_call() is false.
  std::optional<json::Value> answer_schema;
};

/// Whether JSON that satisfies a schema may look like a call of a tool, {"name": ..., "arguments" or "parameters":
/// ...}. False only where the schema's top says that it cannot: by its type, or as a closed object without those
/// members.
bool may_read_as_call(const json::Value& schema);

/// Errors: kInvalidArgument, Error::where = JSON pointer "/tools/I/function/parameters/..." or "/answer/..." of what
/// cannot be honoured; kExhausted.
///   Cost     compiles the schemas of all tools: milliseconds; not for the engine's thread
Result<std::shared_ptr<const Grammar>> tool_grammar(std::span<const ToolSignature> tools,
                                                    const ToolGrammarOptions& options,
                                                    std::shared_ptr<const Tokenizer> tokenizer);

}  // namespace autoglm::text
