// SPDX-License-Identifier: Apache-2.0
#include "agent/window.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "agent/digest.h"
#include "agent/message.h"

namespace autoglm::agent {
namespace {

// Below this a result is not cut further: the sentence that tells of the rest needs some fifty tokens itself.
constexpr std::size_t kLeastResultTokens = 64;
// The results of one turn together may have this share of the room, so that one turn always fits beside task and
// summary.
constexpr double kTurnShare = 0.375;

std::size_t share_of(std::size_t tokens, double share) {
  return static_cast<std::size_t>(static_cast<double>(tokens) * share);
}

bool begins_run(const std::vector<Entry>& entries, std::size_t index) {
  return role_of(entries[index].message) == "user" && (index == 0 || entries[index - 1].run != entries[index].run);
}

// Where the conversation may be cut: before a task, and before what the model says. What follows belongs to it: the
// results of its calls, and remarks.
std::vector<std::size_t> turn_begins(const std::vector<Entry>& entries) {
  std::vector<std::size_t> begins;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (role_of(entries[i].message) == "assistant" || begins_run(entries, i)) begins.push_back(i);
  }
  return begins;
}

// The task that a window shows with its summary when the entries before `cut` are gone.
std::string task_at(const Conversation& conversation, std::size_t cut) {
  const auto& entries = conversation.entries;
  const std::int64_t run = cut < entries.size() ? entries[cut].run : entries.back().run;
  for (std::size_t i = 0; i < cut; ++i) {
    if (entries[i].run == run && begins_run(entries, i)) return std::string(content_of(entries[i].message));
  }
  return conversation.task;
}

Conversation cut_at(const Conversation& conversation, std::size_t cut, std::string summary) {
  const auto from = conversation.entries.begin() + static_cast<std::ptrdiff_t>(cut);
  return {.system = conversation.system,
          .summary = std::move(summary),
          .entries = std::vector<Entry>(from, conversation.entries.end()),
          .task = task_at(conversation, cut)};
}

std::string digest_before(const Conversation& conversation, std::size_t cut) {
  std::vector<const json::Object*> messages;
  for (std::size_t i = 0; i < cut; ++i) messages.push_back(&conversation.entries[i].message);
  return digest_of(conversation.summary, messages);
}

}  // namespace

json::Array messages_of(const Conversation& conversation) {
  const auto& entries = conversation.entries;
  json::Array messages;
  if (!conversation.system.empty()) messages.push_back(system_message(conversation.system));
  std::size_t next = 0;
  if (!conversation.summary.empty() || entries.empty()) {
    // One message with the task, because templates want user and assistant to take turns.
    const bool begins_with_task = !entries.empty() && role_of(entries[0].message) == "user";
    const std::string task(begins_with_task ? content_of(entries[0].message) : conversation.task);
    messages.push_back(
        user_message(conversation.summary.empty()
                         ? task
                         : "What happened so far, in short:\n" + conversation.summary + "\n\nThe task:\n" + task));
    next = begins_with_task ? 1 : 0;
  }
  for (; next < entries.size(); ++next) messages.push_back(entries[next].message);
  return messages;
}

Window::Window(const WindowLimits& limits, CountTokens count, Summarise summarise)
    : limits_(limits), count_(std::move(count)), summarise_(std::move(summarise)) {}

Result<std::size_t> Window::tokens(const Conversation& conversation) const { return count_(messages_of(conversation)); }

Result<std::size_t> Window::tokens_of(std::string_view text) const {
  const std::size_t with = TRY(count_({user_message(text)}));
  const std::size_t without = TRY(count_({user_message("")}));
  return with > without ? with - without : 0;
}

Result<std::string> Window::clip(std::string_view text, std::size_t step, std::size_t results) const {
  const std::size_t share = share_of(room(), kTurnShare) / std::max<std::size_t>(results, 1);
  const std::size_t most = std::max(kLeastResultTokens, std::min(limits_.result_tokens, share));
  return clip_result(text, step, most, [this](std::string_view part) { return tokens_of(part); });
}

Status Window::check_fits(const std::string& system, const std::string& task) const {
  const std::size_t needed = TRY(tokens({.system = system, .task = task}));
  if (needed > room()) return fail(Code::kExhausted, too_small(needed));
  return {};
}

