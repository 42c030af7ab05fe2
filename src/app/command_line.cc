// SPDX-License-Identifier: Apache-2.0
#include "app/command_line.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <new>

#include "app/verb.h"
#include "base/log.h"
#include "hub/model_name.h"

namespace autoglm::app {
namespace {

void add_verbs(CLI::App& app) {
  add_serve(app);
  add_run(app);
  add_task(app);
  add_pull(app);
  add_list(app);
  add_rm(app);
  add_models(app);
  add_inspect(app);
  add_quantize(app);
  add_perplexity(app);
  add_bench(app);
}

// The verb that the command line got to: "inspect tokens ", empty for none.
std::string verb_of(const CLI::App& app) {
  std::string verb;
  for (const CLI::App* part = &app; !part->get_subcommands().empty();) {
    part = part->get_subcommands().front();
    verb += part->get_name() + " ";
  }
  return verb;
}

std::string no_such_verb(const CLI::App& app, const std::string& word) {
  std::string verbs, near;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    verbs += (verbs.empty() ? "" : ", ") + verb->get_name();
    if (near.empty() && hub::edit_distance(word, verb->get_name()) <= 2) near = verb->get_name();
  }
  const std::string hint = near.empty() ? "" : fmt::format("; did you mean {}?", near);
  return fmt::format("there is no verb '{}'{} The verbs are {}", word, near.empty() ? "." : hint, verbs);
}

// What came that could not be used, where the parser's own words only tell what it missed.
std::string sentence(const CLI::App& app, const CLI::ParseError& error) {
  const std::string verb = verb_of(app);
  const std::string text = error.what();
  const auto more = app.remaining(true);
  if (const auto at = text.find(": At Most 1 required"); at != std::string::npos) {
    const std::string option = text.substr(0, at);
    return option == "--model" ? "two models were given, one is expected" : option + " was given more than once";
  }
  if (more.empty()) return text;
  if (more.front().starts_with('-') && more.front() != "-") {
    return fmt::format("`openautoglm{}{}` has no option {}", verb.empty() ? "" : " ",
                       verb.substr(0, verb.empty() ? 0 : verb.size() - 1), more.front());
  }
  if (verb.empty()) return no_such_verb(app, more.front());
  return fmt::format("'{}' was not expected after what came before it", more.front());
}

// What a full disk or a reader that left did not take is a failure, whatever else went well.
int finish_output() {
  const bool is_written = std::cout.flush().good() && is_stdout_written();
  if (is_written || exit_code() != 0) return exit_code();
  print_error({Code::kUnavailable, "not everything could be written to stdout: it is full, or was closed", {}});
  return 1;
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
    if (error.get_exit_code() == 0) {  // --help, --version
      app.exit(error);
      return finish_output();
    }
    std::fprintf(stderr, "openautoglm: %s\nTry `openautoglm %s--help`.\n",
                 base::printable(sentence(app, error), 1000).c_str(), verb_of(app).c_str());
    return 2;
  } catch (const std::bad_alloc&) {
    print_error({Code::kExhausted, "there is not enough memory for that", {}});
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "openautoglm: %s\n", base::printable(error.what(), 1000).c_str());
    return 1;
  }
  return finish_output();
}

}  // namespace autoglm::app
