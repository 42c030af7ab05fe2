// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/utf8.h"
#include "text/tool_format.h"

namespace autoglm::text {
namespace {

using Kind = ToolEvent::Kind;

json::Object schema(std::string_view text) {
  base::Budget budget;
  return json::parse(text, budget)->get_object();
}

const std::vector<ToolSignature>& tools() {
  static const std::vector<ToolSignature> all = {
      {"weather", schema(R"({"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"},
          "note":{"type":["string","null"]},"unit":{"enum":["C","F"]},"where":{"type":"object"},
          "id":{"anyOf":[{"type":"string"},{"type":"integer"}]},"flag":{"type":"boolean"}}})")},
      {"now", {}},
  };
  return all;
}

// Adjacent deltas put together: what must not depend on how the text was cut.
std::vector<ToolEvent> merged(std::vector<ToolEvent> events) {
  std::vector<ToolEvent> all;
  for (ToolEvent& event : events) {
    const bool is_delta = event.kind == Kind::kText || event.kind == Kind::kReasoning || event.kind == Kind::kArguments;
    if (is_delta && !all.empty() && all.back().kind == event.kind && all.back().call == event.call) {
      all.back().text += event.text;
    } else {
      all.push_back(std::move(event));
    }
  }
  return all;
}

std::string shown(const std::vector<ToolEvent>& events) {
  std::string all;
  for (const ToolEvent& event : events) {
    static constexpr const char* kNames[] = {"text", "think", "call", "args", "end", "broken"};
    const bool is_of_call = event.kind != Kind::kText && event.kind != Kind::kReasoning;
    all += kNames[static_cast<std::size_t>(event.kind)] + (is_of_call ? std::to_string(event.call) : "");
    if (event.kind != Kind::kCallEnd) all += "(" + event.text + ")";
    all += " ";
  }
  if (!all.empty()) all.pop_back();
  return all;
}

std::vector<ToolEvent> parse(ToolFormat format, const std::vector<std::string_view>& pieces,
                             ToolCallParser::Options options = {.tools = tools()}) {
  const auto parser = ToolCallParser::make(format, options);
  std::vector<ToolEvent> events;
  const auto add = [&](std::vector<ToolEvent> more) {
    events.insert(events.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  };
  for (const std::string_view piece : pieces) add(parser->push(piece));
  add(parser->finish());
  return merged(std::move(events));
}

struct Case {
  ToolFormat format;
  std::string_view text;
  std::string_view events;
};

constexpr ToolFormat kHermes = ToolFormat::kHermes;
constexpr ToolFormat kLlama3 = ToolFormat::kLlama3;
constexpr ToolFormat kGlmXml = ToolFormat::kGlmXml;
constexpr ToolFormat kJson = ToolFormat::kJson;
constexpr ToolFormat kAutoGlm = ToolFormat::kAutoGlm;
constexpr ToolFormat kGlm4 = ToolFormat::kGlm4;
constexpr ToolFormat kMistral = ToolFormat::kMistral;
constexpr ToolFormat kMistralArgs = ToolFormat::kMistralArgs;
constexpr ToolFormat kFunctionXml = ToolFormat::kFunctionXml;
constexpr ToolFormat kPhi4 = ToolFormat::kPhi4;

const Case kCases[] = {
    // Text and reasoning.
    {kHermes, "", ""},
    {kHermes, "Hello, 世界 <b> & <tool", "text(Hello, 世界 <b> & <tool)"},
    {kHermes, " \n two\n\n", "text( \n two\n\n)"},
    {kHermes, "<think>\nlet me see </thin </think>\n\nYes.", "think(let me see </thin) text(Yes.)"},
    {kHermes, "\n<think></think>Yes", "text(Yes)"},
    {kHermes, "A <think> in between", "text(A <think> in between)"},
    {kHermes, "<think>a <tool_call>{}</tool_call>", "think(a <tool_call>{}</tool_call>)"},
    {kJson, "``` `` ` {", "text(``` `` ` {)"},
    // Hermes.
    {kHermes, "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Zürich\"}}\n</tool_call>",
     R"(call0(weather) args0({"city": "Zürich"}) end0)"},
    {kHermes,
     "I look.\n<tool_call>\n{\"name\": \"now\"}\n</tool_call>\n<tool_call>\n{\"arguments\": {\"a\": [1, {}]}, "
     "\"name\": "
     "\"x\"}</tool_call> done",
     R"(text(I look.) call0(now) args0({}) end0 call1(x) args1({"a": [1, {}]}) end1 text(done))"},
    {kHermes, "<tool_call>{\"name\": \"now\", \"arguments\": null}", "call0(now) args0({}) end0"},
    {kHermes, "<tool_call>{\"name\": \"now\", \"arguments\": \"\"}</tool_call>", "call0(now) args0({}) end0"},
    {kHermes, R"(<tool_call>{"name": "weather", "arguments": "{\"city\": \"a\\n\u00e9\\\"\"}"}</tool_call>)",
     R"(call0(weather) args0({"city": "a\né\""}) end0)"},
    {kHermes, "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"a\nb\tc\"}}</tool_call>",
     R"(call0(weather) args0({"city": "a\nb\tc"}) end0)"},
    {kHermes, "<tool_call>\n{{\"name\": \"now\", \"arguments\": {}}}\n</tool_call>", "call0(now) args0({}) end0"},
    {kHermes, "<tool_call>{\"name\":\"now\"}\n{\"name\":\"now\"}</tool_call>",
     "call0(now) args0({}) end0 call1(now) args1({}) end1"},
    {kHermes, "<tool_call>[{\"name\":\"now\"}, {\"name\":\"weather\",\"parameters\":{}}]</tool_call>",
     "call0(now) args0({}) end0 call1(weather) args1({}) end1"},
    {kHermes, "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"</tool_call>\"}}</tool_call>",
     R"(call0(weather) args0({"city": "</tool_call>"}) end0)"},
    {kHermes, "<tool_call>{\"name\":\"now\"}</tool_call>;<<tool_call>{\"name\":\"now\"}</tool_ca",
     "call0(now) args0({}) end0 text(;<) call1(now) args1({}) end1"},
    {kHermes, "<tool_call>{\"name\":\"now\",\"id\":7,\"type\":{\"name\":[]}}</tool_call><think>x</think>",
     "call0(now) args0({}) end0 text(<think>x</think>)"},
    // Hermes, broken and cut.
    {kHermes, "<tool_call>", "broken0(<tool_call>)"},
    {kHermes, "<tool_call>nothing</tool_call> more", "broken0(<tool_call>nothing</tool_call>) text(more)"},
    {kHermes, "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": ",
     R"(call0(weather) args0({"city": ) broken0(<tool_call>{"name": "weather", "arguments": {"city": ))"},
    {kHermes, "<tool_call>{\"name\": \"weather\", \"arguments\": {\"days\": oops}}</tool_call>",
     R"(call0(weather) args0({"days": oops}) broken0(<tool_call>{"name": "weather", "arguments": {"days": oops}}</tool_call>))"},
    {kHermes, "<tool_call>{\"name\": \"now\" x<tool_call>{\"name\":\"now\"}</tool_call>",
     R"(call0(now) broken0(<tool_call>{"name": "now" x) call1(now) args1({}) end1)"},
    {kHermes, "<tool_call>{\"name\":\"now\",\"arguments\":{\"a\":1,\"a\":2}}</tool_call>!",
     R"(call0(now) args0({"a":1,"a":2}) broken0(<tool_call>{"name":"now","arguments":{"a":1,"a":2}}</tool_call>) text(!))"},
    {kHermes, "<tool_call>{\"name\":\"now\",\"arguments\":[1]}</tool_call>",
     R"(call0(now) broken0(<tool_call>{"name":"now","arguments":[1]}</tool_call>))"},
    {kHermes, "<tool_call>{\"arguments\":{}}</tool_call>", R"(broken0(<tool_call>{"arguments":{}}</tool_call>))"},
    {kHermes, "<tool_call>{\"name\":{}}</tool_call>", R"(broken0(<tool_call>{"name":{}}</tool_call>))"},
    // JSON that no marker announces.
    {kHermes, "{\"name\": \"weather\", \"arguments\": {\"city\": \"Rom\"}}",
     R"(call0(weather) args0({"city": "Rom"}) end0)"},
    {kHermes, "```json\n{\n  \"name\": \"now\",\n  \"arguments\": {}\n}\n```\nThat is it.",
     "call0(now) args0({}) end0 text(That is it.)"},
    {kHermes, "So:\n```\n{\"name\": \"now\", \"arguments\": {}}\n```", "text(So:) call0(now) args0({}) end0"},
    {kHermes, "So: {\"name\": \"now\", \"arguments\": {}}", R"(text(So: {"name": "now", "arguments": {}}))"},
    {kHermes, "So:\n  {\"name\": \"now\", \"arguments\": {}}\n{\"name\": \"weather\", \"arguments\": {}}",
     "text(So:) call0(now) args0({}) end0 call1(weather) args1({}) end1"},
    {kHermes, "{\"name\": \"John\", \"age\": 3}\n<tool_call>{\"name\":\"now\"}",
     R"(text({"name": "John", "age": 3}) call0(now) args0({}) end0)"},
    {kHermes, "{\"city\": \"Rom\"}", R"(text({"city": "Rom"}))"},
    {kHermes, "{\"name\": \"now\"}", R"(text({"name": "now"}))"},
    {kHermes, "{\"arguments\": {}, \"name\": \"now\"}", R"(text({"arguments": {}, "name": "now"}))"},
    {kHermes, "```  \n\n{\"name\": \"now\", \"id\": 1, \"arguments\": {}}",
     "text(```  \n\n{\"name\": \"now\", \"id\": 1, \"arguments\": {}})"},
    {kHermes, "[1, 2]\n[{\"name\": \"now\", \"arguments\": {}}]", "text([1, 2]) call0(now) args0({}) end0"},
    {kHermes, "```python\n{1: 2}\n```\n", "text(```python\n{1: 2}\n```\n)"},
    {kHermes, "```json\n{\"name\": \"now\"", "text(```json\n{\"name\": \"now\")"},
    {kHermes, "```json\n{\"name\": \"now\", \"arguments\": {}", R"(call0(now) args0({}) broken0(```json
{"name": "now", "arguments": {}))"},
    {kJson, "{\"type\": \"function\", \"name\": \"now\", \"parameters\": {}}",
     R"(text({"type": "function", "name": "now", "parameters": {}}))"},
    {kJson, "{\"name\": \"now\", \"arguments\": {}},\n{\"name\": \"now\", \"arguments\": {}}; ok",
     "call0(now) args0({}) end0 call1(now) args1({}) end1 text(; ok)"},
    {kJson,
     "```json\n{\"name\": \"now\", \"arguments\": {}}\n{\"name\": \"now\", \"arguments\": "
     "{}}\n```\n```json\n[{\"name\": \"now\", \"arguments\": {}}]```",
     "call0(now) args0({}) end0 call1(now) args1({}) end1 call2(now) args2({}) end2"},
    {kJson, "```json\n{\"name\": \"now\", \"arguments\": {}, 7}\n```\nand",
     "call0(now) args0({}) broken0(```json\n{\"name\": \"now\", \"arguments\": {}, 7}\n```) text(and)"},
    // Llama 3.
    {kLlama3, "{\"name\": \"weather\", \"parameters\": {\"city\": \"Rom\"}}",
     R"(call0(weather) args0({"city": "Rom"}) end0)"},
    {kLlama3, "<|python_tag|>{\"name\": \"other\", \"parameters\": {}}; {\"name\": \"now\", \"parameters\": {}}",
     "call0(other) args0({}) end0 call1(now) args1({}) end1"},
    {kLlama3, "<|python_tag|>print(1)", "broken0(<|python_tag|>print(1))"},
    {kLlama3, "{\"name\": \"other\", \"parameters\": {}}", R"(text({"name": "other", "parameters": {}}))"},
    // GLM.
    {kGlmXml,
     "<think>hm</think>\nI look.\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>北京 \"x\" "
     "<b>\n</arg_value>\n<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
     R"(think(hm) text(I look.) call0(weather) args0({"city":"北京 \"x\" <b>\n","days":3}) end0)"},
    {kGlmXml, "<tool_call>now</tool_call><tool_call>now\n</tool_call>",
     "call0(now) args0({}) end0 call1(now) args1({}) end1"},
    {kGlmXml,
     "<tool_call>weather<arg_key>city</arg_key><arg_value>12</arg_value><arg_key>note</arg_key><arg_value>null</"
     "arg_value>"
     "<arg_key>unit</arg_key><arg_value>C</arg_value><arg_key>where</arg_key><arg_value>{\"a\": [1]}</arg_value>"
     "<arg_key>id</arg_key><arg_value>7</arg_value><arg_key>flag</arg_key><arg_value> true </arg_value></tool_call>",
     R"(call0(weather) args0({"city":"12","note":null,"unit":"C","where":{"a": [1]},"id":7,"flag":true}) end0)"},
    {kGlmXml,
     "<tool_call>weather<arg_key>note</arg_key><arg_value>12</arg_value><arg_key>days</arg_key><arg_value>a "
     "few</arg_value>"
     "<arg_key>more</arg_key><arg_value>[1]</arg_value><arg_key>last</arg_key><arg_value></arg_value></tool_call>",
     R"(call0(weather) args0({"note":"12","days":"a few","more":[1],"last":""}) end0)"},
    {kGlmXml, "<tool_call>{\"name\": \"now\", \"arguments\": {}}\n</tool_call>", "call0(now) args0({}) end0"},
    {kGlmXml, "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Ro",
     R"(call0(weather) args0({"city":"Ro) broken0(<tool_call>weather
<arg_key>city</arg_key>
<arg_value>Ro))"},
    {kGlmXml, "<tool_call>weather<arg_key>city</tool_call>ok",
     R"(call0(weather) broken0(<tool_call>weather<arg_key>city</tool_call>) text(ok))"},
    {kGlmXml,
     "<tool_call>weather<arg_key>a</arg_key><arg_value>1</arg_key></arg_value><arg_key>a</arg_key><arg_value>2</"
     "arg_value></tool_call>",
     R"(call0(weather) args0({"a":"1</arg_key>","a":2}) broken0(<tool_call>weather<arg_key>a</arg_key><arg_value>1</arg_key></arg_value><arg_key>a</arg_key><arg_value>2</arg_value></tool_call>))"},
    {kGlmXml, "<tool_call></tool_call>", "broken0(<tool_call></tool_call>)"},
    // AutoGLM.
    {kAutoGlm, "<think>当前在桌面</think>\n<answer>do(action=\"Tap\", element=[100,200])</answer>",
     R"(think(当前在桌面) call0(do) args0({"action":"Tap","element":[100,200]}) end0)"},
    {kAutoGlm, "I go back. do(action=\"Back\")", R"(text(I go back.) call0(do) args0({"action":"Back"}) end0)"},
    {kAutoGlm, "do(action=\"Type\", text=\"say \"hi\" (\\n) \")\")</answer>",
     R"-(call0(do) args0({"action":"Type","text":"say \"hi\" (\\n) \")"}) end0)-"},
    {kAutoGlm, "finish(message=\"done: \"a\")  b\")  ", R"-(call0(finish) args0({"message":"done: \"a\")  b"}) end0)-"},
    {kAutoGlm, "<|begin_of_box|>finish(message='ok')<|end_of_box|>", R"(call0(finish) args0({"message":"ok"}) end0)"},
    {kAutoGlm, "do(action='Long Press', element=[1, 2], message=\"a\\\"b\\x41\\'c\\d\", n=None, t=True)",
     R"(call0(do) args0({"action":"Long Press","element":[1,2],"message":"a\"b\u0041'c\\d","n":null,"t":true}) end0)"},
    {kAutoGlm, "I finish(messages) and do(actions) nothing", "text(I finish(messages) and do(actions) nothing)"},
    {kAutoGlm, "do(action=\"Tap\", element=[1,2]",
     R"(call0(do) args0({"action":"Tap","element":[1,2]) broken0(do(action="Tap", element=[1,2]))"},
    {kAutoGlm, "do(action=Tap)</answer>ok",
     R"(call0(do) args0({"action":Tap}) broken0(do(action=Tap)</answer>) text(ok))"},
    {kAutoGlm, "finish(message=\"cut", R"(call0(finish) args0({"message":"cut) broken0(finish(message="cut))"},
    {kAutoGlm, "{\"name\": \"now\", \"arguments\": {}}", R"(text({"name": "now", "arguments": {}}))"},
    // GLM-4.
    {kGlm4, "weather\n{\"city\": \"北京\", \"days\": 2}", R"(call0(weather) args0({"city": "北京", "days": 2}) end0)"},
    {kGlm4, "\nIt is now.", "text(It is now.)"},
    {kGlm4, "<think>\nhm\nnow\n{}</think>\nI look.\nnow \n{}\nweather\n{\"note\": \"a\nb\"}",
     R"(think(hm
now
{}) text(I look.) call0(now) args0({}) end0 call1(weather) args1({"note": "a\nb"}) end1)"},
    {kGlm4, "now\n{}, now\n{} nowhere", "call0(now) args0({}) end0 call1(now) args1({}) end1 text(nowhere)"},
    {kGlm4, "now\n{}now\n{}", "call0(now) args0({}) end0 call1(now) args1({}) end1"},
    {kGlm4, "now\n\n{} now \n {}", "text(now\n\n{} now \n {})"},
    {kGlm4, "now\nnow\n{}", "text(now\nnow\n{})"},
    {kGlm4, "now\n\nnow\n{}", "text(now) call0(now) args0({}) end0"},
    {kGlm4, "now     \n{}", "text(now     \n{})"},
    {kGlm4, "  now    \n{}", "call0(now) args0({}) end0"},
    {kGlm4, "other\n{\"a\": 1}\nnowhere\n{}", "text(other\n{\"a\": 1}\nnowhere\n{})"},
    {kGlm4, "I call now\n{}", "text(I call now\n{})"},
    {kGlm4, "now\n", "text(now\n)"},
    {kGlm4, "weat", "text(weat)"},
    {kGlm4, "now\n{\"a\": [1, }", "call0(now) args0({\"a\": [1, ) broken0(now\n{\"a\": [1, })"},
    {kGlm4, "now\n{\"a\": ", "call0(now) args0({\"a\": ) broken0(now\n{\"a\": )"},
    {kGlm4, "{\"name\": \"now\", \"arguments\": {}}", "call0(now) args0({}) end0"},
    // Mistral.
    {kMistral,
     "[TOOL_CALLS] [{\"name\": \"weather\", \"arguments\": {\"city\": \"Rom\"}, \"id\": \"VvvODy9mT\"}, {\"name\": "
     "\"now\", \"arguments\": {}}]",
     R"(call0(weather) args0({"city": "Rom"}) end0 call1(now) args1({}) end1)"},
    {kMistral, "I look.\n[TOOL_CALLS][{\"name\": \"now\"}] done", "text(I look.) call0(now) args0({}) end0 text(done)"},
    {kMistral, "[1, 2]\n[{\"name\": \"now\", \"arguments\": {}}] [TOOL",
     "text([1, 2]\n[{\"name\": \"now\", \"arguments\": {}}] [TOOL)"},
    {kMistral, "{\"name\": \"now\", \"arguments\": {}}\n[TOOL_CALLS]now[ARGS]{}",
     "call0(now) args0({}) end0 call1(now) args1({}) end1"},
    {kMistral, "```json\n[TOOL_CALLS][{\"name\": \"now\"}]", "text(```json) call0(now) args0({}) end0"},
    {kMistral, "{[TOOL_CALLS]{\"name\": \"now\"}", "text({) call0(now) args0({}) end0"},
    {kMistral, "[TOOL_CALLS]", "broken0([TOOL_CALLS])"},
    {kMistral, "[TOOL_CALLS][7]", "broken0([TOOL_CALLS][7])"},
    {kMistralArgs, "[TOOL_CALLS]weather[ARGS]{\"city\": \"Zürich\"}[TOOL_CALLS]now[ARGS]{}",
     R"(call0(weather) args0({"city": "Zürich"}) end0 call1(now) args1({}) end1)"},
    {kMistralArgs, "Yes. [TOOL_CALLS] now[CALL_ID]aB3dE6gH9[ARGS] {} ", "text(Yes.) call0(now) args0({}) end0"},
    {kMistralArgs, "[TOOL_CALLS]now{\"a\": {}}", R"(call0(now) args0({"a": {}}) end0)"},
    {kMistralArgs, "[TOOL_CALLS][ARGS]{}", "broken0([TOOL_CALLS][ARGS]{})"},
    {kMistralArgs, "[TOOL_CALLS]now[ARGS]7", "call0(now) broken0([TOOL_CALLS]now[ARGS]7)"},
    {kMistralArgs, "[TOOL_CALLS]now[CALL_ID]a[CALL_ID]b[ARGS]{}",
     "broken0([TOOL_CALLS]now[CALL_ID]a[CALL_ID]b[ARGS]{})"},
    {kMistralArgs, "[TOOL_CALLS]now[ARGS]{\"a\": \"[TOOL_CALLS]\", \"b\"",
     R"(call0(now) args0({"a": "[TOOL_CALLS]", "b") broken0([TOOL_CALLS]now[ARGS]{"a": "[TOOL_CALLS]", "b"))"},
    // Qwen3-Coder.
    {kFunctionXml,
     "I look.\n<tool_call>\n<function=weather>\n<parameter=city>\n北京 \"x\" <b>\n</parameter>\n<parameter=days>\n3\n"
     "</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>",
     R"(text(I look.) call0(weather) args0({"city":"北京 \"x\" <b>","days":3}) end0 call1(now) args1({}) end1)"},
    {kFunctionXml,
     "<function=weather><parameter=city>\n\n a\n\n</parameter><parameter=flag>True</parameter><parameter=note>None"
     "</parameter><parameter=id>\n\n</parameter></function></tool_call> done",
     R"(call0(weather) args0({"city":"\n a\n","flag":true,"note":"None","id":""}) end0 text(done))"},
    {kFunctionXml,
     "<tool_call><function=weather><parameter=where>\n{\"a\": [1]}\n</parameter></function><function=now></function>"
     "</tool_call>",
     R"(call0(weather) args0({"where":{"a": [1]}}) end0 call1(now) args1({}) end1)"},
    {kFunctionXml, "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>", "call0(now) args0({}) end0"},
    {kFunctionXml, "<tool_call><function=>", "broken0(<tool_call><function=>)"},
    {kFunctionXml, "<tool_call>now</tool_call>ok", "broken0(<tool_call>now</tool_call>) text(ok)"},
    {kFunctionXml, "<function=now>x</function>\n</tool_call>ok",
     "call0(now) broken0(<function=now>x</function>\n</tool_call>) text(ok)"},
    {kFunctionXml, "<tool_call><function=weather><parameter=city>\nRo",
     R"(call0(weather) args0({"city":"Ro) broken0(<tool_call><function=weather><parameter=city>
Ro))"},
    // Phi-4.
    {kPhi4, "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"now\"}]<|/tool_call|>",
     "call0(now) args0({}) end0 call1(now) args1({}) end1"},
    {kPhi4, "So: <|tool_call|>{\"name\": \"now\", \"arguments\": {}}<|/tool_call|> ok",
     "text(So:) call0(now) args0({}) end0 text(ok)"},
    {kPhi4, "<|tool_call|>[{\"name\": \"now\", x}]<|/tool_call|>ok",
     R"(call0(now) broken0(<|tool_call|>[{"name": "now", x}]<|/tool_call|>) text(ok))"},
};

