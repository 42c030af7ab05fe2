// SPDX-License-Identifier: Apache-2.0
#include "agent/aids.h"

#include <array>

namespace autoglm::agent {
namespace {

struct NamedAid {
  std::string_view name;
  bool Aids::* aid;
};

constexpr std::array<NamedAid, 7> kAids = {{{"narrow", &Aids::narrow},
                                            {"sources", &Aids::sources},
                                            {"repeats", &Aids::repeats},
                                            {"lists", &Aids::lists},
                                            {"reasoning", &Aids::reasoning},
                                            {"check", &Aids::check},
                                            {"failures", &Aids::failures}}};

}  // namespace

Result<Aids> parse_aids(std::string_view list) {
  if (list == "all") return Aids{};
  Aids aids;
  for (const NamedAid& named : kAids) aids.*named.aid = false;
  if (list == "none") return aids;
  while (true) {
    const std::string_view name = list.substr(0, list.find(','));
    bool is_known = false;
    for (const NamedAid& named : kAids) {
      if (named.name != name) continue;
      aids.*named.aid = true;
      is_known = true;
    }
    if (!is_known) {
      return fail(Code::kInvalidArgument,
                  "'" + std::string(name) + "' is not an aid: all, none, or a list of " + aid_names());
    }
    if (name.size() == list.size()) return aids;
    list.remove_prefix(name.size() + 1);
  }
}

std::string aid_names() {
  std::string names;
  for (const NamedAid& named : kAids) names += (names.empty() ? "" : ", ") + std::string(named.name);
  return names;
}

}  // namespace autoglm::agent
