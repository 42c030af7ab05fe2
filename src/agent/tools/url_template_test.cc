// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/url_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/fake_tool.h"

namespace autoglm::agent {
namespace {

using testing::ElementsAre;

std::string filled(std::string_view text, std::string_view arguments) {
  const auto url = UrlTemplate::parse(text);
  if (!url) return "template: " + url.error().message;
  const auto result = url->fill(parse_json(arguments).as_object());
  return result ? *result : "refused at " + result.error().where;
}

TEST(UrlTemplate, FillsPathAndQuery) {
  const std::string_view weather = "https://api.example.com/v1/{city}/now?units={units}&lang=en&q={query}";
  EXPECT_EQ(filled(weather, R"({"city":"Bern","units":"metric","query":"a b&c=d#e"})"),
            "https://api.example.com/v1/Bern/now?units=metric&lang=en&q=a%20b%26c%3Dd%23e");
  EXPECT_EQ(filled(weather, R"({"city":"Z\u00fcrich","query":null})"),
            "https://api.example.com/v1/Z%C3%BCrich/now?lang=en");
  EXPECT_EQ(filled("http://127.0.0.1:8080/{n}-{b}.json", R"({"n":1.5,"b":true})"),
            "http://127.0.0.1:8080/1.5-true.json");
  EXPECT_EQ(filled("https://a.example?q={q}", R"({"q":7})"), "https://a.example/?q=7");
  EXPECT_THAT(UrlTemplate::parse(weather)->names(), ElementsAre("city", "units", "query"));
}

TEST(UrlTemplate, NoValueLeadsElsewhere) {
  const std::string_view url = "https://api.example.com/files/{name}";
  EXPECT_EQ(filled(url, R"({"name":"../../admin"})"), "https://api.example.com/files/..%2F..%2Fadmin");
  EXPECT_EQ(filled(url, R"({"name":"a?b=c"})"), "https://api.example.com/files/a%3Fb%3Dc");
  EXPECT_EQ(filled(url, R"({"name":"x@evil.example/"})"), "https://api.example.com/files/x%40evil.example%2F");
  EXPECT_EQ(filled(url, R"({"name":"a\r\nHost: evil"})"), "https://api.example.com/files/a%0D%0AHost%3A%20evil");
  EXPECT_EQ(filled(url, R"({"name":"\\..\\"})"), "https://api.example.com/files/%5C..%5C");
  EXPECT_EQ(filled(url, R"({"name":"%2e%2e"})"), "https://api.example.com/files/%252e%252e");
  for (const char* name : {R"("..")", R"(".")", R"("")", "null", "[]", "{}"})
    EXPECT_EQ(filled(url, std::string(R"({"name":)") + name + "}"), "refused at /name") << name;
  EXPECT_EQ(filled(url, "{}"), "refused at /name");
  EXPECT_EQ(filled("https://a.example/?q={q}", R"({"q":["x"]})"), "refused at /q");
}

TEST(UrlTemplate, TemplatesThatAreNone) {
  for (const char* text :
       {"https://{host}/x", "https://a.example:{port}/", "{url}", "ftp://a.example/", "https://u@a.example/",
        "https://a.example/{", "https://a.example/}", "https://a.example/{}", "https://a.example/{a{b}}",
        "https://a.example/?{q}", "https://a.example/?q=x{q}", "https://a.example/?q={q}x", "https://a.example/?={q}",
        "https://a.example/#{x}", "https://a.example/a b", ""})
    EXPECT_TRUE(filled(text, R"({"q":"v"})").starts_with("template: ")) << text << ": " << filled(text, R"({"q":"v"})");
}

}  // namespace
}  // namespace autoglm::agent
