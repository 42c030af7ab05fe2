// SPDX-License-Identifier: Apache-2.0
#include "agent/task_places.h"

#include <gmock/gmock.h>

#include "agent/fake_tool.h"

namespace autoglm::agent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST(PlacesInTest, PathsAddressesAndNames) {
  EXPECT_THAT(places_in("Read /srv/a.txt, ./b and ~/c; then \"notes.md\" (see https://host/d?e=1)."),
              ElementsAre("/srv/a.txt", "./b", "~/c", "notes.md", "https://host/d?e=1"));
  EXPECT_THAT(places_in("Is /srv/logs/ larger than /srv/logs? Look into `/srv/logs`!"), ElementsAre("/srv/logs"));
  EXPECT_THAT(places_in("lies datei.txt und größe.csv"), ElementsAre("datei.txt", "größe.csv"));
}

TEST(PlacesInTest, WhatOnlyLooksLikeOne) {
  EXPECT_THAT(places_in("e.g. 3.5 kg, i.e. version 2.0.0 and/or .bak; write to a@b.example... A / B ~ C"), IsEmpty());
  EXPECT_THAT(places_in(""), IsEmpty());
}

TEST(PlacesInTest, NotMoreThanAFew) {
  std::string task;
  for (int i = 0; i < 1000; ++i) task += "f" + std::to_string(i) + ".txt ";
  EXPECT_THAT(places_in(task), SizeIs(32));
}

json::Object arguments(std::string_view text) { return parse_json(text).as_object(); }

TEST(IsAboutTest, PathsAtAnyDepth) {
  EXPECT_TRUE(is_about(arguments(R"({"path": "/srv/a.txt"})"), "/srv/a.txt"));
  EXPECT_TRUE(is_about(arguments(R"({"paths": ["/srv/b", "/srv/a.txt"]})"), "a.txt"));
  EXPECT_TRUE(is_about(arguments(R"({"to": {"path": "/srv/logs/new"}})"), "/srv/logs"));
  EXPECT_FALSE(is_about(arguments(R"({"path": "/srv/b.txt", "n": 7})"), "/srv/a.txt"));
}

TEST(IsAboutTest, WordsThatNameAPlaceDoNotLookAtIt) {
  EXPECT_FALSE(is_about(arguments(R"({"content": "the text of /srv/a.txt"})"), "/srv/a.txt"));
  EXPECT_TRUE(is_about(arguments(R"({"path": "/srv/my file.txt"})"), "/srv/my file.txt"));
}

TEST(NameOfPlaceTest, IsTheLastPart) {
  EXPECT_EQ(name_of_place("/srv/a.txt"), "a.txt");
  EXPECT_EQ(name_of_place("/srv/logs/"), "logs");
  EXPECT_EQ(name_of_place("notes.md"), "notes.md");
  EXPECT_EQ(name_of_place("see /srv/a.txt"), "");
  EXPECT_EQ(name_of_place("word"), "");
  EXPECT_EQ(name_of_place("/"), "");
}

}  // namespace
}  // namespace autoglm::agent
