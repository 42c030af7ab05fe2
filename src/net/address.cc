// SPDX-License-Identifier: Apache-2.0
#include "net/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace autoglm::net {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

IpAddress mapped(const void* four_bytes) {
  IpAddress address;
  std::ranges::copy(kMappedPrefix, address.bytes.begin());
  std::memcpy(address.bytes.data() + 12, four_bytes, 4);
  return address;
}

bool is_mapped(const IpAddress& address) {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.bytes.begin());
}

struct KindOfRange {
  AddressKind kind;
  std::string_view range;
};

constexpr KindOfRange kIpv4Ranges[] = {
    {AddressKind::kSpecial, "0.0.0.0/8"},        {AddressKind::kPrivate, "10.0.0.0/8"},
    {AddressKind::kPrivate, "100.64.0.0/10"},    {AddressKind::kLoopback, "127.0.0.0/8"},
    {AddressKind::kLinkLocal, "169.254.0.0/16"}, {AddressKind::kPrivate, "172.16.0.0/12"},
    {AddressKind::kSpecial, "192.0.0.0/24"},     {AddressKind::kSpecial, "192.0.2.0/24"},
    {AddressKind::kSpecial, "192.88.99.0/24"},   {AddressKind::kPrivate, "192.168.0.0/16"},
    {AddressKind::kSpecial, "198.18.0.0/15"},    {AddressKind::kSpecial, "198.51.100.0/24"},
    {AddressKind::kSpecial, "203.0.113.0/24"},   {AddressKind::kSpecial, "224.0.0.0/3"},
};

constexpr KindOfRange kIpv6Ranges[] = {
    {AddressKind::kLoopback, "::1"},        {AddressKind::kPrivate, "fc00::/7"},
    {AddressKind::kLinkLocal, "fe80::/10"}, {AddressKind::kPrivate, "fec0::/10"},
    {AddressKind::kSpecial, "2001::/23"},   {AddressKind::kSpecial, "2001:db8::/32"},
    {AddressKind::kSpecial, "3fff::/20"},   {AddressKind::kPublic, "2000::/3"},
};

template <typename Ranges>
AddressKind kind_in(const Ranges& ranges, const IpAddress& address, AddressKind otherwise) {
  for (const KindOfRange& entry : ranges) {
    if (parse_range(entry.range)->contains(address)) return entry.kind;
  }
  return otherwise;
}

// The IPv4 address that an IPv6 address stands for, as a translator or tunnel would take it.
std::optional<IpAddress> carried_ipv4(const IpAddress& address) {
  const std::uint8_t* bytes = address.bytes.data();
  constexpr std::array<std::uint8_t, 12> kNat64 = {0, 0x64, 0xff, 0x9b};
  const bool is_compatible = std::all_of(bytes, bytes + 12, [](std::uint8_t b) { return b == 0; });
  if (is_compatible || std::equal(kNat64.begin(), kNat64.end(), bytes)) return mapped(bytes + 12);
  if (bytes[0] == 0x20 && bytes[1] == 0x02) return mapped(bytes + 2);
  return std::nullopt;
}

}  // namespace

std::optional<IpAddress> parse_address(std::string_view text) {
  const std::string copy(text);
  in_addr four{};
  if (inet_pton(AF_INET, copy.c_str(), &four) == 1 && copy.size() == std::strlen(copy.c_str())) return mapped(&four);
  IpAddress six;
  if (inet_pton(AF_INET6, copy.c_str(), six.bytes.data()) == 1 && copy.size() == std::strlen(copy.c_str())) return six;
  return std::nullopt;
}

std::string format_address(const IpAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  const bool is_four = is_mapped(address);
  inet_ntop(is_four ? AF_INET : AF_INET6, address.bytes.data() + (is_four ? 12 : 0), text, sizeof text);
  return text;
}

std::optional<IpAddress> address_of(const sockaddr& address) {
  if (address.sa_family == AF_INET) return mapped(&reinterpret_cast<const sockaddr_in&>(address).sin_addr);
  if (address.sa_family != AF_INET6) return std::nullopt;
  IpAddress six;
  std::memcpy(six.bytes.data(), &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, 16);
  return six;
}

sockaddr_storage socket_address(const IpAddress& address, std::uint16_t port) {
  sockaddr_storage out{};
  if (is_mapped(address)) {
    auto& four = reinterpret_cast<sockaddr_in&>(out);
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    std::memcpy(&four.sin_addr, address.bytes.data() + 12, 4);
  } else {
    auto& six = reinterpret_cast<sockaddr_in6&>(out);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    std::memcpy(&six.sin6_addr, address.bytes.data(), 16);
  }
  return out;
}

AddressKind kind_of(const IpAddress& address) {
  if (is_mapped(address)) return kind_in(kIpv4Ranges, address, AddressKind::kPublic);
  if (address == *parse_address("::1")) return AddressKind::kLoopback;
  if (const auto four = carried_ipv4(address)) return kind_of(*four);
  return kind_in(kIpv6Ranges, address, AddressKind::kSpecial);
}

std::string_view kind_name(AddressKind kind) {
  switch (kind) {
    case AddressKind::kPublic:
      return "public";
    case AddressKind::kLoopback:
      return "loopback";
    case AddressKind::kPrivate:
      return "private";
    case AddressKind::kLinkLocal:
      return "link-local";
    case AddressKind::kSpecial:
      return "special-purpose";
  }
  return "unknown";
}

bool AddressRange::contains(const IpAddress& address) const {
  const std::size_t whole = prefix_bits / 8;
  if (std::memcmp(first.bytes.data(), address.bytes.data(), whole) != 0) return false;
  const std::size_t rest = prefix_bits % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xff << (8 - rest));
  return ((first.bytes[whole] ^ address.bytes[whole]) & mask) == 0;
}

Result<AddressRange> parse_range(std::string_view text) {
  const auto slash = text.find('/');
  const auto first = parse_address(text.substr(0, slash));
  if (!first) {
    return fail(Code::kInvalidArgument,
                fmt::format("'{}' is neither an IP address nor a range like 10.0.0.0/8", text.substr(0, 60)));
  }
  AddressRange range{.first = *first, .prefix_bits = 128};
  if (slash == std::string_view::npos) return range;
  const std::string_view digits = text.substr(slash + 1);
  const std::size_t most = is_mapped(*first) ? 32 : 128;
  std::size_t bits = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (error != std::errc() || end != digits.data() + digits.size() || bits > most) {
    return fail(Code::kInvalidArgument, fmt::format("the range {} must end in /0 to /{}", text.substr(0, 60), most));
  }
  range.prefix_bits = bits + (128 - most);
  return range;
}

}  // namespace autoglm::net
