// SPDX-License-Identifier: Apache-2.0
// openautoglm run: a chat on the terminal, or one answer for a script.
#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <optional>

#include "app/chat.h"
#include "app/interrupt.h"
#include "app/line_input.h"
#include "app/running_model.h"
#include "app/sampling_flags.h"
#include "app/terminal.h"
#include "app/verb.h"
#include "base/utf8.h"

namespace autoglm::app {
namespace {

constexpr std::size_t kMaxPipedBytes = 8u << 20;

struct RunFlags {
  EngineFlags engine;
  SamplingFlags sampling;
  std::string prompt;
  bool has_profile = false;
};

Status run_chat(CLI::App& verb, RunFlags& flags) {
  // Stdin is read as the conversation only after the model was chosen, so that the offer to pull can ask.
  flags.engine.max_batch_size = 1;
  TRY(read_settings(verb, flags.engine));
  const RunningModel running = TRY(start_model(flags.engine));
  TRY(check_can_chat(running.generator->card()));
  Interrupts interrupts;
  const bool is_person = is_terminal(STDIN_FILENO) && flags.prompt.empty();
  if (running.generator->card().chat_template == nullptr) {
    fmt::print(stderr, "{}\n", dim("[a base model without a chat template: it continues your text]", STDERR_FILENO));
  }
  ChatOptions options = chat_options(flags.sampling);
  options.shows_profile = flags.has_profile;
  Chat chat(*running.generator, std::move(options));
  if (is_person) {
    fmt::print(stderr, "{}", dim(running.summary, STDERR_FILENO));
    return chat.converse();
  }
  std::string prompt = flags.prompt;
  if (prompt.empty()) {
    LineInput input;
    if (!input.rest(prompt, kMaxPipedBytes)) {
      return fail(Code::kExhausted, fmt::format("stdin holds more than {} bytes, or was interrupted", kMaxPipedBytes));
    }
    if (!base::is_utf8(prompt)) return fail(Code::kInvalidArgument, "stdin is not UTF-8 text");
    while (prompt.ends_with('\n') || prompt.ends_with('\r')) prompt.pop_back();
  }
  if (prompt.empty()) return fail(Code::kInvalidArgument, "nothing to answer: stdin is empty", "--prompt");
  TRY(chat.say(prompt));
  if (Interrupts::count() > 0) return fail(Code::kCancelled, "stopped");
  return {};
}

}  // namespace

void add_run(CLI::App& app) {
  auto* verb = app.add_subcommand("run", "Chat with a model here; a piped stdin is one prompt");
  auto flags = std::make_shared<RunFlags>();
  add_engine_flags(*verb, flags->engine, EngineUse::kChat);
  add_sampling_flags(*verb, flags->sampling, "Options");
  verb->add_option("--prompt", flags->prompt, "Answer this once and exit")->type_name("TEXT");
  verb->add_flag("--profile", flags->has_profile, "After each answer, where its time went (on stderr)");
  set_action(*verb, [verb, flags] { return run_chat(*verb, *flags); });
}

}  // namespace autoglm::app
