// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/json.h"
#include "text/bridge_call.h"

namespace autoglm::text {
namespace {

static_assert(sizeof(PlainRange) == sizeof(bridge_plain_range) && alignof(PlainRange) == alignof(bridge_plain_range));

struct FreeTokenizer {
  void operator()(bridge_tokenizer* tokenizer) const { bridge_tokenizer_free(tokenizer); }
};
using Handle = std::unique_ptr<bridge_tokenizer, FreeTokenizer>;

// Control tokens that end an answer in every family that has them: files often name one end token only, and not the one
// that the chat template uses; configs of base models do not know the chat's.
constexpr std::array<std::string_view, 9> kEndSpellings = {"<|im_end|>",      "<|endoftext|>",   "<|eot_id|>",
                                                           "<|eom_id|>",      "<|end_of_text|>", "<end_of_turn>",
                                                           "<|observation|>", "<|end|>",         "</s>"};

// GLM ends its turn with the beginning of another one, or, where it thinks aloud first, with the end of its answer; a
// GGUF names some of these only. Not looked for elsewhere: Phi-3 has a user's mark too, and answers are words to most.
constexpr std::string_view kGlmSign = "[gMASK]";
constexpr std::array<std::string_view, 2> kGlmEndSpellings = {"<|user|>", "</answer>"};

class BridgeTokenizer final : public Tokenizer {
 public:
  BridgeTokenizer(Handle handle, TokenId bos) : handle_(std::move(handle)), bos_(bos) {}

  /// What the vocabulary puts before every text decides adds_bos(), and bos() where no file names it.
  Status look_at_frame() {
    const std::vector<TokenId> frame = TRY(encode("", {.add_special = true}));
    if (frame.empty()) return {};
    if (bos_ < 0 && is_special(frame.front())) bos_ = frame.front();
    adds_bos_ = frame.front() == bos_;
    return {};
  }

  /// Ids outside the vocabulary are nobody's end.
  void add_end(std::int64_t id) {
    if (id < 0 || static_cast<std::size_t>(id) >= vocab()) return;
    if (std::ranges::find(eos_, static_cast<TokenId>(id)) == eos_.end()) eos_.push_back(static_cast<TokenId>(id));
  }
  void add_ends_by_spelling() {
    for (const std::string_view spelling : kEndSpellings) {
      const TokenId id = id_of(spelling);
      if (is_special(id)) add_end(id);
    }
  }
  void add_ends_of_glm() {
    if (!is_special(id_of(kGlmSign))) return;
    for (const std::string_view spelling : kGlmEndSpellings) add_end(id_of(spelling));
  }

  Result<std::vector<TokenId>> encode(std::string_view text, const EncodeOptions& options) const override {
    std::vector<TokenId> ids;
    const auto* plain = reinterpret_cast<const bridge_plain_range*>(options.plain.data());
    TRY(call_bridge([&](bridge_sink error) {
      return bridge_tokenizer_encode(handle_.get(), bytes_of(text), options.add_special, options.parse_special, plain,
                                     options.plain.size(), options.most_ids, sink_into(ids), error);
    }));
    return ids;
  }

  Result<std::string> decode(std::span<const TokenId> ids, bool skip_special) const override {
    std::vector<std::uint32_t> unsigned_ids(ids.begin(), ids.end());  // a negative id is out of range there too
    std::string text;
    TRY(call_bridge([&](bridge_sink error) {
      return bridge_tokenizer_decode(handle_.get(), unsigned_ids.data(), unsigned_ids.size(), skip_special,
                                     sink_into(text), error);
    }));
    return text;
  }

  const void* bridge_handle() const override { return handle_.get(); }

  std::size_t vocab() const override { return bridge_tokenizer_vocab(handle_.get()); }

  std::string_view token_bytes(TokenId id) const override {
    return id < 0 ? std::string_view()
                  : view_of(bridge_tokenizer_token_bytes(handle_.get(), static_cast<std::uint32_t>(id)));
  }

  bool is_special(TokenId id) const override {
    return id >= 0 && bridge_tokenizer_is_special(handle_.get(), static_cast<std::uint32_t>(id)) != 0;
  }

  TokenId id_of(std::string_view token) const override {
    return static_cast<TokenId>(bridge_tokenizer_id_of(handle_.get(), bytes_of(token)));
  }

  TokenId bos() const override { return bos_; }
  std::span<const TokenId> eos() const override { return eos_; }
  bool adds_bos() const override { return adds_bos_; }
  bool strips_leading_space() const override { return bridge_tokenizer_strips_leading_space(handle_.get()) != 0; }

