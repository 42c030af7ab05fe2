// SPDX-License-Identifier: Apache-2.0
#include "app/chat.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "app/answer.h"
#include "app/interrupt.h"
#include "app/line_input.h"
#include "app/stage_table.h"
#include "app/terminal.h"
#include "app/verb.h"
#include "generation/chat_prompt.h"

namespace autoglm::app {
namespace {

constexpr std::string_view kCommands =
    "/reset      forget the conversation\n"
    "/help       this list\n"
    "/exit       leave (so does Ctrl-D)\n"
    "Ctrl-C stops an answer. A line that ends with a backslash goes on in the next one.\n";

// What one answer cost, in the dim style.
void print_rate(const Answer& answer) {
  const auto tokens = answer.usage.completion_tokens;
  const double rate =
      answer.decode_seconds > 0 && tokens > 1 ? static_cast<double>(tokens - 1) / answer.decode_seconds : 0;
  std::string line = fmt::format("[{} tokens, {:.1f} tokens/s, prompt {} tokens in {:.2f} s{}]", tokens, rate,
                                 answer.usage.prompt_tokens, answer.prefill_seconds,
                                 answer.was_interrupted                               ? ", stopped"
                                 : answer.reason == generation::FinishReason::kLength ? ", cut at the length limit"
                                                                                      : "");
  fmt::print(stderr, "{}\n", dim(line, STDERR_FILENO));
}

}  // namespace

std::string safe_for_terminal(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool is_c1 = byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (is_c1) {
      ++i;
    } else if ((byte >= 0x20 && byte != 0x7F) || byte == '\n' || byte == '\t') {
      out += text[i];
    }
  }
  return out;
}

Status check_can_chat(const generation::ModelCard& card) {
  if (card.tokenizer->has_text()) return {};
  return fail(
      Code::kInvalidArgument,
      fmt::format("{} has no tokenizer (no tokenizer.json), so there is no chat with it; `serve` answers prompts "
                  "given as token ids",
                  card.name),
      "--model");
}

Chat::Chat(generation::Generator& generator, ChatOptions options)
    : generator_(generator), options_(std::move(options)) {
  reset();
}

void Chat::reset() {
  messages_.clear();
  if (!options_.system.empty()) messages_.push_back(json::Object{{"role", "system"}, {"content", options_.system}});
}

// A base model has no turns: it goes on from the last text.
Result<std::vector<generation::TokenId>> Chat::prompt() const {
  const auto& card = generator_.card();
  if (card.chat_template == nullptr) {
    return generation::encode(card, messages_.back().at("content").as_string(), {.add_special = true});
  }
  return generation::encode(card, {.messages = &messages_});
}

// Drops the oldest turn, question and answer; the system prompt and the newest question stay.
bool Chat::forget_oldest() {
  const std::size_t first = options_.system.empty() ? 0 : 1;
  if (messages_.size() <= first + 1) return false;
  messages_.erase(messages_.begin() + static_cast<std::ptrdiff_t>(first));
  while (messages_.size() > first + 1 && messages_[first].at("role").as_string() != "user") {
    messages_.erase(messages_.begin() + static_cast<std::ptrdiff_t>(first));
  }
  return true;
}

Result<generation::Request> Chat::make_request() {
  generation::Request request;
  request.id = "chat";
  request.sampling = options_.sampling;
  request.prompt = TRY(prompt());
  // Room for an answer: a quarter of the context, or the longest answer where that is less.
  const std::size_t context = generator_.card().context_length;
  const std::size_t room = options_.max_tokens > 0 ? std::min(options_.max_tokens, context / 4) : context / 4;
  bool has_forgotten = false;
  while (request.prompt.size() + room > context && forget_oldest()) {
    has_forgotten = true;
    request.prompt = TRY(prompt());
  }
  if (has_forgotten)
    fmt::print(stderr, "{}\n", dim("[the context is full: the oldest turns were forgotten]", STDERR_FILENO));
  // A bound and no order: what the context leaves may be less. A prompt without any room is for the engine to refuse.
  const std::size_t left = context - std::min(context, request.prompt.size());
  request.max_tokens = left > 0 ? std::min(options_.max_tokens, left) : options_.max_tokens;
  return request;
}

