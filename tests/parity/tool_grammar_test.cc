// SPDX-License-Identifier: Apache-2.0
// Calls with real vocabularies and weights: the grammar of an answer masks a model's own greedy choices, and what comes
// out is read as calls that satisfy their schemas. Needs the folder that OPENAUTOGLM_TEST_MODELS names; label `model`.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "base/json.h"
#include "base/thread_pool.h"
#include "kernels/cpu.h"
#include "model/evaluate.h"
#include "model/load.h"
#include "text/tool_format.h"

namespace autoglm {
namespace {

constexpr std::size_t kMaxPrompt = 1024;
constexpr std::size_t kMaxTokens = 96;

json::Object object(std::string_view text) {
  base::Budget budget;
  return json::parse(text, budget)->get_object();
}

std::vector<text::ToolSignature> tools() {
  return {
      {"read_file", object(R"({"type":"object","properties":{"path":{"type":"string"},"first_line":{"type":"integer"}},
                                   "required":["path"],"additionalProperties":false})")},
      {"list_directory", object(R"({"type":"object","properties":{"path":{"type":"string"}},"required":["path"],
                                        "additionalProperties":false})")},
      {"get_time", object(R"({"type":"object","properties":{},"additionalProperties":false})")}};
}

json::Array tools_of_template() {
  json::Array all;
  for (const text::ToolSignature& tool : tools()) {
    all.push_back(json::Object{
        {"type", "function"},
        {"function", json::Object{{"name", tool.name}, {"description", tool.name}, {"parameters", tool.parameters}}}});
  }
  return all;
}

// One answer, token by token: the best that the grammar allows.
struct Answer {
  std::string text;
  std::vector<text::TokenId> tokens;
  std::size_t forced = 0;          // tokens that the grammar foretold
  std::size_t forced_as_told = 0;  // that were chosen then
  double mask_seconds = 0;
  bool is_whole = false;  // it ended by itself: a small model may repeat itself for ever within a text
};

class Case {
 public:
  explicit Case(const char* file) {
    const char* const folder = std::getenv("OPENAUTOGLM_TEST_MODELS");
    EXPECT_NE(folder, nullptr) << "OPENAUTOGLM_TEST_MODELS must name a folder with " << file;
    auto loaded = model::load_model(std::filesystem::path(folder == nullptr ? "" : folder) / file,
                                    {.isa = kernels::available_isas().back(), .threads = base::usable_cores()});
    EXPECT_TRUE(loaded) << loaded.error().message;
    if (!loaded) return;
    model_ = std::move(*loaded);
    sequence_.emplace(*model_.network, kMaxPrompt + kMaxTokens, kMaxPrompt);
  }

  const model::LoadedModel& model() const { return model_; }

  std::vector<text::TokenId> prompt(std::string_view task) const {
    const json::Array messages = {json::Object{{"role", "user"}, {"content", task}}};
    const json::Array all = tools_of_template();
    const auto rendered = model_.chat_template->render({.messages = &messages, .tools = &all});
    EXPECT_TRUE(rendered) << rendered.error().message;
    return model_.tokenizer->encode(rendered->text, {.parse_special = true}).value();
  }

  Answer answer(const text::Grammar& grammar, const std::vector<text::TokenId>& prompt) {
    Answer answer;
    const auto matcher = grammar.start().value();
    sequence_->restart();
    std::vector<std::uint32_t> mask((model_.tokenizer->vocab() + 31) / 32);
    std::vector<text::TokenId> told;  // next first
    std::vector<text::TokenId> next = prompt;
    while (answer.tokens.size() < kMaxTokens && !matcher->is_finished()) {
      if (told.empty()) {
        EXPECT_TRUE(matcher->forced(told));
        answer.forced += told.size();
      }
      const auto before = std::chrono::steady_clock::now();
      const Status masked = matcher->mask(mask);
      EXPECT_TRUE(masked) << masked.error().message;
      answer.mask_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
      const auto logits = sequence_->append(next, model::SoloSequence::Want::kLast);
      const text::TokenId token = best(logits.row(0), mask);
      if (!told.empty()) {
        EXPECT_TRUE(allows(mask, told.front()));
        answer.forced_as_told += token == told.front();
        if (token == told.front()) {
          told.erase(told.begin());
        } else {
          told.clear();
        }
      }
      answer.is_whole = std::ranges::find(model_.eos, token) != model_.eos.end();
      if (answer.is_whole) break;
      EXPECT_TRUE(matcher->accept(token));
      answer.tokens.push_back(token);
      next = {token};
    }
    answer.is_whole |= matcher->is_finished();
    answer.text = model_.tokenizer->decode(answer.tokens, false).value();
    return answer;
  }

