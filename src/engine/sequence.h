// SPDX-License-Identifier: Apache-2.0
// One growing row of tokens: a request on its way through the engine, with the KV blocks it holds and all that must
// survive a preemption. Made on the caller's thread (there it allocates), then owned by the engine's thread alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "engine/block_pool.h"
#include "engine/prefix_cache.h"
#include "engine/sampling_state.h"
#include "engine/stop.h"
#include "generation/generator.h"
#include "text/tokenizer.h"

namespace autoglm::engine {

struct Sequence final {
  Sequence(generation::Ticket ticket_number, generation::Request asked, std::shared_ptr<generation::Sink> where,
           SamplingState sampling_state, std::size_t answer_tokens, const text::Tokenizer& tokenizer,
           base::Time submitted_at);

  // Who and what.
  const generation::Ticket ticket;
  const generation::Request request;  // its prompt is the beginning of `tokens`
  const std::shared_ptr<generation::Sink> sink;
  const std::size_t answer_limit;
  bool is_long = false;  // may outgrow the model's short context; decided once, so that no cached key goes stale
  std::atomic<bool> is_cancel_requested = false;  // any thread

  // The row. tokens[0, computed) have their KV in `blocks`; the last row computed yields the next token, and with it
  // those that a grammar then forces.
  std::vector<TokenId> tokens;  // prompt, then answer; capacity for all of it
  std::size_t computed = 0;     // 0 again after a preemption
  std::size_t highest_computed = 0;
  std::vector<BlockIndex> blocks;  // block table; capacity for the longest row
  std::size_t known_blocks = 0;    // the first ones, which the prefix cache knows
  PrefixSerial prefix = 0;         // what they hold
  PrefixSerial root = 0;           // the empty prefix of its tenant, long or short

  // Sampling and text.
  SamplingState sampling;
  text::StreamDecoder prompt_decoder;  // of an echoed prompt
  text::StreamDecoder decoder;         // of the answer, which continues the prompt
  StopText stop;
  std::size_t prompt_scored = 0;                        // prompt tokens whose logprob is known (the first has none)
  std::vector<generation::TokenEvent> prompt_logprobs;  // when asked for
  bool has_delivered_prompt = false;

  // How it ended; decided at most once.
  std::optional<generation::FinishReason> finish_reason;
  std::optional<Error> error;
  std::optional<generation::TokenEvent> end_token;  // when logprobs are asked for

  const base::Time submitted;
  std::size_t cached_tokens = 0;  // of the prompt, found in the prefix cache when it first ran
  std::optional<base::Time> first_planned;
  std::optional<base::Time> first_token;
  base::Time last_token{};

  std::size_t prompt_size() const { return request.prompt.size(); }
  std::size_t answer_size() const { return tokens.size() - request.prompt.size(); }
  std::size_t remaining() const { return tokens.size() - computed; }
  /// The row before its next token, or one of its answer, is due: that goes before the rows of prompts.
  bool is_decoding() const { return computed > 0 && (remaining() == 1 || computed >= prompt_size()); }
  bool is_finished() const { return finish_reason.has_value(); }
  /// Ends the sequence, unless it has already ended: the first reason stays.
  void end(generation::FinishReason reason, std::optional<Error> why = std::nullopt);
};

/// Order in which sequences are served: larger priority first, then first come. Tickets rise with arrival.
bool is_before(const Sequence& left, const Sequence& right);

}  // namespace autoglm::engine
