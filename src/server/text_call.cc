// SPDX-License-Identifier: Apache-2.0
#include "server/text_call.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include "base/mutex.h"
#include "server/generation_route.h"
#include "telemetry/stages.h"

namespace autoglm::server {
namespace {

using generation::EmbedderCard;
using generation::EmbeddingAnswer;
using protocol::ApiError;

class TextCall final : public generation::EmbeddingSink,
                       public LiveRequest,
                       public std::enable_shared_from_this<TextCall> {
 public:
  TextCall(Service& service, ModelLease model, std::shared_ptr<Reply> reply, WriteNumbers write)
      : model_(std::move(model)),
        embedder_(*model_->embedder),
        live_(service.live),
        finishing_(service.finishing),
        reply_(std::move(reply)),
        write_(std::move(write)) {}

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
    std::vector<float>& numbers = (*answer_)->vectors;
    if (!std::ranges::all_of(numbers, [](float x) { return std::isfinite(x); })) {
      return reply_->fail(Error{Code::kInternal, "a vector has what is no number", {}});
    }
    write_(std::move(numbers), *reply_);
  }

  const ModelLease model_;
  generation::Embedder& embedder_;
  LiveSubmissions& live_;
  Workers& finishing_;
  const std::shared_ptr<Reply> reply_;
  const WriteNumbers write_;
  std::optional<Result<EmbeddingAnswer>> answer_;  // the engine's thread writes it once, then a worker alone reads
  base::Mutex mutex_;
  std::optional<generation::Ticket> ticket_ GUARDED_BY(mutex_);
  bool is_cancelled_ GUARDED_BY(mutex_) = false;
};

}  // namespace

void submit_texts(Service& service, ModelLease model, const Call& call, generation::EmbeddingRequest texts,
                  WriteNumbers write) {
  const auto text_call = std::make_shared<TextCall>(service, std::move(model), call.reply, std::move(write));
  call.reply->when_gone([weak = std::weak_ptr(text_call)] {
    if (const auto live = weak.lock()) live->cancel();
  });
  if (auto submitted = text_call->submit(std::move(texts)); !submitted) call.reply->fail(submitted.error());
}

std::size_t most_counted(const EmbedderCard& card) { return kCountedContexts * card.context_length; }

ApiError text_too_long(const EmbedderCard& card, std::size_t tokens, bool is_counted, const std::string& where) {
  return {{Code::kInvalidArgument,
           "this model takes texts of up to " + std::to_string(card.context_length) + " tokens, but " + where +
               " has " + (is_counted ? "" : "more than ") + std::to_string(tokens),
           where},
          "context_length_exceeded"};
}

ApiResult<std::vector<std::int32_t>> ids_of_text(const EmbedderCard& card, std::string_view text, bool add_special,
                                                 const std::string& where) {
  telemetry::StageTimer time(card.stages, telemetry::Stage::kTokenise);
  auto ids = card.tokenizer->encode(text, {.add_special = add_special, .most_ids = most_counted(card)});
  if (!ids) return std::unexpected(ApiError({Code::kInvalidArgument, ids.error().message, where}));
  return std::move(*ids);
}

}  // namespace autoglm::server
