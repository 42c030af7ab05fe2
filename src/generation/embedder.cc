// SPDX-License-Identifier: Apache-2.0
#include "generation/embedder.h"

#include <string>
#include <utility>

namespace autoglm::generation {

void WaitingSink::on_end(Result<EmbeddingAnswer> answer) {
  base::MutexLock lock(mutex_);
  answer_ = std::move(answer);
  changed_.notify_all();
}

std::optional<Result<EmbeddingAnswer>> WaitingSink::wait(base::Duration longest) {
  const auto until = std::chrono::steady_clock::now() + longest;
  base::MutexLock lock(mutex_);
  while (!answer_ && lock.wait_until(changed_, until) == std::cv_status::no_timeout) {
  }
  return std::exchange(answer_, std::nullopt);
}

Result<EmbeddingAnswer> WaitingSink::wait() {
  base::MutexLock lock(mutex_);
  while (!answer_) lock.wait(changed_);
  return std::move(*answer_);
}

Result<PairFrame> make_pair_frame(const text::Tokenizer& tokenizer, std::size_t separators) {
  const std::vector<TokenId> ids = TRY(tokenizer.encode("", {.add_special = true}));
  if (ids.size() != 2) {
    return fail(Code::kInvalidArgument,
                "the tokenizer of a reranker puts a token before and one behind a text; this one puts " +
                    std::to_string(ids.size()));
  }
  return PairFrame{.before = {ids[0]}, .between = std::vector<TokenId>(separators, ids[1]), .behind = {ids[1]}};
}

Result<EmbeddingAnswer> embed(Embedder& embedder, EmbeddingRequest request) {
  const auto sink = std::make_shared<WaitingSink>();
  TRY(embedder.submit(std::move(request), sink));
  return sink->wait();
}

}  // namespace autoglm::generation
