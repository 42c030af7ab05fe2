// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 as bytes, strictly: what is let in front of the parser, chunked bodies, and response heads. Stricter than
// RFC 9112 allows a server to be wherever two readers of the same bytes could disagree (request smuggling). Pure
// functions of their input; any thread; nothing here allocates by a number that a client named.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "net/http_message.h"

namespace autoglm::net {

// Why a request cannot be read: the status to answer with before the connection is closed, and a sentence of ours.
struct HttpFault {
  int status = 400;
  std::string message;
};

struct HeadLimits {
  std::size_t max_head_bytes = 32u << 10;  // request line and fields with their line ends
  std::size_t max_target_bytes = 8u << 10;
  std::size_t max_fields = 100;
};

// How the body of a request is framed.
struct BodyFraming {
  bool is_chunked = false;
  std::uint64_t length = 0;  // of a body that is not chunked
};

/// Bytes of the complete head (its blank line included) at the start of `bytes`, 0 when more must come. A bare CR or
/// LF, or a head that is longer than the limit, is a fault as soon as it is seen, not when the head ends. `checked`
/// remembers, from call to call of one head, how far was looked; start at 0.
std::expected<std::size_t, HttpFault> find_head(std::string_view bytes, const HeadLimits& limits, std::size_t& checked);

/// Refuses a complete head that breaks the strict rules: request line, obs-fold, blanks before the colon, control
/// bytes, field names, Host, Content-Length and Transfer-Encoding (their count, form and combination).
std::expected<BodyFraming, HttpFault> check_head(std::string_view head, const HeadLimits& limits);

/// The path of a target, which RFC 9112 (3.2.2) lets a client write in absolute form, http://AUTHORITY/PATH. Empty when
/// it has none.
std::string_view path_of_target(std::string_view target, std::string_view& authority);

/// Reads a head that check_head() accepted. Errors: as check_head (a second opinion, by Beast's parser).
std::expected<HttpRequest, HttpFault> read_head(std::string_view head, const HeadLimits& limits);

// Decodes a chunked body as it arrives, whatever the splits. Trailers are checked and dropped.
class ChunkDecoder final {
 public:
  explicit ChunkDecoder(std::size_t max_body_bytes) : max_body_bytes_(max_body_bytes) {}

  /// Takes bytes from the front of `bytes`, appends what they decode to to `body`; returns how many it took. It takes
  /// all of them but for those behind the end of the body. Fault 413 past the limit, 400 else.
  std::expected<std::size_t, HttpFault> feed(std::string_view bytes, std::string& body);
  bool is_done() const { return state_ == State::kDone; }

 private:
  enum class State : std::uint8_t {
    kSize,
    kExtension,
    kSizeLf,
    kBytes,
    kBytesCr,
    kBytesLf,
    kTrailer,
    kTrailerLf,
    kDone
  };
  std::optional<HttpFault> take(char c);
  std::optional<HttpFault> take_size(char c);
  std::optional<HttpFault> take_trailer(char c);
  std::optional<HttpFault> end_trailer_line();

  const std::size_t max_body_bytes_;
  State state_ = State::kSize;
  std::uint64_t left_ = 0;   // of this chunk
  std::size_t digits_ = 0;   // of this chunk's size
  std::size_t decoded_ = 0;  // of the body so far
  std::size_t framing_ = 0;  // bytes that were not body
  std::string trailer_line_;
};

/// "HTTP/1.1 200 OK\r\n...\r\n\r\n" with these fields. A name that is not a token or a value with CR, LF or NUL gives
/// nothing: such a response must not be sent.
std::optional<std::string> format_head(int status, const std::vector<HttpField>& fields);

/// Whether a text can be a method or a field's name (RFC 9110, 5.6.2).
bool is_token(std::string_view text);

/// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7).
std::string http_date(std::int64_t unix_seconds);

}  // namespace autoglm::net
