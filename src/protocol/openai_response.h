// SPDX-License-Identifier: Apache-2.0
// Answers of the OpenAI API, whole and as server-sent events. A chunk is a prefix rendered once and the escaped text
// between two constants. Works on plain values; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/openai_error.h"

namespace autoglm::protocol {

enum class AnswerKind : std::uint8_t { kChat, kCompletion };

// What all parts of one answer repeat.
struct AnswerHead {
  AnswerKind kind = AnswerKind::kChat;
  std::string id;  // "chatcmpl-..."
  std::string model;
  std::string fingerprint;  // system_fingerprint
  std::int64_t created = 0;
};

struct UsageCount {
  std::size_t prompt_tokens = 0;
  std::size_t cached_tokens = 0;
  std::size_t completion_tokens = 0;
  std::size_t reasoning_tokens = 0;  // of them
};

struct TokenLogprob {
  std::string token;  // its raw bytes, which need not be UTF-8
  float logprob = 0;
};

// One token with its probability and the most likely others.
struct TokenRecord {
  TokenLogprob chosen;
  bool has_logprob = true;  // false for the first token of an echoed prompt: nothing comes before it
  bool is_in_text = true;   // false for a special token that the text leaves out
  std::vector<TokenLogprob> top;
};

// A tool call of an answer, or in a stream a part of one.
struct ToolCallPiece {
  std::size_t index = 0;  // of the call in its choice
  std::string id;         // a stream's first part has it, and the name; later ones are empty
  std::string name;
  std::string arguments;  // JSON text, or the next of it
};

// A piece of a choice, or all of it.
struct Piece {
  std::size_t index = 0;  // of the choice
  std::string_view text;
  std::string_view reasoning;                 // chat only
  std::span<const ToolCallPiece> tool_calls;  // chat only
  std::span<const TokenRecord> records;       // with logprobs
  bool has_logprobs = false;
  std::span<const std::int32_t> token_ids;  // with return_token_ids
  bool has_token_ids = false;
  std::span<const std::int32_t> prompt_ids;  // with return_token_ids; in a stream only in a choice's first chunk
  bool has_prompt_ids = false;
  std::size_t text_offset = 0;     // of `text` in the choice, for completions' text_offset
  std::string_view finish_reason;  // empty = null
};

/// Characters that the tokens have in the text: what text_offset grows by.
std::size_t count_characters(std::span<const TokenRecord> records);

/// The whole answer: {"id":...,"choices":[...],"usage":{...}}.
std::string format_answer(const AnswerHead& head, std::span<const Piece> choices, const UsageCount& usage);

// Writes the events of one streamed answer.
class ChunkWriter final {
 public:
  ChunkWriter(const AnswerHead& head, bool include_usage);

  /// The first chunk of a chat choice: its role. Completions have none.
  void append_role(std::string& out, const Piece& piece) const;
  void append_piece(std::string& out, const Piece& piece) const;
  /// The chunk after the last one, with empty choices, when usage was asked for.
  void append_usage(std::string& out, const UsageCount& usage) const;
  /// An error in mid-stream: an event with OpenAI's error object, after which the stream ends without [DONE].
  static void append_error(std::string& out, const ApiError& error);
  static void append_done(std::string& out);

 private:
  void append_choice(std::string& out, std::string_view delta, const Piece& piece) const;

  const AnswerKind kind_;
  const bool include_usage_;
  std::string prefix_;  // from "data: " to the choices' bracket
};

}  // namespace autoglm::protocol
