// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/http_tool.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/result_text.h"
#include "base/log.h"
#include "net/http_message.h"

namespace autoglm::agent {
namespace {

constexpr std::size_t kMaxErrorBytes = 4096;

// A trailing dot names the same host.
std::string canonical_host(std::string_view host) {
  std::string name = net::lower_ascii(host);
  if (name.ends_with('.')) name.pop_back();
  return name;
}

bool is_text(std::string_view content_type) {
  const std::string type = net::lower_ascii(content_type.substr(0, content_type.find(';')));
  return type.empty() || type.starts_with("text/") || type.find("json") != std::string::npos ||
         type.find("xml") != std::string::npos || type == "application/x-www-form-urlencoded" ||
         type == "application/javascript";
}

bool is_worth_a_retry(int status) { return status == 429 || status == 502 || status == 503 || status == 504; }

class HttpTool final : public Tool {
 public:
  explicit HttpTool(HttpToolConfig config) : config_(std::move(config)) {
    config_.hosts.push_back(config_.url.origin().host);
  }

  const ToolDescription& description() const override { return config_.description; }

  Result<ToolOutput> run(const json::Object& arguments, std::stop_token stop) override {
    const auto url = config_.url.fill(arguments);
    if (!url) return ToolOutput{url.error().message, true};
    net::HttpCall call{.method = config_.method, .url = *url, .fields = config_.fields};
    call.body = body_of(arguments);
    if (!call.body.empty()) call.fields.emplace_back("content-type", "application/json");
    call.admits = [this](const net::Url& next) { return admit_host(next); };
    call.socket.admits = [this](const net::IpAddress& address) {
      return admit_address(address, config_.private_addresses);
    };
    call.socket.is_cancelled = [&stop] { return stop.stop_requested(); };
    call.socket.idle_timeout = config_.description.timeout;
    call.socket.ca_file = config_.ca_file;
    call.socket.resolve = config_.resolve;
    return ask(call);
  }

 private:
  Status admit_host(const net::Url& url) const {
    if (is_listed(url.host, config_.hosts)) return {};
    return fail(Code::kPermissionDenied, fmt::format("{} is not among the hosts that {} may reach",
                                                     base::printable(url.host, 100), config_.description.name));
  }

  // What the URL does not hold already, for the methods that have a body.
  std::string body_of(const json::Object& arguments) const {
    if (config_.method == "GET" || config_.method == "HEAD" || config_.method == "DELETE") return "";
    json::Object rest = arguments;
    for (const std::string& name : config_.url.names()) {
      if (const auto used = rest.find(name); used != rest.end()) rest.stable_erase(used);
    }
    return json::format(rest);
  }

  Result<ToolOutput> ask(const net::HttpCall& call) const {
    std::string body;
    const auto on_body = [&](std::string_view bytes) -> Status {
      body += bytes;
      if (body.size() <= config_.max_response_bytes) return {};
      return fail(Code::kExhausted, fmt::format("the answer is longer than {} bytes", config_.max_response_bytes));
    };
    const net::HttpReply reply = TRY(net::http_call(call, [](const net::HttpReply&) { return Status(); }, on_body));
    const bool is_good = reply.status >= 200 && reply.status < 300;
    if (is_worth_a_retry(reply.status)) return fail(Code::kUnavailable, fmt::format("HTTP status {}", reply.status));
    const std::string_view type = reply.field("content-type");
    if (!is_text(type)) body = fmt::format("[{} bytes of {}]", body.size(), base::printable(type, 100));
    if (is_good) return ToolOutput{std::move(body), false};
    return ToolOutput{fmt::format("HTTP status {}\n{}", reply.status, clip_utf8(body, kMaxErrorBytes)), true};
  }

  HttpToolConfig config_;
};

}  // namespace

std::unique_ptr<Tool> make_http_tool(HttpToolConfig config) { return std::make_unique<HttpTool>(std::move(config)); }

Status admit_address(const net::IpAddress& address, const std::vector<net::AddressRange>& private_addresses) {
  const net::AddressKind kind = net::kind_of(address);
  if (kind == net::AddressKind::kPublic) return {};
  const auto holds = [&address](const net::AddressRange& range) { return range.contains(address); };
  if (std::ranges::any_of(private_addresses, holds)) return {};
  return fail(Code::kPermissionDenied,
              fmt::format("{} is a {} address; only those that the tool's private_addresses list may be reached",
                          net::format_address(address), net::kind_name(kind)));
}

bool is_listed(std::string_view host, const std::vector<std::string>& hosts) {
  const std::string name = canonical_host(host);
  return std::ranges::any_of(hosts, [&name](const std::string& listed) {
    const std::string pattern = canonical_host(listed);
    if (!pattern.starts_with("*.")) return name == pattern;
    return name.size() > pattern.size() - 1 && name.ends_with(pattern.substr(1));
  });
}

}  // namespace autoglm::agent
