// SPDX-License-Identifier: Apache-2.0
// JSON schemas and values to check, one a line. Oracles: both are refused with kInvalidArgument or kExhausted, and
// nothing takes long (libFuzzer's timeout).
#include "base/check.h"
#include "base/json.h"
#include "fuzz_target.h"
#include "text/json_schema.h"

namespace {

using namespace autoglm;

bool is_refusal(const Error& error) { return error.code == Code::kInvalidArgument || error.code == Code::kExhausted; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::as_text(data, size);
  const auto line = text.find('\n');
  const auto schema = text::JsonSchema::parse(text.substr(0, line));
  if (!schema) {
    CHECK(is_refusal(schema.error())) << schema.error().message;
    return 0;
  }
  if (line == std::string_view::npos) return 0;
  base::Budget budget({.bytes = 1u << 20, .steps = 100'000, .depth = 64});
  const auto value = json::parse(text.substr(line + 1), budget);
  if (!value) return 0;
  if (const Status fits = (*schema)->validate(*value); !fits) CHECK(is_refusal(fits.error())) << fits.error().message;
  return 0;
}
