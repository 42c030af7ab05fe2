// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/tool_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/fake_tool.h"

namespace autoglm::agent {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

ConfigOptions file_options() {
  ConfigOptions options;
  options.folder = "/tmp";
  options.variables = [](const std::string& name) -> std::optional<std::string> {
    if (name == "KEY") return "s3cret";
    return name == "HOME" ? std::optional<std::string>("/tmp") : std::nullopt;
  };
  return options;
}

Error refusal(std::string_view toml) {
  auto tools = parse_tool_file(toml, "tools.toml", file_options());
  EXPECT_FALSE(tools) << toml;
  return tools ? Error{} : tools.error();
}

TEST(ToolFile, ReadsProgramsAndEndpoints) {
  const auto tools = parse_tool_file(R"(
    [tools.count]
    kind = "process"
    description = "Counts words."
    command = ["wc", "-w"]
    class = "read"
    timeout_ms = 5000
    retries = 2
    max_concurrency = 1
    [tools.count.parameters.properties.text]
    type = "string"

    [tools.weather]
    kind = "http"
    description = "The weather of a city."
    url = "https://api.example.com/{city}?units={units}"
    headers = {Authorization = "Bearer ${KEY}"}
    approval = "never"
    parameters = {properties = {city = {type = "string"}, units = {type = "string"}}, required = ["city"]}
    )",
                                     "tools.toml", file_options());
  ASSERT_TRUE(tools) << tools.error().message;
  ASSERT_THAT(*tools, SizeIs(2));
  const ToolDescription& count = (*tools)[0]->description();
  EXPECT_EQ(count.name, "count");
  EXPECT_EQ(count.source, "process");
  EXPECT_EQ(count.tool_class, ToolClass::kRead);
  EXPECT_EQ(count.approval, Approval::kNever);
  EXPECT_EQ(count.timeout, milliseconds(5000));
  EXPECT_EQ(count.retries, 2u);
  EXPECT_EQ(count.max_concurrency, 1u);
  EXPECT_TRUE(count.is_sandboxed);
  EXPECT_EQ(json::format(count.parameters), R"({"properties":{"text":{"type":"string"}},"type":"object"})");
  const ToolDescription& weather = (*tools)[1]->description();
  EXPECT_EQ(weather.tool_class, ToolClass::kExternal);
  EXPECT_EQ(weather.approval, Approval::kNever);
}

TEST(ToolFile, JsonKeepsItsOrder) {
  const auto tools = parse_tool_file(R"({"tools":{"zebra":{"kind":"process","description":"z","command":["true"]},
      "ant":{"kind":"process","description":"a","command":["true"]}}})",
                                     "tools.json", file_options());
  ASSERT_TRUE(tools) << tools.error().message;
  EXPECT_EQ((*tools)[0]->description().name, "zebra");
  EXPECT_EQ((*tools)[0]->description().tool_class, ToolClass::kWrite);  // what is not said to be a read is none
  EXPECT_EQ((*tools)[0]->description().approval, Approval::kAsk);
}

TEST(ToolFile, AToolFromAFileRuns) {
  ConfigOptions open = file_options();
  open.is_sandboxed = false;
  const auto tools = parse_tool_file(
      "[tools.echo]\nkind='process'\ndescription='d'\ncommand=['sh','-c','cat; echo "
      "$WORD']\nenvironment={WORD='${KEY}'}\n",
      "t.toml", open);
  ASSERT_TRUE(tools) << tools.error().message;
  EXPECT_FALSE((*tools)[0]->description().is_sandboxed);
  EXPECT_EQ((*tools)[0]->run(parse_json(R"({"a":1})").as_object(), {})->text, "{\"a\":1}s3cret\n");
}

TEST(ToolFile, CommandsPathsAndAddressesComeFromTheEnvironmentToo) {
  ConfigOptions open = file_options();
  open.is_sandboxed = false;
  const auto tools = parse_tool_file(R"(
    [tools.echo]
    kind = "process"
    description = "d"
    command = ["sh", "-c", "echo '${KEY}'; pwd"]
    readable = ["${HOME}"]
    folder = "${FOLDER:-/}"

    [tools.item]
    kind = "http"
    description = "d"
    url = "http://${HOST:-127.0.0.1}:1/{name}"
    private_addresses = ["${RANGE:-127.0.0.0/8}"]
    parameters = {properties = {name = {type = "string"}}}
    )",
                                     "t.toml", open);
  ASSERT_TRUE(tools) << tools.error().message;
  EXPECT_EQ((*tools)[0]->run({}, {})->text, "s3cret\n/\n");
}

