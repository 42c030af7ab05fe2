// SPDX-License-Identifier: Apache-2.0
// /v1/embeddings: from a body to token ids, through the embedder, to vectors. Worker threads; what the engine's thread
// does here is a push.
#include "server/embedding_route.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "protocol/embeddings.h"
#include "server/generation_route.h"
#include "server/service.h"
#include "telemetry/stages.h"

namespace autoglm::server {
namespace {

using generation::EmbedderCard;
using generation::EmbeddingAnswer;
using protocol::ApiError;

static_assert(protocol::kMaxInputs == generation::kMaxTexts);

std::string place_of_input(std::size_t input, std::size_t inputs) {
  return inputs == 1 ? "input" : "input[" + std::to_string(input) + "]";
}

ApiError text_too_long(const EmbedderCard& card, std::size_t tokens, bool is_counted, std::string where) {
  return {{Code::kInvalidArgument,
           "this model takes texts of up to " + std::to_string(card.context_length) + " tokens, but " + where +
               " has " + (is_counted ? "" : "more than ") + std::to_string(tokens),
           where},
          "context_length_exceeded"};
}

ApiResult<std::vector<std::int32_t>> ids_of_input(const EmbedderCard& card, const protocol::Prompt& input,
                                                  const std::string& where) {
  // Ids are taken as they are; the engine checks that there are such.
  if (const auto* given = std::get_if<std::vector<std::int32_t>>(&input)) {
    if (given->size() > card.context_length) {
      return std::unexpected(text_too_long(card, given->size(), true, where));
    }
    return *given;
  }
  const std::size_t most = kCountedContexts * card.context_length;
  telemetry::StageTimer time(card.stages, telemetry::Stage::kTokenise);
  auto ids = card.tokenizer->encode(std::get<std::string>(input), {.add_special = true, .most_ids = most});
  if (!ids) return std::unexpected(ApiError({Code::kInvalidArgument, ids.error().message, where}));
  if (ids->size() > card.context_length) {
    return std::unexpected(text_too_long(card, std::min(ids->size(), most), ids->size() <= most, where));
  }
  return std::move(*ids);
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

// One request in the embedder's hands: its way back, and its end when the client leaves or the server stops.
class EmbeddingCall final : public generation::EmbeddingSink,
                            public LiveRequest,
                            public std::enable_shared_from_this<EmbeddingCall> {
 public:
  struct Plan {
    std::size_t dimensions = 0;
    std::size_t prompt_tokens = 0;
    bool is_base64 = false;
  };

  EmbeddingCall(Service& service, ModelLease model, std::shared_ptr<Reply> reply, const Plan& plan)
      : model_(std::move(model)),
        embedder_(*model_->embedder),
        live_(service.live),
        finishing_(service.finishing),
        reply_(std::move(reply)),
        plan_(plan) {}

  Status submit(generation::EmbeddingRequest request) EXCLUDES(mutex_) {
    live_.add(shared_from_this());
    auto ticket = embedder_.submit(std::move(request), shared_from_this());
    if (!ticket) {
      live_.remove(shared_from_this());
      return std::unexpected(std::move(ticket).error());
    }
    bool is_too_late = false;
    {
      base::MutexLock lock(mutex_);
      ticket_ = *ticket;
      is_too_late = is_cancelled_;
    }
    if (is_too_late) embedder_.cancel(*ticket);
    return {};
  }

  void cancel() override EXCLUDES(mutex_) {
    std::optional<generation::Ticket> ticket;
    {
      base::MutexLock lock(mutex_);
      is_cancelled_ = true;
      ticket = ticket_;
    }
    if (ticket) embedder_.cancel(*ticket);
  }

  // On the engine's thread: thousands of numbers are written out elsewhere.
  void on_end(Result<EmbeddingAnswer> answer) override {
    answer_ = std::move(answer);
    const bool is_taken = finishing_.push([self = shared_from_this()] { self->send(); });
    if (!is_taken) send();
  }

 private:
  void send() {
    write();
    live_.remove(shared_from_this());
  }

  void write() {
    if (!*answer_) return reply_->fail(answer_->error());
    std::vector<float>& vectors = (*answer_)->vectors;
    const EmbedderCard& card = embedder_.card();
    if (!std::ranges::all_of(vectors, [](float x) { return std::isfinite(x); })) {
      return reply_->fail(Error{Code::kInternal, "a vector has what is no number", {}});
    }
    shorten(vectors, card.width, plan_.dimensions, card.is_normalised);
    reply_->json(protocol::format_embeddings({.model = card.name,
                                              .vectors = vectors,
                                              .dimensions = plan_.dimensions,
                                              .is_base64 = plan_.is_base64,
                                              .prompt_tokens = plan_.prompt_tokens}));
  }

  const ModelLease model_;
  generation::Embedder& embedder_;
  LiveSubmissions& live_;
  Workers& finishing_;
  const std::shared_ptr<Reply> reply_;
  const Plan plan_;
  std::optional<Result<EmbeddingAnswer>> answer_;  // the engine's thread writes it once, then a worker alone reads
  base::Mutex mutex_;
  std::optional<generation::Ticket> ticket_ GUARDED_BY(mutex_);
  bool is_cancelled_ GUARDED_BY(mutex_) = false;
};

}  // namespace

ApiError writes_no_text(std::string_view model) {
  return Error{
      Code::kInvalidArgument,
      "the model \"" + std::string(model) + "\" is an encoder: it makes embeddings (/v1/embeddings) and writes no text",
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
  const auto dimensions = dimensions_of(card, request->dimensions);
  if (!dimensions) return call.reply->fail(dimensions.error());
  EmbeddingCall::Plan plan{.dimensions = *dimensions, .is_base64 = request->is_base64};
  generation::EmbeddingRequest embedding{.id = call.id, .tenant = call.tenant};
  const std::size_t inputs = request->inputs.size();
  for (std::size_t i = 0; i < inputs; ++i) {
    auto ids = ids_of_input(card, request->inputs[i], place_of_input(i, inputs));
    if (!ids) return call.reply->fail(ids.error());
    plan.prompt_tokens += ids->size();
    embedding.texts.push_back(std::move(*ids));
  }
  const auto embedding_call = std::make_shared<EmbeddingCall>(service, std::move(model), call.reply, plan);
  call.reply->when_gone([weak = std::weak_ptr(embedding_call)] {
    if (const auto live = weak.lock()) live->cancel();
  });
  if (auto submitted = embedding_call->submit(std::move(embedding)); !submitted) {
    call.reply->fail(submitted.error());
  }
}

}  // namespace autoglm::server
