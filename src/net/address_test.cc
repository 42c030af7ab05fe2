// SPDX-License-Identifier: Apache-2.0
#include "net/address.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

namespace autoglm::net {
namespace {

AddressKind kind(std::string_view text) { return kind_of(parse_address(text).value()); }

TEST(Address, KindsOfIpv4) {
  for (const char* text : {"8.8.8.8", "1.1.1.1", "11.0.0.0", "172.15.255.255", "172.32.0.0", "100.63.255.255",
                           "100.128.0.0", "192.167.255.255", "198.20.0.0", "223.255.255.255"})
    EXPECT_EQ(kind(text), AddressKind::kPublic) << text;
  EXPECT_EQ(kind("127.0.0.1"), AddressKind::kLoopback);
  EXPECT_EQ(kind("127.255.255.254"), AddressKind::kLoopback);
  for (const char* text : {"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1"})
    EXPECT_EQ(kind(text), AddressKind::kPrivate) << text;
  EXPECT_EQ(kind("169.254.169.254"), AddressKind::kLinkLocal);
  for (const char* text : {"0.0.0.0", "0.1.2.3", "192.0.2.1", "198.18.0.1", "203.0.113.5", "224.0.0.1", "240.0.0.1",
                           "255.255.255.255", "192.88.99.1", "192.0.0.8"})
    EXPECT_EQ(kind(text), AddressKind::kSpecial) << text;
}

TEST(Address, KindsOfIpv6) {
  EXPECT_EQ(kind("2606:4700::1111"), AddressKind::kPublic);
  EXPECT_EQ(kind("::1"), AddressKind::kLoopback);
  EXPECT_EQ(kind("fd00::1"), AddressKind::kPrivate);
  EXPECT_EQ(kind("fec0::1"), AddressKind::kPrivate);
  EXPECT_EQ(kind("fe80::1"), AddressKind::kLinkLocal);
  for (const char* text :
       {"::", "ff02::1", "2001:db8::1", "2001:0:1::1", "100::1", "64:ff9b:1::1", "4000::1", "3fff::1"})
    EXPECT_EQ(kind(text), AddressKind::kSpecial) << text;
}

TEST(Address, Ipv4WithinIpv6IsSeen) {
  EXPECT_EQ(kind("::ffff:127.0.0.1"), AddressKind::kLoopback);
  EXPECT_EQ(kind("::ffff:7f00:1"), AddressKind::kLoopback);
  EXPECT_EQ(kind("::ffff:8.8.8.8"), AddressKind::kPublic);
  EXPECT_EQ(kind("::10.0.0.1"), AddressKind::kPrivate);
  EXPECT_EQ(kind("2002:a9fe:a9fe::1"), AddressKind::kLinkLocal);
  EXPECT_EQ(kind("64:ff9b::10.0.0.1"), AddressKind::kPrivate);
  EXPECT_EQ(kind("64:ff9b::8.8.8.8"), AddressKind::kPublic);
}

TEST(Address, OneSpellingOnly) {
  for (const char* text : {"127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "",
                           "localhost", "[::1]", "fe80::1%eth0", "1.2.3.4 "})
    EXPECT_FALSE(parse_address(text)) << text;
  EXPECT_FALSE(parse_address(std::string_view("1.2.3.4\0x", 9)));
  EXPECT_EQ(format_address(*parse_address("::ffff:1.2.3.4")), "1.2.3.4");
  EXPECT_EQ(format_address(*parse_address("2001:0db8:0:0:0:0:0:1")), "2001:db8::1");
}

TEST(Address, SocketsAreGivenWhatWasRead) {
  for (const char* text : {"127.0.0.1", "8.8.8.8", "::1", "2001:db8::7", "::ffff:10.0.0.1"}) {
    const IpAddress address = *parse_address(text);
    const sockaddr_storage place = socket_address(address, 443);
    EXPECT_EQ(address_of(reinterpret_cast<const sockaddr&>(place)), address) << text;
    EXPECT_EQ(place.ss_family, format_address(address).contains(':') ? AF_INET6 : AF_INET) << text;
    EXPECT_EQ(reinterpret_cast<const sockaddr_in&>(place).sin_port, htons(443)) << text;  // IPv6 has it there too
  }
}

TEST(Address, Ranges) {
  const auto ten = parse_range("10.0.0.0/8");
  ASSERT_TRUE(ten);
  EXPECT_TRUE(ten->contains(*parse_address("10.255.0.1")));
  EXPECT_TRUE(ten->contains(*parse_address("::ffff:10.0.0.1")));
  EXPECT_FALSE(ten->contains(*parse_address("11.0.0.0")));
  EXPECT_TRUE(parse_range("192.168.7.0/23")->contains(*parse_address("192.168.7.255")));
  EXPECT_FALSE(parse_range("192.168.8.0/23")->contains(*parse_address("192.168.10.0")));
  EXPECT_TRUE(parse_range("127.0.0.1")->contains(*parse_address("127.0.0.1")));
  EXPECT_FALSE(parse_range("127.0.0.1")->contains(*parse_address("127.0.0.2")));
  EXPECT_TRUE(parse_range("fd00::/8")->contains(*parse_address("fdff::1")));
  EXPECT_TRUE(parse_range("0.0.0.0/0")->contains(*parse_address("8.8.8.8")));
  EXPECT_FALSE(parse_range("0.0.0.0/0")->contains(*parse_address("2606::1")));
  for (const char* text : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10/8", "::/129", "x", "10.0.0.0/8x"})
    EXPECT_FALSE(parse_range(text)) << text;
}

}  // namespace
}  // namespace autoglm::net
