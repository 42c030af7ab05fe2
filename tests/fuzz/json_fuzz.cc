// SPDX-License-Identifier: Apache-2.0
// The JSON facade. Oracles: what is accepted reads back equal after it was written, and depth and steps are bounded.
#include <string>

#include "base/check.h"
#include "base/json.h"
#include "fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace autoglm;
  const base::Budget::Limits limits{.bytes = std::uint64_t{16} << 20, .steps = 100'000, .depth = 32};
  base::Budget budget(limits);
  const auto value = json::parse(fuzz::as_text(data, size), budget);
  if (!value) return 0;
  const std::string text = json::format(*value);
  base::Budget again(limits);
  const auto reread = json::parse(text, again);
  CHECK(reread) << text << ": " << reread.error().message;
  CHECK(json::format(*reread) == text) << text;
  return 0;
}
