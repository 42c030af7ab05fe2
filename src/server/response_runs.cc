// SPDX-License-Identifier: Apache-2.0
#include "server/response_runs.h"

#include <system_error>
#include <utility>

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
  run = {.tenant = tenant, .so_far = std::move(so_far), .stop = stop, .thread = {}, .waiting = {}};
  try {
    run.thread = std::thread([this, id, make = std::move(make), stop] { this->run(id, make, stop.get_token()); });
  } catch (const std::system_error&) {
    runs_.erase(id);
    return fail(Code::kExhausted, "no thread can be started; try again");
  }
  return {};
}

void ResponseRuns::run(const std::string& id, const Make& make, const std::stop_token& stop) {
  const std::string response = make(stop);
  base::MutexLock lock(mutex_);
  const auto found = runs_.find(id);
  for (const OnEnd& on_end : found->second.waiting) on_end(response);
  ended_.push_back(std::move(found->second.thread));
  runs_.erase(found);
  // Under the lock: whoever waits may destroy this object as soon as it sees that none are left.
  changed_.notify_all();
}

std::string ResponseRuns::find(std::string_view tenant, std::string_view id) {
  base::MutexLock lock(mutex_);
  const auto found = runs_.find(id);
  return found != runs_.end() && found->second.tenant == tenant ? found->second.so_far : std::string();
}

bool ResponseRuns::cancel(std::string_view tenant, std::string_view id, OnEnd on_end) {
  std::stop_source stop;
  {
    base::MutexLock lock(mutex_);
    const auto found = runs_.find(id);
    if (found == runs_.end() || found->second.tenant != tenant) return false;
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
