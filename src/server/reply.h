// SPDX-License-Identifier: Apache-2.0
// One request's way back to its client: writes JSON answers and errors with the fields that every answer carries, and
// counts them. Any thread; one answer a reply, and one that is dropped without answers with an internal error.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/http_server.h"
#include "protocol/openai_error.h"
#include "server/measures.h"

namespace autoglm::server {

/// An error as a response: OpenAI's body; Retry-After with 429 and 503, WWW-Authenticate with 401. `status` 0 = that of
/// the code.
net::HttpResponse error_response(const protocol::ApiError& error, int status = 0);

class Reply final {
 public:
  /// `fields`: of every answer to this request (request id, CORS).
  Reply(std::shared_ptr<net::Exchange> exchange, const Route* route, std::vector<net::HttpField> fields,
        std::shared_ptr<Measures> measures)
      : exchange_(std::move(exchange)),
        route_(route),
        fields_(std::move(fields)),
        measures_(std::move(measures)),
        since_(measures_->clock().now()) {}
  ~Reply();
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;

  void json(std::string body) { send(200, "application/json", std::move(body)); }
  void send(int status, std::string_view content_type, std::string body, std::vector<net::HttpField> more = {});
  void fail(const protocol::ApiError& error, int status = 0);

  /// Starts a stream of server-sent events; finish_stream() when its source is complete (its end at the latest is this
  /// object's), wake() when it has more.
  void stream(std::shared_ptr<net::BodySource> source);
  void finish_stream();
  void wake() { exchange_->wake(); }
  void when_gone(std::function<void()> gone);

 private:
  const std::shared_ptr<net::Exchange> exchange_;
  const Route* const route_;
  const std::vector<net::HttpField> fields_;
  // Shared: the engine's thread may let go of a reply just after the server has ended.
  const std::shared_ptr<Measures> measures_;
  const base::Time since_;
  std::atomic<bool> is_answered_ = false;
  std::atomic<bool> is_streaming_ = false;
};

}  // namespace autoglm::server
