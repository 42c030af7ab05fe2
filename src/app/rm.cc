// SPDX-License-Identifier: Apache-2.0
// openautoglm rm: removes models, and what an interrupted pull left of them.
#include <fmt/format.h>

#include <memory>
#include <vector>

#include "app/verb.h"
#include "hub/catalogue.h"
#include "hub/model_folder.h"
#include "hub/model_name.h"
#include "hub/pull.h"

namespace autoglm::app {
namespace {

Status remove_model(const hub::ModelFolder& folder, const hub::Catalogue& catalogue, const std::string& reference) {
  std::string name = reference;
  // A folder's own name is accepted too, so that a model that left the catalogue can be removed.
  const auto there = folder.find(reference);
  const bool is_there = !there || there->has_value();  // a broken one is there too
  if (!is_there) name = TRY(hub::stored_name(catalogue, reference));
  const auto lock = TRY(folder.lock(name));
  if (!TRY(folder.remove(name))) return fail(Code::kNotFound, fmt::format("{} is not here", name));
  fmt::print("removed {}\n", name);
  return {};
}

}  // namespace

void add_rm(CLI::App& app) {
  auto* verb = app.add_subcommand("rm", "Remove models from the model folder");
  auto names = std::make_shared<std::vector<std::string>>();
  verb->add_option("NAME", *names, "Names, as `list` shows them")->required();
  set_action(*verb, [names]() -> Status {
    const auto folder = TRY(hub::ModelFolder::from_environment());
    const auto catalogue = TRY(hub::Catalogue::load(folder.home()));
    for (const auto& name : *names) TRY(remove_model(folder, catalogue, name));
    return {};
  });
}

}  // namespace autoglm::app
