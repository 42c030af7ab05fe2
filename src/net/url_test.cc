// SPDX-License-Identifier: Apache-2.0
#include "net/url.h"

#include <gtest/gtest.h>

namespace autoglm::net {
namespace {

TEST(Url, TakesApart) {
  auto url = parse_url("https://example.org:8443/a/b?c=d#e");
  ASSERT_TRUE(url) << url.error().message;
  EXPECT_TRUE(url->is_tls);
  EXPECT_EQ(url->host, "example.org");
  EXPECT_EQ(url->port, 8443);
  EXPECT_EQ(url->target, "/a/b?c=d");
  EXPECT_EQ(parse_url("http://h")->port, 80);
  EXPECT_EQ(parse_url("http://h")->target, "/");
  EXPECT_EQ(parse_url("http://h?q")->target, "/?q");
  EXPECT_EQ(parse_url("https://[::1]:9/x")->host, "::1");
}

TEST(Url, Refusals) {
  for (const char* text : {"ftp://h/", "h/x", "http://", "http://u:p@h/", "http://h:0/", "http://h:65536/",
                           "http://h:1x/", "http://h/a b", "http://h/a\r\nX: y", "http://[::1/", "http://[::1]x/"}) {
    auto url = parse_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().code, Code::kInvalidArgument) << text;
  }
  EXPECT_TRUE(parse_url("http://h/" + std::string(8183, 'a')));
  EXPECT_FALSE(parse_url("http://h/" + std::string(8184, 'a')));
}

TEST(Url, LocationsResolve) {
  const Url base = *parse_url("https://h:1/a/b?c");
  EXPECT_EQ(format_url(*resolve_location(base, "http://other/x")), "http://other/x");
  EXPECT_EQ(format_url(*resolve_location(base, "//other/x")), "https://other/x");
  EXPECT_EQ(format_url(*resolve_location(base, "/x?y:z")), "https://h:1/x?y:z");
  EXPECT_EQ(format_url(*resolve_location(base, "x")), "https://h:1/a/x");
  EXPECT_FALSE(resolve_location(base, "file:///etc/passwd"));
  EXPECT_FALSE(resolve_location(base, "/x\ny"));
}

TEST(Url, PathsAreEncoded) { EXPECT_EQ(encode_path("a-b_c.d~/e f%?#\xc3\xa9"), "a-b_c.d~/e%20f%25%3F%23%C3%A9"); }

}  // namespace
}  // namespace autoglm::net
