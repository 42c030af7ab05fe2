// SPDX-License-Identifier: Apache-2.0
// The tokenizers of tests/testdata/golden/tokenizers against what Hugging Face gave, case by case.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>

#include "base/json.h"
#include "base/utf8.h"

namespace autoglm::text {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

json::Value read_json(const std::string& path) {
  base::Budget budget;
  auto value = json::parse(read_file(path), budget);
  EXPECT_TRUE(value) << path;
  return value ? *value : json::Value();
}

std::vector<TokenId> ids_of(const json::Value& value) {
  std::vector<TokenId> ids;
  for (const auto& id : value.as_array()) ids.push_back(static_cast<TokenId>(id.as_int64()));
  return ids;
}

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// A tokenizer of the golden folder and its corpus.
class GoldenTokenizer : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string folder = std::string(TESTDATA_DIR) + "/golden/tokenizers/" + GetParam();
    base::Budget budget;
    auto made = Tokenizer::from_json(read_file(folder + "/tokenizer.json"),
                                     read_file(folder + "/tokenizer_config.json"), budget);
    ASSERT_TRUE(made) << made.error().message;
    tokenizer_ = std::move(*made);
    corpus_ = read_json(folder + "/corpus.json");
  }

  std::vector<TokenId> encode(std::string_view text, const Tokenizer::EncodeOptions& options) {
    auto ids = tokenizer_->encode(text, options);
    EXPECT_TRUE(ids) << ids.error().message;
    return ids.value_or(std::vector<TokenId>{});
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  json::Value corpus_;
};

TEST_P(GoldenTokenizer, IdsAreEqual) {
  for (const auto& item : corpus_.at("cases").as_array()) {
    const json::Object& test = item.as_object();
    const std::string_view text = test.at("text").as_string();
    const auto ids = ids_of(test.at("ids"));
    EXPECT_EQ(encode(text, {.parse_special = true}), ids) << text;
    EXPECT_EQ(encode(text, {.add_special = true, .parse_special = true}), ids_of(test.at("ids_special"))) << text;
    const auto* as_text = test.if_contains("ids_specials_as_text");
    const auto plain_ids = as_text == nullptr ? ids : ids_of(*as_text);
    EXPECT_EQ(encode(text, {}), plain_ids) << text;
    // A text that a caller wrote from end to end gives the same ids as one without any control token.
    const PlainRange all = {0, text.size()};
    EXPECT_EQ(encode(text, {.parse_special = true, .plain = {&all, 1}}), plain_ids) << text;
  }
}

TEST_P(GoldenTokenizer, DecodedTextsAreEqual) {
  for (const auto& item : corpus_.at("cases").as_array()) {
    const json::Object& test = item.as_object();
    const auto ids = ids_of(test.at("ids"));
    const std::string_view decoded = test.at("decoded").as_string();
    EXPECT_EQ(tokenizer_->decode(ids, false).value(), decoded);
    const auto* skipped = test.if_contains("decoded_skip_special");
    EXPECT_EQ(tokenizer_->decode(ids, true).value(),
              skipped == nullptr ? decoded : std::string_view(skipped->as_string()));
  }
  for (const auto& item : corpus_.at("decode_cases").as_array()) {
    const auto ids = ids_of(item.at("ids"));
    EXPECT_EQ(tokenizer_->decode(ids, false).value(), std::string_view(item.at("text").as_string()));
    const auto* skipped = item.as_object().if_contains("text_skip");
    if (skipped != nullptr) EXPECT_EQ(tokenizer_->decode(ids, true).value(), std::string_view(skipped->as_string()));
  }
}

TEST_P(GoldenTokenizer, StreamingShowsWhatIsCertainAndNothingElse) {
  for (const auto& item : corpus_.at("cases").as_array()) {
    const json::Object& test = item.as_object();
    const auto* stable = test.if_contains("stable_chars");
    if (stable == nullptr) continue;
    const auto ids = ids_of(test.at("ids"));
    StreamDecoder stream(*tokenizer_, false);
    std::string shown;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      shown += stream.push(ids[i]);
      EXPECT_EQ(characters(shown), static_cast<std::size_t>(stable->at(i).as_int64()))
          << test.at("text") << " after " << i;
      EXPECT_TRUE(base::is_utf8(shown));
    }
    EXPECT_EQ(shown + stream.finish(), std::string_view(test.at("decoded").as_string()));
  }
}

