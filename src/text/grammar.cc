// SPDX-License-Identifier: Apache-2.0
#include "text/grammar.h"

#include <utility>
#include <vector>

#include "base/mutex.h"
#include "text/bridge_call.h"

namespace autoglm::text {
namespace {

struct Free {
  void operator()(bridge_vocabulary* vocabulary) const { bridge_vocabulary_free(vocabulary); }
  void operator()(bridge_grammar* grammar) const { bridge_grammar_free(grammar); }
  void operator()(bridge_matcher* matcher) const { bridge_matcher_free(matcher); }
};
using Vocabulary = std::shared_ptr<bridge_vocabulary>;

Result<Vocabulary> make_vocabulary(const Tokenizer& tokenizer) {
  StringTable tokens;
  std::vector<std::uint8_t> is_special;
  for (std::size_t i = 0; i < tokenizer.vocab(); ++i) {
    const auto id = static_cast<TokenId>(i);
    tokens.add(tokenizer.token_bytes(id));
    is_special.push_back(tokenizer.is_special(id));
  }
  const std::vector<std::uint32_t> eos(tokenizer.eos().begin(), tokenizer.eos().end());
  bridge_vocabulary* made = nullptr;
  TRY(call_bridge([&](bridge_sink error) {
    return bridge_vocabulary_new(tokens.view(), is_special.data(), eos.data(), eos.size(), error, &made);
  }));
  return Vocabulary(made, Free());
}

// The trie of a whole vocabulary is far dearer than a grammar, so each tokenizer's is kept while the tokenizer lives.
class Vocabularies {
 public:
  Result<Vocabulary> of(const std::shared_ptr<const Tokenizer>& tokenizer) {
    const base::MutexLock lock(mutex_);
    std::erase_if(kept_, [](const Kept& kept) { return kept.tokenizer.expired(); });
    for (const Kept& kept : kept_) {
      if (kept.tokenizer.lock() == tokenizer) return kept.vocabulary;
    }
    Vocabulary made = TRY(make_vocabulary(*tokenizer));
    kept_.push_back({tokenizer, made});
    return made;
  }

 private:
  struct Kept {
    std::weak_ptr<const Tokenizer> tokenizer;
    Vocabulary vocabulary;
  };
  base::Mutex mutex_;
  std::vector<Kept> kept_ GUARDED_BY(mutex_);
};

Vocabularies& vocabularies() {
  static Vocabularies all;
  return all;
}

class BridgeMatcher final : public Matcher {
 public:
  explicit BridgeMatcher(bridge_matcher* matcher) : matcher_(matcher) {}

  Status mask(std::span<std::uint32_t> words) override {
    return call_bridge(
        [&](bridge_sink error) { return bridge_matcher_mask(matcher_.get(), words.data(), words.size(), error); });
  }

  Status accept(TokenId token) override {
    if (token < 0) return fail(Code::kInvalidArgument, "a negative token id");
    return call_bridge([&](bridge_sink error) {
      return bridge_matcher_accept(matcher_.get(), static_cast<std::uint32_t>(token), error);
    });
  }

  bool is_finished() const override { return bridge_matcher_is_finished(matcher_.get()) != 0; }

 private:
  std::unique_ptr<bridge_matcher, Free> matcher_;
};

class BridgeGrammar final : public Grammar {
 public:
  explicit BridgeGrammar(bridge_grammar* grammar) : grammar_(grammar) {}

  Result<std::unique_ptr<Matcher>> start() const override {
    bridge_matcher* matcher = nullptr;
    TRY(call_bridge([&](bridge_sink error) { return bridge_matcher_start(grammar_.get(), error, &matcher); }));
    return std::make_unique<BridgeMatcher>(matcher);
  }

 private:
  std::unique_ptr<bridge_grammar, Free> grammar_;
};

}  // namespace

Result<std::shared_ptr<const Grammar>> Grammar::from_json_schema(std::string_view schema,
                                                                 std::shared_ptr<const Tokenizer> tokenizer) {
  if (!tokenizer->has_text()) {
    return fail(Code::kInvalidArgument, "this model has no tokenizer: a schema says nothing of token ids");
  }
  const Vocabulary vocabulary = TRY(vocabularies().of(tokenizer));
  bridge_grammar* grammar = nullptr;
  std::string where;
  Status made = call_bridge([&](bridge_sink error) {
    return bridge_grammar_from_json_schema(vocabulary.get(), bytes_of(schema), sink_into(where), error, &grammar);
  });
  if (!made) {
    made.error().where = std::move(where);
    return std::unexpected(std::move(made).error());
  }
  return std::make_shared<BridgeGrammar>(grammar);
}

Result<std::shared_ptr<const Grammar>> Grammar::any_json_object(std::shared_ptr<const Tokenizer> tokenizer) {
  return from_json_schema(R"({"type":"object"})", std::move(tokenizer));
}

}  // namespace autoglm::text
