// SPDX-License-Identifier: Apache-2.0
#include "app/conversion.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <map>
#include <utility>

#include "app/interrupt.h"
#include "app/running_model.h"
#include "app/terminal.h"
#include "base/log.h"

namespace autoglm::app {

Result<model::QuantizeOptions> conversion_options(const ConversionFlags& flags) {
  using model::WeightKind;
  static const std::map<std::string, WeightKind> kKinds = {{"int8", WeightKind::kInt8},
                                                           {"int4", WeightKind::kInt4},
                                                           {"fp16", WeightKind::kF16},
                                                           {"bf16", WeightKind::kBF16}};
  model::QuantizeOptions options;
  const auto kind = kKinds.find(flags.dtype);
  if (kind == kKinds.end()) {
    return fail(Code::kInvalidArgument,
                fmt::format("weights can be int8, int4, fp16 or bf16, not '{}'", base::printable(flags.dtype)),
                "--dtype");
  }
  options.kind = kind->second;
  options.is_symmetric = flags.scheme == "symmetric";
  options.threads = chosen_threads(flags.threads);
  if (!flags.format.empty()) {
    options.format = flags.format == "gguf" ? model::OutputFormat::kGguf : model::OutputFormat::kSafetensors;
  }
  if (flags.group == "channel") options.group = 0;
  if (flags.group.empty() || flags.group == "channel") return options;
  std::size_t group = 0;
  const char* const end = flags.group.data() + flags.group.size();
  const auto [stop, error] = std::from_chars(flags.group.data(), end, group);
  if (error != std::errc() || stop != end || group < 1 || group > 1 << 20) {
    return fail(Code::kInvalidArgument,
                fmt::format("--group-size {} is neither a count of columns nor 'channel'", flags.group),
                "--group-size");
  }
  options.group = group;
  return options;
}

Result<model::QuantizeReport> convert(const std::filesystem::path& source, const ConversionFlags& flags,
                                      model::QuantizeOptions options) {
  Interrupts interrupts;
  ProgressLine line(is_terminal(STDERR_FILENO));
  options.progress = [&](std::uint64_t done, std::uint64_t total) { line.show(done, total); };
  options.is_cancelled = [] { return Interrupts::count() > 0; };
  auto report = model::quantize_model(source, flags.output, options);
  line.end();
  if (report) return report;
  if (report.error().code == Code::kCancelled) return fail(Code::kCancelled, "stopped; nothing was written");
  // What the format cannot express is a flag that was used wrongly.
  for (const auto& [option, flag] : {std::pair{"format", "--format"},
                                     {"scheme", "--scheme"},
                                     {"group_size", "--group-size"},
                                     {"output", "--output-dir"}}) {
    if (report.error().where == option) report.error().where = flag;
  }
  return report;
}

}  // namespace autoglm::app
