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

TEST(NumbersInTest, AtAnyDepthAsTheyAreWritten) {
  EXPECT_THAT(numbers_in(arguments(R"({"a": 12, "b": [-3, {"c": 2.5}], "d": "7", "e": true})")),
              ElementsAre("12", "-3", "2.5"));
}

TEST(IsCalledFolderTest, OnlyTheWholePlace) {
  EXPECT_TRUE(is_called_folder("Move it into the folder /srv/done.", "/srv/done"));
  EXPECT_TRUE(is_called_folder("in directory /srv/done, please", "/srv/done"));
  EXPECT_FALSE(is_called_folder("the folder /srv/done-2 and /srv/done", "/srv/done"));
  EXPECT_FALSE(is_called_folder("the folder /srv/done/old", "/srv/done"));
}

TEST(MendDestinationTest, WhatIsMovedOntoAFolderGoesIntoIt) {
  const auto is_folder = [](std::string_view place) { return place == "/srv/done"; };
  const auto mended = [&](std::string_view text) {
    json::Object moved = arguments(text);
    (void)mend_destination(moved, is_folder);
    return json::format(moved);
  };
  json::Object moved = arguments(R"({"source": "/srv/a.txt", "destination": "/srv/done/"})");
  EXPECT_THAT(mend_destination(moved, is_folder), ElementsAre("/srv/done -> /srv/done/a.txt"));
  EXPECT_EQ(json::format(moved), R"({"source":"/srv/a.txt","destination":"/srv/done/a.txt"})");
  for (const std::string_view fine :
       {R"({"source":"/srv/a.txt","destination":"/srv/b.txt"})", R"({"source":"/srv/done","destination":"/srv/done"})",
        R"({"source":"/srv/logs/","destination":"/srv/done"})", R"({"source":7,"destination":"/srv/done"})",
        R"({"path":"/srv/done"})"}) {
    EXPECT_EQ(mended(fine), fine);
  }
}

TEST(MendNamesTest, NamesFromAListingGetItsFolder) {
  const std::vector<Listing> listings = {{"/old", "[FILE] a.txt\n[FILE] c.txt"}, {"/srv/", "[FILE] a.txt\n[DIR] b"}};
  json::Object read = arguments(R"({"paths": ["a.txt", "c.txt", "d.txt", "b", "/x/a.txt", 7], "text": "a.txt"})");
  EXPECT_THAT(mend_names(read, listings), ElementsAre("a.txt -> /srv/a.txt", "c.txt -> /old/c.txt"));
  EXPECT_EQ(json::format(read), R"({"paths":["/srv/a.txt","/old/c.txt","d.txt","b","/x/a.txt",7],"text":"a.txt"})");
  json::Object part = arguments(R"({"path": "txt.a"})");
  EXPECT_THAT(mend_names(part, {{"/srv", "my-txt.a txt.ab"}}), IsEmpty()) << "whole words only";
}

}  // namespace
}  // namespace autoglm::agent
