// SPDX-License-Identifier: Apache-2.0
// How src/text calls the Rust bridge: byte views in, sinks that fill our own strings, codes turned into Errors.
#pragma once

#include <bridge.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace autoglm::text {

inline bridge_bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

inline std::string_view view_of(bridge_bytes bytes) { return {reinterpret_cast<const char*>(bytes.data), bytes.size}; }

inline bridge_sink sink_into(std::string& out) {
  return {&out, [](void* context, const std::uint8_t* data, std::size_t size) {
            static_cast<std::string*>(context)->append(reinterpret_cast<const char*>(data), size);
          }};
}

template <typename T>
bridge_sink sink_into(std::vector<T>& out) {
  return {&out, [](void* context, const std::uint8_t* data, std::size_t size) {
            auto& values = *static_cast<std::vector<T>*>(context);
            const std::size_t old = values.size();
            values.resize(old + size / sizeof(T));
            if (size > 0) std::memcpy(values.data() + old, data, size / sizeof(T) * sizeof(T));
          }};
}

/// Runs `call(error sink)`; what it returns other than BRIDGE_OK becomes an Error with the bridge's message.
template <typename Call>
Status call_bridge(Call call) {
  std::string message;
  switch (call(sink_into(message))) {
    case BRIDGE_OK:
      return {};
    case BRIDGE_INVALID:
      return fail(Code::kInvalidArgument, std::move(message));
    case BRIDGE_EXHAUSTED:
      return fail(Code::kExhausted, std::move(message));
    case BRIDGE_CORRUPT:
      return fail(Code::kCorrupt, std::move(message));
    default:
      return fail(Code::kInternal, std::move(message));
  }
}

// Strings laid end to end, as the bridge takes them. Borrows nothing.
class StringTable {
 public:
  template <typename Strings>
  explicit StringTable(const Strings& strings) {
    for (const auto& text : strings) add(text);
  }
  StringTable() = default;
  void add(std::string_view text) {
    data_ += text;
    ends_.push_back(data_.size());
  }
  bridge_strings view() const { return {bytes_of(data_), ends_.data(), ends_.size()}; }

 private:
  std::string data_;
  std::vector<std::uint64_t> ends_;
};

}  // namespace autoglm::text
