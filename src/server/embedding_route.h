// SPDX-License-Identifier: Apache-2.0
// What the server says where an encoder is asked to write, or another model for embeddings or scores. Private to this
// folder.
#pragma once

#include <string_view>

#include "protocol/openai_error.h"

namespace autoglm::server {

/// Of a route that generates, on an encoder.
protocol::ApiError writes_no_text(std::string_view model);
/// Of /v1/embeddings, on a model that writes.
protocol::ApiError makes_no_embeddings(std::string_view model);
/// Of /v1/rerank, on a model that scores no pairs.
protocol::ApiError makes_no_scores(std::string_view model);

}  // namespace autoglm::server
