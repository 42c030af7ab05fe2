// SPDX-License-Identifier: Apache-2.0
#include "text/template_messages.h"

#include <gtest/gtest.h>

#include <string>

#include "base/budget.h"
#include "text/chat_template.h"

namespace autoglm::text {
namespace {

json::Array parse(std::string_view text) {
  base::Budget budget;
  return json::parse(text, budget).value().as_array();
}

const json::Array kTools = parse(R"([{"type":"function","function":{"name":"add","parameters":{"type":"object"}}}])");
const json::Array kMessages = parse(R"([{"role":"user","content":"2+2?"},
    {"role":"assistant","content":"","tool_calls":[{"id":"call_abc_0_1","type":"function",
     "function":{"name":"add","arguments":{"a":2}}}]},
    {"role":"tool","tool_call_id":"call_abc_0_1","content":"4"},{"role":"assistant","content":"Four."}])");

// Templates in our own words, which read what the published ones do.
std::string rendered(ToolFormat format, std::string_view source, const json::Array& messages = kMessages,
                     const json::Array& tools = kTools) {
  EXPECT_EQ(tool_format_of(source), format);
  const auto chat = ChatTemplate::parse(source, "", "");
  EXPECT_TRUE(chat) << chat.error().message;
  const auto shaped = template_messages(format, source, messages, tools);
  const auto prompt = (*chat)->render({.messages = shaped ? &*shaped : &messages, .tools = &tools});
  EXPECT_TRUE(prompt) << prompt.error().message;
  return prompt ? prompt->text : "";
}

constexpr std::string_view kGlm4 =
    "{% for tool in tools %}{{ tool.function.name }} 请使用 Json 格式{% endfor %}{% for m in messages %}"
    "{% if m.role in ['user', 'assistant', 'system', 'observation'] %}"
    "{{ '<|' + m.role + '|>' + m.get('metadata', '') + '\n' + m.content }}{% endif %}{% endfor %}<|assistant|>";

TEST(TemplateMessages, Glm4ShowsCallsAsMetadata) {
  EXPECT_EQ(rendered(ToolFormat::kGlm4, kGlm4),
            "add 请使用 Json 格式<|user|>\n2+2?<|assistant|>add\n{\"a\":2}<|observation|>\n4<|assistant|>\nFour."
            "<|assistant|>");
  const json::Array both = parse(R"([{"role":"assistant","content":"I add.","tool_calls":[
      {"id":"1","function":{"name":"add","arguments":{}}},{"id":"2","function":{"name":"now"}}]}])");
  EXPECT_TRUE(rendered(ToolFormat::kGlm4, kGlm4, both)
                  .ends_with("<|assistant|>\nI add.<|assistant|>add\n{}<|assistant|>now\n{}<|assistant|>"));
}

TEST(TemplateMessages, OlderGlm4HasItsToolsInAMessage) {
  constexpr std::string_view kOlder =
      "{% for m in messages %}{% if m['tools'] %}{% for tool in m['tools'] %}## {{ tool['function']['name'] }} "
      "请使用 Json 格式{% endfor %}{% endif %}{% if m.content %}<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}";
  EXPECT_TRUE(rendered(ToolFormat::kGlm4, kOlder).starts_with("## add 请使用 Json 格式<|user|>2+2?"));
  const json::Array kind = parse(R"([{"role":"system","content":"Be kind."}])");
  EXPECT_EQ(rendered(ToolFormat::kGlm4, kOlder, kind), "## add 请使用 Json 格式<|system|>Be kind.");
}

TEST(TemplateMessages, MistralsIdsAreNineLettersAndDigits) {
  constexpr std::string_view kMistral =
      "{% if tools %}{% endif %}{% for m in messages %}{% if m.tool_calls %}[TOOL_CALLS][{% for c in m.tool_calls %}"
      "{% if c.id|length != 9 %}{{ raise_exception('ids have length 9') }}{% endif %}{{ c.id }}{% endfor %}]"
      "{% elif m.role == 'tool' %}{{ m.tool_call_id }}{% endif %}{% endfor %}";
  const std::string text = rendered(ToolFormat::kMistral, kMistral);
  ASSERT_EQ(text.size(), std::string_view("[TOOL_CALLS][").size() + 9 + 1 + 9);
  EXPECT_EQ(text.substr(13, 9), text.substr(23)) << "the result has the id of its call";
  const json::Array own = parse(R"([{"role":"tool","tool_call_id":"aB3dE6gH9","content":"4"},
                                    {"role":"tool","tool_call_id":"call_abc_0_2","content":"4"}])");
  const std::string ids = rendered(ToolFormat::kMistral, kMistral, own);
  EXPECT_TRUE(ids.starts_with("aB3dE6gH9"));
  EXPECT_NE(ids.substr(9), text.substr(23)) << "another call has another id";
}

TEST(TemplateMessages, PhiHasItsToolsAsTextOfTheSystemMessage) {
  constexpr std::string_view kPhi =
      "{% for m in messages %}{% if m['role'] == 'system' and 'tools' in m %}<|system|>{{ m.content }}<|tool|>"
      "{{ m['tools'] }}<|/tool|><|end|>{% else %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endif %}{% endfor %}";
  EXPECT_EQ(rendered(ToolFormat::kPhi4, kPhi),
            R"(<|system|><|tool|>[{"name":"add","parameters":{"type":"object"}}]<|/tool|><|end|><|user|>2+2?<|end|>)"
            R"(<|assistant|><|tool_call|>[{"name":"add","arguments":{"a":2}}]<|/tool_call|><|end|><|tool|>4<|end|>)"
            R"(<|assistant|>Four.<|end|>)");
  EXPECT_EQ(rendered(ToolFormat::kPhi4, kPhi, parse(R"([{"role":"user","content":"hi"}])"), {}), "<|user|>hi<|end|>");
}

TEST(TemplateMessages, OtherFormatsReadThemAsTheyAre) {
  for (const ToolFormat format : {ToolFormat::kHermes, ToolFormat::kGlmXml, ToolFormat::kFunctionXml}) {
    EXPECT_EQ(template_messages(format, "", kMessages, kTools), std::nullopt);
  }
  const json::Array odd = parse(R"([7, {"role":"assistant","tool_calls":[1, {"function":2}, {}]}, {"role":"tool"}])");
  for (const ToolFormat format : {ToolFormat::kGlm4, ToolFormat::kMistral, ToolFormat::kPhi4}) {
    EXPECT_NE(template_messages(format, "", odd, kTools), std::nullopt);
  }
}

}  // namespace
}  // namespace autoglm::text
