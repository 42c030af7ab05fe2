// SPDX-License-Identifier: Apache-2.0
// What the loop holds a proposed turn to before anything of it counts: no call whose result stands in the conversation,
// nothing written or answered before the places that the task names were looked at. A turn that breaks a rule is asked
// anew, from the same prompt, without the tools that led it astray; nothing of the first try enters the conversation.
// One run, on its thread.
#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/action.h"
#include "agent/aids.h"
#include "agent/tool_registry.h"
#include "agent/turn_reader.h"

namespace autoglm::agent {

// How a turn is asked anew.
struct Objection {
  std::set<std::string> without;  // tools, or the call that answers
  bool is_by_chance = false;      // sampled: at temperature 0 it would come out the same
  bool is_of_results = false;     // the turn only asked for what stands in the conversation
};

class TurnRules final {
 public:
  /// `answer`: the call that answers; empty when text does. `tools` must outlive this.
  TurnRules(const ToolRegistry& tools, const Aids& aids, std::string answer, std::string_view task);

  /// Whether the task has an order that a tool which changes something begins with: "Write it down" (write_file).
  bool is_told_to_change() const;
  /// The task changes nothing: tools that would are withheld from every turn from now on.
  void narrow();
  const std::set<std::string>& withheld() const { return withheld_; }
  std::set<std::string> all_but_answer() const;
  /// Whether a turn could still be something without these.
  bool leaves_something(const std::set<std::string>& without) const;

  /// Paths of the task that lost their root get it back, and names from a listing their folder. Returns what was
  /// mended.
  std::vector<std::string> mend(std::vector<ActionCall>& calls, std::span<const Action> known) const;
  /// Whether a call was about each place and to each tool that the task names, and one for each of its verbs ("read
  /// it") that tools begin with (read_file).
  bool has_seen_all(std::span<const Action> known) const;
  /// Whether a turn should go on behind its last call: not when that will not count. Const, so that the engine's thread
  /// may ask while the run's waits.
  bool wants(std::span<const ActionCall> calls, std::span<const Action> known) const;
  /// What is wrong with a turn, if anything is. Takes repetitions beside something new out of it, and changes behind
  /// reads whose results they cannot know.
  ///   is_answer  the turn gives the answer
  ///   known      the actions whose results stand in the conversation, as far as they are of this run
  ///   attempt    how often the turn was asked anew already
  std::optional<Objection> object_to(ReadTurn& read, bool is_answer, std::span<const Action> known,
                                     std::size_t attempt);

 private:
  std::optional<Objection> object_to_repeats(std::vector<ActionCall>& calls, std::span<const Action> known,
                                             std::size_t attempt) const;
  Objection object_to_repeat(const std::vector<ActionCall>& calls, std::span<const Action> known,
                             std::size_t attempt) const;
  bool is_guess(std::span<const ActionCall> before, const ActionCall& call, std::span<const Action> known) const;
  bool is_seen(const std::string& place, std::span<const Action> known) const;
  bool is_heard_of(std::string_view name, std::span<const Action> known) const;
  bool has_invented_number(const ActionCall& call, std::span<const Action> known) const;
  bool is_double(std::span<const ActionCall> before, const ActionCall& call) const;
  bool looks_again(const ActionCall& call, std::span<const Action> known) const;
  std::optional<Objection> object_to_numbers(std::vector<ActionCall>& calls, std::span<const Action> known) const;
  std::optional<Objection> object_to_haste(const std::vector<ActionCall>& calls, bool is_answer,
                                           std::span<const Action> known);
  std::optional<Objection> object_to_invention(const std::vector<ActionCall>& calls,
                                               std::span<const Action> known) const;
  std::optional<Objection> object_to_surrender(const std::vector<ActionCall>& calls, bool is_answer,
                                               std::span<const Action> known);
  bool names_unheard_place(const ActionCall& call, std::span<const Action> known) const;
  void add_family(const std::string& tool, std::set<std::string>& names) const;
  const Action* find_known(const ActionCall& call, std::span<const Action> known) const;
  bool is_read(const ActionCall& call) const;
  std::set<std::string> tools_that(bool change) const;

  const ToolRegistry& tools_;
  const Aids aids_;
  const std::string answer_;
  const std::string task_;
  const std::vector<std::string> places_;  // that the task names
  std::vector<std::string> unseen_;        // of them, and tools that it names: no call was about them
  std::set<std::string> verbs_;            // of its words, those that tools begin with: "read"
  std::set<std::string> withheld_;
  std::size_t surrenders_ = 0;  // that were objected to
};

}  // namespace autoglm::agent
