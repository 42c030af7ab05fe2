// SPDX-License-Identifier: Apache-2.0
// IP addresses and which of them are the public internet: what a request that a model asked for may reach. Whatever is
// not known to be public is not (RFC 6890 and the IANA special-purpose registries). Any thread.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace autoglm::net {

// IPv4 as its mapped form ::ffff:a.b.c.d, so that one address has one spelling.
struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};
  bool operator==(const IpAddress&) const = default;
};

enum class AddressKind : std::uint8_t {
  kPublic,
  kLoopback,
  kPrivate,    // a private network's, of a provider's translation too
  kLinkLocal,  // where clouds keep their metadata services
  kSpecial,    // multicast, documentation, reserved, unknown
};

/// "192.0.2.1" or "2001:db8::1" (no brackets, no zone); the looser forms of IPv4 ("127.1", "0x7f.1", "2130706433") are
/// none.
std::optional<IpAddress> parse_address(std::string_view text);
std::string format_address(const IpAddress& address);
std::optional<IpAddress> address_of(const sockaddr& address);
/// Where a socket finds `port` of `address`; its family is AF_INET or AF_INET6.
sockaddr_storage socket_address(const IpAddress& address, std::uint16_t port);

/// Sees through the forms of IPv6 that carry an IPv4 address (mapped, compatible, 6to4, NAT64).
AddressKind kind_of(const IpAddress& address);
std::string_view kind_name(AddressKind kind);

// "10.0.0.0/8", or a single address.
struct AddressRange {
  IpAddress first;
  std::size_t prefix_bits = 128;
  bool contains(const IpAddress& address) const;
};
/// Errors: kInvalidArgument.
Result<AddressRange> parse_range(std::string_view text);

}  // namespace autoglm::net
