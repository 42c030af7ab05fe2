// SPDX-License-Identifier: Apache-2.0
// An agent whose tools are Python functions: the run is that of `openautoglm task`, on a thread of its own.
#pragma once

#include <nanobind/nanobind.h>

namespace autoglm::python {

void bind_agent(nanobind::module_& core);

}  // namespace autoglm::python
