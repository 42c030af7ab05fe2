// SPDX-License-Identifier: Apache-2.0
// What a caller asks of a Generator: a prompt in tokens, how to sample, when to stop, and who asks. Plain values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "text/grammar.h"

namespace autoglm::generation {

using TokenId = std::int32_t;

struct Sampling {
  float temperature = 1.0f;  // 0 = greedy
  std::int32_t top_k = 0;    // 0 = all
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;  // of tokens in prompt and answer; 1 = none (Keskar et al. 2019, arXiv:1909.05858)
  float frequency_penalty = 0.0f;   // per occurrence in the answer (OpenAI)
  float presence_penalty = 0.0f;
  std::vector<std::pair<TokenId, float>> logit_bias;
  std::optional<std::uint64_t> seed;  // absent: drawn when submitted
};

struct Request {
  std::string id;               // for logs and tracing; chosen by the caller
  std::vector<TokenId> prompt;  // at least one token
  Sampling sampling;
  std::size_t max_tokens = 0;  // of the answer; 0 = as many as the context leaves
  std::size_t min_tokens =
      0;  // end-of-generation tokens are masked before that; a grammar that is complete ends it all the same
  std::vector<std::string> stop;     // text that ends the answer and is not part of it
  std::vector<TokenId> stop_tokens;  // besides the model's own
  bool ignore_eos = false;
  std::shared_ptr<const text::Grammar> grammar;  // null = free text
  bool want_logprobs = false;
  std::size_t top_logprobs = 0;       // alternatives per token, <= 20
  bool want_prompt_logprobs = false;  // echo with logprobs
  bool want_prompt_logits = false;    // beside want_prompt_logprobs: the sink hears the rows they were made of
  bool prompt_only = false;           // ends after the prompt: no token is sampled (echo with max_tokens 0)
  bool keep_special_text = false;     // special tokens show in the text (skip_special_tokens=false)

  // Who asks; carried from the start so that later policies need no new plumbing.
  std::string tenant;
  std::string session;
  std::int32_t priority = 0;           // larger goes first
  std::optional<base::Time> deadline;  // kDeadline when reached
  std::string lease;                   // the claim under which a worker runs this; empty = none
};

}  // namespace autoglm::generation