// Everything from the question to the answer's last piece of text, on this thread and the engine's.
void Chat::print_profile(const generation::Usage& usage, base::Time begin) {
  const telemetry::Stages& stages = *generator_.card().stages;
  const telemetry::StageTimes all = stages.read();
  const StageReport report{.title = fmt::format("answer, {} tokens to {} of prompt ({} from the cache)",
                                                usage.completion_tokens, usage.prompt_tokens, usage.cached_tokens),
                           .seconds = std::chrono::duration<double>(stages.now() - begin).count(),
                           .times = all - profiled_};
  profiled_ = all;
  const std::string loading = format_loading(report.times);
  if (!loading.empty()) fmt::print(stderr, "{}\n", loading);
  fmt::print(stderr, "{}", format_stages(report, has_colours(STDERR_FILENO)));
}

Status Chat::say(std::string_view text) {
  const telemetry::Stages* stages = options_.shows_profile ? generator_.card().stages : nullptr;
  const base::Time begin = stages != nullptr ? stages->now() : base::Time();
  messages_.push_back(json::Object{{"role", "user"}, {"content", text}});
  const bool is_seen = is_terminal(STDOUT_FILENO);
  auto request = make_request();
  auto answer = request
                    ? take_answer(generator_, std::move(*request),
                                  [&](std::string_view piece) {
                                    const std::string shown = is_seen ? safe_for_terminal(piece) : std::string(piece);
                                    std::fwrite(shown.data(), 1, shown.size(), stdout);
                                    return is_stdout_written();
                                  })
                    : Result<Answer>(std::unexpected(request.error()));
  if (!answer) {
    messages_.pop_back();  // as if it had not been said, so that the next one can still be
    if (stages != nullptr) profiled_ = stages->read();
    return std::unexpected(answer.error());
  }
  std::fputc('\n', stdout);
  std::fflush(stdout);
  messages_.push_back(json::Object{{"role", "assistant"}, {"content", answer->text}});
  if (is_terminal(STDERR_FILENO)) print_rate(*answer);
  if (stages != nullptr) print_profile(answer->usage, begin);
  return {};
}

Chat::Next Chat::obey(std::string_view command) {
  if (command == "/exit" || command == "/quit" || command == "/bye") return Next::kLeave;
  if (command == "/reset") {
    reset();
    fmt::print(stderr, "{}\n", dim("[the conversation starts anew]", STDERR_FILENO));
  } else {
    if (command != "/help") fmt::print(stderr, "There is no {}.\n", safe_for_terminal(command));
    fmt::print(stderr, "{}", kCommands);
  }
  return Next::kGoOn;
}

Status Chat::converse() {
  LineInput input;
  std::string text;
  fmt::print(stderr, "{}\n", dim("Type a message; /help lists commands, /exit leaves.", STDERR_FILENO));
  for (;;) {
    fmt::print(stderr, "{}", text.empty() ? "> " : ". ");
    std::fflush(stderr);
    std::string line;
    const auto got = input.next(line);
    if (got == LineInput::Got::kEnd) break;
    if (got == LineInput::Got::kInterrupt) {
      if (Interrupts::was_terminate()) return {};
      Interrupts::forget();
      text.clear();
      fmt::print(stderr, "\n{}\n", dim("[/exit or Ctrl-D leaves]", STDERR_FILENO));
      continue;
    }
    if (line.ends_with('\\')) {
      line.back() = '\n';
      text += line;
      continue;
    }
    text += line;
    if (text.find_first_not_of(" \t\n") == std::string::npos) {
      text.clear();
      continue;
    }
    if (text.starts_with('/')) {
      if (obey(text) == Next::kLeave) return {};
    } else if (auto said = say(text); !said) {
      print_error(said.error());
    }
    text.clear();
    if (Interrupts::count() > 0 && Interrupts::was_terminate()) return {};
    Interrupts::forget();
  }
  fmt::print(stderr, "\n");
  return {};
}

}  // namespace autoglm::app
