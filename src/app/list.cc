// SPDX-License-Identifier: Apache-2.0
// openautoglm list: what is in the model folder, and what could be.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "app/terminal.h"
#include "app/verb.h"
#include "base/json.h"
#include "hub/catalogue.h"
#include "hub/model_folder.h"
#include "hub/pull.h"

namespace autoglm::app {
namespace {

struct ListFlags {
  std::string path_of;
  bool all = false;
  bool as_json = false;
};

Status print_path(const hub::ModelFolder& folder, const std::string& reference) {
  const auto catalogue = TRY(hub::Catalogue::load(folder.home()));
  auto model = TRY(folder.find(reference));  // a folder's own name, as `list` shows it
  if (!model) {
    const std::string name = TRY(hub::stored_name(catalogue, reference));
    model = TRY(folder.find(name));
    if (!model)
      return fail(Code::kNotFound, fmt::format("{} is not here; `openautoglm pull {}` brings it", name, reference));
  }
  fmt::print("{}\n", model->load_path().string());
  return {};
}

std::string joined(const std::vector<std::string>& texts) {
  std::string out;
  for (const auto& text : texts) out += (out.empty() ? "" : ", ") + text;
  return out;
}

void print_json(const std::vector<hub::StoredModel>& stored) {
  json::Array models;
  for (const auto& model : stored) {
    models.push_back(json::Object{{"name", model.name},
                                  {"bytes", model.bytes()},
                                  {"licence", model.licence},
                                  {"source", model.source},
                                  {"path", model.load_path().string()}});
  }
  fmt::print("{}\n", json::format(models));
}

void print_catalogue(const hub::Catalogue& catalogue, const std::vector<hub::StoredModel>& stored) {
  fmt::print("{:<20} {:>9}  {:<10} {:<5} {}\n", "NAME", "SIZE", "LICENCE", "HERE", "WHAT");
  for (const auto& entry : catalogue.entries()) {
    const bool is_here = std::ranges::find(stored, entry.name, &hub::StoredModel::name) != stored.end();
    fmt::print("{:<20} {:>9}  {:<10} {:<5} {}{}\n", entry.name, format_bytes(entry.sources.front().bytes()),
               entry.licence, is_here ? "yes" : "no", entry.summary,
               entry.aliases.empty() ? "" : fmt::format(" (also: {})", joined(entry.aliases)));
  }
  for (const auto& model : stored) {  // what came from elsewhere
    if (catalogue.find(model.name) != nullptr) continue;
    fmt::print("{:<20} {:>9}  {:<10} {:<5} from {}\n", model.name, format_bytes(model.bytes()), model.licence, "yes",
               model.source);
  }
}

}  // namespace

void add_list(CLI::App& app) {
  auto* verb = app.add_subcommand("list", "List the models that are here");
  auto flags = std::make_shared<ListFlags>();
  auto* all = verb->add_flag("--all", flags->all, "Also what the catalogue can bring");
  auto* as_json = verb->add_flag("--json", flags->as_json, "One JSON array, for scripts");
  verb->add_option("--path", flags->path_of, "Print only the path of this model's file or folder")
      ->type_name("NAME")
      ->excludes(all)
      ->excludes(as_json);
  all->excludes(as_json);
  set_action(*verb, [flags]() -> Status {
    const auto folder = TRY(hub::ModelFolder::from_environment());
    if (!flags->path_of.empty()) return print_path(folder, flags->path_of);
    const auto stored = folder.list();
    if (flags->as_json) {
      print_json(stored);
      return {};
    }
    if (flags->all) {
      print_catalogue(TRY(hub::Catalogue::load(folder.home())), stored);
      return {};
    }
    if (stored.empty()) {
      fmt::print("No models in {} yet; `openautoglm list --all` shows what `pull` can bring.\n",
                 folder.home().string());
      return {};
    }
    fmt::print("{:<28} {:>9}  {:<10} {}\n", "NAME", "SIZE", "LICENCE", "FROM");
    for (const auto& model : stored) {
      fmt::print("{:<28} {:>9}  {:<10} {}\n", model.name, format_bytes(model.bytes()), model.licence, model.source);
    }
    return {};
  });
}

}  // namespace autoglm::app
