// SPDX-License-Identifier: Apache-2.0
// Keys, hosts and origins.
#include "server/access.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/check.h"

namespace autoglm::server {
namespace {

bool is_address(std::string_view host) {
  in6_addr address;  // room for either family
  std::string text(host);
  if (text.starts_with('[') && text.ends_with(']'))
    return ::inet_pton(AF_INET6, text.substr(1, text.size() - 2).c_str(), &address) == 1;
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1;
}

// "example.org:8080" -> "example.org"; nothing when it is not HOST or HOST:PORT.
std::string_view without_port(std::string_view host) {
  const auto bracket = host.rfind(']');
  const auto colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon == std::string_view::npos) return host;
  const std::string_view port = host.substr(colon + 1);
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (port.empty() || port.size() > 5 || !std::ranges::all_of(port, is_digit)) return {};
  return host.substr(0, colon);
}

std::string hex(std::span<const std::uint8_t> bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (std::uint8_t byte : bytes) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

// The tenant of the key that a request brings, which is one of these.
Result<std::string> caller_among(std::span<const KeyDigest> digests, const net::HttpRequest& request) {
  const auto given_count = std::ranges::count(request.fields, std::string("authorization"), &net::HttpField::name);
  const std::string_view given = request.field("authorization");
  constexpr std::string_view kScheme = "bearer ";
  if (given_count == 0)
    return fail(Code::kUnauthenticated, "this server asks for an API key: Authorization: Bearer KEY");
  if (given_count > 1 || net::lower_ascii(given.substr(0, kScheme.size())) != kScheme) {
    return fail(Code::kUnauthenticated, "the Authorization field is not \"Bearer KEY\"");
  }
  const KeyDigest digest = digest_of(given.substr(kScheme.size()));
  unsigned int found = 0;
  for (const KeyDigest& known : digests) {
    found |= static_cast<unsigned int>(CRYPTO_memcmp(known.data(), digest.data(), digest.size()) == 0);
  }
  if (found == 0) return fail(Code::kUnauthenticated, "the API key is not known here");
  return hex(std::span(digest).first(8));
}

}  // namespace

KeyDigest digest_of(std::string_view key) {
  KeyDigest digest{};
  unsigned int size = 0;
  const int done = EVP_Digest(key.data(), key.size(), digest.data(), &size, EVP_sha256(), nullptr);
  CHECK(done == 1 && size == digest.size());
  return digest;
}

bool is_loopback(std::string_view host) {
  in_addr address{};
  if (host == "localhost" || host == "::1" || host == "[::1]") return true;
  return ::inet_pton(AF_INET, std::string(host).c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

Access::Access(const ServerOptions& options)
    : hosts_{"localhost", "127.0.0.1", "[::1]"},
      origins_(options.allowed_origins),
      is_public_(!is_loopback(options.host)) {
  for (const std::string& key : options.api_keys) digests_.push_back(digest_of(key));
  for (const std::string& key : options.admin_keys) admin_digests_.push_back(digest_of(key));
  for (const std::string& host : options.allowed_hosts) hosts_.push_back(net::lower_ascii(host));
  hosts_.push_back(
      net::lower_ascii(options.host.find(':') == std::string::npos ? options.host : "[" + options.host + "]"));
}

Result<std::string> Access::authenticate(const net::HttpRequest& request) const {
  if (digests_.empty()) return std::string();
  return caller_among(digests_, request);
}

Status Access::authenticate_admin(const net::HttpRequest& request) const {
  TRY(caller_among(admin_digests_, request));
  return {};
}

bool Access::allows_host(std::string_view host) const {
  const std::string name = net::lower_ascii(without_port(host));
  if (name.empty()) return false;
  // A page of another site can make its own name point here, but not an address: those are safe where we listen on
  // them.
  return std::ranges::find(hosts_, name) != hosts_.end() || (is_public_ && is_address(name));
}

Status Access::check_host(const net::HttpRequest& request) const {
  if (!request.has_field("host") && request.minor_version == 0) return {};
  if (allows_host(request.field("host"))) return {};
  return fail(Code::kPermissionDenied, "this server does not answer to that Host; allow it with --allow-host");
}

Result<std::vector<net::HttpField>> Access::check_origin(const net::HttpRequest& request) const {
  if (!request.has_field("origin")) return std::vector<net::HttpField>{};
  const std::string origin(request.field("origin"));
  if (origin == "http://" + std::string(request.field("host"))) return std::vector<net::HttpField>{};  // our own page
  const bool is_allowed = std::ranges::find(origins_, origin) != origins_.end();
  const bool is_any = std::ranges::find(origins_, "*") != origins_.end();
  if (!is_allowed && !is_any) {
    return fail(Code::kPermissionDenied,
                "this server does not answer to pages of that Origin; allow it with --allow-origin");
  }
  return std::vector<net::HttpField>{{"Access-Control-Allow-Origin", is_allowed ? origin : "*"},
                                     {"Access-Control-Expose-Headers", "x-request-id, retry-after"},
                                     {"Vary", "Origin"}};
}

std::vector<net::HttpField> preflight_fields(const net::HttpRequest& request) {
  std::vector<net::HttpField> fields = {{"Access-Control-Allow-Methods", "GET, POST, DELETE"},
                                        {"Access-Control-Max-Age", "600"}};
  // Which fields a script may send is no secret and grants nothing: credentials are never allowed.
  const std::string_view wanted = request.field("access-control-request-headers");
  const auto is_list_char = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == ',' ||
           c == ' ';
  };
  const bool is_list = !wanted.empty() && wanted.size() <= 2048 && std::ranges::all_of(wanted, is_list_char);
  fields.push_back({"Access-Control-Allow-Headers", is_list ? std::string(wanted) : "authorization, content-type"});
  return fields;
}

}  // namespace autoglm::server
