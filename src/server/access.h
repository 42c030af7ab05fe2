// SPDX-License-Identifier: Apache-2.0
// Who may call: API keys, the Host allow-list against DNS rebinding, and the Origin rule against pages of other sites.
// Immutable after construction; any thread. Keys are held as SHA-256 digests only.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/http_message.h"
#include "server/server.h"

namespace autoglm::server {

using KeyDigest = std::array<std::uint8_t, 32>;

KeyDigest digest_of(std::string_view key);

/// True for 127.0.0.0/8, ::1 and localhost.
bool is_loopback(std::string_view host);

class Access final {
 public:
  explicit Access(const ServerOptions& options);

  bool needs_keys() const { return !digests_.empty(); }
  bool has_admins() const { return !admin_digests_.empty(); }

  /// The caller's tenant: 16 hex digits of its key's digest, or "" where no keys are set. Errors: kUnauthenticated.
  /// Every key is compared, each in constant time, so that the time does not tell which key, or how much of it, was
  /// right.
  Result<std::string> authenticate(const net::HttpRequest& request) const;
  /// Whether the caller has an admin key. Errors: kUnauthenticated.
  Status authenticate_admin(const net::HttpRequest& request) const;

  /// Errors: kPermissionDenied. A request of HTTP/1.0 may have no Host: no browser sends that.
  Status check_host(const net::HttpRequest& request) const;

  /// The fields that an answer to this origin carries (none without Origin, or for our own page). Errors:
  /// kPermissionDenied.
  Result<std::vector<net::HttpField>> check_origin(const net::HttpRequest& request) const;

 private:
  bool allows_host(std::string_view host) const;

  std::vector<KeyDigest> digests_;
  std::vector<KeyDigest> admin_digests_;
  std::vector<std::string> hosts_;
  std::vector<std::string> origins_;
  bool is_public_ = false;  // bound beyond loopback: the machine's own addresses are good hosts too
};

/// The fields of the answer to a CORS preflight, besides those of check_origin().
std::vector<net::HttpField> preflight_fields(const net::HttpRequest& request);

}  // namespace autoglm::server
