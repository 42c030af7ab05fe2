// SPDX-License-Identifier: Apache-2.0
// JSON schemas of requests: compiled to a grammar, then walked for a few tokens. Oracles: refusals are the caller's
// fault or a bound, and a token that the mask allows is accepted.
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "fuzz_target.h"
#include "text/grammar.h"

namespace {

using namespace autoglm;

constexpr int kSteps = 12;

std::shared_ptr<const text::Tokenizer> load() {
  std::ifstream file(TESTDATA_DIR "/golden/tokenizers/bpe_llama3/tokenizer.json", std::ios::binary);
  const std::string json((std::istreambuf_iterator<char>(file)), {});
  base::Budget budget;
  auto tokenizer = text::Tokenizer::from_json(json, {}, budget);
  CHECK(tokenizer) << tokenizer.error().message;
  return std::move(*tokenizer);
}

bool is_allowed(const std::vector<std::uint32_t>& mask, std::size_t token) {
  return (mask[token / 32] >> (token % 32) & 1u) != 0;
}

// Takes the n-th allowed token, n from the input's bytes; false when the text is complete or a bound was reached.
bool step(text::Matcher& matcher, std::size_t vocab, std::uint8_t choice) {
  std::vector<std::uint32_t> mask((vocab + 31) / 32);
  if (!matcher.mask(mask)) return false;
  std::vector<text::TokenId> allowed;
  for (std::size_t token = 0; token < vocab; ++token) {
    if (is_allowed(mask, token)) allowed.push_back(static_cast<text::TokenId>(token));
  }
  if (allowed.empty()) return false;
  const auto accepted = matcher.accept(allowed[choice % allowed.size()]);
  CHECK(accepted || accepted.error().code == Code::kExhausted) << accepted.error().message;
  return accepted && !matcher.is_finished();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::shared_ptr<const text::Tokenizer> kTokenizer = load();
  const auto grammar = text::Grammar::from_json_schema(fuzz::as_text(data, size), kTokenizer);
  if (!grammar) {
    CHECK(grammar.error().code == Code::kInvalidArgument || grammar.error().code == Code::kExhausted)
        << code_name(grammar.error().code) << ": " << grammar.error().message;
    return 0;
  }
  auto matcher = (*grammar)->start();
  if (!matcher) return 0;
  for (int i = 0; i < kSteps; ++i) {
    if (!step(**matcher, kTokenizer->vocab(), data[static_cast<std::size_t>(i) % size])) break;
  }
  return 0;
}
