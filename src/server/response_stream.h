// SPDX-License-Identifier: Apache-2.0
// A response as server-sent events: written by the response's thread, sent by the network thread when the client has
// room. What waits for a client that does not read is bounded.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/mutex.h"
#include "server/reply.h"

namespace autoglm::server {

class ResponseStream final : public net::BodySource {
 public:
  /// `on_overfull` is called once, when more than `max_waiting_bytes` wait for the client: the response is to end.
  ResponseStream(std::shared_ptr<Reply> reply, std::size_t max_waiting_bytes, std::function<void()> on_overfull)
      : reply_(std::move(reply)), max_waiting_bytes_(max_waiting_bytes), on_overfull_(std::move(on_overfull)) {}

  // On the response's thread; finish() after the last event.
  void push(std::string_view type, json::Object fields) EXCLUDES(mutex_);
  void finish() EXCLUDES(mutex_);

  bool pull(std::string& out) override EXCLUDES(mutex_);

 private:
  const std::shared_ptr<Reply> reply_;
  const std::size_t max_waiting_bytes_;
  const std::function<void()> on_overfull_;
  base::Mutex mutex_;
  std::string waiting_ GUARDED_BY(mutex_);
  std::size_t events_ GUARDED_BY(mutex_) = 0;
  bool is_overfull_ GUARDED_BY(mutex_) = false;
  bool is_finished_ GUARDED_BY(mutex_) = false;
};

}  // namespace autoglm::server
