// SPDX-License-Identifier: Apache-2.0
// The door: the server, the agent and the tests submit requests here and know nothing behind it. An engine on a real or
// a scripted model stands behind it; later a gateway to many engines may. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "generation/event.h"
#include "generation/request.h"
#include "telemetry/stages.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/tool_format.h"

namespace autoglm::generation {

// What is served behind the door: for /v1/models, for rendering prompts and for limits.
struct ModelCard {
  std::string name;  // as clients call it
  std::int64_t created_unix_seconds = 0;
  std::size_t context_length = 0;  // tokens, prompt and answer together
  std::size_t max_batch_size = 0;
  std::size_t max_in_flight = 0;  // sequences that run and wait together; more are kExhausted
  std::size_t kv_bytes = 0;       // KV memory reserved at start
  std::size_t kv_tokens = 0;      // tokens that it holds
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;  // null = a base model without one
  // How the model writes tool calls, and whether its template shows it tools: else the prompt does, in words.
  text::ToolFormat tool_format = text::ToolFormat::kHermes;
  bool template_shows_tools = false;
  std::vector<std::string> control_spellings;  // text::control_spellings() of the tokenizer; filled in by the engine
  telemetry::Stages* stages = nullptr;         // of templates and tokenising; filled in by the engine, may be null
};

using Ticket = std::uint64_t;  // names a submitted request; never reused within a process

class Generator {
 public:
  virtual ~Generator() = default;

  virtual const ModelCard& card() const = 0;

  /// Queues a request. The sink hears of it until on_finish, on the engine's thread.
  ///   Errors   kInvalidArgument (empty prompt; ids outside the vocabulary; sampling out of range; prompt and answer
  ///            longer than the context or the KV memory: both figures are named),
  ///            kExhausted (queue full), kUnavailable (draining)
  virtual Result<Ticket> submit(Request request, std::shared_ptr<Sink> sink) = 0;

  /// Ends a request wherever it is; its sink gets on_finish(kCancelled) within a step. Unknown or finished tickets are
  /// ignored.
  virtual void cancel(Ticket ticket) = 0;

  /// False while loading or draining (/readyz).
  virtual bool is_ready() const = 0;

  /// Refuses new requests; those running go on. The engine is idle when in_flight() is 0.
  virtual void drain() = 0;
  virtual std::size_t in_flight() const = 0;
};

}  // namespace autoglm::generation