Result<FittedWindow> Window::fit(Conversation& conversation, std::span<const Action> actions) const {
  const std::size_t now = TRY(tokens(conversation));
  if (now <= share_of(room(), limits_.compact_above)) return FittedWindow{messages_of(conversation)};
  const std::size_t cut = TRY(least_cut(conversation));
  if (cut > 0) TRY(compact(conversation, cut));
  FittedWindow fitted{.is_compacted = cut > 0};
  if (TRY(tokens(conversation)) > room()) {
    fitted.is_compacted = true;
    if (!TRY(shorten_results(conversation, actions, fitted.shortened))) TRY(keep_summary_only(conversation));
  }
  fitted.messages = messages_of(conversation);
  return fitted;
}

// The fewest old turns whose going leaves enough room, or all but the newest turn; 0 when there is nothing to gain.
Result<std::size_t> Window::least_cut(const Conversation& conversation) const {
  std::vector<std::size_t> begins = turn_begins(conversation.entries);
  // The task of a run is shown with the summary again, so to cut nothing but a task gains nothing.
  std::erase_if(begins, [&](std::size_t begin) {
    return begin == 0 || (begin == 1 && begins_run(conversation.entries, 0) && !begins_run(conversation.entries, 1));
  });
  if (begins.empty()) return 0;
  const std::size_t target = share_of(room(), limits_.compact_to);
  std::size_t low = 0;
  std::size_t high = begins.size() - 1;
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    // A space, so that the frame of the summary is counted.
    const std::size_t left = TRY(tokens(cut_at(conversation, begins[middle], " "))) + limits_.summary_tokens;
    if (left <= target) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return begins[low];
}

Status Window::compact(Conversation& conversation, std::size_t cut) const {
  Conversation old = conversation;
  old.entries.resize(cut);
  Result<std::string> summary = summarise_ ? summarise_(messages_of(old), limits_.summary_tokens)
                                           : Result<std::string>(fail(Code::kUnavailable, "nobody summarises"));
  // A run must not end because a summary could not be written.
  std::string text = summary ? well_formed(*summary) : std::string();
  const bool is_written = text.find_first_not_of(" \t\r\n") != std::string::npos;
  if (!is_written) text = last_lines(digest_before(conversation, cut), limits_.summary_tokens * 4);
  for (std::size_t bytes = text.size(); bytes > 0 && TRY(tokens_of(text)) > limits_.summary_tokens;) {
    bytes = bytes * 3 / 4;
    text = is_written ? one_line(text, bytes) : last_lines(text, bytes);
  }
  if (text.empty()) text = "(left out)";
  conversation = cut_at(conversation, cut, std::move(text));
  return {};
}

// Shows less and less of the results that are left; false when even the least is too much.
Result<bool> Window::shorten_results(Conversation& conversation, std::span<const Action> actions,
                                     std::vector<std::int64_t>& shortened) const {
  const CountText count = [this](std::string_view part) { return tokens_of(part); };
  for (std::size_t most = limits_.result_tokens / 2; most >= kLeastResultTokens; most /= 2) {
    for (Entry& entry : conversation.entries) {
      if (role_of(entry.message) != "tool") continue;
      if (std::ranges::find(shortened, entry.id) == shortened.end()) shortened.push_back(entry.id);
      const auto whole = std::ranges::find(actions, entry.step, &Action::step);
      const std::string_view text = whole == actions.end() ? content_of(entry.message) : whole->result.text;
      entry.message["content"] = well_formed(TRY(clip_result(text, entry.step, most, count)));
    }
    if (TRY(tokens(conversation)) <= room()) return true;
  }
  return false;
}

Status Window::keep_summary_only(Conversation& conversation) const {
  const std::size_t all = conversation.entries.size();
  std::string digest = all == 0 ? conversation.summary : digest_before(conversation, all);
  Conversation least = all == 0 ? conversation : cut_at(conversation, all, {});
  for (;;) {
    least.summary = digest;
    const std::size_t needed = TRY(tokens(least));
    if (needed <= room()) break;
    if (digest.empty()) return fail(Code::kExhausted, too_small(needed));
    digest = last_lines(digest, digest.size() / 2);
  }
  conversation = std::move(least);
  return {};
}

std::string Window::too_small(std::size_t needed) const {
  return fmt::format(
      "system text, tools and task have {} tokens, and the window has room for {} ({} of context less {} for the "
      "answer)",
      needed, room(), limits_.context_tokens, limits_.answer_tokens);
}

}  // namespace autoglm::agent
