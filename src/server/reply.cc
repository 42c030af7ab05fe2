// SPDX-License-Identifier: Apache-2.0
// Answers with their common fields.
#include "server/reply.h"

namespace autoglm::server {

net::HttpResponse error_response(const protocol::ApiError& error, int status) {
  const int sent = status != 0 ? status : protocol::error_row(error.error.code).status;
  net::HttpResponse response{
      .status = sent, .fields = {{"Content-Type", "application/json"}}, .body = protocol::format_error(error)};
  if (sent == 429 || sent == 503) response.fields.push_back({"Retry-After", "1"});
  if (sent == 401) response.fields.push_back({"WWW-Authenticate", "Bearer"});
  return response;
}

Reply::~Reply() {
  finish_stream();
  if (!is_answered_) fail(Error{Code::kInternal, "the request was dropped", {}});
}

void Reply::send(int status, std::string_view content_type, std::string body, std::vector<net::HttpField> more) {
  is_answered_ = true;
  measures_->count_response(route_, status, since_);
  net::HttpResponse response{.status = status, .fields = fields_, .body = std::move(body)};
  response.fields.push_back({"Content-Type", std::string(content_type)});
  for (net::HttpField& field : more) response.fields.push_back(std::move(field));
  exchange_->respond(std::move(response));
}

void Reply::fail(const protocol::ApiError& error, int status) {
  is_answered_ = true;
  net::HttpResponse response = error_response(error, status);
  measures_->count_error(error.error.code);
  measures_->count_response(route_, response.status, since_);
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
  measures_->observe_seconds(route_, since_);
}

void Reply::when_gone(std::function<void()> gone) {
  exchange_->when_gone([measures = measures_, gone = std::move(gone)] {
    measures->count_disconnect();
    gone();
  });
}

}  // namespace autoglm::server