TEST(ToolCallParser, Understands) {
  for (const Case& test : kCases) {
    EXPECT_EQ(shown(parse(test.format, {test.text})), test.events)
        << tool_format_name(test.format) << ": " << test.text;
  }
}

constexpr ToolFormat kFormats[] = {kHermes, kLlama3,  kGlmXml,      kJson,        kAutoGlm,
                                   kGlm4,   kMistral, kMistralArgs, kFunctionXml, kPhi4};

TEST(ToolCallParser, EverySplitGivesTheSame) {
  std::size_t splits = 0;
  for (const ToolFormat format : kFormats) {
    for (const Case& test : kCases) {
      for (const bool begins_in_reasoning : {false, true}) {
        const ToolCallParser::Options options = {.begins_in_reasoning = begins_in_reasoning, .tools = tools()};
        const std::string whole = shown(parse(format, {test.text}, options));
        std::vector<std::string_view> bytes;
        for (std::size_t i = 0; i < test.text.size(); ++i) bytes.push_back(test.text.substr(i, 1));
        EXPECT_EQ(shown(parse(format, bytes, options)), whole) << tool_format_name(format) << ": " << test.text;
        for (std::size_t i = 0; i <= test.text.size(); ++i) {
          ++splits;
          ASSERT_EQ(shown(parse(format, {test.text.substr(0, i), test.text.substr(i)}, options)), whole)
              << tool_format_name(format) << ", split at " << i << ": " << test.text;
        }
      }
    }
  }
  EXPECT_GT(splits, 30'000u);
}

// Deltas go straight into JSON strings of an answer: none may end within a character.
TEST(ToolCallParser, NoDeltaEndsWithinACharacter) {
  const std::string_view texts[] = {"世界 <think>",
                                    "<tool_call>{\"name\":\"weather\",\"arguments\":{\"city\":\"世界\"}}"};
  for (const std::string_view text : texts) {
    const auto parser = ToolCallParser::make(kHermes, {});
    std::vector<ToolEvent> events;
    for (std::size_t i = 0; i < text.size(); ++i) {
      for (ToolEvent& event : parser->push(text.substr(i, 1))) {
        EXPECT_TRUE(base::is_utf8(event.text)) << text << " at " << i;
        events.push_back(std::move(event));
      }
    }
  }
}

TEST(ToolCallParser, ArgumentsStream) {
  const auto parser = ToolCallParser::make(kHermes, {});
  EXPECT_EQ(shown(parser->push("<tool_call>{\"name\": \"wea")), "");
  EXPECT_EQ(shown(parser->push("ther\", \"argu")), "call0(weather)");
  EXPECT_EQ(shown(parser->push("ments\": {\"city\": \"Zü")), R"(args0({"city": "Zü))");
  EXPECT_EQ(shown(parser->push("rich\"}")), R"(args0(rich"}))");
  EXPECT_EQ(shown(parser->push("}")), "end0");
  EXPECT_EQ(shown(parser->finish()), "");
}

