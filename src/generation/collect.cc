// SPDX-License-Identifier: Apache-2.0
#include "generation/collect.h"

namespace autoglm::generation {

void CollectingSink::on_prompt_logprobs(std::vector<TokenEvent> tokens) {
  base::MutexLock lock(mutex_);
  answer_.prompt_logprobs = std::move(tokens);
}

void CollectingSink::on_token(TokenEvent event) {
  if (on_text_ && !event.text.empty()) on_text_(event.text);
  base::MutexLock lock(mutex_);
  answer_.text += event.text;
  answer_.tokens.push_back(std::move(event));
}

void CollectingSink::on_finish(Finish finish) {
  if (on_text_ && !finish.text.empty()) on_text_(finish.text);
  base::MutexLock lock(mutex_);
  answer_.text += finish.text;
  answer_.finish = std::move(finish);
  ++finish_count_;
  changed_.notify_all();
}

Answer CollectingSink::wait() {
  base::MutexLock lock(mutex_);
  while (finish_count_ == 0) lock.wait(changed_);
  return answer_;
}

bool CollectingSink::is_finished() const { return finish_count() > 0; }

int CollectingSink::finish_count() const {
  base::MutexLock lock(mutex_);
  return finish_count_;
}

std::size_t CollectingSink::token_count() const {
  base::MutexLock lock(mutex_);
  return answer_.tokens.size();
}

Result<Answer> generate(Generator& generator, Request request, CollectingSink::OnText on_text) {
  auto sink = std::make_shared<CollectingSink>(std::move(on_text));
  TRY(generator.submit(std::move(request), sink));
  Answer answer = sink->wait();
  if (answer.finish.error) return std::unexpected(*answer.finish.error);
  return answer;
}

}  // namespace autoglm::generation
