// SPDX-License-Identifier: Apache-2.0
#include "agent/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/reference_syntax.h"

namespace autoglm::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

json::Object object_of(std::string_view text) {
  base::Budget budget;
  return json::parse(text, budget).value().as_object();
}

Action action_of(std::size_t step, std::string text, ActionState state = ActionState::kDone) {
  Action action;
  action.step = step;
  action.call.tool = "a_tool";
  action.result.state = state;
  action.result.text = std::move(text);
  return action;
}

const std::vector<Action> kEarlier = {
    action_of(1, "plain text, not JSON"),
    action_of(2, R"({"path":[{"to":"Bern","km":120.5},{"to":"Thun"}],"n":3,"odd name":true,"none":null})"),
    action_of(3, "refused", ActionState::kFailed), action_of(4, "42"), action_of(5, R"("quoted")")};

std::string resolved(std::string_view arguments, std::string_view parameters = "{}") {
  const auto result = resolve(object_of(arguments), kEarlier, object_of(parameters));
  return result ? json::format(*result) : "error: " + result.error().message;
}

Error refusal(std::string_view arguments) {
  auto result = resolve(object_of(arguments), kEarlier);
  EXPECT_FALSE(result) << json::format(*result);
  return result ? Error{} : std::move(result).error();
}

TEST(Reference, AWholeReferenceKeepsItsType) {
  EXPECT_EQ(resolved(R"({"a":"$step_2.path[0].to"})"), R"({"a":"Bern"})");
  EXPECT_EQ(resolved(R"({"a":"$step_2.path[0].km","b":"${step_2.n}"})"), R"({"a":120.5,"b":3})");
  EXPECT_EQ(resolved(R"({"a":"$step_2.path"})"), R"({"a":[{"to":"Bern","km":120.5},{"to":"Thun"}]})");
  EXPECT_EQ(resolved(R"({"a":"$step_2[\"odd name\"]","b":"$step_2['odd name']","c":"$step_2.none"})"),
            R"({"a":true,"b":true,"c":null})");
  EXPECT_EQ(resolved(R"({"a":"$step_1","b":"$step_1.text","c":"$step_4","d":"$step_5"})"),
            R"({"a":"plain text, not JSON","b":"plain text, not JSON","c":42,"d":"quoted"})");
  EXPECT_EQ(resolved(R"({"deep":[1,{"x":"$step_2.n"}]})"), R"({"deep":[1,{"x":3}]})");
}

TEST(Reference, WhereTheToolWantsAStringItGetsOne) {
  const std::string_view wants = R"({"properties":{"s":{"type":"string"},"list":{"items":{"type":"string"}}}})";
  EXPECT_EQ(resolved(R"({"s":"$step_4","n":"$step_4"})", wants), R"({"s":"42","n":42})");
  EXPECT_EQ(resolved(R"({"s":"$step_5"})", wants), R"({"s":"\"quoted\""})");  // as the tool gave it
  EXPECT_EQ(resolved(R"({"s":"$step_2.path[1]","list":["$step_2.n"]})", wants),
            R"({"s":"{\"to\":\"Thun\"}","list":["3"]})");
}

TEST(Reference, WithinALongerText) {
  EXPECT_EQ(resolved(R"({"a":"to ${step_2.path[1].to}: ${step_4}, ${step_2.path[1]}!"})"),
            R"({"a":"to Thun: 42, {\"to\":\"Thun\"}!"})");
  const Error bare = refusal(R"({"a":[{"b":"to $step_2.n please"}]})");
  EXPECT_EQ(bare.code, Code::kInvalidArgument);
  EXPECT_EQ(bare.where, "/a/0/b");
  EXPECT_THAT(bare.message, HasSubstr("${step_2}"));
}

TEST(Reference, DollarsThatAreNone) {
  for (const char* text : {"$", "$$", "cost $5", "$stepping", "$step_", "$step_x", "$step_1_old", "${step_1",
                           "${step_}", "$(step_1)", "$$(CC)", "$step_12345678"}) {
    json::Object arguments;
    arguments["a"] = text;
    EXPECT_TRUE(steps_named(arguments).empty()) << text;
    const auto same = resolve(arguments, {});
    ASSERT_TRUE(same) << text;
    EXPECT_EQ(same->at("a"), text);
  }
  EXPECT_EQ(resolved(R"({"a":"$$step_9","b":"x $${step_9.y} $$$step_1"})"),
            R"({"a":"$step_9","b":"x ${step_9.y} $$step_1"})");
}

TEST(Reference, ErrorsNameWhatIsThere) {
  EXPECT_THAT(refusal(R"({"a":"$step_2.pth"})").message, HasSubstr("path, n, odd name, none"));
  EXPECT_THAT(refusal(R"({"a":"$step_2.path[2]"})").message, HasSubstr("a list of 2 items"));
  EXPECT_THAT(refusal(R"({"a":"$step_2.path[0].to.x"})").message, HasSubstr("a text"));
  EXPECT_THAT(refusal(R"({"a":"$step_1.name"})").message, HasSubstr("write $step_1"));
  EXPECT_THAT(refusal(R"({"a":"$step_3"})").message, HasSubstr("did not succeed"));
  const Error unknown = refusal(R"({"a":{"b~/c":"$step_9"}})");
  EXPECT_EQ(unknown.where, "/a/b~0~1c");
  EXPECT_THAT(unknown.message, HasSubstr("$$step_9"));
}

TEST(Reference, StepsAreNamedOnceAndRise) {
  EXPECT_THAT(steps_named(object_of(R"({"a":["$step_7","x ${step_2.y} ${step_7}"],"b":{"c":"$step_3[0]"}})")),
              ElementsAre(2, 3, 7));
  EXPECT_TRUE(steps_named(object_of(R"({"$step_1":"key, not value","b":"$$step_1"})")).empty());
}

TEST(Reference, ValuesAreBounded) {
  const std::vector<Action> large = {action_of(1, std::string(1u << 20, 'x'))};
  json::Object arguments;
  for (int i = 0; i < 4; ++i) arguments[std::to_string(i)] = "$step_1";
  EXPECT_TRUE(resolve(arguments, large));
  arguments["one more"] = "$step_1";
  EXPECT_EQ(resolve(arguments, large).error().code, Code::kExhausted);
}

TEST(Reference, HostileTextsAreLinear) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "$step_1[\"";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(references_in(text).size(), 100'000u);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  // A result that is a bomb of brackets is a text like any other.
  const std::vector<Action> bomb = {action_of(1, std::string(500'000, '['))};
  json::Object arguments;
  arguments["a"] = "$step_1";
  EXPECT_TRUE(resolve(arguments, bomb));
}

}  // namespace
}  // namespace autoglm::agent
