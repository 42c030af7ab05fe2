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
  kHermes,   // <tool_call>{"name":...,"arguments":{...}}</tool_call>: ChatML, Qwen, SmolLM
  kLlama3,   // {"name":...,"parameters":{...}}, perhaps after <|python_tag|>
  kGlmXml,   // <tool_call>name<arg_key>k</arg_key><arg_value>v</arg_value>...</tool_call>: GLM-4.5 and later
  kJson,     // bare or fenced {"name":...,"arguments":{...}}: what coder models write, whatever their template says
  kAutoGlm,  // do(action="Tap", element=[1,2]) and finish(message="..."): the phone agent's language
};

std::string_view tool_format_name(ToolFormat format);
/// The format that a chat template asks its model for; nothing when the template knows no tools.
std::optional<ToolFormat> tool_format_of(std::string_view template_source);

struct ToolSignature {
  std::string name;
  json::Object parameters;  // JSON schema of an object; empty = any object
};

// One thing that the parser has understood. Deltas of a call's arguments, put together, are JSON text.
struct ToolEvent {
  enum class Kind : std::uint8_t { kText, kReasoning, kCallBegin, kArguments, kCallEnd, kBroken };
  Kind kind = Kind::kText;
  std::size_t call = 0;  // number of the call within the answer, from 0
  std::string text;      // kCallBegin: the name; kBroken: what was read so far as a call and is none
};

class ToolCallParser {
 public:
  struct Options {
    bool reads_json = true;            // also bare and fenced JSON at the beginning of the text, in every format
    bool begins_in_reasoning = false;  // the prompt ended with <think>
    std::span<const ToolSignature> tools;  // types of GLM's arguments; names that make bare JSON a call
    std::size_t max_call_bytes = 1u << 20;
  };
  virtual ~ToolCallParser() = default;
  static std::unique_ptr<ToolCallParser> make(ToolFormat format, const Options& options);

  /// Reads on. Text that may be the beginning of a marker is held back.
  virtual std::vector<ToolEvent> push(std::string_view text) = 0;
  /// The end of the text: what was held back, and kBroken for a call that was cut.
  virtual std::vector<ToolEvent> finish() = 0;
};

// What the grammar of an answer with tools allows.
enum class ToolChoice : std::uint8_t {
  kAuto,      // free text until the format's opening marker; from it on a call
  kRequired,  // calls, from the first token on
  kDecide,    // an agent's turn: calls from the first token on, in whichever wrapper the model begins with, or an answer
};

struct ToolGrammarOptions {
  ToolFormat format = ToolFormat::kHermes;
  ToolChoice choice = ToolChoice::kAuto;
  bool is_parallel = true;       // more than one call
  bool any_name = false;         // kDecide: names and arguments are not held to the registry (they are mapped later)
  std::size_t max_calls = 16;
  std::size_t max_thinking_bytes = 0;  // kDecide: text allowed before the decision
};

/// Errors: kInvalidArgument, Error::where = JSON pointer "/tools/I/function/parameters/..." of what cannot be honoured;
/// kExhausted.
Result<std::shared_ptr<const Grammar>> tool_grammar(std::span<const ToolSignature> tools,
                                                    const ToolGrammarOptions& options,
                                                    std::shared_ptr<const Tokenizer> tokenizer);

}  // namespace autoglm::text
