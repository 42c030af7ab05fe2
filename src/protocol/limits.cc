// SPDX-License-Identifier: Apache-2.0
// The table of bounds as clients name them.
#include "protocol/limits.h"

namespace autoglm::protocol {

std::span<const Limit> all_limits() {
  static constexpr Limit kLimits[] = {
      {"messages", kMaxMessages},
      {"messages[].content[]", kMaxContentParts},
      {"model", kMaxNameBytes},
      {"n", kMaxChoices},
      {"prompt[]", kMaxPrompts},
      {"n * prompts", kMaxSequences},
      {"max_tokens", kMaxTokens},
      {"n * prompts * max_tokens * (1 + top_logprobs)", kMaxAnswerValues},
      {"tools", kMaxTools},
      {"input", kMaxMessages},
      {"input of embeddings", kMaxInputs},
      {"documents", kMaxInputs},
      {"dimensions", kMaxDimensions},
      {"max_output_tokens", kMaxTokens},
      {"max_tool_calls", kMaxToolCalls},
      {"stop", kMaxStops},
      {"stop[]", kMaxStopBytes},
      {"stop_token_ids", kMaxStopTokens},
      {"top_logprobs", kMaxTopLogprobs},
      {"logit_bias", kMaxLogitBias},
      {"logit_bias[]", kMaxLogitBiasValue},
      {"top_k", kMaxTopK},
      {"response_format.json_schema.schema", kMaxSchemaBytes},
      {"chat_template_kwargs", kMaxTemplateFields},
      {"text of one prompt or message", kMaxTextBytes},
      {"white space in a row in a text", kMaxWhiteRun},
      {"depth of the body", kMaxJsonDepth},
      {"values in the body", kMaxJsonValues},
      {"temperature", kMaxTemperature},
      {"frequency_penalty", kMaxOccurrencePenalty},
      {"presence_penalty", kMaxOccurrencePenalty},
      {"repetition_penalty", kMaxRepetitionPenalty},
  };
  return kLimits;
}

}  // namespace autoglm::protocol
