// SPDX-License-Identifier: Apache-2.0
// What the server says where an encoder is asked to write, or a model that writes for embeddings. Private to this
// folder.
#pragma once

#include "protocol/openai_error.h"
#include "server/service.h"

namespace autoglm::server {

/// Of a route that generates, on an encoder.
protocol::ApiError writes_no_text(const Service& service);

}  // namespace autoglm::server
