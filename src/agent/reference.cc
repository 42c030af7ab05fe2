// SPDX-License-Identifier: Apache-2.0
#include "agent/reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "agent/reference_syntax.h"
#include "base/log.h"

namespace autoglm::agent {
namespace {

constexpr std::size_t kMaxResolvedBytes = 4u << 20;
constexpr std::size_t kMaxNamedParts = 12;  // in a message

void collect_steps(const json::Value& value, std::vector<std::size_t>& steps) {
  if (const auto* text = value.if_string()) {
    for (const Reference& reference : references_in({text->data(), text->size()})) {
      if (!reference.is_escaped) steps.push_back(reference.step);
    }
  } else if (const auto* list = value.if_array()) {
    for (const json::Value& item : *list) collect_steps(item, steps);
  } else if (const auto* fields = value.if_object()) {
    for (const auto& field : *fields) collect_steps(field.value(), steps);
  }
}

std::string type_of(const json::Value& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("a list of {} items", value.get_array().size());
  if (value.is_string()) return "a text";
  if (value.is_bool()) return "true or false";
  return value.is_null() ? "null" : "a number";
}

// What could have been asked of `value` instead, for the model to read.
std::string parts_of(const json::Value& value) {
  if (!value.is_object()) return type_of(value);
  std::string names;
  std::size_t count = 0;
  for (const auto& field : value.get_object()) {
    if (++count > kMaxNamedParts) return "an object with " + names + ", ...";
    names += (names.empty() ? "" : ", ") + base::printable({field.key().data(), field.key().size()}, 40);
  }
  return names.empty() ? "an empty object" : "an object with " + names;
}

const json::Value* part_of(const json::Value& value, const PathPart& part) {
  if (const auto* index = std::get_if<std::size_t>(&part)) {
    const auto* list = value.if_array();
    return list != nullptr && *index < list->size() ? &(*list)[*index] : nullptr;
  }
  const auto* fields = value.if_object();
  return fields != nullptr ? fields->if_contains(std::get<std::string>(part)) : nullptr;
}

// Does a schema want a string here and nothing else that a JSON value could be?
bool wants_string(const json::Value* schema) {
  const auto* fields = schema != nullptr ? schema->if_object() : nullptr;
  const auto* type = fields != nullptr ? fields->if_contains("type") : nullptr;
  return type != nullptr && *type == "string";
}

const json::Value* below(const json::Value* schema, std::string_view keyword, const std::string* name) {
  const auto* fields = schema != nullptr ? schema->if_object() : nullptr;
  const auto* found = fields != nullptr ? fields->if_contains(keyword) : nullptr;
  if (name == nullptr || found == nullptr) return found;
  return found->is_object() ? found->get_object().if_contains(*name) : nullptr;
}

class Resolver final {
 public:
  explicit Resolver(const FindStep& find_step) : find_step_(find_step) {}

  Result<json::Value> value(const json::Value& value, const json::Value* schema, const std::string& place) {
    if (const auto* text = value.if_string()) return string({text->data(), text->size()}, schema, place);
    if (const auto* list = value.if_array()) {
      json::Array resolved;
      for (std::size_t i = 0; i < list->size(); ++i) {
        const std::string at = json::pointer_to(place, std::to_string(i));
        resolved.push_back(TRY(this->value((*list)[i], below(schema, "items", nullptr), at)));
      }
      return json::Value(std::move(resolved));
    }
    if (const auto* fields = value.if_object()) {
      json::Object resolved;
      for (const auto& field : *fields) {
        const std::string name(field.key().data(), field.key().size());
        const std::string at = json::pointer_to(place, name);
        resolved.emplace(name, TRY(this->value(field.value(), below(schema, "properties", &name), at)));
      }
      return json::Value(std::move(resolved));
    }
    return value;
  }

 private:
  struct Known {
    const Action* action = nullptr;
    std::optional<json::Value> tree;  // when the text is JSON
  };

  Result<json::Value> string(std::string_view text, const json::Value* schema, const std::string& place) {
    const std::vector<Reference> references = references_in(text);
    if (references.size() == 1 && references[0].size == text.size() && !references[0].is_escaped) {
      return whole(references[0], wants_string(schema), place);
    }
    std::string out;
    std::size_t done = 0;
    for (const Reference& reference : references) {
      out += text.substr(done, reference.begin - done);
      done = reference.begin + reference.size;
      if (reference.is_escaped) {
        out += reference.spelling.substr(1);
        continue;
      }
      if (!reference.is_braced) {
        return fail(Code::kInvalidArgument,
                    fmt::format("within a longer text a reference is written ${{step_{0}}}; write $$step_{0} if the "
                                "text itself is meant",
                                reference.step),
                    place);
      }
      const json::Value found = TRY(whole(reference, true, place));
      out.append(found.get_string().data(), found.get_string().size());
    }
    out += text.substr(done);
    return json::Value(out);
  }

