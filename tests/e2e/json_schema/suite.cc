// SPDX-License-Identifier: Apache-2.0
// suite FOLDER MIN_RIGHT: the JSON-Schema-Test-Suite's files in FOLDER through the automaton that masks a model's
// tokens. Each instance is walked byte by byte, each byte looked up in the mask, and must end where the mask allows the
// end. A grammar is narrower than its schema in how it writes an instance: it fixes the order of an object's keys and
// has one spelling for a number. So an instance is written compactly, whole numbers with and without a point, and in
// every order of its keys until one passes; one that must not pass is tried in all of them too. Prints the counts and
// what is not right, by reason.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "text/byte_tokenizer.h"
#include "text/grammar.h"

namespace {

using namespace autoglm;
namespace fs = std::filesystem;

constexpr std::size_t kMaxOrders = 5040;

// Every way to write `value` with the keys of its objects in some order; at most kMaxOrders.
std::vector<std::string> spellings(const json::Value& value) {
  if (value.is_array()) {
    std::vector<std::string> all = {"["};
    for (const json::Value& item : value.get_array()) {
      std::vector<std::string> longer;
      for (const std::string& begun : all) {
        for (const std::string& one : spellings(item)) {
          if (longer.size() < kMaxOrders) longer.push_back(begun + (begun.size() > 1 ? "," : "") + one);
        }
      }
      all = std::move(longer);
    }
    for (std::string& one : all) one += ']';
    return all;
  }
  if (value.is_double()) {
    const double number = value.get_double();
    std::vector<std::string> all = {json::format(value)};
    if (std::nearbyint(number) == number && std::abs(number) <= 9007199254740992.0)
      all.push_back(std::to_string(static_cast<std::int64_t>(number)));
    return all;
  }
  if (!value.is_object()) return {json::format(value)};
  const json::Object& fields = value.get_object();
  std::vector<std::vector<std::string>> members;
  for (const auto& [key, item] : fields) {
    std::string name;
    json::append_string(name, key);
    members.emplace_back();
    for (const std::string& one : spellings(item)) members.back().push_back(name + ":" + one);
  }
  std::vector<std::size_t> order(members.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::vector<std::string> all;
  do {
    std::vector<std::string> texts = {"{"};
    for (const std::size_t member : order) {
      std::vector<std::string> longer;
      for (const std::string& begun : texts) {
        for (const std::string& one : members[member]) longer.push_back(begun + (begun.size() > 1 ? "," : "") + one);
      }
      texts = std::move(longer);
    }
    for (const std::string& one : texts) {
      if (all.size() < kMaxOrders) all.push_back(one + "}");
    }
  } while (all.size() < kMaxOrders && std::ranges::next_permutation(order).found);
  return all;
}

bool allows(const std::vector<std::uint32_t>& mask, text::TokenId token) {
  return (mask[static_cast<std::size_t>(token) / 32] >> (token % 32) & 1u) != 0;
}

bool walk(const text::Grammar& grammar, const text::Tokenizer& tokenizer, std::string_view instance) {
  const auto matcher = grammar.start();
  CHECK(matcher) << matcher.error().message;
  std::vector<std::uint32_t> mask((tokenizer.vocab() + 31) / 32);
  for (const char c : instance) {
    const text::TokenId token = static_cast<unsigned char>(c);
    if (!(*matcher)->mask(mask) || !allows(mask, token) || !(*matcher)->accept(token)) return false;
  }
  return (*matcher)->mask(mask) && allows(mask, tokenizer.eos()[0]);
}

struct Report {
  std::size_t right = 0, refused = 0, rejected = 0, accepted = 0;
  std::map<std::string, std::map<std::string, std::size_t>> reasons;  // of refusals, by file
  std::vector<std::string> wrong;
};

void run_group(const std::string& file, const json::Object& group,
               const std::shared_ptr<const text::Tokenizer>& tokenizer, Report& report) {
  const json::Array& tests = group.at("tests").as_array();
  const auto grammar = text::Grammar::from_json_schema(json::format(group.at("schema")), tokenizer);
  if (!grammar) {
    report.refused += tests.size();
    report.reasons[file][grammar.error().where + ": " + grammar.error().message] += tests.size();
    return;
  }
  for (const json::Value& item : tests) {
    const json::Object& test = item.as_object();
    const bool is_valid = test.at("valid").as_bool();
    const std::vector<std::string> texts = spellings(test.at("data"));
    const bool passes = std::ranges::any_of(texts, [&](auto& text) { return walk(**grammar, *tokenizer, text); });
    if (passes == is_valid) {
      ++report.right;
      continue;
    }
    ++(is_valid ? report.rejected : report.accepted);
    report.wrong.push_back(std::string(is_valid ? "rejected " : "ACCEPTED ") + file + ": " +
                           std::string(group.at("description").as_string()) + ": " +
                           std::string(test.at("description").as_string()) + ": " + json::format(test.at("data")));
  }
}

json::Value read(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  base::Budget budget;
  auto value = json::parse(text, budget);
  CHECK(value) << path.string() << ": " << value.error().message;
  return std::move(*value);
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 3) << "usage: suite FOLDER MIN_RIGHT";
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(argv[1])) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  const auto tokenizer = std::make_shared<text::ByteTokenizer>();
  Report report;
  for (const fs::path& path : files) {
    const Report before = report;
    const json::Value groups = read(path);
    for (const json::Value& group : groups.as_array())
      run_group(path.stem().string(), group.as_object(), tokenizer, report);
    std::cout << path.stem().string() << ": right " << report.right - before.right << ", refused "
              << report.refused - before.refused << ", wrongly rejected " << report.rejected - before.rejected
              << ", wrongly accepted " << report.accepted - before.accepted << "\n";
  }
  std::cout << "\nrefused as unsupported, by file and reason:\n";
  for (const auto& [file, reasons] : report.reasons) {
    for (const auto& [reason, count] : reasons) std::cout << "  " << count << "  " << file << "  " << reason << "\n";
  }
  std::cout << "\nwrong:\n";
  for (const std::string& line : report.wrong) std::cout << "  " << line << "\n";
  const std::size_t all = report.right + report.refused + report.rejected + report.accepted;
  std::cout << "\nJSON-Schema-Test-Suite: right " << report.right << ", refused as unsupported " << report.refused
            << ", wrongly rejected " << report.rejected << ", wrongly accepted " << report.accepted << ", of " << all
            << "\n";
  const auto min_right = static_cast<std::size_t>(std::atoi(argv[2]));
  return report.right >= min_right && report.accepted == 0 ? 0 : 1;
}
