// SPDX-License-Identifier: Apache-2.0
// Any text through a real byte-level tokenizer. Oracles: what is decoded is the text again, piece by piece too, and
// a user's text never yields a control token. Text that is not UTF-8 is refused.
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "base/check.h"
#include "base/utf8.h"
#include "fuzz_target.h"
#include "text/tokenizer.h"

namespace {

using namespace autoglm;

std::unique_ptr<text::Tokenizer> load() {
  std::ifstream file(TESTDATA_DIR "/golden/tokenizers/bpe_llama3/tokenizer.json", std::ios::binary);
  const std::string json((std::istreambuf_iterator<char>(file)), {});
  base::Budget budget;
  auto tokenizer = text::Tokenizer::from_json(json, {}, budget);
  CHECK(tokenizer) << tokenizer.error().message;
  return std::move(*tokenizer);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::unique_ptr<text::Tokenizer> kTokenizer = load();
  const std::string_view sample = fuzz::as_text(data, size);
  const text::PlainRange all{.begin = 0, .end = size};
  const auto ids = kTokenizer->encode(sample, {.add_special = false, .parse_special = true, .plain = {&all, 1}});
  if (!ids) {
    CHECK(ids.error().code == Code::kInvalidArgument || ids.error().code == Code::kExhausted);
    return 0;
  }
  text::StreamDecoder decoder(*kTokenizer, false);
  std::string pieces;
  for (const text::TokenId id : *ids) {
    CHECK(!kTokenizer->is_special(id)) << "control token " << id;
    pieces += decoder.push(id);
  }
  pieces += decoder.finish();
  CHECK(pieces == sample) << "in pieces";
  const auto whole = kTokenizer->decode(*ids, false);
  CHECK(whole && *whole == sample) << "as a whole";
  return 0;
}
