// SPDX-License-Identifier: Apache-2.0
// /v1/rerank on the wire, in the shape that Jina's and Cohere's clients know: a request as checked plain values, and
// the answer. Any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace autoglm::protocol {

struct RerankRequest {
  std::string model;
  std::string query;
  std::vector<std::string> documents;  // at least one
  std::optional<std::size_t> top_n;    // the best so many; nothing = all
  bool returns_documents = true;       // their text beside their score
  bool is_cut = false;                 // a document that is too long is cut at its end, in place of an error
};

/// Errors: kInvalidArgument, with the parameter's name in Error::where.
Result<RerankRequest> parse_rerank_request(std::string_view body);

struct RerankAnswer {
  std::string_view id;
  std::string_view model;
  std::span<const float> scores;           // of each document, in the request's order
  std::span<const std::string> documents;  // empty = they are not returned
  std::size_t top_n = 0;
  std::size_t prompt_tokens = 0;
};

/// {"id":...,"model":...,"usage":...,"results":[{"index":I,"document":{"text":...},"relevance_score":S},...]}: the best
/// first, equal ones in the request's order.
std::string format_rerank(const RerankAnswer& answer);

/// Names of parameters, for the documentation and its test.
std::vector<std::string_view> rerank_parameters();

}  // namespace autoglm::protocol
