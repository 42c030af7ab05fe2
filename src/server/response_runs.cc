// SPDX-License-Identifier: Apache-2.0
#include "server/response_runs.h"

#include <exception>
#include <system_error>
#include <utility>

#include "base/log.h"

namespace autoglm::server {

ResponseRuns::~ResponseRuns() {
  cancel_all();
  wait_until_none(base::Time::max());
  join_ended();
}

Status ResponseRuns::start(const std::string& id, const std::string& tenant, std::string so_far, std::stop_source stop,
                           Make make) {
  join_ended();
  base::MutexLock lock(mutex_);
  if (runs_.size() >= kMaxRuns) return fail(Code::kExhausted, "too many responses are being made; try again");
  // Held until the thread stands in its place: it takes the lock before it ends.
  Run& run = runs_[id];
  run = {.tenant = tenant, .so_far = std::move(so_far), .stop = stop, .thread = {}, .waiting = {}, .has_ended = false};
  try {
    run.thread = std::thread(
        [this, id, make = std::move(make), stop]() mutable { this->run(id, std::move(make), stop.get_token()); });
  } catch (const std::system_error&) {
    runs_.erase(id);
    return fail(Code::kExhausted, "no thread can be started; try again");
  }
  return {};
}

void ResponseRuns::run(const std::string& id, Make make, const std::stop_token& stop) {
  std::string response;
  try {
    response = make(stop);
  } catch (const std::exception& thrown) {
    LOG_ERROR("response {} was dropped: {}", id, thrown.what());
  }
  {
    base::MutexLock lock(mutex_);
    Run& run = runs_.at(id);
    run.has_ended = true;
    if (response.empty()) response = run.so_far;
    for (const OnEnd& on_end : run.waiting) on_end(response);
    run.waiting.clear();
  }
  make = nullptr;
  base::MutexLock lock(mutex_);
  const auto found = runs_.find(id);
  ended_.push_back(std::move(found->second.thread));
  runs_.erase(found);
  // Under the lock: whoever waits may destroy this object as soon as it sees that none are left.
  changed_.notify_all();
}

void ResponseRuns::end(std::string_view id) {
  base::MutexLock lock(mutex_);
  if (const auto found = runs_.find(id); found != runs_.end()) found->second.has_ended = true;
}

std::string ResponseRuns::find(std::string_view tenant, std::string_view id) {
  base::MutexLock lock(mutex_);
  const auto found = runs_.find(id);
  const bool is_there = found != runs_.end() && found->second.tenant == tenant && !found->second.has_ended;
  return is_there ? found->second.so_far : std::string();
}

bool ResponseRuns::cancel(std::string_view tenant, std::string_view id, OnEnd on_end) {
  std::stop_source stop;
  {
    base::MutexLock lock(mutex_);
    const auto found = runs_.find(id);
    if (found == runs_.end() || found->second.tenant != tenant || found->second.has_ended) return false;
    found->second.waiting.push_back(std::move(on_end));
    stop = found->second.stop;
  }
  stop.request_stop();
  return true;
}

void ResponseRuns::cancel_all() {
  std::vector<std::stop_source> stops;
  {
    base::MutexLock lock(mutex_);
    for (const auto& [id, run] : runs_) stops.push_back(run.stop);
  }
  for (std::stop_source& stop : stops) stop.request_stop();
}

bool ResponseRuns::wait_until_none(base::Time until) {
  base::MutexLock lock(mutex_);
  while (!runs_.empty()) {
    if (until == base::Time::max()) {
      lock.wait(changed_);
    } else if (lock.wait_until(changed_, until) == std::cv_status::timeout) {
      return runs_.empty();
    }
  }
  return true;
}

void ResponseRuns::join_ended() {
  std::vector<std::thread> ended;
  {
    base::MutexLock lock(mutex_);
    ended.swap(ended_);
  }
  for (std::thread& thread : ended) thread.join();
}

}  // namespace autoglm::server
