// SPDX-License-Identifier: Apache-2.0
// A model without a tokenizer has ids and no words: every way to text is a clear refusal or empty.
#include <gtest/gtest.h>

#include "text/grammar.h"
#include "text/tokenizer.h"

namespace autoglm::text {
namespace {

TEST(IdsOnly, RefusesTextsAndGivesNone) {
  const std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::ids_only(10);
  EXPECT_FALSE(tokenizer->has_text());
  EXPECT_EQ(tokenizer->vocab(), 10u);
  EXPECT_EQ(tokenizer->encode("a", {}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{1}, false).error().code, Code::kInvalidArgument);
  EXPECT_EQ(tokenizer->id_of("a"), -1);
  EXPECT_TRUE(tokenizer->eos().empty());
  EXPECT_TRUE(control_spellings(*tokenizer).empty());
  StreamDecoder decoder(*tokenizer, false);
  for (const TokenId id : {0, 9, 10, -1}) {
    EXPECT_TRUE(tokenizer->token_bytes(id).empty()) << id;
    EXPECT_TRUE(decoder.push(id).empty()) << id;
  }
  EXPECT_TRUE(decoder.finish().empty());
}

TEST(IdsOnly, NoGrammarHoldsForIds) {
  const std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::ids_only(10);
  EXPECT_EQ(Grammar::any_json_object(tokenizer).error().code, Code::kInvalidArgument);
  EXPECT_EQ(Grammar::from_json_schema("true", tokenizer).error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace autoglm::text