TEST(ToolFile, ErrorsNameTheirPlace) {
  const std::string process = "[tools.t]\nkind='process'\ndescription='d'\n";
  const std::string http = "[tools.t]\nkind='http'\ndescription='d'\n";
  const std::pair<std::string, const char*> cases[] = {
      {"x = 1\n[tools]\n", "x"},
      {"tools = 3", "tools"},
      {"", "tools"},
      {"[tools.'a b']\nkind='process'", "tools.a b"},
      {"[tools]\nt = 3", "tools.t"},
      {"[tools.t]\nkind='magic'", "tools.t.kind"},
      {"[tools.t]\nkind='process'\ncommand=['true']", "tools.t.description"},
      {process, "tools.t.command"},
      {process + "command='true'", "tools.t.command"},
      {process + "command=['true',3]", "tools.t.command"},
      {process + "command=['true']\nclass='harmless'", "tools.t.class"},
      {process + "command=['true']\napproval='maybe'", "tools.t.approval"},
      {process + "command=['true']\ntimeout_ms=0", "tools.t.timeout_ms"},
      {process + "command=['true']\ntimeout=3", "tools.t.timeout"},
      {process + "command=['true']\nwritable=['']", "tools.t.writable"},
      {process + "command=['true']\nmemory_bytes=-1", "tools.t.memory_bytes"},
      {process + "command=['true']\nenvironment={A='${NOT_SET}'}", "tools.t.environment.A"},
      {process + "command=['true','${NOT_SET}']", "tools.t.command"},
      {process + "command=['true']\nreadable=['${NOT_SET}']", "tools.t.readable"},
      {process + "command=['true']\nfolder='${NOT_SET}'", "tools.t.folder"},
      {http, "tools.t.url"},
      {http + "url='https://${NOT_SET}/'", "tools.t.url"},
      {http + "url='ftp://x/'", "tools.t.url"},
      {http + "url='https://{h}/'", "tools.t.url"},
      {http + "url='https://a.example/{city}'", "tools.t.url"},
      {http + "url='https://a.example/'\nparameters={properties={q={}}}", "tools.t.url"},
      {http + "url='https://a.example/'\nmethod='TRACE'", "tools.t.method"},
      {http + "url='https://a.example/'\nprivate_addresses=['localhost']", "tools.t.private_addresses"},
      {http + "url='https://a.example/'\nheaders={a=1}", "tools.t.headers"},
  };
  for (const auto& [toml, where] : cases) {
    const Error error = refusal(toml);
    EXPECT_EQ(error.code, Code::kInvalidArgument) << toml;
    EXPECT_EQ(error.where, where) << toml << ": " << error.message;
  }
  EXPECT_THAT(refusal("[tools.t\n").message, HasSubstr("line"));
  EXPECT_THAT(refusal("[tools.t]\nkind='magic'").message, StartsWith("tools.toml: tool t: tools.t.kind "));
  EXPECT_EQ(refusal(process + "command=['openautoglm-no-such-program']").code, Code::kNotFound);
  EXPECT_EQ(refusal(process + "command=['true']\nreadable=['no-such-folder']").code, Code::kNotFound);
}

TEST(ToolFile, SecretsAreInNoMessage) {
  const Error error = refusal("[tools.t]\nkind='http'\ndescription='d'\nurl='x'\nheaders={a='${KEY}'}");
  EXPECT_EQ(error.message.find("s3cret"), std::string::npos);
}

TEST(ToolFile, HostileFilesAreBounded) {
  EXPECT_EQ(refusal(std::string(2u << 20, '#')).code, Code::kExhausted);
  const std::string deep = "{\"tools\":" + std::string(200'000, '[') + std::string(200'000, ']') + "}";
  EXPECT_EQ(parse_tool_file(deep, "t.json", file_options()).error().code, Code::kExhausted);
}

}  // namespace
}  // namespace autoglm::agent
