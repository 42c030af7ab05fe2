// SPDX-License-Identifier: Apache-2.0
// "${NAME}" and "${NAME:-otherwise}" in configurations: how secrets and paths come in from the environment. Any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace autoglm::agent {

using Variables = std::function<std::optional<std::string>(const std::string& name)>;

/// Of this process's environment.
std::optional<std::string> environment_variable(const std::string& name);

/// Errors: kNotFound (a variable that is not set and has no other value; the message names it, not its text).
Result<std::string> expand(std::string_view text, const Variables& variables);

}  // namespace autoglm::agent
