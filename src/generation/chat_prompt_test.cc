// SPDX-License-Identifier: Apache-2.0
#include "generation/chat_prompt.h"

#include <gtest/gtest.h>

#include "base/budget.h"

namespace autoglm::generation {
namespace {

json::Array parse(std::string_view text) {
  base::Budget budget;
  return json::parse(text, budget).value().as_array();
}

std::string content(const json::Array& messages, std::size_t index) {
  return std::string(messages.at(index).as_object().at("content").as_string());
}

const json::Array kTools = parse(R"([{"type":"function","function":{"name":"add","parameters":{"type":"object"}}}])");

TEST(ToolsInWords, StandInTheOneSystemMessage) {
  const auto plain = with_tools_in_words(parse(R"([{"role":"user","content":"2+2?"}])"), kTools);
  ASSERT_EQ(plain.size(), 2u);
  EXPECT_NE(content(plain, 0).find(R"("name":"add")"), std::string::npos);
  const auto joined = with_tools_in_words(
      parse(R"([{"role":"system","content":"Be kind."},{"role":"user","content":"2+2?"}])"), kTools);
  ASSERT_EQ(joined.size(), 2u);
  EXPECT_TRUE(content(joined, 0).starts_with("Be kind.\n\n"));
  EXPECT_NE(content(joined, 0).find(R"("name":"add")"), std::string::npos);
}

TEST(ToolsInWords, CallsAndResultsBecomeText) {
  const auto messages = with_tools_in_words(parse(R"([{"role":"user","content":"2+2?"},
                {"role":"assistant","content":"","tool_calls":[{"id":"call_1","type":"function",
                 "function":{"name":"add","arguments":{"a":2,"b":2}}}]},
                {"role":"tool","tool_call_id":"call_1","content":"4"}])"),
                                            kTools);
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(content(messages, 2), R"(<tool_call>{"name":"add","arguments":{"a":2,"b":2}}</tool_call>)");
  EXPECT_EQ(messages.at(3).as_object().at("role").as_string(), "user");
  EXPECT_EQ(content(messages, 3), "<tool_response>4</tool_response>");
}

TEST(ToolsInWords, OrdinaryMessagesStayAsTheyAre) {
  const json::Array messages = parse(R"([{"role":"user","content":"hi"},{"role":"assistant","content":"hello"}])");
  EXPECT_EQ(with_tools_in_words(messages, {}), messages);
}

// As the history of a conversation holds a call that was cut.
constexpr const char* kCut = R"([{"role":"user","content":"hi"},{"role":"assistant","content":"","tool_calls":[
    {"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\": "}},
    {"id":"b","type":"function","function":{"name":"g","arguments":{"y":1}}}]}])";

Result<text::RenderedPrompt> render_with(std::string_view source, std::string_view messages) {
  ModelCard card;
  card.chat_template = text::ChatTemplate::parse(source, "", "").value();
  card.template_shows_tools = true;
  const json::Array parsed = parse(messages);
  return render(card, {.messages = &parsed});
}

TEST(ChatPromptTest, ArgumentsThatAreNoObjectAreShownAsText) {
  const auto rendered =
      render_with("{% for call in messages[1].tool_calls %}{{ call.function.arguments | tojson }};{% endfor %}", kCut);
  ASSERT_TRUE(rendered) << rendered.error().message;
  EXPECT_EQ(rendered->text, R"("{\"x\": ";{"y": 1};)");
}

TEST(ChatPromptTest, ATemplateThatWalksOverArgumentsIsGivenNoneOfACutCall) {
  constexpr std::string_view kWalk =
      "{% for call in messages[1].tool_calls %}{{ call.function.name }}:"
      "{% for key, value in call.function.arguments.items() %}{{ key }}={{ value }}{% endfor %};{% endfor %}";
  const auto rendered = render_with(kWalk, kCut);
  ASSERT_TRUE(rendered) << rendered.error().message;
  EXPECT_EQ(rendered->text, "f:;g:y=1;");
}

TEST(ChatPromptTest, ATemplateThatRefusesTheMessagesStillDoes) {
  const auto refused = render_with("{{ raise_exception('no calls') }}", kCut);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
}

TEST(ChatPromptTest, ABaseModelHasNone) {
  const json::Array messages = parse(R"([{"role":"user","content":"hi"}])");
  const auto refused = render(ModelCard(), {.messages = &messages});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace autoglm::generation