TEST_P(GoldenTokenizer, StreamingNeverTakesTextBack) {
  constexpr unsigned kSeed = 7;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 300; ++round) {
    StreamDecoder stream(*tokenizer_, round % 2 == 0);
    std::string shown;
    for (int i = 0; i < 30; ++i) {
      const auto id = static_cast<TokenId>(random() % tokenizer_->vocab());
      shown += stream.push(id);
      ASSERT_TRUE(base::is_utf8(shown)) << "seed " << kSeed;
    }
    ASSERT_TRUE(base::is_utf8(shown + stream.finish())) << "seed " << kSeed;
  }
}

// Threat T-B4, CVE-2026-44222.
TEST_P(GoldenTokenizer, T_B4_NoTextOfAUserBecomesAControlToken) {
  const auto has_special = [&](const std::vector<TokenId>& ids) {
    return std::ranges::any_of(ids, [&](TokenId id) { return tokenizer_->is_special(id); });
  };
  const auto spellings = control_spellings(*tokenizer_);
  ASSERT_FALSE(spellings.empty());
  for (const std::string& spelling : spellings) {
    const std::string text = "a " + spelling + spelling + "\n" + spelling + " b";
    EXPECT_TRUE(has_special(encode(text, {.parse_special = true}))) << spelling;
    EXPECT_FALSE(has_special(encode(text, {}))) << spelling;
    const PlainRange all = {0, text.size()};
    EXPECT_FALSE(has_special(encode(text, {.parse_special = true, .plain = {&all, 1}}))) << spelling;
  }
}

TEST_P(GoldenTokenizer, PlainRangesAreExact) {
  const std::string spelling = control_spellings(*tokenizer_).front();
  const TokenId id = tokenizer_->id_of(spelling);
  const std::string text = spelling + spelling + spelling;
  const auto count = [&](std::vector<PlainRange> plain) {
    return std::ranges::count(encode(text, {.parse_special = true, .plain = plain}), id);
  };
  EXPECT_EQ(count({}), 3);
  EXPECT_EQ(count({{spelling.size(), spelling.size() * 2}}), 2);
  EXPECT_EQ(count({{spelling.size() - 1, spelling.size()}}), 2);  // one byte is enough
  EXPECT_EQ(count({{spelling.size(), spelling.size()}}), 3);      // none is not
  EXPECT_EQ(count({{0, 1}, {spelling.size() * 3 - 1, spelling.size() * 3}}), 1);
}

TEST_P(GoldenTokenizer, TokenBytesSpellTheDecodedText) {
  // WordPiece tidies the spaces between tokens, which the bytes of one cannot tell: there everything else is compared.
  const bool has_spaces = GetParam() != "wordpiece";
  for (const auto& item : corpus_.at("cases").as_array()) {
    std::string text;
    for (const TokenId id : ids_of(item.at("ids"))) text += tokenizer_->token_bytes(id);
    if (tokenizer_->strips_leading_space() && text.starts_with(' ')) text.erase(0, 1);
    std::string decoded(std::string_view(item.at("decoded").as_string()));
    if (!has_spaces) {
      std::erase(text, ' ');
      std::erase(decoded, ' ');
    }
    EXPECT_EQ(text, decoded);
  }
}

TEST_P(GoldenTokenizer, RefusesWhatIsNotTextOrNotAToken) {
  EXPECT_EQ(tokenizer_->encode("\xFF", {}).error().code, Code::kInvalidArgument);
  const TokenId last = static_cast<TokenId>(tokenizer_->vocab()) - 1;
  EXPECT_TRUE(tokenizer_->decode(std::vector{last}, false));
  EXPECT_EQ(tokenizer_->decode(std::vector{last + 1}, false).error().code, Code::kInvalidArgument);
  EXPECT_EQ(tokenizer_->decode(std::vector{-1}, false).error().code, Code::kInvalidArgument);
  EXPECT_TRUE(tokenizer_->token_bytes(last + 1).empty());
  EXPECT_TRUE(tokenizer_->token_bytes(-1).empty());
  EXPECT_FALSE(tokenizer_->is_special(-1));
  EXPECT_EQ(tokenizer_->id_of("no such token, surely"), -1);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTokenizer,
                         testing::Values("bpe_llama3", "bpe_qwen2", "sp_bpe", "sp_bpe_gemma", "wordpiece"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace autoglm::text
