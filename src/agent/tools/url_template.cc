// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/url_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace autoglm::agent {
namespace {

std::unexpected<Error> bad(std::string why) {
  return fail(Code::kInvalidArgument, "the URL template: " + std::move(why));
}

// All but unreserved characters (RFC 3986, 2.3), '/' too.
std::string escape(std::string_view value) {
  std::string out;
  for (const char c : net::encode_path(value)) {
    if (c == '/') {
      out += "%2F";
    } else {
      out += c;
    }
  }
  return out;
}

Result<std::string> text_of(const json::Value& value, const std::string& name) {
  if (const auto* text = value.if_string()) return std::string(text->data(), text->size());
  if (value.is_number() || value.is_bool()) return json::format(value);
  return fail(Code::kInvalidArgument,
              fmt::format("{} becomes part of a URL and must be a text, a number, true or false", name),
              json::pointer_to("", name));
}

const json::Value* given(const json::Object& arguments, const std::string& name) {
  const json::Value* value = arguments.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

}  // namespace

Result<UrlTemplate> UrlTemplate::parse(std::string_view text) {
  UrlTemplate made;
  const auto scheme = text.find("://");
  const auto path_begin =
      scheme == std::string_view::npos ? std::string_view::npos : text.find_first_of("/?#", scheme + 3);
  const std::string_view origin = text.substr(0, path_begin);
  if (origin.find_first_of("{}") != std::string_view::npos) return bad("scheme, host and port must be fixed");
  made.origin_ = TRY(net::parse_url(origin));
  std::string_view rest = path_begin == std::string_view::npos ? "/" : text.substr(path_begin);
  if (rest.find('#') != std::string_view::npos) return bad("it has a fragment (#)");
  const auto question = rest.find('?');
  TRY(made.add_path(question == 0 ? "/" : rest.substr(0, question)));
  if (question != std::string_view::npos) TRY(made.add_query(rest.substr(question + 1)));
  // What stays when all placeholders are filled must be a URL.
  json::Object example;
  for (const std::string& name : made.names_) example[name] = "x";
  const std::string filled = TRY(made.fill(example));
  TRY(net::parse_url(filled));
  return made;
}

Status UrlTemplate::add_path(std::string_view path) {
  while (!path.empty()) {
    const auto brace = path.find_first_of("{}");
    if (brace != 0) {
      path_.push_back({.literal = std::string(path.substr(0, brace)), .name = ""});
      path.remove_prefix(path_.back().literal.size());
      continue;
    }
    const auto end = path.find('}');
    if (path.front() == '}' || end == std::string_view::npos || end == 1) return bad("its braces do not match");
    names_.emplace_back(path.substr(1, end - 1));
    if (names_.back().find('{') != std::string::npos) return bad("its braces do not match");
    path_.push_back({.literal = "", .name = names_.back()});
    path.remove_prefix(end + 1);
  }
  return {};
}

Status UrlTemplate::add_query(std::string_view query) {
  while (!query.empty()) {
    const std::string_view field = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(field.size() + 1, query.size()));
    const auto brace = field.find_first_of("{}");
    if (brace == std::string_view::npos) {
      query_.push_back({.literal = std::string(field), .name = ""});
      continue;
    }
    const std::string_view name = field.substr(brace + 1, field.size() - std::min(brace + 2, field.size()));
    const bool is_whole_value = brace > 1 && field[brace - 1] == '=' && field[brace] == '{' && field.back() == '}';
    if (!is_whole_value || name.empty() || name.find_first_of("{}") != std::string_view::npos) {
      return bad(fmt::format("in the query a placeholder is a whole value, as in name={{value}}, not '{}'", field));
    }
    names_.emplace_back(name);
    query_.push_back({.literal = std::string(field.substr(0, brace)), .name = names_.back()});
  }
  return {};
}

Result<std::string> UrlTemplate::fill(const json::Object& arguments) const {
  net::Url url = origin_;
  url.target.clear();
  for (const Piece& piece : path_) {
    if (piece.name.empty()) {
      url.target += piece.literal;
      continue;
    }
    const json::Value* value = given(arguments, piece.name);
    const std::string text = value == nullptr ? "" : TRY(text_of(*value, piece.name));
    // Dots cannot be escaped: servers and proxies take "%2e%2e" for "..", too.
    if (text.empty() || text == "." || text == "..") {
      return fail(Code::kInvalidArgument,
                  fmt::format("{} becomes part of a URL's path and may not be missing, empty, '.' or '..'", piece.name),
                  json::pointer_to("", piece.name));
    }
    url.target += escape(text);
  }
  char before = '?';
  for (const QueryField& field : query_) {
    std::string text = field.literal;
    if (!field.name.empty()) {
      const json::Value* value = given(arguments, field.name);
      if (value == nullptr) continue;
      text += escape(TRY(text_of(*value, field.name)));
    }
    url.target += before + text;
    before = '&';
  }
  return net::format_url(url);
}

}  // namespace autoglm::agent
