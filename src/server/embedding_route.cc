// SPDX-License-Identifier: Apache-2.0
// /v1/embeddings: from a body to token ids, through the embedder, to vectors. Worker threads; what the engine's thread
// does here is a push.
#include "server/embedding_route.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocol/embeddings.h"
#include "server/text_call.h"

namespace autoglm::server {
namespace {

using generation::EmbedderCard;
using protocol::ApiError;

static_assert(protocol::kMaxInputs == generation::kMaxTexts);

std::string place_of_input(std::size_t input, std::size_t inputs) {
  return inputs == 1 ? "input" : "input[" + std::to_string(input) + "]";
}

ApiResult<std::vector<std::int32_t>> ids_of_input(const EmbedderCard& card, const protocol::Prompt& input,
                                                  const std::string& where) {
  // Ids are taken as they are; the engine checks that there are such.
  if (const auto* given = std::get_if<std::vector<std::int32_t>>(&input)) {
    if (given->size() > card.context_length) return std::unexpected(text_too_long(card, given->size(), true, where));
    return *given;
  }
  auto ids = ids_of_text(card, std::get<std::string>(input), true, where);
  if (!ids || ids->size() <= card.context_length) return ids;
  const std::size_t most = most_counted(card);
  return std::unexpected(text_too_long(card, std::min(ids->size(), most), ids->size() <= most, where));
}

// What the vectors are cut to.
ApiResult<std::size_t> dimensions_of(const EmbedderCard& card, std::optional<std::size_t> asked) {
  if (!asked || *asked == card.width) return card.width;
  const bool is_known = std::ranges::find(card.dimensions, *asked) != card.dimensions.end();
  if (*asked < card.width && (card.may_cut_anywhere || is_known)) return *asked;
  std::string allowed = std::to_string(card.width);
  for (const std::size_t each : card.dimensions) allowed += " or " + std::to_string(each);
  if (card.may_cut_anywhere) allowed = "1 to " + allowed;
  return std::unexpected(ApiError(
      {Code::kInvalidArgument,
       "this model makes vectors of " + allowed + " dimensions, not of " + std::to_string(*asked), "dimensions"}));
}

// The first `dimensions` of each vector, of length 1 again where the whole ones are.
void shorten(std::vector<float>& vectors, std::size_t width, std::size_t dimensions, bool is_normalised) {
  if (dimensions == width) return;
  const std::size_t texts = vectors.size() / width;
  for (std::size_t i = 0; i < texts; ++i) {
    const float* const from = vectors.data() + i * width;
    float* const to = vectors.data() + i * dimensions;  // never behind `from`
    double squares = 0;
    for (std::size_t d = 0; d < dimensions; ++d) squares += static_cast<double>(from[d]) * static_cast<double>(from[d]);
    const double norm = is_normalised ? std::max(std::sqrt(squares), 1e-12) : 1;
    for (std::size_t d = 0; d < dimensions; ++d) to[d] = static_cast<float>(static_cast<double>(from[d]) / norm);
  }
  vectors.resize(texts * dimensions);
}

}  // namespace

ApiError writes_no_text(std::string_view model) {
  return Error{Code::kInvalidArgument,
               "the model \"" + std::string(model) +
                   "\" is an encoder: it makes embeddings (/v1/embeddings) or scores (/v1/rerank) and writes no text",
               "model"};
}

ApiError makes_no_embeddings(std::string_view model) {
  return Error{Code::kInvalidArgument,
               "the model \"" + std::string(model) +
                   "\" writes text and makes no embeddings; an encoder does (all-minilm-l6-v2)",
               "model"};
}

void serve_embeddings(Service& service, const Call& call) {
  auto request = protocol::parse_embeddings_request(call.request.body);
  if (!request) return call.reply->fail(request.error());
  ModelLease model = model_for(service, call, request->model, ModelUse::kEmbeds, serve_embeddings);
  if (model == nullptr) return;
  const EmbedderCard& card = model->embedder->card();
  if (card.pairs) {
    return call.reply->fail(Error{
        Code::kInvalidArgument,
        "the model \"" + card.name + "\" is a reranker: it scores pairs of texts (/v1/rerank) and makes no embeddings",
        "model"});
  }
  const auto dimensions = dimensions_of(card, request->dimensions);
  if (!dimensions) return call.reply->fail(dimensions.error());
  generation::EmbeddingRequest embedding{.id = call.id, .tenant = call.tenant};
  const std::size_t inputs = request->inputs.size();
  std::size_t prompt_tokens = 0;
  for (std::size_t i = 0; i < inputs; ++i) {
    auto ids = ids_of_input(card, request->inputs[i], place_of_input(i, inputs));
    if (!ids) return call.reply->fail(ids.error());
    prompt_tokens += ids->size();
    embedding.texts.push_back(std::move(*ids));
  }
  submit_texts(service, std::move(model), call, std::move(embedding),
               [&card, dimensions = *dimensions, is_base64 = request->is_base64, prompt_tokens](
                   std::vector<float> vectors, Reply& reply) {
                 shorten(vectors, card.width, dimensions, card.is_normalised);
                 reply.json(protocol::format_embeddings({.model = card.name,
                                                         .vectors = vectors,
                                                         .dimensions = dimensions,
                                                         .is_base64 = is_base64,
                                                         .prompt_tokens = prompt_tokens}));
               });
}

}  // namespace autoglm::server
