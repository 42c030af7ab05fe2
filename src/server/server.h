// SPDX-License-Identifier: Apache-2.0
// The HTTP face of the models of this process: the OpenAI API, tokenise, health, metrics and the page at /. Owns its
// network threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/tool_registry.h"
#include "base/clock.h"
#include "base/result.h"
#include "generation/embedder.h"
#include "generation/generator.h"
#include "server/model_registry.h"
#include "store/response_store.h"
#include "telemetry/metrics.h"

namespace autoglm::server {

struct ServerOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;                 // 0 = any free port
  std::vector<std::string> api_keys;         // empty = none needed (only allowed on loopback)
  std::vector<std::string> admin_keys;       // for /admin; empty = those routes are not there
  std::vector<std::string> allowed_origins;  // CORS; empty = no browser origin but our own page
  std::vector<std::string> allowed_hosts;    // besides localhost, 127.0.0.1, [::1] and the bound address
  std::size_t max_body_bytes = 8u << 20;
  std::size_t max_header_bytes = 32u << 10;
  std::size_t max_connections = 4096;
  std::size_t max_unread_bytes = 16u << 20;  // of a streamed response, when its client does not read
  std::chrono::seconds drain_timeout{30};
  bool drains_engine = true;  // drain() tells the engine too; false: others go on with it
};

// What only some servers have; all of it outlives the server.
struct ServerParts {
  const agent::ToolRegistry* tools = nullptr;  // that responses may call for their clients
  store::ResponseStore* responses = nullptr;   // where they are kept; null = in memory
};

class Server {
 public:
  virtual ~Server() = default;             // stops at once
  virtual std::uint16_t port() const = 0;  // the bound one
  /// Refuses new requests, lets those in flight end (up to drain_timeout), then closes. Blocks. Any thread but a
  /// network one.
  virtual void drain() = 0;
};

/// Whether start_server() would refuse these options, or could not bind now: asked before a model is loaded in vain.
/// Errors: as there.
Status check_options(const ServerOptions& options);

/// Binds and serves. Errors: kUnavailable (port taken: says which), kPermissionDenied (other than loopback without
/// keys), kInvalidArgument. `generator`, `clock` and `metrics` must outlive the server.
Result<std::unique_ptr<Server>> start_server(generation::Generator& generator, const ServerOptions& options,
                                             const base::Clock& clock, telemetry::Registry& metrics,
                                             const ServerParts& parts = {});

/// The same for an encoder: /v1/embeddings, and what can be asked about it; routes that would write text say that it
/// does not.
Result<std::unique_ptr<Server>> start_server(generation::Embedder& embedder, const ServerOptions& options,
                                             const base::Clock& clock, telemetry::Registry& metrics);

/// The same for several models; each request names its own, and a model's figures have its name as label. `models` must
/// outlive the server.
Result<std::unique_ptr<Server>> start_server(ModelRegistry& models, const ServerOptions& options,
                                             const base::Clock& clock, telemetry::Registry& metrics,
                                             const ServerParts& parts = {});

}  // namespace autoglm::server
