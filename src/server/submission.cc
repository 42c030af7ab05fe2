// SPDX-License-Identifier: Apache-2.0
// Submitting and cancelling choices together.
#include "server/submission.h"

#include <utility>

namespace autoglm::server {
namespace {

// Passes one choice's events on under its number.
class ChoiceSink final : public generation::Sink {
 public:
  ChoiceSink(std::size_t choice, std::shared_ptr<ChoiceEvents> events) : choice_(choice), events_(std::move(events)) {}
  void on_prompt_logprobs(std::vector<generation::TokenEvent> tokens) override {
    events_->on_prompt(choice_, std::move(tokens));
  }
  void on_token(generation::TokenEvent event) override { events_->on_token(choice_, std::move(event)); }
  void on_finish(generation::Finish finish) override { events_->on_finish(choice_, std::move(finish)); }

 private:
  const std::size_t choice_;
  const std::shared_ptr<ChoiceEvents> events_;
};

}  // namespace

Status Submission::submit(std::vector<generation::Request> requests, std::shared_ptr<ChoiceEvents> events) {
  for (std::size_t choice = 0; choice < requests.size(); ++choice) {
    auto ticket = model_->generator.submit(std::move(requests[choice]), std::make_shared<ChoiceSink>(choice, events));
    if (!ticket) {
      cancel();
      return std::unexpected(std::move(ticket).error());
    }
    bool is_too_late = false;
    {
      base::MutexLock lock(mutex_);
      tickets_.push_back(*ticket);
      is_too_late = is_cancelled_;
    }
    if (is_too_late) model_->generator.cancel(*ticket);
  }
  return {};
}

void Submission::cancel() {
  std::vector<generation::Ticket> tickets;
  {
    base::MutexLock lock(mutex_);
    is_cancelled_ = true;
    tickets = std::exchange(tickets_, {});
  }
  for (generation::Ticket ticket : tickets) model_->generator.cancel(ticket);
}

void LiveSubmissions::add(std::shared_ptr<LiveRequest> request) {
  base::MutexLock lock(mutex_);
  live_.insert(std::move(request));
}

void LiveSubmissions::remove(const std::shared_ptr<LiveRequest>& request) {
  base::MutexLock lock(mutex_);
  live_.erase(request);
  // Under the lock: whoever waits may destroy this object as soon as it sees that none are left.
  changed_.notify_all();
}

void LiveSubmissions::cancel_all() {
  std::set<std::shared_ptr<LiveRequest>> live;
  {
    base::MutexLock lock(mutex_);
    live = live_;
  }
  for (const auto& request : live) request->cancel();
}

bool LiveSubmissions::wait_until_none(base::Time until) {
  base::MutexLock lock(mutex_);
  while (!live_.empty()) {
    if (lock.wait_until(changed_, until) == std::cv_status::timeout) return live_.empty();
  }
  return true;
}

}  // namespace autoglm::server
