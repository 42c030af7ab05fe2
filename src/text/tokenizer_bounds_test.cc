// SPDX-License-Identifier: Apache-2.0
// Tokenizers under hostile texts and hostile files: nothing crashes, nothing needs a deep stack, and every bound holds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>

#include "base/sanitized.h"
#include "text/tokenizer.h"

namespace autoglm::text {
namespace {

constexpr std::size_t kMaxTextBytes = 4u << 20;  // MAX_TEXT_BYTES of the bridge
constexpr std::size_t kMaxWhiteRun = 500'000;    // MAX_WHITE_RUN
constexpr std::size_t kHostileBytes = 128u << 10;
constexpr std::size_t kLongWordBytes = 1u << 20;

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string json_of(const std::string& kind) {
  return read_file(std::string(TESTDATA_DIR) + "/golden/tokenizers/" + kind + "/tokenizer.json");
}

std::unique_ptr<Tokenizer> tokenizer_of(const std::string& kind) {
  base::Budget budget;
  auto made = Tokenizer::from_json(json_of(kind), "", budget);
  EXPECT_TRUE(made) << made.error().message;
  return made ? std::move(*made) : nullptr;
}

std::string repeated(std::string_view unit, std::size_t bytes) {
  std::string text;
  while (text.size() + unit.size() <= bytes) text += unit;
  return text;
}

// Runs `work` on a thread whose stack is so small that recursion over a text would overflow it.
void on_small_stack(const std::function<void()>& work) {
  // Instrumented frames are several times larger.
  constexpr std::size_t kStackBytes = base::kIsSanitized ? 1024u << 10 : 128u << 10;
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, kStackBytes), 0);
  pthread_t thread = {};
  const auto run = [](void* context) -> void* {
    (*static_cast<const std::function<void()>*>(context))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, run, const_cast<std::function<void()>*>(&work)), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

class HostileText : public testing::TestWithParam<std::string> {};

// Threat T-B2: a pre-tokenizer that recurses once a character overflows this stack.
TEST_P(HostileText, T_B2_OfOneKindIsTokenizedWithoutADeepStack) {
  const auto tokenizer = tokenizer_of(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  for (const std::string_view unit : {"a", " ", "\n", "\t \n", "中", "👨‍👩‍👧", "ab", "1", "!", " a", "'s",
                                      "e\u0301", "x\r\n", "<|eot_id|>", "<", "▁", "hello world "}) {
    const std::string text = repeated(unit, kHostileBytes);
    std::vector<TokenId> ids;
    on_small_stack([&] { ids = tokenizer->encode(text, {.parse_special = true}).value_or(std::vector<TokenId>{}); });
    ASSERT_FALSE(ids.empty()) << unit;
    EXPECT_LE(ids.size(), text.size() + 1) << unit;
  }
}

// Threat T-B3: words of a mebibyte. Merging them with the square of their length would take 10^12 steps each, beyond
// the patience of any test runner.
TEST_P(HostileText, T_B3_LongWordsAreNotMergedInSquareTime) {
  const auto tokenizer = tokenizer_of(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  for (const std::string_view unit : {"a", "ab", "中", "👨‍👩‍👧", "1", "!"}) {
    const std::string text = repeated(unit, kLongWordBytes);
    const auto ids = tokenizer->encode(text, {});
    ASSERT_TRUE(ids) << unit;
    EXPECT_LE(ids->size(), text.size() + 1) << unit;
  }
}

TEST_P(HostileText, T_B3_IsBoundedInLength) {
  const auto tokenizer = tokenizer_of(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  std::string words = repeated("word ", kMaxTextBytes);
  words.resize(kMaxTextBytes, '.');
  EXPECT_TRUE(tokenizer->encode(words, {}));
  EXPECT_EQ(tokenizer->encode(words + ".", {}).error().code, Code::kExhausted);
  EXPECT_TRUE(tokenizer->encode(std::string(kMaxWhiteRun, ' '), {}));
  EXPECT_EQ(tokenizer->encode(std::string(kMaxWhiteRun + 1, ' '), {}).error().code, Code::kExhausted);
  EXPECT_EQ(tokenizer->encode(std::string(16u << 20, ' '), {}).error().code, Code::kExhausted);
}

// Who has room for some ids only does not pay for the rest, of a text without a place to cut it as of any other.
TEST_P(HostileText, T_E_StopsSoonAfterEnoughIds) {
  const auto tokenizer = tokenizer_of(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  for (const std::string_view unit : {"<|im_end|>", "word and word ", "7,"}) {
    const std::string text = repeated(unit, kHostileBytes);
    const auto all = tokenizer->encode(text, {.parse_special = true}).value();
    for (const std::size_t most : {std::size_t{0}, std::size_t{1}, std::size_t{1000}}) {
      const auto some = tokenizer->encode(text, {.parse_special = true, .most_ids = most}).value();
      EXPECT_GT(some.size(), most) << unit;
      if (GetParam().starts_with("bpe_")) EXPECT_LE(some.size(), most + 20) << unit;  // SentencePiece has no words
      EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin())) << unit;
    }
    EXPECT_EQ(tokenizer->encode(text, {.parse_special = true, .most_ids = all.size()}).value(), all) << unit;
  }
}

// The bound on what a token stands for holds, above all where few tokens stand for much.
TEST_P(HostileText, T_E_NoTokenStandsForMoreThanItsBound) {
  const auto tokenizer = tokenizer_of(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  const std::size_t widest = most_bytes_of_a_token(*tokenizer);
  ASSERT_GT(widest, 0u);
  std::string longest;
  for (std::size_t id = 0; id < tokenizer->vocab(); ++id) {
    const std::string_view bytes = tokenizer->token_bytes(static_cast<TokenId>(id));
    if (bytes.size() > longest.size()) longest = bytes;
  }
  for (const std::string_view unit :
       {std::string_view(longest), std::string_view(" "), std::string_view("\n"), std::string_view("e\u0301"),
        std::string_view("\u03b9\u0308\u0301"), std::string_view("\u1112\u1161\u11ab"), std::string_view("\u2603")}) {
    const std::string text = repeated(unit, kHostileBytes);
    const auto ids = tokenizer->encode(text, {.parse_special = true}).value();
    EXPECT_GE(ids.size() * widest, text.size()) << unit;
  }
}

// A vocabulary that takes a run of unknown characters for one token has no bound.
TEST(TokenizerBounds, AVocabularyWithoutAllBytesHasNoWidestToken) {
  base::Budget budget;
  const auto tokenizer = Tokenizer::from_json(
      R"({"model":{"type":"BPE","unk_token":"?","fuse_unk":true,"vocab":{"?":0,"a":1},"merges":[]}})", "", budget);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->encode(std::string(1000, 'b'), {}).value().size(), 1u);
  EXPECT_EQ(most_bytes_of_a_token(**tokenizer), 0u);
  EXPECT_EQ(most_bytes_of_a_token(*Tokenizer::ids_only(10)), 0u);
}

TEST_P(HostileText, OfRandomCharactersComesBack) {
  constexpr unsigned kSeed = 11;
  std::mt19937 random(kSeed);
  const auto tokenizer = tokenizer_of(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  constexpr std::string_view kUnits[] = {"a", "Z",   "7",  " ",  "\n", "é",  "世", "😀",
                                         ".", "'ll", "  ", "<|", "|>", "\t", "_"};
  for (int round = 0; round < 200; ++round) {
    std::string text = "x";
    for (unsigned i = 0, count = random() % 60; i < count; ++i) text += kUnits[random() % std::size(kUnits)];
    const auto ids = tokenizer->encode(text, {});
    ASSERT_TRUE(ids);
    EXPECT_EQ(tokenizer->decode(*ids, false).value(), text) << "seed " << kSeed << ", round " << round;
  }
}

INSTANTIATE_TEST_SUITE_P(All, HostileText, testing::Values("bpe_llama3", "bpe_qwen2", "sp_bpe", "sp_bpe_gemma"),
                         [](const auto& info) { return info.param; });

// Threat T-B1: a length that is small when it is cut to 32 bits. The text is a mapping of zeros that costs no memory.
TEST(TokenizerBounds, T_B1_LengthsKeepTheir64Bits) {
  const auto tokenizer = tokenizer_of("bpe_llama3");
  ASSERT_NE(tokenizer, nullptr);
  constexpr std::size_t kBytes = (std::size_t{1} << 32) + 4;
  void* const zeros = mmap(nullptr, kBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(zeros, MAP_FAILED);
  const auto ids = tokenizer->encode({static_cast<const char*>(zeros), kBytes}, {});
  munmap(zeros, kBytes);
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().code, Code::kExhausted);
}

// Long texts are cut into pieces where that changes nothing; the cut must really change nothing.
TEST(TokenizerPieces, ALongTextGivesTheIdsOfItsParts) {
  const auto tokenizer = tokenizer_of("bpe_llama3");
  ASSERT_NE(tokenizer, nullptr);
  const std::string unit = "It's a test, of 1234 words:\n\n  and don't you know  that naïve 世界 <|eot_id|> ends\t";
  const auto once = tokenizer->encode(unit, {.parse_special = true}).value();
  std::vector<TokenId> expected;
  std::string text;
  while (text.size() < 200'000) {
    text += unit;
    expected.insert(expected.end(), once.begin(), once.end());
  }
  EXPECT_EQ(tokenizer->encode(text, {.parse_special = true}).value(), expected);
}

TEST(TokenizerFile, BrokenInAnyByteIsRefusedOrWorks) {
  constexpr unsigned kSeed = 5;
  std::mt19937 random(kSeed);
  for (const std::string kind : {"bpe_llama3", "sp_bpe"}) {
    const std::string whole = json_of(kind);
    for (int round = 0; round < 60; ++round) {
      std::string broken = whole;
      for (unsigned i = 0, count = 1 + random() % 4; i < count; ++i)
        broken[random() % broken.size()] = static_cast<char>(random());
      if (round % 3 == 0) broken.resize(random() % broken.size());
      base::Budget budget;
      const auto made = Tokenizer::from_json(broken, "", budget);
      if (!made) {
        EXPECT_NE(made.error().code, Code::kInternal) << "seed " << kSeed << ": " << made.error().message;
        continue;
      }
      const auto ids = (*made)->encode("Hello wörld <s> 123", {.add_special = true, .parse_special = true});
      if (ids) {
        for (const TokenId id : *ids) EXPECT_LT(static_cast<std::size_t>(id), (*made)->vocab()) << "seed " << kSeed;
      }
    }
  }
}

TEST(TokenizerFile, HostileFilesAreRefused) {
  const auto code_of = [](std::string_view json) {
    base::Budget budget;
    const auto made = Tokenizer::from_json(json, "", budget);
    EXPECT_FALSE(made) << json.substr(0, 80);
    return made ? Code::kInternal : made.error().code;
  };
  EXPECT_EQ(code_of(""), Code::kCorrupt);
  EXPECT_EQ(code_of("{}"), Code::kCorrupt);
  EXPECT_EQ(code_of(std::string(1'000'000, '[')), Code::kCorrupt);
  EXPECT_EQ(code_of(R"({"model":{"type":"BPE","vocab":{"a":4294967295},"merges":[]}})"), Code::kCorrupt);
  EXPECT_EQ(code_of(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}})"), Code::kCorrupt);
  EXPECT_EQ(code_of(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"],"continuing_subword_prefix":"###"}})"),
            Code::kInvalidArgument);
  EXPECT_EQ(code_of(R"({"model":{"type":"Strange","vocab":{"a":0}}})"), Code::kCorrupt);
  EXPECT_EQ(
      code_of(
          R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated","invert":false},"model":{"type":"BPE","vocab":{"a":0},"merges":[]}})"),
      Code::kCorrupt);
  // A post-processor that adds an id which is not there.
  EXPECT_EQ(
      code_of(
          R"({"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
      "pair":[],"special_tokens":{"x":{"id":"x","ids":[9999999],"tokens":["x"]}}},"model":{"type":"BPE","vocab":{"a":0},"merges":[]}})"),
      Code::kCorrupt);
}

TEST(TokenizerFile, ItsBudgetIsExact) {
  const std::string json = json_of("bpe_llama3");
  base::Budget enough({.bytes = json.size()});
  EXPECT_TRUE(Tokenizer::from_json(json, "", enough));
  base::Budget short_of_one({.bytes = json.size() - 1});
  EXPECT_EQ(Tokenizer::from_json(json, "", short_of_one).error().code, Code::kExhausted);
}

TEST(TokenizerFile, ItsConfigIsCheckedToo) {
  const std::string json = json_of("sp_bpe");
  const auto made = [&](std::string_view config) {
    base::Budget budget;
    return Tokenizer::from_json(json, config, budget);
  };
  EXPECT_EQ(made("[]").error().code, Code::kCorrupt);
  EXPECT_EQ(made("{").error().code, Code::kCorrupt);
  const auto named = made(R"({"bos_token":{"content":"<s>"},"eos_token":"</s>"})");
  ASSERT_TRUE(named);
  EXPECT_EQ((*named)->bos(), 1);
  EXPECT_EQ(std::vector((*named)->eos().begin(), (*named)->eos().end()), std::vector<TokenId>{2});
  EXPECT_TRUE((*named)->adds_bos());
  const auto unnamed = made(R"({"bos_token":null,"eos_token":5})");
  ASSERT_TRUE(unnamed);
  EXPECT_EQ((*unnamed)->bos(), 1);  // the post-processor puts it first
  EXPECT_EQ(std::vector((*unnamed)->eos().begin(), (*unnamed)->eos().end()), std::vector<TokenId>{2});  // </s>
}

// A small vocabulary as a GGUF file would hold it.
GgufVocabulary small_vocabulary() {
  return {.model = "llama",
          .pre = "default",
          .tokens = {"<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "ab"},
          .scores = {0, 0, 0, -3, -4, -5, -1, -2},
          .token_types = {2, 3, 3, 1, 1, 1, 1, 1},
          .bos = 1,
          .eos = 2,
          .unknown = 0};
}

TEST(TokenizerOfVocabulary, IsBuiltFromScores) {
  base::Budget budget;
  const auto made = Tokenizer::from_gguf(small_vocabulary(), budget);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ((*made)->encode("ab", {.add_special = true}).value(),
            (std::vector<TokenId>{1, 6, 5}));  // ▁a has the better score
  EXPECT_TRUE((*made)->adds_bos());
  EXPECT_TRUE((*made)->strips_leading_space());
  EXPECT_EQ((*made)->eos().front(), 2);
}

// A control token's bytes are its spelling, though decoding makes a space of the mark in it: texts are searched for it.
TEST(TokenizerOfVocabulary, AControlTokenKeepsItsSpelling) {
  GgufVocabulary vocabulary = small_vocabulary();
  vocabulary.tokens[1] = "<begin▁of▁text>";
  base::Budget budget;
  const auto made = Tokenizer::from_gguf(vocabulary, budget);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ((*made)->token_bytes(1), "<begin▁of▁text>");
  EXPECT_EQ((*made)->encode("<begin▁of▁text>", {.parse_special = true}).value(), std::vector<TokenId>{1});
  EXPECT_THAT(control_spellings(**made), testing::Contains("<begin▁of▁text>"));
}

TEST(TokenizerOfVocabulary, ContradictionsAreRefused) {
  const auto code_of = [](const std::function<void(GgufVocabulary&)>& change) {
    GgufVocabulary vocabulary = small_vocabulary();
    change(vocabulary);
    base::Budget budget;
    const auto made = Tokenizer::from_gguf(vocabulary, budget);
    EXPECT_FALSE(made);
    return made ? Code::kInternal : made.error().code;
  };
  EXPECT_EQ(code_of([](auto& v) { v.model = "t5"; }), Code::kInvalidArgument);
  EXPECT_EQ(code_of([](auto& v) { v.model = "gpt2", v.pre = "strange"; }), Code::kInvalidArgument);
  EXPECT_EQ(code_of([](auto& v) { v.tokens.clear(), v.scores.clear(), v.token_types.clear(); }), Code::kCorrupt);
  EXPECT_EQ(code_of([](auto& v) { v.scores.pop_back(); }), Code::kCorrupt);
  EXPECT_EQ(code_of([](auto& v) { v.token_types.push_back(1); }), Code::kCorrupt);
  EXPECT_EQ(code_of([](auto& v) { v.bos = 8; }), Code::kCorrupt);
  EXPECT_EQ(code_of([](auto& v) { v.tokens[4] = "\xFF"; }), Code::kCorrupt);
  EXPECT_EQ(code_of([](auto& v) { v.tokens[4] = std::string(2'000, 'x'); }), Code::kCorrupt);
  EXPECT_EQ(code_of([](auto& v) { v.model = "gpt2", v.merges = {"a"}; }), Code::kCorrupt);
  EXPECT_EQ(code_of([](auto& v) { v.model = "gpt2", v.merges = {"a c"}; }), Code::kCorrupt);
}

TEST(TokenizerOfVocabulary, EveryKnownPreTokenizerCutsText) {
  for (const std::string pre :
       {"",          "default",          "gpt-2",     "phi-2",     "mpt",         "olmo",     "smollm",
        "starcoder", "refact",           "command-r", "codeshell", "llama3",      "llama-v3", "llama-bpe",
        "falcon3",   "pixtral",          "lfm2",      "glm4",      "chatglm-bpe", "dbrx",     "smaug-bpe",
        "qwen2",     "deepseek-r1-qwen", "megrez",    "tekken",    "gpt-4o",      "llama4"}) {
    GgufVocabulary vocabulary = {.model = "gpt2",
                                 .pre = pre,
                                 .tokens = {"a", "b", "Ġ", "Ġa", "1", "Ã", "©", "é", "<|end|>"},
                                 .token_types = {1, 1, 1, 1, 1, 1, 1, 1, 3},
                                 .merges = {"Ġ a"},
                                 .eos = 8};
    vocabulary.tokens[7] = "Ã©";  // é in the byte alphabet
    vocabulary.merges.push_back("Ã ©");
    base::Budget budget;
    const auto made = Tokenizer::from_gguf(vocabulary, budget);
    ASSERT_TRUE(made) << pre << ": " << made.error().message;
    EXPECT_EQ((*made)->encode("b a11\u00e9<|end|>", {.parse_special = true}).value(),
              (std::vector<TokenId>{1, 3, 4, 4, 7, 8}))
        << pre;
    EXPECT_EQ((*made)->decode(std::vector<TokenId>{1, 3, 4, 4, 7, 8}, true).value(), "b a11\u00e9") << pre;
    EXPECT_FALSE((*made)->adds_bos()) << pre;  // no bos is named
  }
}

// Threat T-A6: "<0x-1>" is no byte, and ids outside the vocabulary are nobody's.
TEST(TokenizerOfVocabulary, T_A6_OddTokensAndIdsAreHarmless) {
  GgufVocabulary vocabulary = small_vocabulary();
  vocabulary.tokens[3] = "<0x-1>";
  vocabulary.tokens[5] = "";
  vocabulary.unknown = 1'000'000;
  vocabulary.eot = 99;
  vocabulary.eom = 7;
  base::Budget budget;
  const auto made = Tokenizer::from_gguf(vocabulary, budget);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ((*made)->token_bytes(3), "<0x-1>");
  EXPECT_EQ(std::vector((*made)->eos().begin(), (*made)->eos().end()), (std::vector<TokenId>{2, 7}));
}

}  // namespace
}  // namespace autoglm::text