  // What one reference stands for.
  Result<json::Value> whole(const Reference& reference, bool as_string, const std::string& place) {
    const Known& known = *TRY(find(reference, place));
    const std::string& text = known.action->result.text;
    const bool is_all = reference.path.empty();
    const bool names_text = reference.path.size() == 1 && reference.path[0] == PathPart("text");
    if (!known.tree || (is_all && as_string)) {
      if (!is_all && !names_text) {
        return fail(Code::kInvalidArgument,
                    fmt::format("{}: the result of step {} is a text, not JSON; write $step_{} for all of it",
                                reference.spelling, reference.step, reference.step),
                    place);
      }
      TRY(spend(text.size(), place));
      return json::Value(text);
    }
    const json::Value* at = &*known.tree;
    for (std::size_t i = 0; i < reference.path.size(); ++i) {
      const json::Value* next = part_of(*at, reference.path[i]);
      if (next == nullptr) {
        const std::vector<PathPart> walked(reference.path.begin(),
                                           reference.path.begin() + static_cast<std::ptrdiff_t>(i));
        return fail(Code::kInvalidArgument,
                    fmt::format("{}: there is no {}; $step_{}{} is {}", base::printable(reference.spelling, 120),
                                base::printable(format_path({reference.path[i]}), 60), reference.step,
                                format_path(walked), parts_of(*at)),
                    place);
      }
      at = next;
    }
    TRY(spend(json::format(*at).size(), place));
    if (as_string && !at->is_string()) return json::Value(json::format(*at));
    return *at;
  }

  Result<const Known*> find(const Reference& reference, const std::string& place) {
    if (const auto known = known_.find(reference.step); known != known_.end()) return &known->second;
    const Action* action = find_step_(reference.step);
    if (action == nullptr) {
      return fail(Code::kInvalidArgument,
                  fmt::format("{}: there is no step {} before this one; write $${} if the text itself is meant",
                              base::printable(reference.spelling, 120), reference.step,
                              base::printable(reference.spelling.substr(1), 120)),
                  place);
    }
    if (action->result.is_error()) {
      return fail(Code::kInvalidArgument,
                  fmt::format("{}: step {} ({}) did not succeed, so it has no result to use",
                              base::printable(reference.spelling, 120), reference.step, action->call.tool),
                  place);
    }
    base::Budget budget({.bytes = kMaxResolvedBytes, .steps = 1'000'000, .depth = 64});
    auto tree = json::parse(action->result.text, budget);
    Known known{.action = action, .tree = std::nullopt};
    if (tree) known.tree = std::move(*tree);
    return &known_.emplace(reference.step, std::move(known)).first->second;
  }

  Status spend(std::size_t bytes, const std::string& place) {
    spent_ += bytes;
    if (spent_ <= kMaxResolvedBytes) return {};
    return fail(Code::kExhausted,
                fmt::format("the results that the arguments refer to are larger than {} bytes", kMaxResolvedBytes),
                place);
  }

  const FindStep& find_step_;
  std::map<std::size_t, Known> known_;
  std::size_t spent_ = 0;
};

}  // namespace

std::vector<std::size_t> steps_named(const json::Object& arguments) {
  std::vector<std::size_t> steps;
  for (const auto& field : arguments) collect_steps(field.value(), steps);
  std::ranges::sort(steps);
  steps.erase(std::ranges::unique(steps).begin(), steps.end());
  return steps;
}

Result<json::Object> resolve(const json::Object& arguments, std::span<const Action> earlier,
                             const json::Object& parameters) {
  const FindStep find_step = [earlier](std::size_t step) {
    const auto action = std::ranges::find(earlier, step, &Action::step);
    return action == earlier.end() ? nullptr : &*action;
  };
  return resolve(arguments, find_step, parameters);
}

Result<json::Object> resolve(const json::Object& arguments, const FindStep& find_step, const json::Object& parameters) {
  Resolver resolver(find_step);
  const json::Value schema(parameters);
  json::Value resolved = TRY(resolver.value(json::Value(arguments), &schema, ""));
  return std::move(resolved.get_object());
}

}  // namespace autoglm::agent