TEST(ToolCallParser, TextIsOnlyHeldBackWhereAMarkerMayBegin) {
  const auto parser = ToolCallParser::make(kHermes, {.tools = tools()});
  EXPECT_EQ(shown(parser->push("a <tool")), "text(a)");
  EXPECT_EQ(shown(parser->push("box>")), "text( <toolbox>)");
  EXPECT_EQ(shown(parser->push("\n{\"city\"")), "text(\n{\"city\")");
  EXPECT_EQ(shown(parser->push("\n{\"name\"")), "");
  EXPECT_EQ(shown(parser->push(": \"John\"")), "text(\n{\"name\": \"John\")");
}

TEST(ToolCallParser, WithoutNamesAnyCallWithArgumentsIsOne) {
  EXPECT_EQ(shown(parse(kJson, {"{\"name\": \"x\", \"arguments\": {}}"}, {})), "call0(x) args0({}) end0");
  EXPECT_EQ(shown(parse(kJson, {"{\"name\": \"x\"}"}, {})), R"(text({"name": "x"}))");
  EXPECT_EQ(shown(parse(kHermes, {"{\"name\": \"now\"}"}, {.reads_json = false, .tools = tools()})),
            R"(text({"name": "now"}))");
}

// Where an answer is JSON, nothing that it holds is a call.
TEST(ToolCallParser, CallsStandAtTheBeginningOfAnAnswerInJson) {
  const std::string bare = R"({"name": "now", "arguments": {}})";
  const std::string call = "call0(now) args0({}) end0";
  const auto shown_in = [](ToolFormat format, const std::string& text, bool reads_json) {
    return shown(parse(format, {text}, {.reads_json = reads_json, .is_answer_json = true, .tools = tools()}));
  };
  const std::string marked = "<tool_call>\n" + bare + "\n</tool_call>";
  const std::string holds = R"({"a": "<tool_call>", "b": [)" + ("\n  " + bare) + "]}";
  for (const bool reads_json : {false, true}) {
    EXPECT_EQ(shown_in(kHermes, marked, reads_json), call);
    EXPECT_EQ(shown_in(kHermes, "<think>hm</think>\n" + marked, reads_json), "think(hm) " + call);
    EXPECT_EQ(shown_in(kHermes, marked + "\n" + marked, reads_json), call + " call1(now) args1({}) end1");
    EXPECT_EQ(shown_in(kLlama3, "<|python_tag|>" + bare + "; " + bare, reads_json),
              call + " call1(now) args1({}) end1");
    for (const ToolFormat format : {kHermes, kLlama3, kGlmXml, kJson, kAutoGlm}) {
      EXPECT_EQ(shown_in(format, holds, reads_json), "text(" + holds + ")") << tool_format_name(format);
      EXPECT_EQ(shown_in(format, "[" + bare + "]", reads_json), "text([" + bare + "])") << tool_format_name(format);
      const bool is_call = reads_json && format != kAutoGlm;
      EXPECT_EQ(shown_in(format, bare, reads_json), is_call ? call : "text(" + bare + ")") << tool_format_name(format);
    }
  }
  EXPECT_EQ(shown_in(kJson, "```json\n" + bare + "\n```\n" + bare, false), call + " call1(now) args1({}) end1");
}

