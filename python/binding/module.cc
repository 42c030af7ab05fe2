// SPDX-License-Identifier: Apache-2.0
// openautoglm._core: the libraries of the project as Python sees them. The package's own Python files stand before it.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "app/command_line.h"
#include "app/running_model.h"
#include "base/log.h"
#include "binding/agent.h"
#include "binding/failure.h"
#include "binding/generation.h"
#include "binding/model.h"
#include "binding/server.h"
#include "kernels/cpu.h"

namespace {

namespace nb = nanobind;
namespace app = autoglm::app;

int run_command_line(std::vector<std::string> arguments) {
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const nb::gil_scoped_release released;
  return app::run_command_line(static_cast<int>(arguments.size()), pointers.data());
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const autoglm::kernels::Isa isa : autoglm::kernels::available_isas()) {
    names.emplace_back(autoglm::kernels::isa_name(isa));
  }
  return names;
}

}  // namespace

NB_MODULE(_core, core) {
  (void)autoglm::base::set_log_level("warn");
  autoglm::python::register_failures();
  autoglm::python::bind_generation(core);
  autoglm::python::bind_model(core);
  autoglm::python::bind_server(core);
  autoglm::python::bind_agent(core);
  core.def("run_command_line", &run_command_line, nb::arg("arguments"),
           "Runs the program `openautoglm` with these arguments, its name first; gives its exit code. Once a process.");
  core.def("version_text", &app::version_text, "What `openautoglm --version` prints.");
  core.def("instruction_sets", &instruction_sets, "Of this processor, the slowest first.");
  core.def("usable_threads", [] { return app::chosen_threads(0); }, "Physical cores left to this process.");
  core.def(
      "set_log_level", [](const std::string& level) { autoglm::python::take(autoglm::base::set_log_level(level)); },
      nb::arg("level"), "trace, debug, info, warn (as it is at first), error or off; lines go to stderr.");
}
