// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/event_stream.h"

#include <charconv>
#include <utility>

namespace autoglm::agent {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::size_t kMaxEventIdBytes = 1024;

}  // namespace

Result<std::vector<ServerEvent>> EventStream::push(std::string_view bytes) {
  std::vector<ServerEvent> events;
  while (!bytes.empty()) {
    if (std::exchange(was_cr_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const auto end = bytes.find_first_of("\r\n");
    const std::string_view piece = bytes.substr(0, end);
    if (line_.size() + piece.size() > max_event_bytes_)
      return fail(Code::kExhausted, "the server's event is too large");
    line_ += piece;
    if (end == std::string_view::npos) break;
    was_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    TRY(take_line(events));
    line_.clear();
  }
  return events;
}

Status EventStream::take_line(std::vector<ServerEvent>& events) {
  std::string_view line = line_;
  if (std::exchange(is_at_start_, false) && line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  if (line.empty()) {
    last_event_id_ = next_id_;
    if (has_data_) events.push_back({event_.type.empty() ? "message" : event_.type, std::move(event_.data)});
    event_ = {.type = "", .data = ""};
    has_data_ = false;
    return {};
  }
  const auto colon = line.find(':');
  const std::string_view field = line.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    if (event_.data.size() + value.size() > max_event_bytes_) {
      return fail(Code::kExhausted, "the server's event is too large");
    }
    if (has_data_) event_.data += '\n';
    event_.data += value;
    has_data_ = true;
  } else if (field == "event") {
    event_.type = value;
  } else if (field == "id") {
    if (value.size() <= kMaxEventIdBytes && value.find('\0') == std::string_view::npos) next_id_ = value;
  } else if (field == "retry") {
    int ms = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), ms);
    if (error == std::errc() && end == value.data() + value.size() && ms >= 0) retry_ = std::chrono::milliseconds(ms);
  }
  return {};
}

}  // namespace autoglm::agent
