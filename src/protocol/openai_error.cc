// SPDX-License-Identifier: Apache-2.0
// The table of codes, statuses and types.
#include "protocol/openai_error.h"

#include "base/json.h"

namespace autoglm::protocol {
namespace {

constexpr ErrorRow kErrors[] = {
    {Code::kInvalidArgument, 400, "invalid_request_error",
     "the request is wrong, and stays wrong; 405, 413, 414, 415, 417, 431, 501 or 505 where HTTP has a status for it"},
    {Code::kUnauthenticated, 401, "authentication_error", "no key, or an unknown one; told as `invalid_api_key`"},
    {Code::kPermissionDenied, 403, "permission_error", "the Host or the Origin is not allowed"},
    {Code::kNotFound, 404, "invalid_request_error", "no such path; for a model told as `model_not_found`"},
    {Code::kExhausted, 429, "rate_limit_error",
     "the queue is full; `Retry-After` says when to try again; 503 where connections or memory for bodies ran out"},
    {Code::kUnavailable, 503, "server_error", "the server is draining; `Retry-After`"},
    {Code::kDeadline, 504, "server_error", "the time of the request ran out; 408 where its own bytes came too slowly"},
    {Code::kCancelled, 499, "server_error", "the client left, or did not read its stream"},
    {Code::kCorrupt, 500, "server_error", "stored bytes are damaged; the log says more"},
    {Code::kInternal, 500, "server_error", "our fault; the log says more"},
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
