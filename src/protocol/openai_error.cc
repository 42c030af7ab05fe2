// SPDX-License-Identifier: Apache-2.0
// The table of codes, statuses and types.
#include "protocol/openai_error.h"

#include "base/json.h"

namespace autoglm::protocol {
namespace {

constexpr ErrorRow kErrors[] = {
    {Code::kInvalidArgument, 400, "invalid_request_error"},
    {Code::kUnauthenticated, 401, "authentication_error"},
    {Code::kPermissionDenied, 403, "permission_error"},
    {Code::kNotFound, 404, "invalid_request_error"},
    {Code::kExhausted, 429, "rate_limit_error"},
    {Code::kUnavailable, 503, "server_error"},
    {Code::kDeadline, 504, "server_error"},
    {Code::kCancelled, 499, "server_error"},
    {Code::kCorrupt, 500, "server_error"},
    {Code::kInternal, 500, "server_error"},
};

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// Texts of libraries can hold addresses, and those help an attacker (CVE-2026-22778).
bool has_address(std::string_view text) {
  for (auto at = text.find("0x"); at != std::string_view::npos; at = text.find("0x", at + 2)) {
    std::size_t digits = 0;
    while (at + 2 + digits < text.size() && is_hex(text[at + 2 + digits])) ++digits;
    if (digits >= 8) return true;
  }
  return false;
}

}  // namespace

std::span<const ErrorRow> all_errors() { return kErrors; }

const ErrorRow& error_row(Code code) {
  for (const ErrorRow& row : kErrors) {
    if (row.code == code) return row;
  }
  return kErrors[std::size(kErrors) - 1];
}

std::string public_message(const Error& error) {
  if (error.code == Code::kInternal || error.code == Code::kCorrupt) return "the server failed; its log says more";
  if (has_address(error.message)) return "the request cannot be carried out";
  return error.message;
}

std::string format_error(const ApiError& error) {
  const ErrorRow& row = error_row(error.error.code);
  std::string out = R"({"error":{"message":)";
  json::append_string(out, public_message(error.error));
  out += R"(,"type":)";
  json::append_string(out, row.type);
  out += R"(,"param":)";
  if (error.error.where.empty()) {
    out += "null";
  } else {
    json::append_string(out, error.error.where);
  }
  out += R"(,"code":)";
  json::append_string(out, error.wire_code.empty() ? code_name(error.error.code) : error.wire_code);
  out += "}}";
  return out;
}

}  // namespace autoglm::protocol
