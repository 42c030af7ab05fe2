// SPDX-License-Identifier: Apache-2.0
// The whole program behind main(): takes the command line apart and runs one verb. Main thread, once.
#pragma once

#include <memory>
#include <string>

namespace CLI {
class App;
}

namespace autoglm::app {

/// The exit code: 0 done, 1 failed, 2 used wrongly.
int run_command_line(int argc, char** argv);

/// What --version prints: version, build, compiler, instruction sets, processor.
std::string version_text();

}  // namespace autoglm::app
