// SPDX-License-Identifier: Apache-2.0
#include "agent/turn_rules.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "agent/reference.h"
#include "agent/task_places.h"
#include "base/ascii.h"

namespace autoglm::agent {
namespace {

constexpr std::size_t kMaxSurrenders = 2;

// Whether it certainly left everything as it was.
bool had_no_effect(const ActionResult& result) {
  return result.state == ActionState::kFailed || result.state == ActionState::kDenied;
}

// Whether the call is about a place, or to a tool of that name.
bool is_to(const ActionCall& call, std::string_view place) {
  return call.tool == place || is_about(call.arguments, place);
}

// A name that stands in a task for the tool alone: get-sum, but not echo.
bool is_no_word(std::string_view name) { return name.find_first_of("_-") != std::string_view::npos; }

// "read" of read_text_file.
std::string_view verb_of(std::string_view tool) { return tool.substr(0, tool.find_first_of("_-")); }

// Where the task has the word, in small letters or with a capital one, from there on; npos when it has not.
std::size_t find_word(std::string_view task, std::string_view word, std::size_t from = 0) {
  for (std::size_t at = from; !word.empty() && at + word.size() <= task.size(); ++at) {
    const bool begins = at == 0 || !base::is_letter_or_digit(task[at - 1]);
    const bool ends = at + word.size() == task.size() || !base::is_letter_or_digit(task[at + word.size()]);
    if (begins && ends && (task[at] | 0x20) == word[0] && task.substr(at + 1).starts_with(word.substr(1))) return at;
  }
  return std::string_view::npos;
}

bool says(std::string_view task, std::string_view word) { return find_word(task, word) != std::string_view::npos; }

// Whether the task tells to do it: "Write it down", "read it and write it down", but not "whom do I write to".
bool orders(std::string_view task, std::string_view verb) {
  for (auto at = find_word(task, verb); at != std::string_view::npos; at = find_word(task, verb, at + 1)) {
    std::string_view before = task.substr(0, at);
    while (!before.empty() && base::is_space(before.back())) before.remove_suffix(1);
    if (before.empty() || std::string_view(".,:;!?-*)").contains(before.back())) return true;
    const std::string_view word = before.substr(before.find_last_of(" \n\t\r") + 1);
    if (word == "and" || word == "then" || word == "please" || word == "Please") return true;
  }
  return false;
}

bool says_nothing_new(const ActionCall& call, const std::vector<std::string_view>& seen) {
  const auto texts = texts_in(call.arguments);
  const auto is_seen = [&](std::string_view text) { return std::ranges::find(seen, text) != seen.end(); };
  return !texts.empty() && std::ranges::all_of(texts, is_seen);
}

}  // namespace

TurnRules::TurnRules(const ToolRegistry& tools, const Aids& aids, std::string answer, std::string_view task)
    : tools_(tools),
      aids_(aids),
      answer_(std::move(answer)),
      task_(task),
      places_(aids_.sources && !answer_.empty() ? places_in(task) : std::vector<std::string>{}),
      unseen_(places_) {
  if (!aids_.sources || answer_.empty()) return;
  for (const auto& tool : tools_.tools()) {
    const std::string& name = tool->description().name;
    if (is_no_word(name) && task.contains(name)) unseen_.push_back(name);
    if (says(task, verb_of(name))) verbs_.emplace(verb_of(name));
  }
}

bool TurnRules::is_told_to_change() const {
  return std::ranges::any_of(tools_.tools(), [&](const auto& tool) {
    const ToolDescription& description = tool->description();
    return description.tool_class == ToolClass::kWrite && orders(task_, verb_of(description.name));
  });
}

void TurnRules::narrow() {
  for (const auto& tool : tools_.tools()) {
    if (tool->description().tool_class == ToolClass::kWrite) withheld_.insert(tool->description().name);
  }
}

std::vector<std::string> TurnRules::mend(std::vector<ActionCall>& calls, std::span<const Action> known) const {
  if (!aids_.sources) return {};
  std::vector<Listing> listings;
  for (const Action& action : known) {
    const auto texts = texts_in(action.call.arguments);
    if (action.result.is_error() || !is_read(action.call) || texts.size() != 1) continue;
    if (texts[0].starts_with('/') && places_in(name_of_place(texts[0])).empty()) {
      listings.push_back({texts[0], action.result.text});
    }
  }
  const auto is_folder = [&](std::string_view place) { return is_called_folder(task_, place); };
  std::vector<std::string> mended;
  for (ActionCall& call : calls) {
    for (std::string& path : mend_paths(call.arguments, places_)) mended.push_back(std::move(path));
    for (std::string& path : mend_names(call.arguments, listings)) mended.push_back(std::move(path));
    for (std::string& path : mend_destination(call.arguments, is_folder)) mended.push_back(std::move(path));
  }
  return mended;
}

bool TurnRules::has_seen_all(std::span<const Action> known) const {
  const auto was_done = [&](const std::string& verb) {
    return std::ranges::any_of(known, [&](const Action& action) { return verb_of(action.call.tool) == verb; });
  };
  return std::ranges::all_of(verbs_, was_done) &&
         std::ranges::all_of(unseen_, [&](const std::string& place) { return is_seen(place, known); });
}

bool TurnRules::is_seen(const std::string& place, std::span<const Action> known) const {
  return std::ranges::any_of(known, [&](const Action& action) { return is_to(action.call, place); });
}

bool TurnRules::wants(std::span<const ActionCall> calls, std::span<const Action> known) const {
  const ActionCall& last = calls.back();
  const auto before = calls.first(calls.size() - 1);
  if (aids_.sources && is_guess(before, last, known)) return false;
  return !aids_.repeats || (!is_double(before, last) && find_known(last, known) == nullptr);
}

std::optional<Objection> TurnRules::object_to(ReadTurn& read, bool is_answer, std::span<const Action> known,
                                              std::size_t attempt) {
  if (aids_.repeats) {
    if (auto objection = object_to_repeats(read.calls, known, attempt)) return objection;
  }
  if (aids_.sources) {
    std::vector<ActionCall> kept;
    for (ActionCall& call : read.calls) {
      if (!is_guess(kept, call, known)) kept.push_back(std::move(call));
    }
    read.calls = std::move(kept);
    if (auto objection = object_to_numbers(read.calls, known)) return objection;
    if (attempt == 0) {
      if (auto objection = object_to_invention(read.calls, known)) return objection;
    }
    if (auto objection = object_to_surrender(read.calls, is_answer, known)) return objection;
  }
  return object_to_haste(read.calls, is_answer, known);
}

// A small model asks again for what it has just been given, or has just failed with, and again.
std::optional<Objection> TurnRules::object_to_repeats(std::vector<ActionCall>& calls, std::span<const Action> known,
                                                      std::size_t attempt) const {
  std::vector<ActionCall> fresh;
  for (const ActionCall& call : calls) {
    const bool is_repeat = find_known(call, known) != nullptr || (attempt > 0 && looks_again(call, known));
    if (!is_repeat && !is_double(fresh, call)) fresh.push_back(call);
  }
  if (fresh.empty() && !calls.empty()) {
    Objection objection = object_to_repeat(calls, known, attempt);
    if (leaves_something(objection.without)) return objection;
    return std::nullopt;
  }
  calls = std::move(fresh);
  return std::nullopt;
}

// First without the tools that were called, then without any that reads, since the same can be read in many ways. What
// failed may be put right by other arguments, so that is left to chance before its tool and those like it go.
Objection TurnRules::object_to_repeat(const std::vector<ActionCall>& calls, std::span<const Action> known,
                                      std::size_t attempt) const {
  Objection objection;
  bool has_failed = false;
  for (const ActionCall& call : calls) {
    const Action* before = find_known(call, known);
    const bool is_failure = before != nullptr && before->result.is_error();
    has_failed |= is_failure;
    if (!is_failure) {
      objection.without.insert(call.tool);
    } else if (attempt > 0) {
      add_family(call.tool, objection.without);
    }
  }
  if (attempt > 0 && !has_failed) objection.without.merge(tools_that(false));
  objection.is_by_chance = has_failed && attempt == 0;
  objection.is_of_results = !has_failed && attempt == 0;
  return objection;
}

// Behind a read that is yet to be carried out: what is to be changed was made up, since it cannot know the result, but
// where it refers to it; and so was a place that nobody has named.
bool TurnRules::is_guess(std::span<const ActionCall> before, const ActionCall& call,
                         std::span<const Action> known) const {
  if (call.unusable || call.tool == answer_ ||
      std::ranges::none_of(before, [&](const ActionCall& other) { return is_read(other); })) {
    return false;
  }
  return is_read(call) ? names_unheard_place(call, known) : steps_named(call.arguments).empty();
}

bool TurnRules::names_unheard_place(const ActionCall& call, std::span<const Action> known) const {
  return std::ranges::any_of(texts_in(call.arguments), [&](std::string_view text) {
    const std::string_view name = name_of_place(text);
    return !name.empty() && !is_heard_of(name, known);
  });
}

// Whether the task, a result or a call names it.
bool TurnRules::is_heard_of(std::string_view name, std::span<const Action> known) const {
  return task_.contains(name) || std::ranges::any_of(known, [&](const Action& action) {
           return action.result.text.contains(name) || is_about(action.call.arguments, name);
         });
}

// The same call, or one that only looks, by whatever tool, where the reads before it look.
bool TurnRules::is_double(std::span<const ActionCall> before, const ActionCall& call) const {
  const Tool* tool = tools_.find(call.tool);
  const bool is_external = tool == nullptr || tool->description().tool_class == ToolClass::kExternal;
  std::vector<std::string_view> seen;
  for (const ActionCall& other : before) {
    if (is_same_call(other, call)) return !is_external;
    if (is_read(other)) std::ranges::copy(texts_in(other.arguments), std::back_inserter(seen));
  }
  return is_read(call) && says_nothing_new(call, seen);
}

// Whether it only looks, by whatever tool, where reads before it found something.
bool TurnRules::looks_again(const ActionCall& call, std::span<const Action> known) const {
  std::vector<std::string_view> seen;
  for (auto action = known.rbegin(); action != known.rend(); ++action) {
    if (had_no_effect(action->result)) continue;
    if (!is_read(action->call)) break;
    std::ranges::copy(texts_in(action->call.arguments), std::back_inserter(seen));
  }
  return is_read(call) && says_nothing_new(call, seen);
}

// It looks into a place whose name it made up, where it could look for the names first.
std::optional<Objection> TurnRules::object_to_invention(const std::vector<ActionCall>& calls,
                                                        std::span<const Action> known) const {
  Objection objection;
  for (const ActionCall& call : calls) {
    if (!is_read(call) || !names_unheard_place(call, known)) return std::nullopt;
    add_family(call.tool, objection.without);
  }
  const std::set<std::string> reads = tools_that(false);
  const auto is_left = [&](const std::string& name) { return !objection.without.contains(name); };
  if (calls.empty() || std::ranges::none_of(reads, is_left)) return std::nullopt;
  objection.without.insert(answer_);
  return objection;
}

// It calculates with numbers that it made up, where it has yet to look at the places that the task names. Takes such
// calls out of the turn.
std::optional<Objection> TurnRules::object_to_numbers(std::vector<ActionCall>& calls,
                                                      std::span<const Action> known) const {
  const auto is_unseen = [&](const std::string& place) {
    return tools_.find(place) == nullptr && !is_seen(place, known);
  };
  if (std::ranges::none_of(unseen_, is_unseen)) return std::nullopt;
  const auto is_made_up = [&](const ActionCall& call) { return !call.unusable && has_invented_number(call, known); };
  if (calls.empty() || !std::ranges::all_of(calls, is_made_up)) {
    std::erase_if(calls, is_made_up);
    return std::nullopt;
  }
  Objection objection;
  objection.without.insert(answer_);
  for (const ActionCall& call : calls) objection.without.insert(call.tool);
  if (!leaves_something(objection.without)) return std::nullopt;
  return objection;
}

// Where it looks at a place of the task, a number only says how much of it.
bool TurnRules::has_invented_number(const ActionCall& call, std::span<const Action> known) const {
  const auto is_of_place = [&](const std::string& place) { return is_about(call.arguments, place); };
  if (std::ranges::any_of(places_, is_of_place)) return false;
  return std::ranges::any_of(numbers_in(call.arguments), [&](const std::string& number) {
    return !task_.contains(number) &&
           std::ranges::none_of(known, [&](const Action& action) { return action.result.text.contains(number); });
  });
}

// It gives up after its first failures, with no result at all, where another tool might do.
std::optional<Objection> TurnRules::object_to_surrender(const std::vector<ActionCall>& calls, bool is_answer,
                                                        std::span<const Action> known) {
  const auto has_tried = [&](const Action& action) {
    return action.result.state == ActionState::kFailed && tools_.find(action.call.tool) != nullptr;
  };
  if (!calls.empty() || !is_answer || known.empty() || surrenders_ == kMaxSurrenders ||
      !std::ranges::all_of(known, has_tried)) {
    return std::nullopt;
  }
  Objection objection;
  for (const Action& action : known) add_family(action.call.tool, objection.without);
  objection.without.insert(answer_);
  if (!leaves_something(objection.without)) return std::nullopt;
  ++surrenders_;
  return objection;
}

// The tools whose names begin with the same word: read_file, read_text_file.
void TurnRules::add_family(const std::string& tool, std::set<std::string>& names) const {
  for (const auto& other : tools_.tools()) {
    const std::string& name = other->description().name;
    if (verb_of(name) == verb_of(tool)) names.insert(name);
  }
}

// It writes down, or answers with, what it has not read.
std::optional<Objection> TurnRules::object_to_haste(const std::vector<ActionCall>& calls, bool is_answer,
                                                    std::span<const Action> known) {
  std::erase_if(unseen_, [&](const std::string& place) {
    return is_seen(place, known) ||
           std::ranges::any_of(calls, [&](const ActionCall& call) { return is_to(call, place); });
  });
  const bool only_answers = calls.empty() && is_answer;
  const bool changes = std::ranges::any_of(calls, [&](const ActionCall& call) { return !is_read(call); });
  if (unseen_.empty() || (!only_answers && !changes)) return std::nullopt;
  Objection objection;
  if (changes) objection.without = tools_that(true);
  objection.without.insert(answer_);
  unseen_.clear();  // once: the model may know better
  if (!leaves_something(objection.without)) return std::nullopt;
  return objection;
}

// The action that a call would only repeat: a read, or a change that is the same a second time, with nothing but reads
// since; or what had no effect. A service that failed may be back.
const Action* TurnRules::find_known(const ActionCall& call, std::span<const Action> known) const {
  if (call.unusable) return nullptr;
  const Tool* called = tools_.find(call.tool);
  const bool is_external = called != nullptr && called->description().tool_class == ToolClass::kExternal;
  const bool is_harmless = is_read(call) || (called != nullptr && called->description().is_idempotent);
  for (auto action = known.rbegin(); action != known.rend(); ++action) {
    const bool has_failed = had_no_effect(action->result);
    if (is_same_call(action->call, call)) {
      const bool is_known = action->result.is_error() ? has_failed && !is_external : is_harmless;
      return is_known ? &*action : nullptr;
    }
    if (!has_failed && !is_read(action->call)) return nullptr;
  }
  return nullptr;
}

bool TurnRules::is_read(const ActionCall& call) const {
  const Tool* tool = tools_.find(call.tool);
  return tool != nullptr && tool->description().tool_class == ToolClass::kRead;
}

std::set<std::string> TurnRules::all_but_answer() const {
  std::set<std::string> names = tools_that(true);
  names.merge(tools_that(false));
  return names;
}

// Those that change something, or those that do not.
std::set<std::string> TurnRules::tools_that(bool change) const {
  std::set<std::string> names;
  for (const auto& tool : tools_.tools()) {
    const bool is_change = tool->description().tool_class != ToolClass::kRead;
    if (is_change == change) names.insert(tool->description().name);
  }
  return names;
}

bool TurnRules::leaves_something(const std::set<std::string>& without) const {
  const auto is_left = [&](const std::string& name) { return !without.contains(name) && !withheld_.contains(name); };
  return (!answer_.empty() && is_left(answer_)) || std::ranges::any_of(tools_.tools(), [&](const auto& tool) {
           return !tool->description().is_quiet && is_left(tool->description().name);
         });
}

}  // namespace autoglm::agent
