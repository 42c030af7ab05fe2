// SPDX-License-Identifier: Apache-2.0
// What people may type for a model, checked before it comes near a path: a name, or hf:ORG/NAME[:FILE]. Pure; any
// thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace autoglm::hub {

/// Letters, digits, '.', '_' and '-', 1 to 128 of them, not starting with '.' or '-'.
bool is_valid_name(std::string_view name);

/// A relative path of 1 to 8 such parts (which may also hold '+' and start with a dot, but not be "." or ".."), at most
/// 255 bytes.
bool is_safe_path(std::string_view path);

struct HubReference {
  std::string repository;  // "ORG/NAME"
  std::string file;        // empty = the whole model

  /// Where it is stored: "hf--ORG--NAME[--FILE]".
  std::string folder_name() const;
};

/// Empty when `text` does not start with "hf:". Errors: kInvalidArgument.
Result<std::optional<HubReference>> parse_hub_reference(std::string_view text);

/// Edits (insert, delete, replace, swap of neighbours) between two names, letters compared without case.
std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace autoglm::hub
