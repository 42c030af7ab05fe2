// SPDX-License-Identifier: Apache-2.0
// What stands in the generator's place where an encoder is served: it has a card, and refuses. Any thread.
#pragma once

#include <memory>

#include "generation/embedder.h"
#include "generation/generator.h"

namespace autoglm::server {

class NoGenerator final : public generation::Generator {
 public:
  /// `embedder` must outlive it.
  explicit NoGenerator(generation::Embedder& embedder) : embedder_(embedder) {
    const generation::EmbedderCard& card = embedder.card();
    card_.name = card.name;
    card_.created_unix_seconds = card.created_unix_seconds;
    card_.context_length = card.context_length;
    card_.max_batch_size = card.max_batch_size;
    card_.max_in_flight = card.max_in_flight;
    card_.tokenizer = card.tokenizer;
    card_.control_spellings = text::control_spellings(*card.tokenizer);
    card_.stages = card.stages;
  }

  const generation::ModelCard& card() const override { return card_; }
  Result<generation::Ticket> submit(generation::Request, std::shared_ptr<generation::Sink>) override {
    return fail(Code::kInvalidArgument, "an encoder writes no text", "model");
  }
  void cancel(generation::Ticket) override {}
  bool is_ready() const override { return embedder_.is_ready(); }
  void drain() override { embedder_.drain(); }
  std::size_t in_flight() const override { return embedder_.in_flight(); }

 private:
  generation::Embedder& embedder_;
  generation::ModelCard card_;
};

}  // namespace autoglm::server
