// SPDX-License-Identifier: Apache-2.0
// /v1/embeddings of the OpenAI API on the wire: a request as checked plain values, and the answer. Any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "protocol/openai_request.h"

namespace autoglm::protocol {

struct EmbeddingsRequest {
  std::string model;
  std::vector<Prompt> inputs;             // texts, or token ids that are taken as they are
  bool is_base64 = false;                 // float32 little-endian, in base64
  std::optional<std::size_t> dimensions;  // of the vectors; nothing = the model's own
};

/// Errors: kInvalidArgument, with the parameter's name in Error::where.
Result<EmbeddingsRequest> parse_embeddings_request(std::string_view body);

struct EmbeddingsAnswer {
  std::string_view model;
  std::span<const float> vectors;  // [texts, dimensions]
  std::size_t dimensions = 0;
  bool is_base64 = false;
  std::size_t prompt_tokens = 0;
};

/// {"object":"list","data":[{"object":"embedding","index":0,"embedding":...}],"model":...,"usage":...}
std::string format_embeddings(const EmbeddingsAnswer& answer);

/// Names of parameters, for the documentation and its test.
std::vector<std::string_view> embeddings_parameters();

}  // namespace autoglm::protocol