 private:
  static bool allows(const std::vector<std::uint32_t>& mask, text::TokenId token) {
    return (mask[static_cast<std::size_t>(token) / 32] >> (token % 32) & 1u) != 0;
  }
  static text::TokenId best(std::span<const float> logits, const std::vector<std::uint32_t>& mask) {
    text::TokenId best = -1;
    for (std::size_t id = 0; id < std::min(logits.size(), mask.size() * 32); ++id) {
      const auto token = static_cast<text::TokenId>(id);
      if (allows(mask, token) && (best < 0 || logits[id] > logits[static_cast<std::size_t>(best)])) best = token;
    }
    return best;
  }

  model::LoadedModel model_;
  std::optional<model::SoloSequence> sequence_;  // of model_
};

// The calls of an answer; each must be one of a tool, with arguments that its schema allows.
std::size_t count_calls(text::ToolFormat format, const Answer& answer,
                        const std::shared_ptr<const text::Tokenizer>& tokenizer) {
  const std::vector<text::ToolSignature> signatures = tools();
  const auto parser = text::ToolCallParser::make(format, {.tools = signatures});
  std::vector<text::ToolEvent> events = parser->push(answer.text);
  std::ranges::move(parser->finish(), std::back_inserter(events));
  std::size_t calls = 0;
  std::string name, arguments;
  for (const text::ToolEvent& event : events) {
    if (answer.is_whole) EXPECT_NE(event.kind, text::ToolEvent::Kind::kBroken) << answer.text;
    if (event.kind == text::ToolEvent::Kind::kCallBegin) name = event.text;
    if (event.kind == text::ToolEvent::Kind::kArguments) arguments += event.text;
    if (event.kind != text::ToolEvent::Kind::kCallEnd) continue;
    const auto tool = std::ranges::find(signatures, name, &text::ToolSignature::name);
    EXPECT_NE(tool, signatures.end()) << answer.text;
    if (tool == signatures.end()) return 0;
    const auto grammar = text::Grammar::from_json_schema(json::format(tool->parameters), tokenizer).value();
    const auto matcher = grammar->start().value();
    for (const text::TokenId token : tokenizer->encode(arguments, {}).value())
      EXPECT_TRUE(matcher->accept(token)) << arguments;
    EXPECT_TRUE(matcher->is_finished()) << arguments;
    arguments.clear();
    ++calls;
  }
  return calls;
}

TEST(ToolFormatOfRealModel, FollowsTheTemplate) {
  const char* const folder = std::getenv("OPENAUTOGLM_TEST_MODELS");
  ASSERT_NE(folder, nullptr);
  const auto format_of = [&](const char* file) {
    const auto loaded = model::load_text(std::filesystem::path(folder) / file);
    EXPECT_TRUE(loaded) << loaded.error().message;
    return text::tool_format_of(loaded->chat_template->source());
  };
  EXPECT_EQ(format_of("qwen15.gguf"), text::ToolFormat::kHermes);
  EXPECT_EQ(format_of("qwen05.gguf"), text::ToolFormat::kHermes);
  EXPECT_EQ(format_of("smollm2.gguf"), std::nullopt);  // its template leaves tools out
}

class ToolGrammarOfRealModel : public testing::TestWithParam<const char*> {};

TEST_P(ToolGrammarOfRealModel, GreedyAnswersHoldValidCalls) {
  Case real(GetParam());
  ASSERT_NE(real.model().network, nullptr);
  const std::vector<text::ToolSignature> signatures = tools();
  const std::vector<text::TokenId> prompt = real.prompt("List the files in /tmp/data, please.");
  std::size_t whole = 0;
  for (const text::ToolFormat format :
       {text::ToolFormat::kHermes, text::ToolFormat::kGlmXml, text::ToolFormat::kLlama3, text::ToolFormat::kJson}) {
    for (const text::ToolChoice choice : {text::ToolChoice::kRequired, text::ToolChoice::kDecide}) {
      const auto compiled = text::tool_grammar(
          signatures, {.format = format, .choice = choice, .is_parallel = false, .max_thinking_bytes = 2000},
          real.model().tokenizer);
      ASSERT_TRUE(compiled) << compiled.error().message;
      const Answer answer = real.answer(**compiled, prompt);
      const std::size_t calls = count_calls(format, answer, real.model().tokenizer);
      std::cout << text::tool_format_name(format) << (choice == text::ToolChoice::kRequired ? " required" : " decide")
                << ": " << answer.tokens.size() << " tokens, " << answer.forced << " foretold, "
                << answer.forced_as_told << " so chosen, "
                << answer.mask_seconds * 1e3 / static_cast<double>(answer.tokens.size()) << " ms a mask\n"
                << answer.text << "\n";
      whole += answer.is_whole ? 1 : 0;
      if (choice == text::ToolChoice::kRequired && answer.is_whole) EXPECT_EQ(calls, 1u) << answer.text;
    }
  }
  EXPECT_GE(whole, 2u);
}

INSTANTIATE_TEST_SUITE_P(Catalogue, ToolGrammarOfRealModel, testing::Values("qwen15.gguf", "smollm2.gguf"),
                         [](const auto& info) { return std::string(info.index == 0 ? "qwen15" : "smollm2"); });

}  // namespace
}  // namespace autoglm
