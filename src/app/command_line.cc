// SPDX-License-Identifier: Apache-2.0
#include "app/command_line.h"

#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>

#include "app/verb.h"
#include "base/log.h"

namespace autoglm::app {
namespace {

void add_verbs(CLI::App& app) {
  add_serve(app);
  add_run(app);
  add_task(app);
  add_pull(app);
  add_list(app);
  add_rm(app);
  add_inspect(app);
  add_perplexity(app);
  add_bench(app);
}

}  // namespace

int run_command_line(int argc, char** argv) {
  // A peer that goes away, and a file that may not grow, are errors of a call and not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  (void)base::set_log_level("info");
  CLI::App app("Open-AutoGLM: runs and serves language models on CPUs.", "openautoglm");
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.set_version_flag(
      "--version", [] { return version_text(); }, "Print build, instruction sets and processor and exit");
  app.require_subcommand(0, 1);
  app.get_formatter()->column_width(34);
  app.footer(
      "Models are kept in OPENAUTOGLM_HOME (default ~/.local/share/openautoglm). `openautoglm VERB --help` tells "
      "more.");
  add_verbs(app);
  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty()) std::cout << app.help();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::fprintf(stderr, "openautoglm: %s\nTry `openautoglm %s--help`.\n", base::printable(error.what(), 1000).c_str(),
                 app.get_subcommands().empty() ? "" : (app.get_subcommands()[0]->get_name() + " ").c_str());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "openautoglm: %s\n", base::printable(error.what(), 1000).c_str());
    return 1;
  }
  std::cout.flush();
  return exit_code();
}

}  // namespace autoglm::app
