// SPDX-License-Identifier: Apache-2.0
// Answers with their common fields.
#include "server/reply.h"

#include "base/log.h"

namespace autoglm::server {

net::HttpResponse error_response(const protocol::ApiError& error, int status) {
  const int sent = status != 0 ? status : protocol::error_row(error.error.code).status;
  net::HttpResponse response{
      .status = sent, .fields = {{"Content-Type", "application/json"}}, .body = protocol::format_error(error)};
  if (sent == 429 || sent == 503) response.fields.push_back({"Retry-After", "1"});
  if (sent == 401) response.fields.push_back({"WWW-Authenticate", "Bearer"});
  return response;
}

void log_failure(const Error& error, std::string_view id) {
  if (error.code != Code::kInternal && error.code != Code::kCorrupt) return;
  LOG_ERROR("request {} failed, {}: {}", id, code_name(error.code), base::printable(error.message, 1000));
}

Reply::~Reply() {
  finish_stream();
  if (!is_answered_) fail(Error{Code::kInternal, "the request was dropped", {}});
}

void Reply::send(int status, std::string_view content_type, std::string body, std::vector<net::HttpField> more) {
  is_answered_ = true;
  measures_->count_response(asked_.route, status, since_);
  log(status);
  net::HttpResponse response{.status = status, .fields = fields_, .body = std::move(body)};
  response.fields.push_back({"Content-Type", std::string(content_type)});
  for (net::HttpField& field : more) response.fields.push_back(std::move(field));
  exchange_->respond(std::move(response));
}

void Reply::fail(const protocol::ApiError& error, int status) {
  is_answered_ = true;
  net::HttpResponse response = error_response(error, status);
  count_error(error.error);
  measures_->count_response(asked_.route, response.status, since_);
  log(response.status);
  response.fields.insert(response.fields.end(), fields_.begin(), fields_.end());
  exchange_->respond(std::move(response));
}

void Reply::stream(std::shared_ptr<net::BodySource> source) {
  is_answered_ = true;
  measures_->count_status(200);
  measures_->stream_started();
  is_streaming_ = true;
  net::HttpResponse head{.status = 200, .fields = fields_, .body = {}};
  head.fields.push_back({"Content-Type", "text/event-stream; charset=utf-8"});
  head.fields.push_back({"X-Accel-Buffering", "no"});  // nginx would hold events back
  exchange_->stream(std::move(head), std::move(source), ": keep-alive\n\n");
}

void Reply::finish_stream() {
  if (!is_streaming_.exchange(false)) return;
  measures_->stream_ended();
  measures_->observe_seconds(asked_.route, since_);
  log(200);
}

void Reply::fail_stream(const protocol::ApiError& error) { count_error(error.error); }

void Reply::count_error(const Error& error) {
  measures_->count_error(error.code);
  log_failure(error, asked_.id);
}

// Requests come by the hundred a second: who wants a line for each asks for it.
void Reply::log(int status) const {
  const std::chrono::duration<double, std::milli> taken = measures_->clock().now() - since_;
  LOG_DEBUG("{} {} {} {:.1f} ms, request {}", asked_.method, asked_.route->path, status, taken.count(), asked_.id);
}

void Reply::when_gone(std::function<void()> gone) {
  exchange_->when_gone([measures = measures_, gone = std::move(gone)] {
    measures->count_disconnect();
    gone();
  });
}

}  // namespace autoglm::server
