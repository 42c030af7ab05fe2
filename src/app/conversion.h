// SPDX-License-Identifier: Apache-2.0
// A smaller model of a model, as flags ask for it: what `quantize` and the Python package share. Main thread.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "model/quantize.h"

namespace autoglm::app {

struct ConversionFlags {
  std::string output;
  std::string dtype;
  std::string scheme = "symmetric";
  std::string group;
  std::string format;
  int threads = 0;
};

/// Errors: kInvalidArgument, Error::where = the flag.
Result<model::QuantizeOptions> conversion_options(const ConversionFlags& flags);

/// Writes flags.output with progress on stderr; Ctrl-C leaves nothing of it.
///   Errors   as model::quantize_model(), `where` a flag where it can be
Result<model::QuantizeReport> convert(const std::filesystem::path& source, const ConversionFlags& flags,
                                      model::QuantizeOptions options);

}  // namespace autoglm::app
