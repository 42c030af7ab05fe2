// SPDX-License-Identifier: Apache-2.0
#include "agent/task_places.h"

#include <algorithm>
#include <cstddef>

#include "base/ascii.h"

namespace autoglm::agent {
namespace {

using base::is_letter;
using base::is_letter_or_digit;

constexpr std::size_t kMaxPlaces = 32;
constexpr std::size_t kMaxExtension = 6;
constexpr std::string_view kBlanks = " \t\r\n";
// Around a place in a sentence, not part of it.
constexpr std::string_view kBefore = "\"'`([{<*";
constexpr std::string_view kAfter = "\"'`)]}>*.,;:!?/";

// "notes.md", but not "e.g", "3.5", "2.0.0" or an e-mail address.
bool has_extension(std::string_view word) {
  const std::size_t dot = word.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || word.contains('@')) return false;
  const std::string_view extension = word.substr(dot + 1);
  return extension.size() <= kMaxExtension && !extension.empty() && is_letter(extension[0]) &&
         std::ranges::all_of(extension, is_letter_or_digit) && dot + extension.size() > 2 &&
         is_letter_or_digit(word[dot - 1]);
}

void add_texts(const json::Value& value, std::vector<std::string_view>& texts) {
  if (const auto* text = value.if_string()) {
    texts.push_back(json::view(*text));
  } else if (const auto* array = value.if_array()) {
    for (const json::Value& element : *array) add_texts(element, texts);
  } else if (const auto* object = value.if_object()) {
    for (const auto& field : *object) add_texts(field.value(), texts);
  }
}

void add_numbers(const json::Value& value, std::vector<std::string>& numbers) {
  if (value.is_number()) {
    numbers.push_back(json::format(value));
  } else if (const auto* array = value.if_array()) {
    for (const json::Value& element : *array) add_numbers(element, numbers);
  } else if (const auto* object = value.if_object()) {
    for (const auto& field : *object) add_numbers(field.value(), numbers);
  }
}

// Whether the word stands in the text between blanks.
bool has_word(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    const bool begins = at == 0 || kBlanks.contains(text[at - 1]);
    if (begins && (end == text.size() || kBlanks.contains(text[end]))) return true;
  }
  return false;
}

void mend_name(json::Value& value, const std::vector<Listing>& listings, std::vector<std::string>& mended) {
  if (auto* array = value.if_array()) {
    for (json::Value& element : *array) {
      if (element.is_string()) mend_name(element, listings, mended);
    }
  }
  auto* text = value.if_string();
  if (text == nullptr || json::view(*text).contains('/') || !has_extension(json::view(*text))) return;
  const std::string name(*text);
  for (auto listing = listings.rbegin(); listing != listings.rend(); ++listing) {
    if (!has_word(listing->text, name)) continue;
    std::string path(listing->folder);
    path += (path.ends_with('/') ? "" : "/") + name;
    mended.push_back(name + " -> " + path);
    *text = path;
    return;
  }
}

// Whether the path lies in the folder of a place.
bool is_beside(std::string_view path, std::string_view place) {
  const std::size_t last = place.starts_with('/') ? place.rfind('/') : 0;
  return last > 0 && path.starts_with(place.substr(0, last + 1));
}

void mend(json::Value& value, const std::vector<std::string>& places, std::vector<std::string>& mended) {
  if (auto* text = value.if_string(); text != nullptr && !text->empty() && text->front() != '/') {
    const std::string path = "/" + std::string(*text);
    if (!std::ranges::any_of(places, [&](const std::string& place) { return is_beside(path, place); })) return;
    mended.push_back(path.substr(1) + " -> " + path);
    *text = path;
  } else if (auto* array = value.if_array()) {
    for (json::Value& element : *array) mend(element, places, mended);
  } else if (auto* object = value.if_object()) {
    for (auto& field : *object) mend(field.value(), places, mended);
  }
}

bool is_place(std::string_view word) {
  const std::string_view path = word.starts_with('~') || word.starts_with('.') ? word.substr(1) : word;
  if (path.starts_with('/')) return path.size() > 1;
  return word.contains("://") || has_extension(word);
}

}  // namespace

std::vector<std::string> places_in(std::string_view task) {
  std::vector<std::string> places;
  std::size_t end = 0;
  while (places.size() < kMaxPlaces) {
    const std::size_t begin = task.find_first_not_of(kBlanks, end);
    if (begin == std::string_view::npos) break;
    end = std::min(task.find_first_of(kBlanks, begin), task.size());
    std::string_view word = task.substr(begin, end - begin);
    while (!word.empty() && kBefore.contains(word.front())) word.remove_prefix(1);
    while (!word.empty() && kAfter.contains(word.back())) word.remove_suffix(1);
    if (is_place(word) && std::ranges::find(places, word) == places.end()) places.emplace_back(word);
  }
  return places;
}

std::vector<std::string_view> texts_in(const json::Object& arguments) {
  std::vector<std::string_view> texts;
  for (const auto& field : arguments) add_texts(field.value(), texts);
  return texts;
}

std::vector<std::string> numbers_in(const json::Object& arguments) {
  std::vector<std::string> numbers;
  for (const auto& field : arguments) add_numbers(field.value(), numbers);
  return numbers;
}

bool is_about(const json::Object& arguments, std::string_view place) {
  return std::ranges::any_of(texts_in(arguments), [&](std::string_view text) {
    return text.contains(place) && (text.size() == place.size() || text.find_first_of(kBlanks) == std::string::npos);
  });
}

std::string_view name_of_place(std::string_view text) {
  if (text.find_first_of(kBlanks) != std::string_view::npos || !is_place(text)) return {};
  while (text.ends_with('/')) text.remove_suffix(1);
  return text.substr(text.rfind('/') + 1);
}

std::vector<std::string> mend_paths(json::Object& arguments, const std::vector<std::string>& places) {
  std::vector<std::string> mended;
  for (auto& field : arguments) mend(field.value(), places, mended);
  return mended;
}

bool is_called_folder(std::string_view task, std::string_view place) {
  for (const std::string_view word : {"folder ", "directory "}) {
    const std::string named = std::string(word) + std::string(place);
    for (std::size_t at = task.find(named); at != std::string_view::npos; at = task.find(named, at + 1)) {
      const std::string_view rest = task.substr(at + named.size());
      if (rest.empty() || !(is_letter_or_digit(rest[0]) || std::string_view("/-_").contains(rest[0]))) return true;
    }
  }
  return false;
}

std::vector<std::string> mend_destination(json::Object& arguments,
                                          const std::function<bool(std::string_view)>& is_folder) {
  const json::Value* source = arguments.if_contains("source");
  json::Value* destination = arguments.if_contains("destination");
  if (source == nullptr || destination == nullptr || !source->is_string() || !destination->is_string()) return {};
  std::string folder(destination->get_string());
  while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
  const std::string_view from = json::view(source->get_string());
  const std::string_view name = from.substr(from.rfind('/') + 1);
  if (name.empty() || from == folder || !is_folder(folder)) return {};
  const std::string path = folder + "/" + std::string(name);
  std::string mended = folder + " -> " + path;
  *destination = path;
  return {std::move(mended)};
}

std::vector<std::string> mend_names(json::Object& arguments, const std::vector<Listing>& listings) {
  std::vector<std::string> mended;
  for (auto& field : arguments) {
    if (field.key().contains("path")) mend_name(field.value(), listings, mended);
  }
  return mended;
}

}  // namespace autoglm::agent
