// SPDX-License-Identifier: Apache-2.0
// A URL with {placeholders} that arguments fill: scheme, host and port are fixed, values are escaped for the place
// where they stand, so that no value can lead anywhere but where the template says. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "net/url.h"

namespace autoglm::agent {

class UrlTemplate final {
 public:
  /// "https://api.example.com/v1/{city}/now?units={units}&q={query}". In the query each {placeholder} is a whole value.
  ///   Errors   kInvalidArgument (no URL, a placeholder in scheme, host or port, braces that do not match)
  static Result<UrlTemplate> parse(std::string_view text);

  /// Values must be strings, numbers, true or false. A path's value may not be missing, empty, "." or ".."; a query's
  /// that is missing leaves its name out too.
  ///   Errors   kInvalidArgument, Error::where = "/NAME"
  Result<std::string> fill(const json::Object& arguments) const;

  const std::vector<std::string>& names() const { return names_; }  // of its placeholders
  const net::Url& origin() const { return origin_; }                // scheme, host and port

 private:
  struct Piece {
    std::string literal;  // or
    std::string name;     // of a placeholder
  };
  struct QueryField {
    std::string literal;  // "units=metric", or "units=" before a value
    std::string name;
  };
  Status add_path(std::string_view path);
  Status add_query(std::string_view query);

  net::Url origin_;
  std::vector<Piece> path_;
  std::vector<QueryField> query_;
  std::vector<std::string> names_;
};

}  // namespace autoglm::agent
