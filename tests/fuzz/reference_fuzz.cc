// SPDX-License-Identifier: Apache-2.0
// References between steps: arguments (a JSON object) on the first line, a step's result behind it. Oracles: what names
// no step is unchanged but for escapes; a refusal has a place or is a bound; the result is never larger than its bound.
#include "agent/reference.h"
#include "base/check.h"
#include "fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace autoglm;
  const std::string_view text = fuzz::as_text(data, size);
  const auto line = text.find('\n');
  base::Budget budget({.bytes = 1u << 20, .steps = 100'000, .depth = 64});
  const auto arguments = json::parse(text.substr(0, line), budget);
  if (!arguments || !arguments->is_object()) return 0;
  std::vector<agent::Action> earlier(1);
  earlier[0].step = 1;
  if (line != std::string_view::npos) earlier[0].result.text = text.substr(line + 1);
  const auto steps = agent::steps_named(arguments->get_object());
  const auto resolved = agent::resolve(arguments->get_object(), earlier);
  if (!resolved) {
    CHECK(resolved.error().code == Code::kInvalidArgument || resolved.error().code == Code::kExhausted);
    CHECK(resolved.error().where.starts_with('/')) << resolved.error().where;
    return 0;
  }
  for (const std::size_t step : steps) CHECK(step == 1) << "step " << step << " is not there and was resolved";
  const bool is_plain = text.substr(0, line).find('$') == std::string_view::npos;
  const bool has_escapes = text.substr(0, line).find('\\') != std::string_view::npos;
  if (is_plain && !has_escapes) CHECK(json::format(*resolved) == json::format(*arguments));
  return 0;
}
