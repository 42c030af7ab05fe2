// SPDX-License-Identifier: Apache-2.0
#include "server/response_stream.h"

#include <utility>

#include "protocol/response_object.h"

namespace autoglm::server {

void ResponseStream::push(std::string_view type, json::Object fields) {
  static constexpr std::string_view kTooSlow = "the client did not read its stream fast enough";
  bool is_too_much = false;
  {
    base::MutexLock lock(mutex_);
    if (is_overfull_) return;
    if (waiting_.size() > max_waiting_bytes_) {
      is_too_much = is_overfull_ = true;
      waiting_ += protocol::format_event("error", events_++,
                                         {{"code", "cancelled"}, {"message", kTooSlow}, {"param", nullptr}});
    } else {
      waiting_ += protocol::format_event(type, events_++, std::move(fields));
    }
  }
  if (is_too_much) {
    reply_->fail_stream(Error{Code::kCancelled, std::string(kTooSlow), {}});
    on_overfull_();
  }
  reply_->wake();
}

void ResponseStream::finish() {
  {
    base::MutexLock lock(mutex_);
    is_finished_ = true;
  }
  reply_->wake();
}

bool ResponseStream::pull(std::string& out) {
  bool is_complete = false;
  {
    base::MutexLock lock(mutex_);
    out += std::exchange(waiting_, {});
    is_complete = is_finished_ || is_overfull_;
  }
  if (is_complete) reply_->finish_stream();
  return is_complete;
}

}  // namespace autoglm::server