TEST(ToolCallParser, BeginsInReasoning) {
  EXPECT_EQ(shown(parse(kGlmXml, {"\nhm\n</think>\nyes"}, {.begins_in_reasoning = true})), "think(hm) text(yes)");
  EXPECT_EQ(shown(parse(kGlmXml, {"hm"}, {.begins_in_reasoning = true})), "think(hm)");
}

TEST(ToolCallParser, CallsAreBounded) {
  const std::string call = "<tool_call>{\"name\":\"now\",\"arguments\":{\"a\":\"";
  const std::string end = "\"}}</tool_call>after";
  const auto parse_with = [&](std::size_t bytes) {
    return parse(kHermes, {call + std::string(bytes, 'x') + end}, {.max_call_bytes = 100});
  };
  const std::size_t room = 100 - call.size() - 3;
  EXPECT_EQ(parse_with(room).at(2).kind, Kind::kCallEnd);
  const std::vector<ToolEvent> events = parse_with(room + 1);
  EXPECT_EQ(events.at(2).kind, Kind::kBroken);
  EXPECT_EQ(events.at(2).text.size(), 100u);
  EXPECT_EQ(events.back().text, "after");
}

TEST(ToolCallParser, NestingIsBounded) {
  const auto nested = [&](ToolFormat format, std::size_t depth) {
    const std::string value = std::string(depth - 1, '[') + std::string(depth - 1, ']');
    const std::string call =
        format == kGlmXml        ? "<tool_call>now<arg_key>a</arg_key><arg_value>" + value + "</arg_value></tool_call>"
        : format == kAutoGlm     ? "do(action=" + value + ")"
        : format == kGlm4        ? "now\n{\"a\":" + value + "}"
        : format == kFunctionXml ? "<function=now><parameter=a>" + value + "</parameter></function>"
        : format == kMistralArgs ? "[TOOL_CALLS]now[ARGS]{\"a\":" + value + "}"
                                 : "<tool_call>{\"name\":\"now\",\"arguments\":{\"a\":" + value + "}}</tool_call>";
    const std::vector<ToolEvent> events = parse(format, {call}, {.tools = tools(), .max_depth = 20});
    return events.back().kind;
  };
  EXPECT_EQ(nested(kHermes, 19), Kind::kCallEnd);
  EXPECT_EQ(nested(kHermes, 20), Kind::kBroken);
  EXPECT_EQ(nested(kGlmXml, 20), Kind::kCallEnd);
  EXPECT_EQ(nested(kFunctionXml, 20), Kind::kCallEnd);
  for (const ToolFormat format : {kGlm4, kMistralArgs}) {
    EXPECT_EQ(nested(format, 19), Kind::kCallEnd);
    EXPECT_EQ(nested(format, 21), Kind::kBroken);
  }
  EXPECT_EQ(nested(kAutoGlm, 20), Kind::kCallEnd);
  EXPECT_EQ(nested(kAutoGlm, 22), Kind::kBroken);
}

