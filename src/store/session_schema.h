// SPDX-License-Identifier: Apache-2.0
// What stands in a sessions file, version by version. docs/formats/sessions.md describes the tables.
#pragma once

#include "store/database.h"

namespace autoglm::store {

extern const Database::Schema kSessionSchema;

}  // namespace autoglm::store
