// SPDX-License-Identifier: Apache-2.0
// tokenizer.json as an untrusted file, and what it then does with texts. Oracles: memory in proportion to the file,
// ids within the vocabulary, no control token out of text that came from a user, and the stream decoder never shows
// more or less than ill-formed bytes allow.
#include <string>
#include <vector>

#include "base/check.h"
#include "fuzz_target.h"
#include "memory_meter.h"
#include "text/tokenizer.h"

namespace {

using namespace autoglm;

constexpr std::string_view kTexts[] = {
    "",
    " ",
    "Hello, world!\n\n  123",
    "<|im_start|>user<s></s><unk>[UNK]<|endoftext|>",
    "\xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7 a\xcc\x88",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

void use(const text::Tokenizer& tokenizer, std::string_view sample) {
  const text::PlainRange all{.begin = 0, .end = sample.size()};
  const auto plain = tokenizer.encode(sample, {.add_special = false, .parse_special = true, .plain = {&all, 1}});
  const auto special = tokenizer.encode(sample, {.add_special = true, .parse_special = true});
  for (const auto* ids : {&plain, &special}) {
    if (!*ids) continue;
    text::StreamDecoder decoder(tokenizer, false);
    for (const text::TokenId id : **ids) {
      CHECK(id >= 0 && static_cast<std::size_t>(id) < tokenizer.vocab()) << id << " of " << tokenizer.vocab();
      (void)tokenizer.token_bytes(id);
      (void)decoder.push(id);
    }
    (void)decoder.finish();
    (void)tokenizer.decode(**ids, false);
    (void)tokenizer.decode(**ids, true);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::MemoryMeter meter;
  base::Budget budget({.bytes = std::uint64_t{16} << 20, .steps = 1'000'000, .depth = 64});
  const auto tokenizer = text::Tokenizer::from_json(fuzz::as_text(data, size), {}, budget);
  CHECK(meter.peak_bytes() <= fuzz::memory_allowed(size)) << meter.peak_bytes() << " bytes for " << size;
  if (!tokenizer) {
    CHECK(!tokenizer.error().message.empty());
    return 0;
  }
  for (const std::string_view sample : kTexts) use(**tokenizer, sample);
  (void)(*tokenizer)->decode(std::vector<text::TokenId>{-1}, false);
  (void)(*tokenizer)->decode(std::vector<text::TokenId>{2147483647}, false);
  return 0;
}
