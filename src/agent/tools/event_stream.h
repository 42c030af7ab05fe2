// SPDX-License-Identifier: Apache-2.0
// Reads server-sent events (WHATWG HTML, 9.2) as their bytes come, the same whatever the splits; linear, and bounded by
// the largest event it takes. One thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace autoglm::agent {

struct ServerEvent {
  std::string type = "message";
  std::string data;
};

class EventStream final {
 public:
  explicit EventStream(std::size_t max_event_bytes) : max_event_bytes_(max_event_bytes) {}

  /// The events that are complete now. Errors: kExhausted (a line or an event larger than the bound).
  Result<std::vector<ServerEvent>> push(std::string_view bytes);

  const std::string& last_event_id() const { return last_event_id_; }
  std::optional<std::chrono::milliseconds> retry() const { return retry_; }  // as the server asked, if it did

 private:
  Status take_line(std::vector<ServerEvent>& events);

  std::size_t max_event_bytes_;
  std::string line_;
  bool was_cr_ = false;      // an LF that follows belongs to it
  bool is_at_start_ = true;  // where a byte-order mark may stand
  ServerEvent event_{.type = "", .data = ""};
  bool has_data_ = false;
  std::string next_id_;
  std::string last_event_id_;
  std::optional<std::chrono::milliseconds> retry_;
};

}  // namespace autoglm::agent
