// SPDX-License-Identifier: Apache-2.0
#include "binding/failure.h"

#include <nanobind/nanobind.h>

#include <string>

#include "base/log.h"

namespace autoglm::python {
namespace {

namespace nb = nanobind;

constexpr std::size_t kMostMessageBytes = 4000;

nb::str as_text(std::string_view bytes) {
  const std::string shown = base::printable(bytes, kMostMessageBytes);
  return nb::str(shown.data(), shown.size());
}

void raise(const Error& error) {
  const nb::object made =
      nb::module_::import_("openautoglm.errors")
          .attr("error_of")(as_text(code_name(error.code)), as_text(error.message), as_text(error.where));
  PyErr_SetObject(made.type().ptr(), made.ptr());
}

void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Failure& failure) {
    try {
      raise(failure.error());
    } catch (nb::python_error& error) {
      error.restore();
    }
  }
}

}  // namespace

void register_failures() { nb::register_exception_translator(translate); }

void check_signals() {
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

void throw_keyboard_interrupt() {
  PyErr_SetNone(PyExc_KeyboardInterrupt);
  throw nb::python_error();
}

}  // namespace autoglm::python