// What would be dear for a parser that looks back: the work is a few steps a byte, whatever the text.
void expect_linear(ToolFormat format, std::string_view pattern, std::size_t max_bytes) {
  const auto parser = ToolCallParser::make(format, {.tools = tools()});
  std::string chunk;
  while (chunk.size() < 50'000) chunk += pattern;
  std::size_t bytes = 0;
  std::size_t told = 0;
  for (; bytes < max_bytes; bytes += chunk.size()) {
    for (const ToolEvent& event : parser->push(chunk)) told += event.text.size();
  }
  for (const ToolEvent& event : parser->finish()) told += event.text.size();
  EXPECT_LE(parser->steps(), 3 * bytes) << tool_format_name(format) << ": " << pattern;
  EXPECT_LE(told, 7 * bytes) << tool_format_name(format) << ": " << pattern;
}

TEST(ToolCallParser, T_C5_HostileTextIsReadInLinearSteps) {
  const std::string_view patterns[] = {"<",
                                       "<tool_call",
                                       "<tool_call>",
                                       "<tool_call>{\"name\":\"now\",\"arguments\":{\"a\":",
                                       "[",
                                       "{",
                                       "{\"name\":",
                                       "\n{\"name\":\"now\"",
                                       "```json\n",
                                       "\n```",
                                       "\n{\"type\":\n",
                                       "\n[{\"name\":\"now\",",
                                       " ",
                                       "\n",
                                       "</think>",
                                       "<think>",
                                       "<arg_key>",
                                       "<tool_call>a<arg_key>",
                                       "<tool_call>a<arg_key>k</arg_key><arg_value>",
                                       "\"",
                                       "\\",
                                       "do(action=",
                                       "do(action=\"Type\", text=\"",
                                       "finish(message=\"\")",
                                       "\")",
                                       "\") ",
                                       "<tool_call>{\"name\":\"now\"}",
                                       "{\"name\":\"now\",\"arguments\":\"\\u005c",
                                       "世",
                                       "\xff",
                                       "\nnow",
                                       "now\n",
                                       "now\n{}",
                                       "now\n{\"a\":\"",
                                       "weathe",
                                       "[TOOL_CALLS]",
                                       "[TOOL_CALLS]now[ARGS]{}",
                                       "[ARGS",
                                       "<function=now>",
                                       "<function=a><parameter=k>\n",
                                       "\n</parameter>",
                                       "<|tool_call|>[",
                                       "<|/tool_call|>"};
  for (const ToolFormat format : kFormats) {
    for (const std::string_view pattern : patterns) expect_linear(format, pattern, 200'000);
  }
  expect_linear(kHermes, "\n{\"type\":[{\"name\":", 10'000'000);
  expect_linear(kHermes, "\n{\"name\":\"now\",\"id\":\"", 10'000'000);
  expect_linear(kGlmXml, "<tool_call>a<arg_key>k</arg_key><arg_value>", 10'000'000);
}

// Pieces of every format in any order: nothing is lost without a trace, and what is called complete is JSON.
TEST(ToolCallParser, RandomTextsKeepTheRules) {
  constexpr unsigned kSeed = 7;
  std::mt19937 random(kSeed);
  const std::string_view pieces[] = {"<tool_call>",
                                     "</tool_call>",
                                     "{",
                                     "}",
                                     "[",
                                     "]",
                                     "\"name\"",
                                     ":",
                                     "\"now\"",
                                     ",",
                                     "\"arguments\"",
                                     "{}",
                                     "\n",
                                     " ",
                                     "```",
                                     "```json\n",
                                     "<think>",
                                     "</think>",
                                     "<arg_key>",
                                     "</arg_key>",
                                     "<arg_value>",
                                     "</arg_value>",
                                     "weather",
                                     "days",
                                     "12",
                                     "do(action=",
                                     "finish(message=",
                                     "\"",
                                     "'",
                                     ")",
                                     "element=[1,2]",
                                     "<|python_tag|>",
                                     "</answer>",
                                     "世",
                                     "\\",
                                     "now",
                                     "[TOOL_CALLS]",
                                     "[CALL_ID]",
                                     "[ARGS]",
                                     "<function=now>",
                                     "<parameter=days>",
                                     "</parameter>",
                                     "</function>",
                                     "<|tool_call|>",
                                     "<|/tool_call|>",
                                     "\xe4"};
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (std::size_t count = random() % 24; count > 0; --count) text += pieces[random() % std::size(pieces)];
    for (const ToolFormat format : kFormats) {
      const std::vector<ToolEvent> events = parse(format, {text});
      std::vector<std::string> arguments;
      std::size_t ended = 0;
      for (const ToolEvent& event : events) {
        if (event.kind == Kind::kCallBegin) {
          ASSERT_EQ(event.call, ended) << "seed " << kSeed << ": " << text;
          arguments.emplace_back();
        } else if (event.kind == Kind::kArguments) {
          arguments.back() += event.text;
        } else if (event.kind == Kind::kCallEnd) {
          base::Budget budget;
          const auto parsed = json::parse(arguments.back(), budget);
          ASSERT_TRUE(parsed && parsed->is_object()) << "seed " << kSeed << ": " << text;
          ASSERT_EQ(event.call, ended++);
        } else if (event.kind == Kind::kBroken) {
          ASSERT_EQ(event.call, ended++) << "seed " << kSeed << ": " << text;
        }
      }
      const std::size_t cut = text.empty() ? 0 : random() % text.size();
      ASSERT_EQ(shown(parse(format, {std::string_view(text).substr(0, cut), std::string_view(text).substr(cut)})),
                shown(events))
          << "seed " << kSeed << ": " << text;
    }
  }
}

TEST(ToolFormatOf, FollowsTheMarkersOfTheTemplate) {
  EXPECT_EQ(tool_format_of("{% for m in messages %}{{ m.content }}{% endfor %}"), std::nullopt);
  EXPECT_EQ(tool_format_of("{% if tools %}within <tool_call></tool_call>{% endif %}"), ToolFormat::kHermes);
  EXPECT_EQ(tool_format_of("{% if tools %}<tool_call>{name}\n<arg_key>{key}</arg_key>{% endif %}"),
            ToolFormat::kGlmXml);
  constexpr std::string_view kLlama =
      "{%- if tools is not none %}{{- 'Respond in the format {\"name\": function name, \"parameters\": dictionary of "
      "argument name and its value}.' }}{%- endif %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>' "
      "}}";
  EXPECT_EQ(tool_format_of(kLlama), ToolFormat::kLlama3);
  EXPECT_EQ(tool_format_of("{% if tools %}<|python_tag|>{% endif %}"), ToolFormat::kLlama3);
  EXPECT_EQ(tool_format_of("{% if tools %}answer with {\"name\": ..., \"arguments\": ...}{% endif %}"),
            ToolFormat::kJson);
  EXPECT_EQ(tool_format_of("use do(action=\"Tap\", element=[x,y])"), ToolFormat::kAutoGlm);
  EXPECT_EQ(tool_format_of("{% if tools %}# 可用工具 在调用上述函数时，请使用 Json 格式表示调用的参数。{% endif %}"),
            kGlm4);
  EXPECT_EQ(tool_format_of("{% if tools %}{{ '[TOOL_CALLS][' + call.function|tojson + ']' }}{% endif %}"), kMistral);
  EXPECT_EQ(tool_format_of("{% if tools %}{{ '[TOOL_CALLS]' + name + '[ARGS]' + arguments }}{% endif %}"),
            kMistralArgs);
  EXPECT_EQ(tool_format_of("{% if tools %}<tool_call>\n<function=f>\n<parameter=p>{% endif %}"), kFunctionXml);
  EXPECT_EQ(tool_format_of("{% if 'tools' in message %}{{ '<|tool|>' + message['tools'] + '<|/tool|>' }}{% endif %}"),
            kPhi4);
}

}  // namespace
}  // namespace autoglm::text
