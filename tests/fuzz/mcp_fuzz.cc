// SPDX-License-Identifier: Apache-2.0
// What an MCP server sends: an event stream, and each event's data as messages. Oracles: the same events wherever the
// bytes are split; a refusal is kCorrupt or kExhausted; what is accepted becomes text for a model.
#include <string>

#include "agent/tools/event_stream.h"
#include "agent/tools/mcp_client.h"
#include "agent/tools/mcp_message.h"
#include "base/check.h"
#include "fuzz_target.h"

namespace {

using namespace autoglm;

constexpr std::size_t kMaxEventBytes = 1024;

// All that was read, up to the first error.
std::string read_in_pieces(std::string_view bytes, std::size_t split) {
  agent::EventStream stream(kMaxEventBytes);
  std::string out;
  for (const std::string_view piece : {bytes.substr(0, split), bytes.substr(split)}) {
    const auto events = stream.push(piece);
    if (!events) return "too large";
    for (const agent::ServerEvent& event : *events) {
      CHECK(event.data.size() <= kMaxEventBytes + 1) << event.data.size();
      out += event.type + '\0' + event.data + '\0';
    }
  }
  return out + stream.last_event_id();
}

void read_messages(std::string_view text) {
  const auto messages = agent::parse_mcp(text);
  if (!messages) {
    CHECK(messages.error().code == Code::kCorrupt || messages.error().code == Code::kExhausted);
    return;
  }
  for (const agent::McpMessage& message : *messages) {
    const bool asks = message.kind == agent::McpMessage::Kind::kRequest;
    CHECK(!asks || !message.id.is_null());
    (void)agent::text_of_content(message.content);
    if (asks) CHECK(agent::parse_mcp(agent::mcp_answer(message.id, {}))) << "our answer is no message";
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = fuzz::as_text(data, size);
  const std::string whole = read_in_pieces(bytes, 0);
  const std::size_t step = size <= 128 ? 1 : size / 40;
  for (std::size_t split = 1; split < size; split += step) CHECK(read_in_pieces(bytes, split) == whole) << split;
  read_messages(bytes);
  agent::EventStream stream(kMaxEventBytes);
  if (const auto events = stream.push(bytes)) {
    for (const agent::ServerEvent& event : *events) read_messages(event.data);
  }
  return 0;
}
