// SPDX-License-Identifier: Apache-2.0
// openautoglm pull: brings a model into the model folder.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "app/model_choice.h"
#include "app/terminal.h"
#include "app/verb.h"

namespace autoglm::app {

void add_pull(CLI::App& app) {
  auto* verb = app.add_subcommand("pull", "Bring a model into the model folder; resumes, verifies");
  auto name = std::make_shared<std::string>();
  verb->add_option("NAME", *name, "A name of `list --all`, or hf:ORG/NAME[:FILE]")->required();
  set_action(*verb, [name]() -> Status {
    const auto folder = TRY(hub::ModelFolder::from_environment());
    const auto model = TRY(pull_with_progress(folder, *name));
    fmt::print("{} is ready: {}\n", model.name, format_bytes(model.bytes()));
    return {};
  });
}

}  // namespace autoglm::app