 private:
  Handle handle_;
  TokenId bos_;
  std::vector<TokenId> eos_;
  bool adds_bos_ = false;
};

// `named_ends` are those that the files name.
Result<std::unique_ptr<BridgeTokenizer>> finish(Handle handle, TokenId bos, std::span<const std::int32_t> named_ends) {
  auto tokenizer = std::make_unique<BridgeTokenizer>(std::move(handle), bos);
  TRY(tokenizer->look_at_frame());
  for (const std::int32_t id : named_ends) tokenizer->add_end(id);
  tokenizer->add_ends_by_spelling();
  return tokenizer;
}

// "bos_token" of tokenizer_config.json: a string, an object with "content", or null.
TokenId token_of_config(const bridge_tokenizer* tokenizer, const json::Object& config, std::string_view key) {
  const json::Value* value = config.if_contains(key);
  if (value != nullptr && value->is_object()) value = value->get_object().if_contains("content");
  if (value == nullptr || !value->is_string()) return -1;
  return static_cast<TokenId>(bridge_tokenizer_id_of(tokenizer, bytes_of(value->get_string())));
}

// Llama 3's converter writes no add_bos_token, and SentencePiece files may leave it out too; both mean yes.
bool adds_bos_by_kind(const GgufVocabulary& vocabulary) {
  constexpr std::array<std::string_view, 5> kWithBos = {"llama-bpe", "llama3", "llama-v3", "tekken", "pixtral"};
  return vocabulary.bos >= 0 &&
         (vocabulary.model == "llama" || std::ranges::find(kWithBos, vocabulary.pre) != kWithBos.end());
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_json(std::string_view tokenizer_json, std::string_view config_json,
                                                        base::Budget& budget) {
  TRY(budget.take_bytes(tokenizer_json.size(), "tokenizer.json"));
  bridge_tokenizer* made = nullptr;
  TRY(call_bridge(
      [&](bridge_sink error) { return bridge_tokenizer_from_json(bytes_of(tokenizer_json), error, &made); }));
  Handle handle(made);
  TokenId bos = -1;
  TokenId eos = -1;
  if (!config_json.empty()) {
    Result<json::Value> config = json::parse(config_json, budget);
    if (!config) {
      if (config.error().code == Code::kInvalidArgument) config.error().code = Code::kCorrupt;
      return fail_in("tokenizer_config.json", std::move(config).error());
    }
    if (!config->is_object()) return fail(Code::kCorrupt, "tokenizer_config.json is not an object");
    bos = token_of_config(made, config->get_object(), "bos_token");
    eos = token_of_config(made, config->get_object(), "eos_token");
  }
  return finish(std::move(handle), bos, {&eos, 1});
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_gguf(const GgufVocabulary& vocabulary, base::Budget& budget) {
  std::size_t bytes = 0;
  for (const std::string& token : vocabulary.tokens) bytes += token.size();
  for (const std::string& merge : vocabulary.merges) bytes += merge.size();
  TRY(budget.take_bytes(bytes, "the vocabulary"));
  const std::size_t count = vocabulary.tokens.size();
  if ((!vocabulary.scores.empty() && vocabulary.scores.size() != count) ||
      (!vocabulary.token_types.empty() && vocabulary.token_types.size() != count)) {
    return fail(Code::kCorrupt, "the vocabulary's tokens, scores and token types differ in number");
  }
  const StringTable tokens(vocabulary.tokens);
  const StringTable merges(vocabulary.merges);
  const bridge_gguf_vocabulary source = {
      .model = bytes_of(vocabulary.model),
      .pre = bytes_of(vocabulary.pre),
      .tokens = tokens.view(),
      .scores = vocabulary.scores.empty() ? nullptr : vocabulary.scores.data(),
      .token_types = vocabulary.token_types.empty() ? nullptr : vocabulary.token_types.data(),
      .merges = merges.view(),
      .unknown = vocabulary.unknown,
      .bos = vocabulary.bos,
      .eos = vocabulary.eos,
      .add_bos = vocabulary.add_bos.value_or(adds_bos_by_kind(vocabulary)),
      .add_eos = vocabulary.add_eos,
      .add_space_prefix = vocabulary.add_space_prefix,
      .lowercase = vocabulary.lowercase,
      .strip_accents = vocabulary.strip_accents,
  };
  bridge_tokenizer* made = nullptr;
  TRY(call_bridge([&](bridge_sink error) { return bridge_tokenizer_from_gguf(&source, error, &made); }));
  Handle handle(made);
  const bool has_bos = vocabulary.bos >= 0 && static_cast<std::size_t>(vocabulary.bos) < count;
  const std::int32_t ends[] = {vocabulary.eos, vocabulary.eot, vocabulary.eom};
  auto tokenizer = TRY(finish(std::move(handle), has_bos ? vocabulary.bos : -1, ends));
  tokenizer->add_ends_of_glm();
  return tokenizer;
}

std::vector<std::string> control_spellings(const Tokenizer& tokenizer) {
  std::vector<std::string> spellings;
  for (std::size_t id = 0; id < tokenizer.vocab(); ++id) {
    const auto token = static_cast<TokenId>(id);
    if (tokenizer.is_special(token) && !tokenizer.token_bytes(token).empty())
      spellings.emplace_back(tokenizer.token_bytes(token));
  }
  return spellings;
}

}  // namespace autoglm::text
