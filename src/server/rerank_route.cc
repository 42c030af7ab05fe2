// SPDX-License-Identifier: Apache-2.0
// /v1/rerank: from a query and documents to pairs of token ids, through the embedder, to scores. Worker threads.
#include <algorithm>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "protocol/rerank.h"
#include "server/embedding_route.h"
#include "server/text_call.h"

namespace autoglm::server {
namespace {

using generation::EmbedderCard;
using generation::PairFrame;
using protocol::ApiError;

static_assert(protocol::kMaxInputs == generation::kMaxTexts);

}  // namespace

ApiError makes_no_scores(std::string_view model) {
  return Error{Code::kInvalidArgument,
               "the model \"" + std::string(model) +
                   "\" scores no pairs of texts; a reranker does (BertForSequenceClassification or "
                   "XLMRobertaForSequenceClassification with one label)",
               "model"};
}

namespace {

// Makes the pairs of one query.
class Pairs {
 public:
  Pairs(const EmbedderCard& card, std::vector<std::int32_t> query, bool is_cut)
      : card_(card), frame_(*card.pairs), query_(std::move(query)), is_cut_(is_cut) {}

  /// What is left for a document; nothing when there is no room even for one token of it.
  std::size_t room() const {
    const std::size_t taken = frame_.size() + query_.size();
    return card_.context_length - std::min(card_.context_length, taken);
  }

  /// Adds the pair of the query and one document, which came as `where`.
  std::expected<void, ApiError> add(std::string_view document, const std::string& where,
                                    generation::EmbeddingRequest& request) const {
    auto ids = ids_of_text(card_, document, false, where);
    if (!ids) return std::unexpected(ids.error());
    if (ids->size() > room() && !is_cut_) return std::unexpected(too_long(ids->size(), where));
    ids->resize(std::min(ids->size(), room()));
    std::vector<std::int32_t> pair = frame_.before;
    append(pair, query_);
    append(pair, frame_.between);
    request.second_begins.push_back(pair.size());
    append(pair, *ids);
    append(pair, frame_.behind);
    request.texts.push_back(std::move(pair));
    return {};
  }

 private:
  static void append(std::vector<std::int32_t>& to, const std::vector<std::int32_t>& from) {
    to.insert(to.end(), from.begin(), from.end());
  }

  ApiError too_long(std::size_t tokens, const std::string& where) const {
    const bool is_counted = tokens <= most_counted(card_);
    return {{Code::kInvalidArgument,
             "this model takes pairs of up to " + std::to_string(card_.context_length) + " tokens; beside a query of " +
                 std::to_string(query_.size()) + " and " + std::to_string(frame_.size()) +
                 " between and around them there is room for " + std::to_string(room()) + ", but " + where + " has " +
                 (is_counted ? "" : "more than ") + std::to_string(std::min(tokens, most_counted(card_))) +
                 " (\"truncate\": true cuts it)",
             where},
            "context_length_exceeded"};
  }

  const EmbedderCard& card_;
  const PairFrame& frame_;
  const std::vector<std::int32_t> query_;
  const bool is_cut_;
};

}  // namespace

void serve_rerank(Service& service, const Call& call) {
  auto request = protocol::parse_rerank_request(call.request.body);
  if (!request) return call.reply->fail(request.error());
  ModelLease model = model_for(service, call, request->model, ModelUse::kScores, serve_rerank);
  if (model == nullptr) return;
  const EmbedderCard& card = model->embedder->card();
  if (!card.pairs) return call.reply->fail(makes_no_scores(card.name));
  auto query = ids_of_text(card, request->query, false, "query");
  if (!query) return call.reply->fail(query.error());
  const std::size_t query_tokens = query->size();
  const Pairs pairs(card, std::move(*query), request->is_cut);
  if (pairs.room() == 0) {
    const std::size_t most = most_counted(card);
    return call.reply->fail(text_too_long(card, std::min(query_tokens, most), query_tokens <= most, "query"));
  }
  generation::EmbeddingRequest texts{.id = call.id, .tenant = call.tenant};
  std::size_t prompt_tokens = 0;
  for (std::size_t i = 0; i < request->documents.size(); ++i) {
    const std::string where = "documents[" + std::to_string(i) + "]";
    if (auto added = pairs.add(request->documents[i], where, texts); !added) return call.reply->fail(added.error());
    prompt_tokens += texts.texts.back().size();
  }
  auto asked = std::make_shared<protocol::RerankRequest>(std::move(*request));
  submit_texts(
      service, std::move(model), call, std::move(texts),
      [&card, id = "rerank-" + call.id, asked, prompt_tokens](std::vector<float> scores, Reply& reply) {
        const bool returns = asked->returns_documents;
        reply.json(protocol::format_rerank(
            {.id = id,
             .model = card.name,
             .scores = scores,
             .documents = returns ? std::span<const std::string>(asked->documents) : std::span<const std::string>(),
             .top_n = asked->top_n.value_or(scores.size()),
             .prompt_tokens = prompt_tokens}));
      });
}

}  // namespace autoglm::server
