// SPDX-License-Identifier: Apache-2.0
// The strict rules in front of the parser, one table of accepted and refused heads and chunked bodies, each fed whole
// and byte by byte.
#include "net/http_wire.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace autoglm::net {
namespace {

using namespace std::string_literals;

struct HeadCase {
  const char* name;
  std::string head;
  int status;  // 0 = accepted
};

// RFC 9112 and RFC 9110 by section, and the ways in which readers of the same bytes were found to disagree (HTTP
// Garden, 2024).
const std::vector<HeadCase>& head_cases() {
  static const std::string host = "Host: a\r\n";
  static const std::vector<HeadCase> cases = {
      {"get", "GET / HTTP/1.1\r\n" + host + "\r\n", 0},
      {"query", "GET /a?b=c&d HTTP/1.1\r\n" + host + "\r\n", 0},
      {"http_1_0_without_host", "GET / HTTP/1.0\r\n\r\n", 0},
      {"options_asterisk", "OPTIONS * HTTP/1.1\r\n" + host + "\r\n", 0},
      {"absolute_form", "GET http://a/x HTTP/1.1\r\n" + host + "\r\n", 0},
      {"absolute_form_other_host", "GET http://b/x HTTP/1.1\r\n" + host + "\r\n", 400},
      {"absolute_form_without_path", "GET http://a HTTP/1.1\r\n" + host + "\r\n", 400},
      {"absolute_form_https", "GET https://a/x HTTP/1.1\r\n" + host + "\r\n", 400},
      {"length", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\n", 0},
      {"length_zeros", "POST / HTTP/1.1\r\n" + host + "Content-Length: 005\r\n\r\n", 0},
      {"chunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n", 0},
      {"chunked_case", "POST / HTTP/1.1\r\n" + host + "tRANSFER-eNCODING: CHUNKED\r\n\r\n", 0},
      {"empty_value", "GET / HTTP/1.1\r\n" + host + "X:\r\n\r\n", 0},
      {"blanks_around_value", "GET / HTTP/1.1\r\n" + host + "X: \t v \t\r\n\r\n", 0},
      {"obs_text_value", "GET / HTTP/1.1\r\n" + host + "X: \xc3\xa9\r\n\r\n", 0},
      {"unknown_method", "BREW / HTTP/1.1\r\n" + host + "\r\n", 0},
      {"empty_host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},

      {"te_and_cl", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"cl_and_te", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400},
      {"two_lengths_same", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
      {"two_lengths_differ", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
      {"length_list", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5, 5\r\n\r\n", 400},
      {"length_plus", "POST / HTTP/1.1\r\n" + host + "Content-Length: +5\r\n\r\n", 400},
      {"length_minus", "POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", 400},
      {"length_hex", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0x5\r\n\r\n", 400},
      {"length_empty", "POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\n", 400},
      {"length_blank_inside", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1 2\r\n\r\n", 400},
      {"length_18_digits", "POST / HTTP/1.1\r\n" + host + "Content-Length: 999999999999999999\r\n\r\n", 0},
      {"length_19_digits", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1000000000000000000\r\n\r\n", 400},
      {"length_2_64_plus_5", "POST / HTTP/1.1\r\n" + host + "Content-Length: 18446744073709551621\r\n\r\n", 400},
      {"two_codings", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
       400},
      {"coding_list", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"coding_chunked_twice", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, chunked\r\n\r\n", 501},
      {"coding_identity", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n\r\n", 501},
      {"coding_xchunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n", 501},
      {"coding_empty", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding:\r\n\r\n", 501},
      {"coding_quoted", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \"chunked\"\r\n\r\n", 501},
      {"coding_vertical_tab", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \x0b" + "chunked\r\n\r\n", 400},
      {"coding_blank_before_colon", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n", 400},
      {"coding_http_1_0", "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n", 400},

      {"bare_lf_request_line", "GET / HTTP/1.1\n" + host + "\r\n", 400},
      {"bare_lf_field", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
      {"bare_lf_at_end", "GET / HTTP/1.1\r\n" + host + "\n", 400},
      {"bare_lf_in_value", "GET / HTTP/1.1\r\n" + host + "X: a\nY: b\r\n\r\n", 400},
      {"bare_cr_in_value", "GET / HTTP/1.1\r\n" + host + "X: a\rY: b\r\n\r\n", 400},
      {"bare_cr_in_target", "GET /\r HTTP/1.1\r\n" + host + "\r\n", 400},
      {"cr_cr_lf", "GET / HTTP/1.1\r\n" + host + "X: a\r\r\n\r\n", 400},
      {"nul_in_value", "GET / HTTP/1.1\r\n" + host + "X: a"s + '\0' + "b\r\n\r\n", 400},
      {"nul_in_name", "GET / HTTP/1.1\r\n" + host + "X"s + '\0' + ": a\r\n\r\n", 400},
      {"escape_in_value", "GET / HTTP/1.1\r\n" + host + "X: \x1b[31m\r\n\r\n", 400},
      {"delete_in_value", "GET / HTTP/1.1\r\n" + host + "X: \x7f\r\n\r\n", 400},
      {"obs_fold_blank", "GET / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n\r\n", 400},
      {"obs_fold_tab", "GET / HTTP/1.1\r\n" + host + "X: a\r\n\tb\r\n\r\n", 400},
      {"obs_fold_first", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
      {"obs_fold_coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding:\r\n chunked\r\n\r\n", 400},
      {"blank_before_colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
      {"tab_before_colon", "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", 400},
      {"no_colon", "GET / HTTP/1.1\r\n" + host + "nonsense\r\n\r\n", 400},
      {"empty_name", "GET / HTTP/1.1\r\n" + host + ": a\r\n\r\n", 400},
      {"name_with_blank", "GET / HTTP/1.1\r\n" + host + "X Y: a\r\n\r\n", 400},
      {"name_not_token", "GET / HTTP/1.1\r\n" + host + "X(Y): a\r\n\r\n", 400},
      {"name_non_ascii", "GET / HTTP/1.1\r\n" + host + "\xc3\xa9: a\r\n\r\n", 400},

      {"no_host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two_hosts", "GET / HTTP/1.1\r\n" + host + host + "\r\n", 400},
      {"two_hosts_case", "GET / HTTP/1.1\r\n" + host + "hOST: b\r\n\r\n", 400},
      {"two_hosts_1_0", "GET / HTTP/1.0\r\n" + host + host + "\r\n", 400},

      {"no_version", "GET /\r\n" + host + "\r\n", 400},
      {"version_2", "GET / HTTP/2.0\r\n" + host + "\r\n", 505},
      {"version_1_2", "GET / HTTP/1.2\r\n" + host + "\r\n", 505},
      {"version_0_9", "GET / HTTP/0.9\r\n" + host + "\r\n", 505},
      {"http2_preface", "PRI * HTTP/2.0\r\n\r\n", 400},
      {"version_lower_case", "GET / http/1.1\r\n" + host + "\r\n", 400},
      {"version_long", "GET / HTTP/1.10\r\n" + host + "\r\n", 400},
      {"version_short", "GET / HTTP/1\r\n" + host + "\r\n", 400},
      {"version_blank_after", "GET / HTTP/1.1 \r\n" + host + "\r\n", 400},
      {"two_blanks_first", "GET  / HTTP/1.1\r\n" + host + "\r\n", 400},
      {"two_blanks_second", "GET /  HTTP/1.1\r\n" + host + "\r\n", 400},
      {"tab_in_request_line", "GET\t/ HTTP/1.1\r\n" + host + "\r\n", 400},
      {"leading_blank", " GET / HTTP/1.1\r\n" + host + "\r\n", 400},
      {"empty_request_line", "\r\n\r\n", 400},
      {"method_not_token", "G@T / HTTP/1.1\r\n" + host + "\r\n", 400},
      {"method_long", std::string(33, 'G') + " / HTTP/1.1\r\n" + host + "\r\n", 400},
      {"target_relative", "GET x HTTP/1.1\r\n" + host + "\r\n", 400},
      {"target_asterisk_get", "GET * HTTP/1.1\r\n" + host + "\r\n", 400},
      {"target_authority", "CONNECT a:80 HTTP/1.1\r\n" + host + "\r\n", 400},
      {"target_fragment", "GET /#a HTTP/1.1\r\n" + host + "\r\n", 400},
      {"target_backslash", "GET /\\b HTTP/1.1\r\n" + host + "\r\n", 400},
      {"target_non_ascii", "GET /\xc3\xa9 HTTP/1.1\r\n" + host + "\r\n", 400},
      {"target_blank", "GET /a b HTTP/1.1\r\n" + host + "\r\n", 400},
      {"tls_hello", "\x16\x03\x01\x02\r\n\r\n", 400},
  };
  return cases;
}

// The status of a head, 0 = accepted, as a connection finds it: in pieces of `piece` bytes.
int judge(const std::string& head, std::size_t piece, const HeadLimits& limits = {}) {
  std::size_t checked = 0;
  for (std::size_t end = std::min(piece, head.size());; end = std::min(end + piece, head.size())) {
    auto size = find_head(std::string_view(head).substr(0, end), limits, checked);
    if (!size) return size.error().status;
    if (*size > 0) {
      auto framing = check_head(head.substr(0, *size), limits);
      if (!framing) return framing.error().status;
      auto request = read_head(head.substr(0, *size), limits);
      return request ? 0 : -1;  // Beast must be able to read whatever the strict rules let through
    }
    if (end == head.size()) return -2;
  }
}

class Heads : public testing::TestWithParam<HeadCase> {};

TEST_P(Heads, T_G4_AreJudgedAlikeWholeAndInPieces) {
  for (std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{1} << 20}) {
    EXPECT_EQ(judge(GetParam().head, piece), GetParam().status) << "in pieces of " << piece;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Heads, testing::ValuesIn(head_cases()),
                         [](const auto& p) { return std::string(p.param.name); });

TEST(Head, T_G2_LimitOfBytesHoldsExactly) {
  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
  HeadLimits limits{.max_head_bytes = 200};
  const std::string at_limit = start + std::string(200 - start.size() - 4, 'x') + "\r\n\r\n";
  const std::string over = start + std::string(200 - start.size() - 3, 'x') + "\r\n\r\n";
  for (std::size_t piece : {std::size_t{1}, std::size_t{64}, std::size_t{1000}}) {
    EXPECT_EQ(judge(at_limit, piece, limits), 0);
    EXPECT_EQ(judge(over, piece, limits), 431);
  }
}

TEST(Head, T_G2_LimitHoldsWithoutALineEnd) {
  std::size_t checked = 0;
  const std::string endless(1 << 16, 'a');
  auto size = find_head(endless, {}, checked);
  ASSERT_FALSE(size);
  EXPECT_EQ(size.error().status, 431);
  EXPECT_LE(checked, HeadLimits{}.max_head_bytes);
}

TEST(Head, T_G2_LimitOfFieldsHoldsExactly) {
  for (auto [count, status] : {std::pair{100, 0}, std::pair{101, 431}}) {
    std::string head = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (int i = 1; i < count; ++i) head += "X: y\r\n";
    EXPECT_EQ(judge(head + "\r\n", 1 << 20), status);
  }
}

TEST(Head, T_G2_LimitOfTargetHoldsExactly) {
  for (auto [size, status] : {std::pair{8192u, 0}, std::pair{8193u, 414}}) {
    EXPECT_EQ(judge("GET /" + std::string(size - 1, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 1 << 20), status);
  }
}

TEST(Head, IsReadIntoAPlainRequest) {
  auto request = read_head("POST http://a/x%20y?q=1 HTTP/1.0\r\nHost: a\r\nX-Two:  v w \r\nx-two: z\r\n\r\n", {});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->method, "POST");
  EXPECT_EQ(request->path, "/x%20y");
  EXPECT_EQ(request->query, "q=1");
  EXPECT_EQ(request->minor_version, 0);
  EXPECT_EQ(request->field("x-two"), "v w");
  EXPECT_EQ(request->fields.size(), 3u);
}

struct ChunkCase {
  const char* name;
  std::string bytes;
  int status;  // 0 = accepted
  std::string body;
};

const std::vector<ChunkCase>& chunk_cases() {
  static const std::vector<ChunkCase> cases = {
      {"one", "5\r\nhello\r\n0\r\n\r\n", 0, "hello"},
      {"two", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", 0, "hello!"},
      {"none", "0\r\n\r\n", 0, ""},
      {"hex_upper", "A\r\n0123456789\r\n0\r\n\r\n", 0, "0123456789"},
      {"hex_lower", "a\r\n0123456789\r\n0\r\n\r\n", 0, "0123456789"},
      {"sixteen_digits", "0000000000000005\r\nhello\r\n0\r\n\r\n", 0, "hello"},
      {"extension", "5;name=value\r\nhello\r\n0;x\r\n\r\n", 0, "hello"},
      {"extension_quoted", "5;n=\"a;b\"\r\nhello\r\n0\r\n\r\n", 0, "hello"},
      {"trailer", "5\r\nhello\r\n0\r\nX: y\r\nZ: w\r\n\r\n", 0, "hello"},
      {"seventeen_digits", "00000000000000005\r\nhello\r\n0\r\n\r\n", 400, ""},
      {"negative", "-2\r\nhello\r\n0\r\n\r\n", 400, ""},
      {"plus", "+5\r\nhello\r\n0\r\n\r\n", 400, ""},
      {"prefix_0x", "0x5\r\nhello\r\n0\r\n\r\n", 400, ""},
      {"blank_before", " 5\r\nhello\r\n0\r\n\r\n", 400, ""},
      {"blank_after", "5 \r\nhello\r\n0\r\n\r\n", 400, ""},
      {"underscore", "5_0\r\nhello\r\n0\r\n\r\n", 400, ""},
      {"no_digits", "\r\nhello\r\n0\r\n\r\n", 400, ""},
      {"not_hex", "g\r\nhello\r\n0\r\n\r\n", 400, ""},
      {"huge", "ffffffffffffffff\r\nhello", 413, ""},
      {"over_limit", "65\r\n", 413, ""},
      {"over_limit_in_two", "64\r\n" + std::string(100, 'a') + "\r\n1\r\na\r\n0\r\n\r\n", 413, ""},
      {"at_limit", "64\r\n" + std::string(100, 'a') + "\r\n0\r\n\r\n", 0, std::string(100, 'a')},
      {"bare_lf_after_size", "5\nhello\r\n0\r\n\r\n", 400, ""},
      {"bare_cr_after_size", "5\rhello\r\n0\r\n\r\n", 400, ""},
      {"bare_lf_after_bytes", "5\r\nhello\n0\r\n\r\n", 400, ""},
      {"bare_cr_after_bytes", "5\r\nhello\r0\r\n\r\n", 400, ""},
      {"short_chunk", "6\r\nhello\r\n0\r\n\r\n", 400, ""},
      {"long_chunk", "4\r\nhello\r\n0\r\n\r\n", 400, ""},
      {"lf_in_extension", "5;a\nb\r\nhello\r\n0\r\n\r\n", 400, ""},
      {"nul_in_extension", "5;a"s + '\0' + "\r\nhello\r\n0\r\n\r\n", 400, ""},
      {"bare_lf_in_trailer", "0\r\nX: y\n\r\n", 400, ""},
      {"bare_cr_in_trailer", "0\r\nX: y\rZ: w\r\n\r\n", 400, ""},
      {"folded_trailer", "0\r\nX: y\r\n z\r\n\r\n", 400, ""},
      {"trailer_without_colon", "0\r\nnonsense\r\n\r\n", 400, ""},
      {"bare_lf_at_end", "0\r\n\n", 400, ""},
      {"endless_extension", "5;" + std::string(1 << 17, 'a'), 400, ""},
      {"endless_trailer", "0\r\n" + std::string(1 << 17, 'a'), 431, ""},
      {"endless_trailers",
       "0\r\n" +
           [] {
             std::string many;
             for (int i = 0; i < 10'000; ++i) many += "X: y\r\n";
             return many;
           }(),
       400, ""},
  };
  return cases;
}

class Chunks : public testing::TestWithParam<ChunkCase> {};

TEST_P(Chunks, T_G4_AreDecodedAlikeWholeAndInPieces) {
  const ChunkCase& given = GetParam();
  for (std::size_t piece : {std::size_t{1}, std::size_t{3}, std::size_t{1} << 20}) {
    ChunkDecoder decoder(100);
    std::string body;
    int status = 0;
    const std::string bytes = given.bytes + "GET";  // what follows is another request's
    std::size_t at = 0;
    while (at < bytes.size() && !decoder.is_done()) {
      auto taken = decoder.feed(std::string_view(bytes).substr(at, piece), body);
      if (!taken) {
        status = taken.error().status;
        break;
      }
      at += *taken;
    }
    EXPECT_EQ(status, given.status) << "in pieces of " << piece;
    EXPECT_LE(body.size(), 100u);
    if (given.status != 0) continue;
    EXPECT_TRUE(decoder.is_done());
    EXPECT_EQ(body, given.body);
    EXPECT_EQ(at, given.bytes.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Chunks, testing::ValuesIn(chunk_cases()),
                         [](const auto& p) { return std::string(p.param.name); });

TEST(Chunk, T_G1_OneByteChunksAreAccepted) {
  std::string bytes;
  for (int i = 0; i < 100'000; ++i) bytes += "1\r\nx\r\n";
  ChunkDecoder decoder(100'000);
  std::string body;
  ASSERT_TRUE(decoder.feed(bytes + "0\r\n\r\n", body));
  EXPECT_TRUE(decoder.is_done());
  EXPECT_EQ(body.size(), 100'000u);
}

TEST(Wire, RandomBytesNeverDependOnTheSplit) {
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    base::Random random(seed);
    static constexpr std::string_view kAlphabet = "GET /:\r\n\r\n aHost0;5\t";
    std::string bytes = random.below(2) ? "GET / HTTP/1.1\r\nHost: a\r\n" : "";
    for (std::uint64_t i = 0, n = random.below(60); i < n; ++i)
      bytes.push_back(kAlphabet[random.below(kAlphabet.size())]);
    EXPECT_EQ(judge(bytes, 1), judge(bytes, 1 << 20)) << "seed " << seed;
    std::string one_body, all_body;
    ChunkDecoder one(50), all(50);
    bool one_fails = false;
    for (std::size_t i = 0; i < bytes.size() && !one.is_done() && !one_fails; ++i)
      one_fails = !one.feed(bytes.substr(i, 1), one_body);
    EXPECT_EQ(one_fails, !all.feed(bytes, all_body)) << "seed " << seed;
    EXPECT_EQ(one_body, all_body) << "seed " << seed;
  }
}

TEST(ResponseHead, T_G2_RefusesWhatWouldSplitIt) {
  EXPECT_TRUE(format_head(200, {{"X", "y"}}));
  EXPECT_EQ(*format_head(404, {}), "HTTP/1.1 404 Not Found\r\n\r\n");
  for (const std::string& bad : {"a\r\nSet-Cookie: b"s, "a\nb"s, "a\rb"s, "a\0b"s}) {
    EXPECT_FALSE(format_head(200, {{"X", bad}}));
    EXPECT_FALSE(format_head(200, {{bad, "y"}}));
  }
  EXPECT_FALSE(format_head(200, {{"", "y"}}));
}

TEST(ResponseHead, DateIsThatOfTheRfc) { EXPECT_EQ(http_date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT"); }

TEST(Percent, IsUndoneOrRefused) {
  std::string out;
  EXPECT_TRUE(decode_percent("a%2Fb%20c", out));
  EXPECT_EQ(out, "a/b c");
  for (const char* bad : {"%", "%2", "%zz", "a%00"}) EXPECT_FALSE(decode_percent(bad, out)) << bad;
}

}  // namespace
}  // namespace autoglm::net
