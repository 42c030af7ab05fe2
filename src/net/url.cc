// SPDX-License-Identifier: Apache-2.0
#include "net/url.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace autoglm::net {
namespace {

constexpr std::size_t kMaxUrlBytes = 8u << 10;

std::unexpected<Error> bad_url(std::string_view why) {
  return fail(Code::kInvalidArgument, fmt::format("not a usable URL: {}", why));
}

Status parse_authority(std::string_view text, Url& url) {
  if (text.find('@') != std::string_view::npos) return bad_url("user names and passwords in a URL are not taken");
  std::string_view port;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return bad_url("a '[' without its ']'");
    url.host = text.substr(1, end - 1);
    text.remove_prefix(end + 1);
    if (!text.empty() && text.front() != ':') return bad_url("text after ']'");
    if (!text.empty()) port = text.substr(1);
  } else {
    const auto colon = text.find(':');
    url.host = text.substr(0, colon);
    if (colon != std::string_view::npos) port = text.substr(colon + 1);
  }
  if (url.host.empty() || url.host.size() > 253) return bad_url("the host is empty or longer than 253 bytes");
  url.port = url.is_tls ? 443 : 80;
  if (!port.empty()) {
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), url.port);
    if (error != std::errc() || end != port.data() + port.size() || url.port == 0) {
      return bad_url(fmt::format("port '{}' is not in 1..65535", port));
    }
  }
  return {};
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  if (text.size() > kMaxUrlBytes) return bad_url(fmt::format("longer than {} bytes", kMaxUrlBytes));
  // Nothing may end a request line or a header early.
  if (std::ranges::any_of(text, [](unsigned char c) { return c <= 0x20 || c >= 0x7f; })) {
    return bad_url("it holds spaces, control bytes or bytes above 0x7e");
  }
  Url url;
  if (text.starts_with("https://")) {
    url.is_tls = true;
    text.remove_prefix(8);
  } else if (text.starts_with("http://")) {
    text.remove_prefix(7);
  } else {
    return bad_url("it must start with http:// or https://");
  }
  text = text.substr(0, text.find('#'));
  const auto slash = text.find_first_of("/?");
  TRY(parse_authority(text.substr(0, slash), url));
  url.target = slash == std::string_view::npos ? "/" : std::string(text.substr(slash));
  if (url.target.front() == '?') url.target.insert(0, 1, '/');
  return url;
}

Result<Url> resolve_location(const Url& base, std::string_view location) {
  if (location.starts_with("//")) return parse_url((base.is_tls ? "https:" : "http:") + std::string(location));
  const auto colon = location.find(':');
  if (colon != std::string_view::npos && colon < location.find_first_of("/?#")) return parse_url(location);
  Url root = base;
  root.target.clear();
  if (location.starts_with('/')) return parse_url(format_url(root) + std::string(location));
  const std::string_view path = std::string_view(base.target).substr(0, base.target.find('?'));
  return parse_url(format_url(root) + std::string(path.substr(0, path.rfind('/') + 1)) + std::string(location));
}

std::string authority(const Url& url) {
  std::string out = url.host.find(':') == std::string::npos ? url.host : "[" + url.host + "]";
  if (url.port != (url.is_tls ? 443 : 80)) out += ":" + std::to_string(url.port);
  return out;
}

std::string format_url(const Url& url) { return (url.is_tls ? "https://" : "http://") + authority(url) + url.target; }

std::string encode_path(std::string_view path) {
  std::string out;
  for (const unsigned char c : path) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                          c == '_' || c == '.' || c == '~' || c == '/';
    if (is_plain) {
      out += static_cast<char>(c);
    } else {
      out += fmt::format("%{:02X}", c);
    }
  }
  return out;
}

}  // namespace autoglm::net
