// SPDX-License-Identifier: Apache-2.0
// openautoglm serve: the OpenAI API over HTTP, until a signal drains it; with --chat also a chat on this terminal, in
// the same process, so that the weights are in memory once.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "app/chat.h"
#include "app/interrupt.h"
#include "app/key_file.h"
#include "app/node.h"
#include "app/running_model.h"
#include "app/sampling_flags.h"
#include "app/terminal.h"
#include "app/tool_flags.h"
#include "app/verb.h"
#include "base/json.h"
#include "base/shell.h"
#include "server/response_tools.h"
#include "server/server.h"
#include "store/response_store.h"

namespace autoglm::app {
namespace {

constexpr const char* kChatGroup = "Of the chat on this terminal, with --chat only";

struct ServeFlags {
  EngineFlags engine;
  NodeFlags node;
  SamplingFlags sampling;
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;
  std::string api_key_file;
  std::vector<std::string> origins;
  std::vector<std::string> hosts;
  int drain_seconds = 30;
  ToolFlags tools;
  std::string database;
  bool chats = false;
};

std::string base_url(const ServeFlags& flags, std::uint16_t port) {
  const bool is_v6 = flags.host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}", is_v6 ? "[" + flags.host + "]" : flags.host, port);
}

// Path and body of a request that this model answers: a chat, a text to go on with, or token ids.
std::pair<const char*, std::string> example_call(const generation::ModelCard& card) {
  const std::string model = R"({"model":)" + json::format(json::Value(card.name)) + ",";
  if (!card.tokenizer->has_text()) return {"completions", model + R"("prompt":[1,2,3],"return_token_ids":true})"};
  if (card.chat_template == nullptr) return {"completions", model + R"("prompt":"Once upon a time"})"};
  return {"chat/completions",
          model + R"("messages":[{"role":"user","content":"Why is the sky blue?"}],"max_tokens":200})"};
}

std::string embedding_body(const generation::EmbedderCard& card) {
  const std::string_view input = card.tokenizer->has_text() ? R"("What is an embedding?")" : "[1,2,3]";
  return fmt::format(R"({{"model":{},"input":{}}})", json::format(json::Value(card.name)), input);
}

// The lines behind the model's own: how to call it.
void print_call(const ServeFlags& flags, std::uint16_t port, bool has_keys, std::string_view path,
                std::string_view body) {
  const std::string url = base_url(flags, port);
  const std::string_view key = has_keys ? " -H 'Authorization: Bearer KEY'" : "";
  const std::string content =
      body.empty() ? std::string(key)
                   : fmt::format(" -H 'Content-Type: application/json'{} -d {}", key, base::shell_quoted(body));
  fmt::print(
      "keys      {}\nAPI       {}/v1 (base URL for OpenAI clients)\n"
      "try       curl {}/v1/{}{}\nlistening on {}\n",
      has_keys ? "required" : "none needed (loopback only)", url, url, path, content, url);
  std::fflush(stdout);
}

void print_summary(const RunningModel& running, const ServeFlags& flags, std::uint16_t port, bool has_keys) {
  fmt::print("{}batching  up to {} sequences, {} tokens a step\n", running.summary,
             running.generator->card().max_batch_size, flags.engine.max_batch_tokens);
  const auto [path, body] = example_call(running.generator->card());
  print_call(flags, port, has_keys, path, body);
}

void print_encoder_summary(const RunningModel& running, const ServeFlags& flags, std::uint16_t port, bool has_keys) {
  const generation::EmbedderCard& card = running.embedder->card();
  fmt::print("{}batching  up to {} texts, which wait for company up to {} ms\n", running.summary, card.max_batch_size,
             flags.engine.batch_timeout_ms.value_or(kEncoderTimeoutMs));
  print_call(flags, port, has_keys, "embeddings", embedding_body(card));
}

// A client of the API says in its requests how to sample; who gives these flags to a server alone would wait in vain
// for what they do.
Status check_chat_flags(const CLI::App& verb, bool chats) {
  if (chats) return {};
  for (const CLI::Option* option : verb.get_options()) {
    if (option->get_group() != kChatGroup || option->count() == 0) continue;
    return fail(Code::kInvalidArgument,
                option->get_name() +
                    " is for the chat on this terminal and needs --chat; clients of the API say it in "
                    "their requests",
                option->get_name());
  }
  return {};
}

Result<server::ServerOptions> server_options(const ServeFlags& flags) {
  server::ServerOptions options;
  options.host = flags.host;
  options.port = flags.port;
  options.allowed_origins = flags.origins;
  options.allowed_hosts = flags.hosts;
  options.drain_timeout = std::chrono::seconds(flags.drain_seconds);
  if (!flags.api_key_file.empty()) options.api_keys = TRY(read_keys(flags.api_key_file));
  if (!flags.node.admin_key_file.empty()) {
    options.admin_keys = TRY(read_keys(flags.node.admin_key_file, kAdminKeyFlag));
  }
  return options;
}

// The labels under which clients of the Responses API find tools, and how many there are.
void print_tools(const agent::ToolRegistry& tools) {
  std::map<std::string, std::size_t> counts;
  for (const auto& tool : tools.tools()) ++counts[std::string(server::label_of(tool->description()))];
  std::string list;
  for (const auto& [label, count] : counts) list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", label, count);
  if (!list.empty()) fmt::print("tools     {}: for /v1/responses, by these labels\n", list);
}

// Tools without a server share one label, which no server may have then.
Status check_labels(const ConfiguredTools& configured) {
  for (const agent::McpServerConfig& config : configured.servers) {
    if (configured.tools.empty() || config.label != server::kToolFileLabel) continue;
    return fail(Code::kInvalidArgument,
                fmt::format("an MCP server may not be called {} beside --tools: that is the label of those",
                            server::kToolFileLabel),
                "--mcp-config");
  }
  return {};
}

// Until a signal comes; then what is in flight may end.
void drain_when_told(server::Server& server, int drain_seconds) {
  Interrupts::exit_on_next();
  fmt::print(stderr, "draining: requests in flight may end, up to {} s; a second Ctrl-C stops at once\n",
             drain_seconds);
  server.drain();
  fmt::print(stderr, "stopped\n");
}

// What only a model that writes has a use for.
Status refuse_for_encoders(const ServeFlags& flags) {
  const std::pair<const char*, bool> given[] = {{"--chat", flags.chats},
                                                {"--tools", !flags.tools.tool_file.empty()},
                                                {"--mcp-config", !flags.tools.mcp_file.empty()},
                                                {"--database", !flags.database.empty()}};
  for (const auto& [flag, is_given] : given) {
    if (!is_given) continue;
    return fail(Code::kInvalidArgument, fmt::format("an encoder writes no text: it has no use for {}", flag), flag);
  }
  return {};
}

Status serve_encoder(const RunningModel& running, const ServeFlags& flags, const server::ServerOptions& options) {
  TRY(refuse_for_encoders(flags));
  Interrupts interrupts;
  const bool has_keys = !options.api_keys.empty();
  const auto server = TRY(server::start_server(*running.embedder, options, *running.clock, *running.metrics));
  print_encoder_summary(running, flags, server->port(), has_keys);
  Interrupts::wait();
  drain_when_told(*server, flags.drain_seconds);
  return {};
}

std::size_t max_concurrency_of(const NodeFlags& flags) {
  return flags.max_concurrency.empty() ? 0 : flags.max_concurrency.front();
}

// A tool must be callable by every model that may be asked to call it, as far as they are here.
agent::ToolRegistry::IsCallable callable_by_all(server::ModelRegistry& models) {
  std::vector<agent::ToolRegistry::IsCallable> each;
  for (const server::ModelStatus& model : models.list()) {
    const server::ModelLease lease = models.find_loaded(model.name);
    if (lease != nullptr && lease->embedder == nullptr) each.push_back(callable_by(lease->card()));
  }
  return [each = std::move(each)](const agent::ToolDescription& tool) -> Status {
    for (const auto& is_callable : each) TRY(is_callable(tool));
    return {};
  };
}

std::string describe_model(const server::ModelStatus& model) {
  const std::string place = model.state == server::ModelState::kLoaded ? format_bytes(model.bytes) + " in memory"
                                                                       : std::string("loaded when it is asked for");
  return fmt::format("model     {}: {}, {}, weight {:g}, up to {} requests at once\n", model.name,
                     model.is_encoder ? "encoder" : "writes text", place, model.weight, model.max_concurrency);
}

void print_node_summary(Node& node, const ServeFlags& flags, std::uint16_t port, const server::ServerOptions& options) {
  server::ModelLease shown;
  for (const server::ModelStatus& model : node.registry().list()) {
    fmt::print("{}", describe_model(model));
    if (shown == nullptr) shown = node.registry().find_loaded(model.name);
  }
  fmt::print("memory    {} of {}\nadmin     {}\n", format_bytes(node.registry().used_bytes()),
             format_bytes(node.registry().memory_budget()),
             options.admin_keys.empty() ? "off (--admin-key-file)" : "openautoglm models, with a key");
  if (shown == nullptr) return print_call(flags, port, !options.api_keys.empty(), "models", {});
  const auto [path, body] = shown->embedder != nullptr ? std::pair<const char*, std::string>(
                                                             "embeddings", embedding_body(shown->embedder->card()))
                                                       : example_call(shown->card());
  print_call(flags, port, !options.api_keys.empty(), path, body);
}

// Several models, or one that may leave memory.
Status serve_node(std::vector<NodeModel> models, const ServeFlags& flags, const server::ServerOptions& options,
                  ConfiguredTools configured, store::ResponseStore* responses) {
  if (flags.chats) {
    return fail(Code::kInvalidArgument, "--chat talks with the one model that is served; this server has a list",
                "--chat");
  }
  const auto node = TRY(Node::make(std::move(models), flags.node.memory_budget));
  if (!node->registry().has_writer()) TRY(refuse_for_encoders(flags));
  for (const std::string& line : TRY(node->load_at_start())) fmt::print(stderr, "note: {}\n", base::printable(line));
  agent::ToolRegistry tools(callable_by_all(node->registry()));
  TRY(add_configured_tools(tools, std::move(configured), {}));
  Interrupts interrupts;
  const auto server = TRY(server::start_server(node->registry(), options, node->clock(), node->metrics(),
                                               {.tools = &tools, .responses = responses}));
  print_tools(tools);
  print_node_summary(*node, flags, server->port(), options);
  Interrupts::wait();
  drain_when_told(*server, flags.drain_seconds);
  return {};
}

// What can be refused at once is refused before a model is pulled or loaded.
Status serve(CLI::App& verb, ServeFlags& flags) {
  json::Array tables;
  TRY(read_settings(verb, flags.engine, &tables));
  TRY(check_chat_flags(verb, flags.chats));
  std::vector<NodeModel> models = TRY(node_models(flags.engine, flags.node, tables));
  const server::ServerOptions options = TRY(server_options(flags));
  if (Status good = server::check_options(options); !good) {
    Error error = std::move(good).error();
    // A port that is taken is no wrong use.
    if (error.where == "host" || error.where == "allowed_origins") error.where = "--" + error.where;
    return std::unexpected(std::move(error));
  }
  ConfiguredTools configured = TRY(read_configurations(flags.tools));
  TRY(check_labels(configured));
  const base::SystemClock clock;
  std::unique_ptr<store::ResponseStore> responses;
  if (!flags.database.empty()) responses = TRY(store::ResponseStore::open(flags.database, clock));
  const bool is_node =
      models.size() > 1 || !tables.empty() || !flags.node.memory_budget.empty() || !flags.node.admin_key_file.empty();
  if (is_node && !models.empty()) {
    return serve_node(std::move(models), flags, options, std::move(configured), responses.get());
  }
  if (!models.empty()) flags.engine.model = models.front().engine.model;
  const RunningModel running = TRY(start_any_model(flags.engine, max_concurrency_of(flags.node)));
  if (running.embedder != nullptr) return serve_encoder(running, flags, options);
  agent::ToolRegistry tools(callable_by(running.generator->card()));
  TRY(add_configured_tools(tools, std::move(configured), {}));
  if (flags.chats) TRY(check_can_chat(running.generator->card()));
  Interrupts interrupts;
  const bool has_keys = !options.api_keys.empty();
  const auto server = TRY(server::start_server(*running.generator, options, *running.clock, *running.metrics,
                                               {.tools = &tools, .responses = responses.get()}));
  print_tools(tools);
  print_summary(running, flags, server->port(), has_keys);
  if (flags.chats) {
    Chat chat(*running.generator, chat_options(flags.sampling));
    TRY(chat.converse());
  } else {
    Interrupts::wait();
  }
  drain_when_told(*server, flags.drain_seconds);
  return {};
}

}  // namespace

