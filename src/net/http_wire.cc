// SPDX-License-Identifier: Apache-2.0
// The strict rules of RFC 9112 (sections 2 to 7) that stand in front of the parser, and the writer of response heads.
#include "net/http_wire.h"

#include <algorithm>
#include <array>
#include <ctime>

namespace autoglm::net {
namespace {

std::unexpected<HttpFault> fault(int status, std::string message) {
  return std::unexpected(HttpFault{status, std::move(message)});
}

bool is_token_char(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// What may stand in a field value: visible ASCII, blanks, and bytes from 0x80 (obs-text).
bool is_value_char(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view strip_blanks(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::string_view take_line(std::string_view& text) {
  const auto end = text.find("\r\n");
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 2);
  return line;
}

struct HeadFacts {
  int minor_version = 1;
  std::string_view authority;  // of a target in absolute form
  std::string_view host;
  std::size_t hosts = 0;
  std::size_t lengths = 0;
  std::size_t codings = 0;
  std::string_view length;
  std::string coding;
};

std::optional<HttpFault> check_request_line(std::string_view line, const HeadLimits& limits, HeadFacts& facts) {
  const auto method_end = line.find(' ');
  const auto target_end = line.rfind(' ');
  if (method_end == std::string_view::npos || target_end == method_end) {
    return HttpFault{400, "the request line is not METHOD TARGET HTTP/1.1"};
  }
  const std::string_view whole_target = line.substr(method_end + 1, target_end - method_end - 1);
  const std::string_view target = path_of_target(whole_target, facts.authority);
  const std::string_view version = line.substr(target_end + 1);
  if (!is_token(line.substr(0, method_end)) || method_end > 32) return HttpFault{400, "the method is not a token"};
  if (whole_target.size() > limits.max_target_bytes) {
    return HttpFault{414, "the target is longer than " + std::to_string(limits.max_target_bytes) + " bytes"};
  }
  const auto is_target_char = [](char c) {
    return c > 0x20 && c < 0x7f && c != '#' && c != '"' && c != '<' && c != '>' && c != '\\';
  };
  const bool is_asterisk = target == "*" && line.substr(0, method_end) == "OPTIONS";
  if (target.empty() || (target.front() != '/' && !is_asterisk) || !std::ranges::all_of(whole_target, is_target_char)) {
    return HttpFault{400, "the target is not a path"};
  }
  if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) || version[6] != '.' ||
      !is_digit(version[7])) {
    return HttpFault{400, "the version is not HTTP/1.1"};
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0")
    return HttpFault{505, "only HTTP/1.1 and HTTP/1.0 are spoken here"};
  facts.minor_version = version.back() - '0';
  return std::nullopt;
}

std::optional<HttpFault> check_field_line(std::string_view line) {
  if (line.front() == ' ' || line.front() == '\t') return HttpFault{400, "a header field is folded over lines"};
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return HttpFault{400, "a header line has no colon"};
  if (!is_token(line.substr(0, colon))) return HttpFault{400, "a header field's name is not a token"};
  if (!std::ranges::all_of(line.substr(colon + 1), is_value_char)) {
    return HttpFault{400, "a header field's value has a control byte"};
  }
  return std::nullopt;
}

void note_field(std::string_view line, HeadFacts& facts) {
  const auto colon = line.find(':');
  const std::string name = lower_ascii(line.substr(0, colon));
  const std::string_view value = strip_blanks(line.substr(colon + 1));
  if (name == "host") {
    ++facts.hosts;
    facts.host = value;
  }
  if (name == "content-length") {
    ++facts.lengths;
    facts.length = value;
  }
  if (name == "transfer-encoding") {
    ++facts.codings;
    facts.coding = lower_ascii(value);
  }
}

std::expected<BodyFraming, HttpFault> decide_framing(const HeadFacts& facts) {
  if (facts.hosts > 1) return fault(400, "there is more than one Host field");
  if (facts.hosts == 0 && facts.minor_version == 1) return fault(400, "there is no Host field");
  if (!facts.authority.empty() && lower_ascii(facts.authority) != lower_ascii(facts.host)) {
    return fault(400, "the target names another host than the Host field");
  }
  if (facts.lengths > 0 && facts.codings > 0)
    return fault(400, "Content-Length and Transfer-Encoding exclude each other");
  if (facts.codings > 0) {
    if (facts.minor_version == 0) return fault(400, "HTTP/1.0 knows no Transfer-Encoding");
    if (facts.codings > 1) return fault(400, "there is more than one Transfer-Encoding field");
    if (facts.coding != "chunked") return fault(501, "the only Transfer-Encoding understood here is chunked");
    return BodyFraming{.is_chunked = true, .length = 0};
  }
  if (facts.lengths == 0) return BodyFraming{};
  if (facts.lengths > 1) return fault(400, "there is more than one Content-Length field");
  // 18 digits cannot overflow 64 bits; the limit of bodies is far below.
  if (facts.length.empty() || facts.length.size() > 18 || !std::ranges::all_of(facts.length, is_digit)) {
    return fault(400, "Content-Length is not a number of at most 18 digits");
  }
  BodyFraming framing;
  for (char c : facts.length) framing.length = framing.length * 10 + static_cast<std::uint64_t>(c - '0');
  return framing;
}

// Chunk framing may cost eight times the bytes that it carries (one byte a chunk costs five) and this much besides.
constexpr std::size_t kFreeFraming = 16u << 10;
constexpr std::size_t kMaxTrailerBytes = 8u << 10;

}  // namespace

std::expected<std::size_t, HttpFault> find_head(std::string_view bytes, const HeadLimits& limits,
                                                std::size_t& checked) {
  for (std::size_t i = checked; i < bytes.size() && i < limits.max_head_bytes; ++i) {
    if (bytes[i] == '\n' && (i == 0 || bytes[i - 1] != '\r')) return fault(400, "a line ends in a bare LF");
    if (i > 0 && bytes[i - 1] == '\r' && bytes[i] != '\n') return fault(400, "a CR stands without its LF");
    if (bytes[i] == '\0') return fault(400, "there is a NUL in the head");
    checked = i + 1;
    if (i >= 3 && bytes[i] == '\n' && bytes[i - 2] == '\n') return i + 1;
  }
  if (bytes.size() >= limits.max_head_bytes) {
    return fault(431, "the head of the request is longer than " + std::to_string(limits.max_head_bytes) + " bytes");
  }
  return 0;
}

std::expected<BodyFraming, HttpFault> check_head(std::string_view head, const HeadLimits& limits) {
  HeadFacts facts;
  std::size_t checked = 0;
  auto size = find_head(head, limits, checked);
  if (!size) return std::unexpected(size.error());
  if (*size != head.size() || head.empty()) return fault(400, "the head is not complete");
  if (auto bad = check_request_line(take_line(head), limits, facts)) return std::unexpected(*bad);
  std::size_t fields = 0;
  for (std::string_view line = take_line(head); !line.empty(); line = take_line(head)) {
    if (++fields > limits.max_fields) {
      return fault(431, "there are more than " + std::to_string(limits.max_fields) + " header fields");
    }
    if (auto bad = check_field_line(line)) return std::unexpected(*bad);
    note_field(line, facts);
  }
  return decide_framing(facts);
}

std::string_view path_of_target(std::string_view target, std::string_view& authority) {
  constexpr std::string_view kScheme = "http://";
  if (lower_ascii(target.substr(0, kScheme.size())) != kScheme) return target;
  const std::string_view rest = target.substr(kScheme.size());
  const auto slash = rest.find('/');
  if (slash == 0 || slash == std::string_view::npos)
    return {};  // no authority, or no path: a server is asked for a path
  authority = rest.substr(0, slash);
  return rest.substr(slash);
}

std::expected<std::size_t, HttpFault> ChunkDecoder::feed(std::string_view bytes, std::string& body) {
  std::size_t taken = 0;
  while (taken < bytes.size() && state_ != State::kDone) {
    if (state_ == State::kBytes) {
      const std::size_t n = std::min<std::uint64_t>(left_, bytes.size() - taken);
      body.append(bytes.substr(taken, n));
      taken += n;
      left_ -= n;
      decoded_ += n;
      if (left_ == 0) state_ = State::kBytesCr;
      continue;
    }
    if (++framing_ > kFreeFraming + 8 * decoded_) return fault(400, "the chunks carry more framing than body");
    if (auto bad = take(bytes[taken])) return std::unexpected(*bad);
    ++taken;
  }
  return taken;
}

std::optional<HttpFault> ChunkDecoder::take(char c) {
  switch (state_) {
    case State::kSize:
      return take_size(c);
    case State::kExtension:
      if (c == '\r') {
        state_ = State::kSizeLf;
      } else if (!is_value_char(c)) {
        return HttpFault{400, "a chunk extension has a control byte"};
      }
      return std::nullopt;
    case State::kSizeLf:
      if (c != '\n') return HttpFault{400, "a chunk size's CR stands without its LF"};
      if (left_ > max_body_bytes_ - decoded_) {
        return HttpFault{413, "the body is longer than " + std::to_string(max_body_bytes_) + " bytes"};
      }
      state_ = left_ == 0 ? State::kTrailer : State::kBytes;
      digits_ = 0;
      return std::nullopt;
    case State::kBytesCr:
      if (c != '\r') return HttpFault{400, "a chunk does not end where its size says"};
      state_ = State::kBytesLf;
      return std::nullopt;
    case State::kBytesLf:
      if (c != '\n') return HttpFault{400, "a chunk's CR stands without its LF"};
      state_ = State::kSize;
      return std::nullopt;
    case State::kTrailer:
    case State::kTrailerLf:
      return take_trailer(c);
    case State::kBytes:
    case State::kDone:
      break;
  }
  return HttpFault{500, "the chunk decoder was fed past its end"};
}

std::optional<HttpFault> ChunkDecoder::take_size(char c) {
  const char lower = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  if (is_digit(lower) || (lower >= 'a' && lower <= 'f')) {
    if (++digits_ > 16) return HttpFault{400, "a chunk size has more than 16 digits"};
    left_ = left_ * 16 + static_cast<std::uint64_t>(is_digit(lower) ? lower - '0' : lower - 'a' + 10);
    return std::nullopt;
  }
  if (digits_ == 0) return HttpFault{400, "a chunk size is missing"};
  if (c == ';') {
    state_ = State::kExtension;
    return std::nullopt;
  }
  if (c != '\r') return HttpFault{400, "a chunk size has something other than hexadecimal digits"};
  state_ = State::kSizeLf;
  return std::nullopt;
}

std::optional<HttpFault> ChunkDecoder::take_trailer(char c) {
  if (state_ == State::kTrailerLf) {
    if (c != '\n') return HttpFault{400, "a trailer's CR stands without its LF"};
    return end_trailer_line();
  }
  if (c == '\r') {
    state_ = State::kTrailerLf;
    return std::nullopt;
  }
  if (!is_value_char(c)) return HttpFault{400, "a trailer field has a control byte"};
  if (trailer_line_.size() >= kMaxTrailerBytes) return HttpFault{431, "a trailer field is too long"};
  trailer_line_.push_back(c);
  return std::nullopt;
}

std::optional<HttpFault> ChunkDecoder::end_trailer_line() {
  if (trailer_line_.empty()) {
    state_ = State::kDone;
    return std::nullopt;
  }
  if (auto bad = check_field_line(trailer_line_)) return bad;
  trailer_line_.clear();
  state_ = State::kTrailer;
  return std::nullopt;
}

std::optional<std::string> format_head(int status, const std::vector<HttpField>& fields) {
  std::string head = "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason_phrase(status)) + "\r\n";
  for (const HttpField& field : fields) {
    if (!is_token(field.name) || !std::ranges::all_of(field.value, is_value_char)) return std::nullopt;
    head.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  head.append("\r\n");
  return head;
}

bool is_token(std::string_view text) { return !text.empty() && std::ranges::all_of(text, is_token_char); }

std::string http_date(std::int64_t unix_seconds) {
  static constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds = unix_seconds;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 64> text{};
  // Not strftime's %a and %b: those follow the locale.
  const int size = std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                                 kDays[static_cast<std::size_t>(utc.tm_wday)], utc.tm_mday,
                                 kMonths[static_cast<std::size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour,
                                 utc.tm_min, utc.tm_sec);
  return std::string(text.data(), static_cast<std::size_t>(std::max(size, 0)));
}

}  // namespace autoglm::net
