// SPDX-License-Identifier: Apache-2.0
// Text <-> token ids, exact as Hugging Face's tokenizers (the work is done in bridge/). Immutable after loading; any
// thread.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/budget.h"
#include "base/result.h"

namespace autoglm::text {

using TokenId = std::int32_t;

// A byte range of a text whose special-token spellings are ordinary text (it came from a user).
struct PlainRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// Vocabulary as GGUF metadata holds it (tokenizer.ggml.*), already bounds-checked by the reader.
struct GgufVocabulary {
  std::string model;  // "gpt2", "llama" or "bert"
  std::string pre;    // "smollm", "qwen2", "llama-bpe", ...; empty = default
  std::vector<std::string> tokens;
  std::vector<float> scores;              // SentencePiece, else empty
  std::vector<std::int32_t> token_types;  // 1 normal 2 unknown 3 control 4 user-defined 5 unused 6 byte
  std::vector<std::string> merges;        // BPE: "left right"
  std::int32_t bos = -1, eos = -1, eot = -1, eom = -1, unknown = -1, padding = -1;  // -1 = absent
  std::optional<bool> add_bos;  // absent: as the kind of vocabulary has it (SentencePiece and Llama 3: true)
  bool add_eos = false, add_space_prefix = true;
  bool lowercase = true, strip_accents = true;  // WordPiece
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// From the bytes of tokenizer.json and (may be empty) tokenizer_config.json. Errors: kCorrupt, kInvalidArgument,
  /// kExhausted.
  static Result<std::unique_ptr<Tokenizer>> from_json(std::string_view tokenizer_json, std::string_view config_json,
                                                      base::Budget& budget);
  /// From GGUF metadata. kInvalidArgument names a model or pre-tokenizer that we lack.
  static Result<std::unique_ptr<Tokenizer>> from_gguf(const GgufVocabulary& vocabulary, base::Budget& budget);
  /// For a model that came without a tokenizer: `vocab` tokens that have no text. Texts are kInvalidArgument.
  static std::unique_ptr<Tokenizer> ids_only(std::size_t vocab);

  struct EncodeOptions {
    bool add_special = false;                // bos / eos as the post-processor says
    bool parse_special = false;              // special-token text becomes the token, but never inside `plain`
    std::span<const PlainRange> plain = {};  // rising, disjoint; only read with parse_special
    // Where a text falls into words (SentencePiece takes it whole), the work stops soon after more ids than these.
    std::size_t most_ids = std::numeric_limits<std::size_t>::max();
  };
  /// Token ids of UTF-8 `text`. Errors: kInvalidArgument (not UTF-8), kExhausted (too long).
  virtual Result<std::vector<TokenId>> encode(std::string_view text, const EncodeOptions& options) const = 0;

  /// As Hugging Face's decode(): ids out of range are kInvalidArgument.
  virtual Result<std::string> decode(std::span<const TokenId> ids, bool skip_special) const = 0;

  virtual std::size_t vocab() const = 0;
  /// False only for ids_only(): every token's text is empty.
  virtual bool has_text() const { return true; }
  /// The raw bytes that a token stands for in the middle of a text (a byte-fallback token is its byte; a special token
  /// its spelling).
  virtual std::string_view token_bytes(TokenId id) const = 0;
  virtual bool is_special(TokenId id) const = 0;            // hidden by skip_special
  virtual TokenId id_of(std::string_view token) const = 0;  // -1 when there is none
  virtual TokenId bos() const = 0;                          // -1 when there is none
  /// What ends an answer as far as the tokenizer knows, named ones first: those that its files name, and control tokens
  /// known by their spelling. The model's configs may add more.
  virtual std::span<const TokenId> eos() const = 0;
  virtual bool adds_bos() const = 0;
  /// True when the first space of a decoded text is an artefact (SentencePiece with a dummy prefix).
  virtual bool strips_leading_space() const = 0;
  /// The bridge's own tokenizer, by which a grammar spells what it forces; null where there is none.
  virtual const void* bridge_handle() const { return nullptr; }
};

/// The spellings of all control tokens, for ChatTemplate::Inputs::special. Build once per model.
std::vector<std::string> control_spellings(const Tokenizer& tokenizer);

/// The most bytes of a text that one token can stand for, so that a text of more than N times as many has more than N
/// tokens; 0 where no such number is known (a tokenizer that drops or fuses parts of a text). Build once per model.
std::size_t most_bytes_of_a_token(const Tokenizer& tokenizer);

// Text of a growing token sequence, piece by piece: never shows part of a UTF-8 character, never takes text back.
class StreamDecoder final {
 public:
  enum class Begins { kText, kMidText };  // kMidText: tokens that continue a prompt; SentencePiece's first space stays
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special, Begins begins = Begins::kText)
      : tokenizer_(&tokenizer), skip_special_(skip_special), started_(begins == Begins::kMidText) {}
  /// What `id` adds to the certain text; may be empty. Ill-formed bytes become U+FFFD as soon as that is certain.
  std::string push(TokenId id);
  /// What was held back, at the end of the sequence.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  bool started_;
  std::string held_;  // at most three bytes of an incomplete character
};

}  // namespace autoglm::text
