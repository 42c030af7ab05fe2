// SPDX-License-Identifier: Apache-2.0
// How a verb joins the program: it adds itself to the command line and gives an action that returns a Status. The first
// failure is printed as one sentence and becomes the exit code: 1 failed, 2 used wrongly. Main thread only.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <string>

#include "base/result.h"

namespace autoglm::app {

/// Runs `action` once the command line is parsed and `verb` was given. An Error whose `where` starts with "--" or is a
/// positional's name in capitals is the caller's wrong use (exit code 2), any other failure is exit code 1.
void set_action(CLI::App& verb, std::function<Status()> action);

/// The exit code so far; 0 until an action fails.
int exit_code();

/// Whether everything that was written to stdout has got there; false also when its reader has left. Flushes it.
bool is_stdout_written();

/// "openautoglm: <message>" on stderr, control bytes made visible.
void print_error(const Error& error);

// One for each verb, in the order of --help.
void add_serve(CLI::App& app);
void add_run(CLI::App& app);
void add_task(CLI::App& app);
void add_pull(CLI::App& app);
void add_list(CLI::App& app);
void add_rm(CLI::App& app);
void add_models(CLI::App& app);
void add_inspect(CLI::App& app);
void add_quantize(CLI::App& app);
void add_perplexity(CLI::App& app);
void add_bench(CLI::App& app);

}  // namespace autoglm::app
