// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/mcp_http.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "agent/tools/event_stream.h"
#include "agent/tools/wake.h"
#include "base/log.h"
#include "base/mutex.h"
#include "net/http_message.h"

namespace autoglm::agent {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxSessionIdBytes = 512;
constexpr std::size_t kMaxStreamBytes = 256u << 20;  // of one request's answers, its other messages included
constexpr std::size_t kMaxResumes = 1000;
constexpr milliseconds kFirstRetry{1000};  // where the server names no time
constexpr milliseconds kLongestRetry{30'000};
constexpr milliseconds kSendLimit{5000};
constexpr milliseconds kEndLimit{2000};
constexpr std::string_view kAccept = "application/json, text/event-stream";

bool is_session_id(std::string_view id) {
  return !id.empty() && id.size() <= kMaxSessionIdBytes &&
         std::ranges::all_of(id, [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

std::string media_type(const net::HttpReply& reply) {
  const std::string_view field = reply.field("content-type");
  std::string type = net::lower_ascii(field.substr(0, field.find(';')));
  while (type.ends_with(' ')) type.pop_back();
  return type;
}

// Waits; false when `stop` was requested or `until` came first.
bool rest(milliseconds time, const StopSignal& stop, base::Time until) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!stop.is_requested() && std::chrono::steady_clock::now() < until) {
    const auto left = std::min<base::Duration>(end - std::chrono::steady_clock::now(), std::chrono::seconds(1));
    if (left.count() <= 0) return true;
    pollfd file{.fd = stop.descriptor(), .events = POLLIN, .revents = 0};
    // Rounded up: never earlier than the server asked for.
    poll(&file, 1, static_cast<int>(std::chrono::ceil<milliseconds>(left).count()));
  }
  return false;
}

// Looks for the answer to one request in what the server sends, and hands everything else to the listener.
class Answer final {
 public:
  Answer(std::int64_t id, const McpListener& listener) : id_(id), listener_(listener) {}

  bool is_there() const { return answer_.has_value(); }
  McpMessage take() { return std::move(*answer_); }
  const EventStream& stream() const { return stream_; }

  Status take_text(std::string_view text) {
    for (McpMessage& message : TRY(parse_mcp(text))) {
      const bool is_answer = message.kind == McpMessage::Kind::kResult || message.kind == McpMessage::Kind::kError;
      if (is_answer_to(message, id_)) {
        if (!answer_) answer_ = std::move(message);
      } else if (!is_answer) {
        listener_(message);
      }
    }
    return {};
  }

  Status take_events(std::string_view bytes) {
    bytes_ += bytes.size();
    if (bytes_ > kMaxStreamBytes) return fail(Code::kExhausted, "the server sends events without end");
    for (const ServerEvent& event : TRY(stream_.push(bytes))) {
      if (event.type == "message" && !event.data.empty()) TRY(take_text(event.data));
    }
    return {};
  }

  // A stream that goes on is a new one for the parser, but for its id and retry time.
  void begin_stream() {
    if (!stream_.last_event_id().empty()) last_event_id_ = stream_.last_event_id();
    if (stream_.retry()) retry_ = *stream_.retry();
    stream_ = EventStream(kMaxMcpMessageBytes);
  }
  const std::string& last_event_id() const { return last_event_id_; }
  milliseconds retry() const { return std::min(retry_, kLongestRetry); }

 private:
  const std::int64_t id_;
  const McpListener& listener_;
  std::optional<McpMessage> answer_;
  EventStream stream_{kMaxMcpMessageBytes};
  std::string last_event_id_;
  milliseconds retry_ = kFirstRetry;
  std::size_t bytes_ = 0;
};

class HttpTransport final : public McpTransport {
 public:
  HttpTransport(McpHttpOptions options, McpListener listener)
      : options_(std::move(options)), listener_(std::move(listener)) {}

  ~HttpTransport() override {
    if (session().empty()) return;
    net::HttpCall call = call_of("DELETE", "", std::chrono::steady_clock::now() + kEndLimit, {});
    // A server may say that it does not end sessions on request (405); either way it is over.
    (void)net::http_call(
        call, [](const net::HttpReply&) { return Status(); }, [](std::string_view) { return Status(); });
  }

  Result<McpMessage> request(std::int64_t id, const std::string& message, std::stop_token stop,
                             base::Time until) override {
    const StopSignal signal(stop);
    Answer answer(id, listener_);
    bool is_stream = false;
    Status asked = exchange(call_of("POST", message, until, stop), answer, is_stream);
    for (std::size_t resumes = 0; !answer.is_there(); ++resumes) {
      answer.begin_stream();
      const bool may_resume = is_stream && !answer.last_event_id().empty() && resumes < kMaxResumes &&
                              (asked || asked.error().code == Code::kUnavailable);
      if (!may_resume || !rest(answer.retry(), signal, until)) break;
      net::HttpCall call = call_of("GET", "", until, stop);
      call.fields.emplace_back("last-event-id", answer.last_event_id());
      bool is_resumed = false;
      asked = exchange(call, answer, is_resumed);
    }
    if (answer.is_there()) return answer.take();
    if (signal.is_requested()) return fail(Code::kCancelled, "stopped");
    if (std::chrono::steady_clock::now() >= until) return fail(Code::kDeadline, "the server does not answer");
    if (!asked) return std::unexpected(std::move(asked).error());
    return fail(Code::kCorrupt, "the server ended its answer before it was complete");
  }

  Status send(const std::string& message) override {
    net::HttpCall call = call_of("POST", message, std::chrono::steady_clock::now() + kSendLimit, {});
    const auto reply =
        net::http_call(call, [](const net::HttpReply&) { return Status(); }, [](std::string_view) { return Status(); });
    if (!reply) return std::unexpected(reply.error());
    if (reply->status >= 200 && reply->status < 300) return {};
    return refusal(*reply, "");
  }

  void set_protocol_version(const std::string& version) override {
    const base::MutexLock lock(mutex_);
    version_ = version;
  }

 private:
  std::string session() {
    const base::MutexLock lock(mutex_);
    return session_;
  }

  net::HttpCall call_of(std::string method, const std::string& body, base::Time until, std::stop_token stop) {
    net::HttpCall call{
        .method = std::move(method), .url = options_.url, .fields = options_.fields, .body = body, .max_redirects = 0};
    call.fields.emplace_back("accept", call.method == "GET" ? "text/event-stream" : std::string(kAccept));
    if (!body.empty()) call.fields.emplace_back("content-type", "application/json");
    {
      const base::MutexLock lock(mutex_);
      if (!version_.empty()) call.fields.emplace_back("mcp-protocol-version", version_);
      if (!session_.empty()) call.fields.emplace_back("mcp-session-id", session_);
    }
    call.socket.ca_file = options_.ca_file;
    call.socket.idle_timeout = std::chrono::hours(24);  // a tool may work in silence; `until` and `stop` bound it
    call.socket.is_cancelled = [stop = std::move(stop), until] {
      return stop.stop_requested() || std::chrono::steady_clock::now() >= until;
    };
    return call;
  }

  // One POST or GET. `is_stream` tells that an answer by events has begun.
  Status exchange(const net::HttpCall& call, Answer& answer, bool& is_stream) {
    std::string body;
    std::string type;
    bool is_good = false;
    const auto on_head = [&](const net::HttpReply& reply) -> Status {
      type = media_type(reply);
      is_good = reply.status >= 200 && reply.status < 300;
      is_stream = is_good && type == "text/event-stream";
      return is_good ? take_session(reply) : Status();
    };
    const auto on_body = [&](std::string_view bytes) -> Status {
      if (is_stream) {
        TRY(answer.take_events(bytes));
        // The rest of the stream is of no interest; an error is how to leave it.
        return answer.is_there() ? Status(fail(Code::kCancelled, "enough")) : Status();
      }
      body += bytes;
      if (body.size() > kMaxMcpMessageBytes) return fail(Code::kExhausted, "the server's answer is too large");
      return {};
    };
    const auto reply = net::http_call(call, on_head, on_body);
    if (answer.is_there()) return {};
    if (!reply) return std::unexpected(reply.error());
    if (!is_good) return refusal(*reply, body);
    if (is_stream) return {};
    if (type != "application/json") {
      return fail(Code::kCorrupt, fmt::format("the server answers with status {} and type '{}'", reply->status,
                                              base::printable(type, 60)));
    }
    return answer.take_text(body);
  }

  Status take_session(const net::HttpReply& reply) {
    const std::string_view id = reply.field("mcp-session-id");
    if (id.empty()) return {};
    if (!is_session_id(id)) return fail(Code::kCorrupt, "the server's session id is not one");
    const base::MutexLock lock(mutex_);
    session_ = id;
    return {};
  }

  Status refusal(const net::HttpReply& reply, std::string_view body) {
    const int status = reply.status;
    if (status == 404 && !session().empty()) {
      const base::MutexLock lock(mutex_);
      session_.clear();
      version_.clear();
      return fail(Code::kNotFound, "the server has forgotten the session");
    }
    const std::string text = fmt::format("the server answers with HTTP status {}{}{}", status, body.empty() ? "" : ": ",
                                         base::printable(body, 300));
    if (status == 401 || status == 403) return fail(Code::kPermissionDenied, text);
    const bool is_away = status == 429 || status >= 500;
    return fail(is_away ? Code::kUnavailable : Code::kCorrupt, text);
  }

  const McpHttpOptions options_;
  const McpListener listener_;
  base::Mutex mutex_;
  std::string session_ GUARDED_BY(mutex_);
  std::string version_ GUARDED_BY(mutex_);
};

}  // namespace

Result<std::unique_ptr<McpTransport>> connect_mcp_http(McpHttpOptions options, McpListener listener) {
  TRY(net::parse_url(options.url));
  return std::make_unique<HttpTransport>(std::move(options), std::move(listener));
}

}  // namespace autoglm::agent
