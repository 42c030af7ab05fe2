// SPDX-License-Identifier: Apache-2.0
#include "generation/embedder.h"

#include <condition_variable>
#include <optional>
#include <string>
#include <utility>

#include "base/mutex.h"

namespace autoglm::generation {
namespace {

// The engine's thread writes, one other thread waits.
class WaitingSink final : public EmbeddingSink {
 public:
  void on_end(Result<EmbeddingAnswer> answer) override EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    answer_ = std::move(answer);
    changed_.notify_all();
  }
  Result<EmbeddingAnswer> wait() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    while (!answer_) lock.wait(changed_);
    return std::move(*answer_);
  }

 private:
  base::Mutex mutex_;
  std::condition_variable changed_;
  std::optional<Result<EmbeddingAnswer>> answer_ GUARDED_BY(mutex_);
};

}  // namespace

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
