// SPDX-License-Identifier: Apache-2.0
// One request's way back to its client: writes JSON answers and errors with the fields that every answer carries,
// counts them and logs them. Any thread; one answer a reply, and one that is dropped without answers with an internal
// error.
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

/// What a client is not told about kInternal and kCorrupt stands in the log, under the id that the client has.
void log_failure(const Error& error, std::string_view id);

// Whose answer a reply is; never what was asked.
struct Asked {
  std::string method;
  const Route* route = nullptr;
  std::string id;
};

class Reply final {
 public:
  /// `fields`: of every answer to this request (request id, CORS).
  Reply(std::shared_ptr<net::Exchange> exchange, Asked asked, std::vector<net::HttpField> fields,
        std::shared_ptr<Measures> measures)
      : exchange_(std::move(exchange)),
        asked_(std::move(asked)),
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
  /// object's), fail_stream() before it when the source ends with an error, wake() when it has more.
  void stream(std::shared_ptr<net::BodySource> source);
  void finish_stream();
  void fail_stream(const protocol::ApiError& error);
  void wake() { exchange_->wake(); }
  void when_gone(std::function<void()> gone);

 private:
  void count_error(const Error& error);
  void log(int status) const;

  const std::shared_ptr<net::Exchange> exchange_;
  const Asked asked_;
  const std::vector<net::HttpField> fields_;
  // Shared: the engine's thread may let go of a reply just after the server has ended.
  const std::shared_ptr<Measures> measures_;
  const base::Time since_;
  std::atomic<bool> is_answered_ = false;
  std::atomic<bool> is_streaming_ = false;
};

}  // namespace autoglm::server
