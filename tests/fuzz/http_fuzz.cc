// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 requests: head, framing, chunked body. Oracles: the same outcome wherever the bytes are split, a head that
// the strict rules accept is read by the second parser too, no control bytes in what comes out, the body's limit.
#include <optional>
#include <string>

#include "base/check.h"
#include "fuzz_target.h"
#include "net/http_wire.h"

namespace {

using namespace autoglm;

constexpr net::HeadLimits kLimits{.max_head_bytes = 2048, .max_target_bytes = 512, .max_fields = 16};
constexpr std::size_t kMaxBodyBytes = 4096;

// What came of a sequence of bytes that arrive in pieces.
struct Outcome {
  int fault = 0;  // a status, or 0
  std::size_t taken = 0;
  std::string body;
  bool is_done = false;
  bool operator==(const Outcome&) const = default;
};

Outcome find_head_in_pieces(std::string_view bytes, std::size_t split) {
  std::size_t checked = 0;
  Outcome outcome;
  for (const std::size_t end : {split, bytes.size()}) {
    const auto found = net::find_head(bytes.substr(0, end), kLimits, checked);
    if (!found) {
      outcome.fault = found.error().status;
      return outcome;
    }
    outcome.taken = *found;
    outcome.is_done = *found > 0;
    if (outcome.is_done) return outcome;
  }
  return outcome;
}

Outcome decode_in_pieces(std::string_view bytes, std::size_t split) {
  net::ChunkDecoder decoder(kMaxBodyBytes);
  Outcome outcome;
  for (const std::string_view piece : {bytes.substr(0, split), bytes.substr(split)}) {
    if (decoder.is_done()) break;
    const auto taken = decoder.feed(piece, outcome.body);
    CHECK(outcome.body.size() <= kMaxBodyBytes) << outcome.body.size();
    if (!taken) return {.fault = taken.error().status, .taken = 0, .body = "", .is_done = false};
    CHECK(*taken <= piece.size());
    CHECK(*taken == piece.size() || decoder.is_done());
    outcome.taken += *taken;
  }
  outcome.is_done = decoder.is_done();
  return outcome;
}

// Every split of a short input, some forty of a long one.
std::size_t step(std::size_t size) { return size <= 128 ? 1 : size / 40; }

bool is_clean(std::string_view text) {
  for (const char c : text) {
    if (c == '\r' || c == '\n' || c == '\0') return false;
  }
  return true;
}

void check_request(std::string_view head) {
  const auto framing = net::check_head(head, kLimits);
  const auto request = net::read_head(head, kLimits);
  if (!framing) {
    CHECK(framing.error().status >= 400 && framing.error().status < 600) << framing.error().status;
    return;
  }
  if (!request) return;
  CHECK(is_clean(request->method) && is_clean(request->path) && is_clean(request->query));
  CHECK(request->fields.size() <= kLimits.max_fields);
  for (const net::HttpField& field : request->fields) {
    CHECK(is_clean(field.name) && is_clean(field.value)) << field.name;
    CHECK(field.name == net::lower_ascii(field.name)) << field.name;
  }
  CHECK(!framing->is_chunked || request->field("content-length").empty());
  std::string decoded;
  if (net::decode_percent(request->path, decoded)) CHECK(decoded.find('\0') == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = fuzz::as_text(data, size);
  const Outcome head = find_head_in_pieces(bytes, 0);
  for (std::size_t split = 1; split < size; split += step(size)) {
    CHECK(find_head_in_pieces(bytes, split) == head) << "split at " << split;
  }
  if (head.is_done) check_request(bytes.substr(0, head.taken));
  const std::string_view chunks = bytes.substr(head.is_done ? head.taken : 0);
  const Outcome body = decode_in_pieces(chunks, 0);
  for (std::size_t split = 1; split < chunks.size(); split += step(chunks.size())) {
    CHECK(decode_in_pieces(chunks, split) == body) << "split at " << split;
  }
  return 0;
}
