// SPDX-License-Identifier: Apache-2.0
#include "agent/turn_grammar.h"

#include <algorithm>
#include <array>
#include <utility>

namespace autoglm::agent {
namespace {

constexpr std::size_t kMaxReasoning = 800;  // characters; one that is cut goes on in the answer
constexpr std::string_view kPhoneEnd = "finish";
constexpr std::array<std::string_view, 5> kSought = {"old", "search", "find", "pattern", "query"};
// What stands below these is a value and no schema.
constexpr std::array<std::string_view, 4> kValues = {"enum", "const", "default", "examples"};

// What an edit or a search looks for: an empty text is in every file, and at its beginning.
bool is_sought(std::string_view name) {
  return std::ranges::any_of(kSought, [&](std::string_view prefix) { return name.starts_with(prefix); });
}

// A schema that says nothing of what the text is, nor that it may be left away for an empty one.
bool is_any_text(const json::Object& schema) {
  constexpr std::array<std::string_view, 5> kSayMore = {"minLength", "maxLength", "enum", "const", "default"};
  const json::Value* type = schema.if_contains("type");
  return type != nullptr && *type == "string" &&
         std::ranges::none_of(kSayMore, [&](std::string_view key) { return schema.contains(key); });
}

// A list that has no end of its own gets one: a small model counts files up until its turn is full. A text to look for
// is not empty. No deeper than what was parsed with a budget (base/budget.h), as every schema was.
void tighten(json::Value& schema) {
  if (auto* array = schema.if_array()) {
    for (json::Value& element : *array) tighten(element);
  }
  auto* fields = schema.if_object();
  if (fields == nullptr) return;
  const json::Value* type = fields->if_contains("type");
  const bool is_open = type != nullptr && *type == "array" && !fields->contains("maxItems");
  const json::Value* least = fields->if_contains("minItems");
  const bool wants_more = least != nullptr && (!least->is_int64() || least->get_int64() > kMaxListItems);
  if (is_open && !wants_more) (*fields)["maxItems"] = kMaxListItems;
  for (auto& field : *fields) {
    if (std::ranges::find(kValues, std::string_view(field.key())) == kValues.end()) tighten(field.value());
    auto* property = field.value().if_object();
    if (property != nullptr && is_sought(field.key()) && is_any_text(*property)) (*property)["minLength"] = 1;
  }
}

// An argument that is no free text may be a reference (agent/reference.h) too; in a free text there is room for one.
void allow_references(json::Object& parameters) {
  auto* properties = parameters.if_contains("properties");
  if (properties == nullptr || !properties->is_object()) return;
  for (auto& field : properties->get_object()) {
    auto* schema = field.value().if_object();
    if (schema == nullptr || is_any_text(*schema)) continue;
    const json::Object reference = {{"type", "string"}, {"pattern", "^\\$step_[1-9][0-9]{0,5}([.\\[][ -~]{1,200})?$"}};
    field.value() = json::Object{{"anyOf", json::Array{std::move(field.value()), reference}}};
  }
}

json::Object tightened(json::Object parameters) {
  json::Value schema = std::move(parameters);
  tighten(schema);
  return std::move(schema.get_object());
}

json::Object bounded_answer(json::Object parameters) {
  parameters.at("properties").at("text").as_object()["maxLength"] = kMaxAnswerCharacters;
  return parameters;
}

}  // namespace

bool has_answer_call(const ToolRegistry& tools, text::ToolFormat format) {
  const auto is_shown = [](const auto& tool) { return !tool->description().is_quiet; };
  return format != text::ToolFormat::kAutoGlm && std::ranges::any_of(tools.tools(), is_shown);
}

std::string answer_name(const ToolRegistry& tools) {
  std::string name = "answer";
  if (tools.find(name) != nullptr) name = "final_answer";
  for (int i = 2; tools.find(name) != nullptr; ++i) name = "final_answer_" + std::to_string(i);
  return name;
}

json::Object answer_parameters(const Aids& aids) {
  const json::Object text = {{"type", "string"}, {"minLength", 1}};
  json::Object properties;
  json::Array required;
  if (aids.reasoning) {
    properties["reasoning"] =
        json::Object{{"type", "string"},
                     {"description",
                      "First quote the values from the results that matter, then compare them or calculate with them "
                      "step by step: 12 - 5 = 7."},
                     {"maxLength", kMaxReasoning}};
    required.push_back("reasoning");
  }
  properties["text"] = text;
  required.push_back("text");
  return {{"type", "object"},
          {"properties", std::move(properties)},
          {"required", std::move(required)},
          {"additionalProperties", false}};
}

TurnGrammar::TurnGrammar(const ToolRegistry& tools, const Aids& aids, text::ToolGrammarOptions options,
                         std::shared_ptr<const text::Tokenizer> tokenizer)
    : tools_(tools),
      aids_(aids),
      options_(std::move(options)),
      tokenizer_(std::move(tokenizer)),
      has_answer_call_(agent::has_answer_call(tools, options_.format)),
      has_own_end_(options_.format == text::ToolFormat::kAutoGlm && tools.find(kPhoneEnd) == nullptr),
      answer_(has_own_end_       ? std::string(kPhoneEnd)
              : has_answer_call_ ? answer_name(tools)
                                 : std::string()),
      signatures_(signatures_of(Quiet::kIncluded)) {
  options_.choice = has_answer_call_ ? text::ToolChoice::kRequired : text::ToolChoice::kDecide;
}

std::vector<text::ToolSignature> TurnGrammar::signatures_of(Quiet quiet) const {
  std::vector<text::ToolSignature> signatures;
  for (const auto& tool : tools_.tools()) {
    const ToolDescription& description = tool->description();
    if (quiet == Quiet::kLeftOut && description.is_quiet) continue;
    json::Object parameters = aids_.lists ? tightened(description.parameters) : description.parameters;
    // What tells of them is a result too long to copy; that tells of the quiet tools too.
    if (quiet == Quiet::kIncluded) allow_references(parameters);
    signatures.push_back({description.name, std::move(parameters)});
  }
  if (has_answer_call_) {
    json::Object parameters = answer_parameters(aids_);
    signatures.push_back({answer_, aids_.lists ? bounded_answer(std::move(parameters)) : std::move(parameters)});
  }
  if (has_own_end_) signatures.push_back({answer_, {}});
  return signatures;
}

Result<std::shared_ptr<const text::Grammar>> TurnGrammar::grammar(Quiet quiet, const std::set<std::string>& without,
                                                                  bool begins_in_reasoning) {
  std::vector<text::ToolSignature> allowed = signatures_of(quiet);
  std::erase_if(allowed, [&](const text::ToolSignature& tool) { return without.contains(tool.name); });
  std::string names = quiet == Quiet::kIncluded ? "quiet " : "";
  if (begins_in_reasoning) names += "thought ";
  for (const text::ToolSignature& tool : allowed) names += tool.name + " ";
  std::shared_ptr<const text::Grammar>& compiled = compiled_[names];
  if (compiled != nullptr) return compiled;
  text::ToolGrammarOptions options = options_;
  // Where any name goes, only the mask keeps a tool out.
  options.any_name = options_.any_name && without.empty();
  options.begins_in_reasoning = begins_in_reasoning;
  compiled = TRY(text::tool_grammar(allowed, options, tokenizer_));
  return compiled;
}

}  // namespace autoglm::agent
