// SPDX-License-Identifier: Apache-2.0
// The HTTP server on a model that Python holds: one engine for both.
#pragma once

#include <nanobind/nanobind.h>

namespace autoglm::python {

void bind_server(nanobind::module_& core);

}  // namespace autoglm::python
