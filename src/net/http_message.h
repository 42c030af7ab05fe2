// SPDX-License-Identifier: Apache-2.0
// An HTTP request as it came and a response as it will go: plain values, without the library behind them.
// Names of fields are lower-case in requests. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace autoglm::net {

struct HttpField {
  std::string name;
  std::string value;
};

struct HttpRequest {
  std::string method;             // "GET"; case-sensitive as it came
  std::string path;               // "/v1/models/a%2Fb": as it came, without the query
  std::string query;              // after '?', as it came
  int minor_version = 1;          // HTTP/1.x
  std::vector<HttpField> fields;  // in order; surrounding blanks stripped
  std::string body;

  /// The value of the first field with this lower-case name, or empty.
  std::string_view field(std::string_view name) const;
  bool has_field(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::vector<HttpField> fields;  // Content-Length, Transfer-Encoding, Date and Connection are the server's to write
  std::string body;
};

/// "Not Found" for 404; "Unknown" for a status that we never send.
std::string_view reason_phrase(int status);

/// Lower-case ASCII; other bytes stay.
std::string lower_ascii(std::string_view text);

/// Undoes %XX; false on a malformed escape or a NUL.
bool decode_percent(std::string_view text, std::string& out);

}  // namespace autoglm::net
