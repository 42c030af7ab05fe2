// SPDX-License-Identifier: Apache-2.0
// openautoglm models: what a running server has in memory; loads and unloads its models. Speaks to its admin routes.
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <string>

#include "app/interrupt.h"
#include "app/key_file.h"
#include "app/terminal.h"
#include "app/verb.h"
#include "base/budget.h"
#include "base/json.h"
#include "net/http_client.h"
#include "net/url.h"
#include "server/access.h"

namespace autoglm::app {
namespace {

constexpr std::size_t kMostReplyBytes = 16u << 20;
// Of a load or an unload, which answer when they are done.
constexpr std::chrono::minutes kLongestWait{60};

struct ModelsFlags {
  std::string action = "list";
  std::string name;
  std::string url = "http://127.0.0.1:8080";
  std::string key_file;
  bool as_json = false;
};

// One word of a path: a name may have slashes.
std::string path_word(std::string_view name) {
  std::string out;
  for (const char c : net::encode_path(name)) out += c == '/' ? std::string("%2F") : std::string(1, c);
  return out;
}

// A key goes out over TLS, or to this machine, only.
Status check_url(const std::string& text) {
  const net::Url url = TRY(net::parse_url(text));
  if (url.is_tls || server::is_loopback(url.host)) return {};
  return fail(Code::kInvalidArgument, "the admin key would be sent in the open: use https, or a tunnel to this machine",
              "--url");
}

// The server's own words for what went wrong, where it has some.
std::string complaint(int status, const Result<json::Value>& reply) {
  const json::Object* body = reply && reply->is_object() ? &reply->get_object() : nullptr;
  const json::Value* error = body == nullptr ? nullptr : body->if_contains("error");
  const json::Value* message =
      error == nullptr || !error->is_object() ? nullptr : error->get_object().if_contains("message");
  if (message == nullptr || !message->is_string()) return fmt::format("the server answered with status {}", status);
  return fmt::format("the server says: {}", base::printable(std::string_view(message->get_string()), 1000));
}

Result<json::Object> call_server(const ModelsFlags& flags, std::string method, const std::string& path) {
  TRY(check_url(flags.url));
  std::string url = flags.url;
  while (url.ends_with('/')) url.pop_back();
  net::HttpCall call{.method = std::move(method), .url = url + path, .max_redirects = 0};
  const std::string key = TRY(read_keys(flags.key_file, kAdminKeyFlag)).front();
  call.fields = {{"authorization", "Bearer " + key}};
  call.socket.idle_timeout = kLongestWait;
  call.socket.is_cancelled = [] { return Interrupts::count() > 0; };
  std::string body;
  const auto on_body = [&body](std::string_view bytes) -> Status {
    if (body.size() + bytes.size() > kMostReplyBytes) return fail(Code::kExhausted, "the server's answer is too long");
    body += bytes;
    return {};
  };
  Interrupts interrupts;
  const net::HttpReply reply = TRY(net::http_call(call, [](const net::HttpReply&) { return Status(); }, on_body));
  base::Budget budget;
  auto value = json::parse(body, budget);
  if (reply.status != 200) return fail(Code::kUnavailable, complaint(reply.status, value));
  if (!value || !value->is_object()) {
    return fail(Code::kCorrupt, fmt::format("what answers at {} is no server of ours", base::printable(flags.url)));
  }
  return std::move(value->get_object());
}

// What a member of an answer says, for people; empty when there is none.
std::string word_in(const json::Object& object, std::string_view key) {
  const json::Value* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) return {};
  return base::printable(value->is_string() ? std::string(value->get_string()) : json::format(*value), 200);
}

std::string bytes_in(const json::Object& object, std::string_view key) {
  const json::Value* value = object.if_contains(key);
  if (value == nullptr || !value->is_number()) return "-";
  const auto bytes = value->to_number<double>();
  return bytes > 0 && bytes < 0x1p63 ? format_bytes(static_cast<std::uint64_t>(bytes)) : "-";
}

void print_list(const json::Object& reply) {
  fmt::print("{:<28} {:<10} {:>9} {:>7} {:>6} {:>9} {:>8}\n", "NAME", "STATE", "MEMORY", "WEIGHT", "MOST", "REQUESTS",
             "WAITING");
  const json::Value* models = reply.if_contains("data");
  if (models == nullptr || !models->is_array()) return;
  for (const json::Value& each : models->get_array()) {
    if (!each.is_object()) continue;
    const json::Object& model = each.get_object();
    fmt::print("{:<28} {:<10} {:>9} {:>7} {:>6} {:>9} {:>8}\n", word_in(model, "id"), word_in(model, "state"),
               bytes_in(model, "memory_bytes"), word_in(model, "weight"), word_in(model, "max_concurrency"),
               word_in(model, "requests"), word_in(model, "requests_waiting"));
    if (const std::string error = word_in(model, "error"); !error.empty())
      fmt::print("  could not be loaded: {}\n", error);
  }
  const json::Value* memory = reply.if_contains("memory");
  if (memory == nullptr || !memory->is_object()) return;
  fmt::print("memory: {} of {}\n", bytes_in(memory->get_object(), "used_bytes"),
             bytes_in(memory->get_object(), "budget_bytes"));
}

Status run_models(const ModelsFlags& flags) {
  const bool is_list = flags.action == "list";
  if (is_list != flags.name.empty()) {
    return fail(Code::kInvalidArgument,
                is_list ? "`models list` takes no name" : fmt::format("which model? `models {} NAME`", flags.action),
                "NAME");
  }
  if (flags.key_file.empty()) {
    return fail(Code::kInvalidArgument, "the server's admin key is needed: --admin-key-file FILE",
                std::string(kAdminKeyFlag));
  }
  const json::Object reply =
      is_list ? TRY(call_server(flags, "GET", "/admin/models"))
              : TRY(call_server(flags, "POST", "/admin/models/" + path_word(flags.name) + "/" + flags.action));
  if (flags.as_json) {
    fmt::print("{}\n", json::format(reply));
  } else if (is_list) {
    print_list(reply);
  } else {
    fmt::print("{}: {}\n", word_in(reply, "id"), word_in(reply, "state"));
  }
  return {};
}

}  // namespace

void add_models(CLI::App& app) {
  auto* verb = app.add_subcommand("models", "The models of a running server: list, load and unload them");
  auto flags = std::make_shared<ModelsFlags>();
  verb->add_option("ACTION", flags->action, "list, load or unload")
      ->check(CLI::IsMember({"list", "load", "unload"}))
      ->capture_default_str();
  verb->add_option("NAME", flags->name, "The model to load or unload, as `list` calls it");
  verb->add_option("--url", flags->url, "Where the server listens")->capture_default_str();
  verb->add_option("--admin-key-file", flags->key_file,
                   "The file that the server was given as --admin-key-file; its first key is used")
      ->type_name("FILE");
  verb->add_flag("--json", flags->as_json, "The server's answer as it is, for scripts");
  set_action(*verb, [flags] { return run_models(*flags); });
}

}  // namespace autoglm::app