void add_serve(CLI::App& app) {
  auto* verb = app.add_subcommand("serve", "Serve models over HTTP with the OpenAI API");
  auto flags = std::make_shared<ServeFlags>();
  add_engine_flags(*verb, flags->engine, EngineUse::kServer);
  add_node_flags(*verb, flags->node);
  verb->add_option("--host", flags->host, "Address to bind; other than loopback needs --api-key-file")
      ->capture_default_str();
  verb->add_option("--port", flags->port, "Port to bind; 0 = any free one, printed")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  verb->add_option("--api-key-file", flags->api_key_file,
                   "File of accepted API keys, one a line; lines that start with # are comments")
      ->type_name("FILE");
  verb->add_option("--allow-origin", flags->origins, "Browser origin that may call the API; may come several times")
      ->type_name("ORIGIN");
  verb->add_option("--allow-host", flags->hosts,
                   "Host header to accept besides the bound address; may come several times")
      ->type_name("NAME");
  verb->add_option("--drain-seconds", flags->drain_seconds, "Longest wait for requests in flight when told to stop")
      ->check(CLI::Range(0, 3600))
      ->capture_default_str();
  add_tool_flags(*verb, flags->tools);
  verb->add_option("--database", flags->database,
                   "The file of stored responses (docs/guides/responses.md); without it they are kept in memory")
      ->type_name("FILE");
  verb->add_flag("--chat", flags->chats, "Also chat on this terminal; leaving the chat stops the server");
  add_sampling_flags(*verb, flags->sampling, kChatGroup);
  set_action(*verb, [verb, flags] { return serve(*verb, *flags); });
}

}  // namespace autoglm::app
