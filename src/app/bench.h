// SPDX-License-Identifier: Apache-2.0
// The sub-verbs of `bench`: each measures one thing and has flags of its own. `bench` without one measures a model.
// Main thread.
#pragma once

#include <CLI/CLI.hpp>

namespace autoglm::app {

// One for each sub-verb, in the order of --help.
void add_bench_roof(CLI::App& bench);
void add_bench_stages(CLI::App& bench);
void add_bench_headline(CLI::App& bench);
void add_bench_embed(CLI::App& bench);

}  // namespace autoglm::app
