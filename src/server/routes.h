// SPDX-License-Identifier: Apache-2.0
// Every route there is, as a table: what the server answers, who may ask, and where the work is done.
// docs/guides/api.md lists it and a test enumerates it. Immutable; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace autoglm::server {

enum class RouteKind : std::uint8_t {
  kPage,
  kHealth,
  kReady,
  kMetrics,
  kModels,
  kModel,
  kAdminModels,
  kAdminLoad,
  kAdminUnload,
  kChat,
  kCompletion,
  kEmbeddings,
  kRerank,
  kResponse,
  kInputItems,
  kStoredResponse,
  kResponseRemoval,
  kResponseCancel,
  kTokenize,
  kDetokenize,
};

struct Route {
  RouteKind kind;
  std::string_view method;  // GET routes answer HEAD too
  std::string_view path;    // "/v1/models/*": one or more characters in place of the asterisk
  // (without a slash, where something follows it); the first route that fits counts
  bool needs_key;  // when keys are set
  std::string_view summary;
  bool is_admin = false;  // wants an admin key instead, and is not there without any
};

std::span<const Route> all_routes();

struct RouteMatch {
  const Route* route = nullptr;  // null = 404, or 405 when `allowed` is not empty
  std::string allowed;           // methods that the path has: "GET, HEAD"
};
RouteMatch find_route(std::string_view method, std::string_view path);

}  // namespace autoglm::server
