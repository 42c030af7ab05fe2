// SPDX-License-Identifier: Apache-2.0
// C face of the one Rust crate: tokenizers, chat templates, constrained decoding and JSON Schema. Only src/text
// includes it. Every call returns a bridge_code and never unwinds into the caller; what a call yields goes to a sink
// that the caller owns, and the error message to another. All handles are immutable and shared by threads, but for
// bridge_matcher, which belongs to one thread at a time.
#ifndef OPENAUTOGLM_BRIDGE_H
#define OPENAUTOGLM_BRIDGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum bridge_code {
  BRIDGE_OK = 0,
  BRIDGE_INVALID = 1,    // the caller's input is wrong
  BRIDGE_EXHAUSTED = 2,  // a limit was reached
  BRIDGE_CORRUPT = 3,    // a file's bytes are not what they must be
  BRIDGE_INTERNAL = 4,   // our fault; a panic was caught
};

struct bridge_bytes {
  const uint8_t* data;  // may be null when size is 0
  size_t size;
};

// Receives bytes during a call, on the caller's thread; never called with more than the result holds.
struct bridge_sink {
  void* context;
  void (*write)(void* context, const uint8_t* data, size_t size);
};

// --- tokenizer -----------------------------------------------------------------------------------------------------

struct bridge_tokenizer;

// Strings of a vocabulary laid end to end: string i is data[ends[i-1] .. ends[i]).
struct bridge_strings {
  struct bridge_bytes data;
  const uint64_t* ends;
  size_t count;
};

struct bridge_gguf_vocabulary {
  struct bridge_bytes model;
  struct bridge_bytes pre;
  struct bridge_strings tokens;
  const float* scores;         // one a token, or null
  const int32_t* token_types;  // one a token, or null
  struct bridge_strings merges;
  int32_t unknown;  // -1 = absent
  int32_t bos;      // put before a text where add_bos is set
  int32_t eos;
  int32_t add_bos;
  int32_t add_eos;
  int32_t add_space_prefix;
  int32_t lowercase;      // WordPiece
  int32_t strip_accents;  // WordPiece
};

struct bridge_plain_range {
  size_t begin;
  size_t end;
};

int32_t bridge_tokenizer_from_json(struct bridge_bytes json, struct bridge_sink error,
                                   struct bridge_tokenizer** tokenizer);
int32_t bridge_tokenizer_from_gguf(const struct bridge_gguf_vocabulary* vocabulary, struct bridge_sink error,
                                   struct bridge_tokenizer** tokenizer);
void bridge_tokenizer_free(struct bridge_tokenizer* tokenizer);

// The sink gets the ids as native uint32_t; the work stops soon after more than most_ids of them were found.
int32_t bridge_tokenizer_encode(const struct bridge_tokenizer* tokenizer, struct bridge_bytes text, int32_t add_special,
                                int32_t parse_special, const struct bridge_plain_range* plain, size_t plain_count,
                                size_t most_ids, struct bridge_sink ids, struct bridge_sink error);
int32_t bridge_tokenizer_decode(const struct bridge_tokenizer* tokenizer, const uint32_t* ids, size_t count,
                                int32_t skip_special, struct bridge_sink text, struct bridge_sink error);

// One more than the largest id.
size_t bridge_tokenizer_vocab(const struct bridge_tokenizer* tokenizer);
// Bytes of a token in the middle of a text; borrowed, valid as long as the tokenizer. Empty for an unused id.
struct bridge_bytes bridge_tokenizer_token_bytes(const struct bridge_tokenizer* tokenizer, uint32_t id);
int32_t bridge_tokenizer_is_special(const struct bridge_tokenizer* tokenizer, uint32_t id);
// -1 when there is none.
int64_t bridge_tokenizer_id_of(const struct bridge_tokenizer* tokenizer, struct bridge_bytes token);
int32_t bridge_tokenizer_strips_leading_space(const struct bridge_tokenizer* tokenizer);

// --- chat template -------------------------------------------------------------------------------------------------

struct bridge_template;

// `fuel`: instructions that one rendering may run.
int32_t bridge_template_parse(struct bridge_bytes source, uint64_t fuel, struct bridge_sink error,
                              struct bridge_template** compiled);
void bridge_template_free(struct bridge_template* compiled);
// `context` is a JSON object: the variables that the template may name. `now_seconds` is what strftime_now() formats,
// as seconds since 1970 in local time.
int32_t bridge_template_render(const struct bridge_template* compiled, struct bridge_bytes context, size_t max_output,
                               int64_t now_seconds, struct bridge_sink text, struct bridge_sink error);

// --- constrained decoding ------------------------------------------------------------------------------------------

struct bridge_vocabulary;  // token bytes as a trie, one for each tokenizer
struct bridge_grammar;
struct bridge_matcher;

int32_t bridge_vocabulary_new(struct bridge_strings tokens, const uint8_t* is_special, const uint32_t* eos,
                              size_t eos_count, struct bridge_sink error, struct bridge_vocabulary** vocabulary);
void bridge_vocabulary_free(struct bridge_vocabulary* vocabulary);

// The grammar keeps what it needs of the vocabulary alive. `where` gets the JSON pointer of what was refused, if known.
int32_t bridge_grammar_from_json_schema(const struct bridge_vocabulary* vocabulary, struct bridge_bytes schema,
                                        struct bridge_sink where, struct bridge_sink error,
                                        struct bridge_grammar** grammar);
// From a grammar in llguidance's Lark, which is ours, around JSON schemas, which are strangers': schema number i is the
// rule @si. `where` gets "/i" and the JSON pointer into that schema.
int32_t bridge_grammar_from_lark(const struct bridge_vocabulary* vocabulary, struct bridge_bytes lark,
                                 struct bridge_strings schemas, struct bridge_sink where, struct bridge_sink error,
                                 struct bridge_grammar** grammar);
void bridge_grammar_free(struct bridge_grammar* grammar);

int32_t bridge_matcher_start(const struct bridge_grammar* grammar, struct bridge_sink error,
                             struct bridge_matcher** matcher);
void bridge_matcher_free(struct bridge_matcher* matcher);
// Writes `count` words; bit i of word i / 32 says that token i may come next.
int32_t bridge_matcher_mask(struct bridge_matcher* matcher, uint32_t* words, size_t count, struct bridge_sink error);
int32_t bridge_matcher_accept(struct bridge_matcher* matcher, uint32_t token, struct bridge_sink error);
// The tokens that must follow, as native uint32_t; they are not accepted yet. `tokenizer` spells them as the model is
// used to see them; null: the longest tokens that fit.
int32_t bridge_matcher_forced(struct bridge_matcher* matcher, const struct bridge_tokenizer* tokenizer,
                              struct bridge_sink tokens, struct bridge_sink error);
// 1 when nothing may follow but the end.
int32_t bridge_matcher_is_finished(const struct bridge_matcher* matcher);

// --- JSON Schema ---------------------------------------------------------------------------------------------------

struct bridge_schema;

// `where` gets the JSON pointer of what was refused, if known.
int32_t bridge_schema_parse(struct bridge_bytes text, struct bridge_sink where, struct bridge_sink error,
                            struct bridge_schema** schema);
void bridge_schema_free(struct bridge_schema* schema);
// BRIDGE_INVALID when the JSON text `value` does not satisfy the schema; `where` then gets a pointer into the value.
int32_t bridge_schema_check(const struct bridge_schema* schema, struct bridge_bytes value, struct bridge_sink where,
                            struct bridge_sink error);

#ifdef __cplusplus
}
#endif

#endif
