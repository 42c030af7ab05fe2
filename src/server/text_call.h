// SPDX-License-Identifier: Apache-2.0
// One request in the embedder's hands: its way back, and its end when the client leaves or the server stops. Private to
// this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "generation/embedder.h"
#include "protocol/openai_error.h"
#include "server/reply.h"
#include "server/request_grammar.h"
#include "server/service.h"

namespace autoglm::server {

/// Answers with the numbers of all texts, [texts, width]: each is finite. On a worker.
using WriteNumbers = std::function<void(std::vector<float> numbers, Reply& reply)>;

/// Submits `texts` for a call to an encoder and answers with what comes of them; errors go to the reply. The model
/// stays in memory until then.
void submit_texts(Service& service, ModelLease model, const Call& call, generation::EmbeddingRequest texts,
                  WriteNumbers write);

/// Token ids of one text, which came with the parameter `where`: all of them, or those soon after most_counted().
/// Errors: kInvalidArgument (what the tokenizer refuses).
ApiResult<std::vector<std::int32_t>> ids_of_text(const generation::EmbedderCard& card, std::string_view text,
                                                 bool add_special, const std::string& where);
/// A text that is much longer than the context is not tokenised to its end.
std::size_t most_counted(const generation::EmbedderCard& card);
/// context_length_exceeded; not `is_counted`: it has more than so many.
protocol::ApiError text_too_long(const generation::EmbedderCard& card, std::size_t tokens, bool is_counted,
                                 const std::string& where);

}  // namespace autoglm::server
