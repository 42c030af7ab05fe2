// SPDX-License-Identifier: Apache-2.0
// What a turn of an agent's run may be: a call of the registry's tools, or of the one that gives the answer, by name
// and schema. Compiled once for each set of tools that some turn may call. One run, on its thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/aids.h"
#include "agent/tool_registry.h"
#include "text/tool_format.h"

namespace autoglm::agent {

/// The most items of a list in a call, with the aid for lists, where its schema says nothing.
inline constexpr std::int64_t kMaxListItems = 16;
/// The most characters of an answer, with the same aid: with its reasoning they end within a turn's 1,024 tokens in
/// most languages, where a model that goes in circles would write until it is cut. The model is not told of it.
inline constexpr std::int64_t kMaxAnswerCharacters = 2000;

/// Whether a run with these tools ends by a call of its own. Not where there are none, nor in the phone agent's
/// language.
bool has_answer_call(const ToolRegistry& tools, text::ToolFormat format);
/// The name of that call: "answer", or another one where that is a tool's.
std::string answer_name(const ToolRegistry& tools);
json::Object answer_parameters(const Aids& aids);

class TurnGrammar final {
 public:
  // Tools that are not in the list that a model is shown; with them come references to earlier results.
  enum class Quiet : std::uint8_t { kLeftOut, kIncluded };

  /// `options` as for a turn that may call everything; its choice is set here. `tools` must outlive this.
  TurnGrammar(const ToolRegistry& tools, const Aids& aids, text::ToolGrammarOptions options,
              std::shared_ptr<const text::Tokenizer> tokenizer);

  bool has_answer_call() const { return has_answer_call_; }
  /// Whether the format has an end of its own: finish(message="...") of the phone agent's language.
  bool has_own_end() const { return has_own_end_; }
  /// The call that ends the run, if one does; its text is the argument of that name.
  const std::string& answer() const { return answer_; }
  std::string_view answer_key() const { return has_own_end_ ? "message" : "text"; }
  /// Everything that can be called.
  const std::vector<text::ToolSignature>& signatures() const { return signatures_; }

  /// The grammar of a turn that may not call what is in `without`; where names are free, that are all but what is left.
  /// `begins_in_reasoning`: its prompt ends within a thought, which has to end before the call.
  /// Errors: as text::tool_grammar().
  Result<std::shared_ptr<const text::Grammar>> grammar(Quiet quiet, const std::set<std::string>& without,
                                                       bool begins_in_reasoning = false);

 private:
  std::vector<text::ToolSignature> signatures_of(Quiet quiet) const;

  const ToolRegistry& tools_;
  const Aids aids_;
  text::ToolGrammarOptions options_;
  const std::shared_ptr<const text::Tokenizer> tokenizer_;
  const bool has_answer_call_;
  const bool has_own_end_;
  const std::string answer_;
  const std::vector<text::ToolSignature> signatures_;
  std::map<std::string, std::shared_ptr<const text::Grammar>>
      compiled_;  // by their beginning and the names that they allow
};

}  // namespace autoglm::agent
