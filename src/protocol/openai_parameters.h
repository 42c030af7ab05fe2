// SPDX-License-Identifier: Apache-2.0
// The parameters that chat and completions share. Private to this folder.
#pragma once

#include "protocol/field_reader.h"
#include "protocol/openai_request.h"

namespace autoglm::protocol {

/// Parses a body into an object. Errors: kInvalidArgument, also for bodies that are too deep or too many values.
Result<json::Value> parse_body(std::string_view body);

/// Reads the shared parameters. `is_chat`: logprobs is a bool beside top_logprobs, max_completion_tokens exists.
Result<Parameters> read_parameters(FieldReader& reader, bool is_chat);

/// A string, a list of token ids, or a list of up to `most` of either.
Result<std::vector<Prompt>> read_prompts(FieldReader& reader, std::string_view name, std::size_t most);

/// A list of token ids, each a whole number from 0 to 2^31 - 1.
Result<std::vector<std::int32_t>> read_token_ids(const json::Array& list, std::string_view name, std::size_t max_size);

}  // namespace autoglm::protocol
