// SPDX-License-Identifier: Apache-2.0
// The engine requests that stand behind one HTTP request (n choices of one or several prompts): submitted together,
// cancelled together. Any thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "generation/generator.h"
#include "server/model_registry.h"

namespace autoglm::server {

// What hears of all choices. Called on the engine's thread: returns at once.
class ChoiceEvents {
 public:
  virtual ~ChoiceEvents() = default;
  virtual void on_prompt(std::size_t choice, std::vector<generation::TokenEvent> tokens) = 0;
  virtual void on_token(std::size_t choice, generation::TokenEvent event) = 0;
  virtual void on_finish(std::size_t choice, generation::Finish finish) = 0;
};

// What can be waited for, and cancelled by who stops the server or leaves it.
class LiveRequest {
 public:
  virtual ~LiveRequest() = default;
  virtual void cancel() = 0;
};

class Submission final : public LiveRequest {
 public:
  explicit Submission(ModelLease model) : model_(std::move(model)) {}

  /// Submits one request a choice; `events` hears of choice i as i. When one is refused, those before it are cancelled
  /// and the error is returned; their ends still come to `events`.
  Status submit(std::vector<generation::Request> requests, std::shared_ptr<ChoiceEvents> events) EXCLUDES(mutex_);
  /// Ends all of them, also those that are just being submitted.
  void cancel() override EXCLUDES(mutex_);

 private:
  const ModelLease model_;
  base::Mutex mutex_;
  std::vector<generation::Ticket> tickets_ GUARDED_BY(mutex_);
  bool is_cancelled_ GUARDED_BY(mutex_) = false;
};

// All requests whose ends have not all come: what a drain waits for, and what a stop cancels.
class LiveSubmissions final {
 public:
  void add(std::shared_ptr<LiveRequest> request) EXCLUDES(mutex_);
  void remove(const std::shared_ptr<LiveRequest>& request) EXCLUDES(mutex_);
  void cancel_all() EXCLUDES(mutex_);
  /// False when some are left at `until`.
  bool wait_until_none(base::Time until) EXCLUDES(mutex_);

 private:
  base::Mutex mutex_;
  std::condition_variable changed_;
  std::set<std::shared_ptr<LiveRequest>> live_ GUARDED_BY(mutex_);
};

}  // namespace autoglm::server
