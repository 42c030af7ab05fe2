// SPDX-License-Identifier: Apache-2.0
#include "text/grammar.h"

#include <algorithm>
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

// A format's marker that the vocabulary holds whole, such as <tool_call>: a tokenizer writes it as that token, a model
// as likely in pieces. What is taken for one by mistake is only not foretold.
bool is_marker(std::string_view bytes) {
  return bytes.size() > 2 &&
         ((bytes.front() == '<' && bytes.back() == '>') || (bytes.front() == '[' && bytes.back() == ']'));
}

class BridgeMatcher final : public Matcher {
 public:
  BridgeMatcher(bridge_matcher* matcher, std::shared_ptr<const Tokenizer> tokenizer)
      : matcher_(matcher), tokenizer_(std::move(tokenizer)) {}

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

  Status forced(std::vector<TokenId>& tokens) override {
    tokens.clear();
    const auto* speller = static_cast<const bridge_tokenizer*>(tokenizer_->bridge_handle());
    TRY(call_bridge(
        [&](bridge_sink error) { return bridge_matcher_forced(matcher_.get(), speller, sink_into(tokens), error); }));
    const auto is_mark = [this](TokenId token) { return is_marker(tokenizer_->token_bytes(token)); };
    tokens.erase(std::ranges::find_if(tokens, is_mark), tokens.end());
    return {};
  }

  bool is_finished() const override { return bridge_matcher_is_finished(matcher_.get()) != 0; }

 private:
  std::unique_ptr<bridge_matcher, Free> matcher_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

class BridgeGrammar final : public Grammar {
 public:
  BridgeGrammar(bridge_grammar* grammar, std::shared_ptr<const Tokenizer> tokenizer)
      : grammar_(grammar), tokenizer_(std::move(tokenizer)) {}

  Result<std::unique_ptr<Matcher>> start() const override {
    bridge_matcher* matcher = nullptr;
    TRY(call_bridge([&](bridge_sink error) { return bridge_matcher_start(grammar_.get(), error, &matcher); }));
    return std::make_unique<BridgeMatcher>(matcher, tokenizer_);
  }

 private:
  std::unique_ptr<bridge_grammar, Free> grammar_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

// Runs `compile(vocabulary, where, error, grammar)`.
template <typename Compile>
Result<std::shared_ptr<const Grammar>> compiled(std::shared_ptr<const Tokenizer> tokenizer, Compile compile) {
  if (!tokenizer->has_text()) {
    return fail(Code::kInvalidArgument, "this model has no tokenizer: a grammar says nothing of token ids");
  }
  const Vocabulary vocabulary = TRY(vocabularies().of(tokenizer));
  bridge_grammar* grammar = nullptr;
  std::string where;
  Status made =
      call_bridge([&](bridge_sink error) { return compile(vocabulary.get(), sink_into(where), error, &grammar); });
  if (!made) {
    made.error().where = std::move(where);
    return std::unexpected(std::move(made).error());
  }
  return std::make_shared<BridgeGrammar>(grammar, std::move(tokenizer));
}

}  // namespace

Result<std::shared_ptr<const Grammar>> Grammar::from_json_schema(std::string_view schema,
                                                                 std::shared_ptr<const Tokenizer> tokenizer) {
  return compiled(std::move(tokenizer), [&](auto* vocabulary, bridge_sink where, bridge_sink error, auto** grammar) {
    return bridge_grammar_from_json_schema(vocabulary, bytes_of(schema), where, error, grammar);
  });
}

Result<std::shared_ptr<const Grammar>> Grammar::from_lark(std::string_view lark, std::span<const std::string> schemas,
                                                          std::shared_ptr<const Tokenizer> tokenizer) {
  const StringTable table(schemas);
  return compiled(std::move(tokenizer), [&](auto* vocabulary, bridge_sink where, bridge_sink error, auto** grammar) {
    return bridge_grammar_from_lark(vocabulary, bytes_of(lark), table.view(), where, error, grammar);
  });
}

Result<std::shared_ptr<const Grammar>> Grammar::any_json_object(std::shared_ptr<const Tokenizer> tokenizer) {
  return from_json_schema(R"({"type":"object"})", std::move(tokenizer));
}

}  // namespace autoglm::text
