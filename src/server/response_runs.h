// SPDX-License-Identifier: Apache-2.0
// The responses that are being made, each on a thread of its own: it waits for the engine and for tools, which neither
// the network thread nor a worker may. Bounded. Any thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"

namespace autoglm::server {

class ResponseRuns final {
 public:
  static constexpr std::size_t kMaxRuns = 64;

  /// Makes a response to its end and gives the whole object as JSON. Its own end may wait for tools at work.
  using Make = std::function<std::string(std::stop_token stop)>;
  /// Hears the whole object, on the response's thread; returns at once.
  using OnEnd = std::function<void(const std::string& response)>;

  ResponseRuns() = default;
  /// Stops all and waits for their ends.
  ~ResponseRuns();
  ResponseRuns(const ResponseRuns&) = delete;
  ResponseRuns& operator=(const ResponseRuns&) = delete;

  /// `stop` ends it; `so_far` is what it looks like meanwhile. Errors: kExhausted (too many, or no thread).
  Status start(const std::string& id, const std::string& tenant, std::string so_far, std::stop_source stop, Make make)
      EXCLUDES(mutex_);
  /// To be called by what makes it, before its client hears of the end: from then on it is only what was stored.
  void end(std::string_view id) EXCLUDES(mutex_);
  /// What a response of this tenant that is being made looks like; empty when there is none.
  std::string find(std::string_view tenant, std::string_view id) EXCLUDES(mutex_);
  /// False when there is none. `on_end` is called at its end, soon.
  bool cancel(std::string_view tenant, std::string_view id, OnEnd on_end) EXCLUDES(mutex_);
  void cancel_all() EXCLUDES(mutex_);
  /// False when some are left at `until`.
  bool wait_until_none(base::Time until) EXCLUDES(mutex_);

 private:
  struct Run {
    std::string tenant;
    std::string so_far;
    std::stop_source stop;
    std::thread thread;
    std::vector<OnEnd> waiting;
    bool has_ended = false;  // all that is left is its last word, and tools that were given up
  };

  void run(const std::string& id, Make make, const std::stop_token& stop) EXCLUDES(mutex_);
  void join_ended() EXCLUDES(mutex_);

  base::Mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Run, std::less<>> runs_ GUARDED_BY(mutex_);
  std::vector<std::thread> ended_ GUARDED_BY(mutex_);  // nothing is left to do but to be joined
};

}  // namespace autoglm::server
