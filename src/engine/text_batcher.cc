// SPDX-License-Identifier: Apache-2.0
#include "engine/text_batcher.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace autoglm::engine {

void TextBatcher::add(std::unique_ptr<TextJob> job) {
  waiting_texts_ += job->request.texts.size();
  for (const auto& text : job->request.texts) {
    CHECK(text.size() <= options_.max_batch_tokens) << text.size() << " tokens in a text";
    waiting_tokens_ += text.size();
  }
  jobs_.push_back(std::move(job));
}

bool TextBatcher::is_full() const {
  return waiting_texts_ >= options_.max_batch_size || waiting_tokens_ >= options_.max_batch_tokens;
}

std::size_t TextBatcher::requests_at_work() const {
  return options_.max_requests == 0 ? jobs_.size() : std::min(jobs_.size(), options_.max_requests);
}

// As many as last time, or all that may work at once.
bool TextBatcher::has_company() const {
  return jobs_.size() >= company_ || (options_.max_requests > 0 && jobs_.size() >= options_.max_requests);
}

bool TextBatcher::is_due(base::Time now) const {
  if (waiting_texts_ == 0) return false;
  return is_full() || has_company() || now >= jobs_.front()->arrived + options_.batch_timeout;
}

std::optional<base::Time> TextBatcher::next_wake() const {
  if (waiting_texts_ == 0 || is_full() || has_company()) return std::nullopt;
  return jobs_.front()->arrived + options_.batch_timeout;
}

std::span<const TextBatcher::Place> TextBatcher::plan(base::Time now) {
  CHECK(places_.empty()) << "the last batch was not committed";
  if (!is_due(now)) return {};
  std::size_t tokens = 0;
  const std::span at_work(jobs_.data(), requests_at_work());
  // A round takes the next text of each request, so that one of many texts does not hold up the others.
  for (bool has_more = true; has_more;) {
    has_more = false;
    for (const auto& job : at_work) {
      if (job->next == job->request.texts.size()) continue;
      const std::size_t length = job->request.texts[job->next].size();
      if (places_.size() == options_.max_batch_size || tokens + length > options_.max_batch_tokens) return places_;
      places_.push_back({.job = job.get(), .text = job->next++});
      if (!job->begun) job->begun = now;
      tokens += length;
      --waiting_texts_;
      waiting_tokens_ -= length;
      has_more = true;
    }
  }
  return places_;
}

template <typename Leaves>
std::vector<std::unique_ptr<TextJob>> TextBatcher::take(const Leaves& leaves) {
  std::vector<std::unique_ptr<TextJob>> taken;
  for (auto& job : jobs_) {
    if (!leaves(*job)) continue;
    for (std::size_t i = job->next; i < job->request.texts.size(); ++i) {
      --waiting_texts_;
      waiting_tokens_ -= job->request.texts[i].size();
    }
    taken.push_back(std::move(job));
  }
  std::erase(jobs_, nullptr);
  return taken;
}

std::vector<std::unique_ptr<TextJob>> TextBatcher::commit() {
  company_ = jobs_.size();
  for (const Place& place : places_) ++place.job->done;
  places_.clear();
  return take([](const TextJob& job) { return job.done == job.request.texts.size(); });
}

std::vector<std::unique_ptr<TextJob>> TextBatcher::take_cancelled() {
  CHECK(places_.empty()) << "a batch is running";
  return take([](const TextJob& job) { return job.is_cancel_requested.load(); });
}

}  // namespace autoglm::engine
