// SPDX-License-Identifier: Apache-2.0
// The files, folders and addresses that a task names: what an agent should have looked at before it says that it is
// done. A guess from how they are written; nothing is looked up. Pure functions; any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace autoglm::agent {

/// Absolute paths, addresses with a scheme and names with an extension, in the order of the text, each once: "/srv/a",
/// "./b", "https://host/c", "notes.md". No more than 32.
std::vector<std::string> places_in(std::string_view task);

/// The strings of a call's arguments, at any depth; views into them.
std::vector<std::string_view> texts_in(const json::Object& arguments);

/// Whether a call with these arguments is about the place: one of its strings is a path or a name that holds it. Text
/// with blanks only talks about places, unless the place itself has them.
bool is_about(const json::Object& arguments, std::string_view place);

/// The numbers of a call's arguments, at any depth, as they are written in JSON.
std::vector<std::string> numbers_in(const json::Object& arguments);

/// The last part of a text that is a place and nothing else: "a.txt" of "/srv/a.txt", nothing of "two words".
std::string_view name_of_place(std::string_view text);

/// Puts the root back before paths of the task that were written without it: "srv/a.txt" where the task says
/// "/srv/a.txt" or names something else in that folder. Returns what it mended: "srv/a.txt -> /srv/a.txt".
std::vector<std::string> mend_paths(json::Object& arguments, const std::vector<std::string>& places);

/// Whether the task calls the place a folder: "into the folder /srv/done".
bool is_called_folder(std::string_view task, std::string_view place);

/// As mv does: what is moved onto a folder goes into it. From "source": "/a/x.txt" and "destination": "/b" the latter
/// becomes "/b/x.txt" where `is_folder` knows "/b". Returns what it mended.
std::vector<std::string> mend_destination(json::Object& arguments,
                                          const std::function<bool(std::string_view)>& is_folder);

// What a tool told of a folder.
struct Listing {
  std::string_view folder;
  std::string_view text;
};

/// Puts the folder back before names that stand in a listing of it, in arguments that are called paths: "a.txt" where
/// "/srv" was found to hold it. The last listing counts. Returns what it mended.
std::vector<std::string> mend_names(json::Object& arguments, const std::vector<Listing>& listings);

}  // namespace autoglm::agent
