// SPDX-License-Identifier: Apache-2.0
#include "engine/script.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace autoglm::engine {
namespace {

constexpr std::size_t kMaxScriptBytes = 1u << 20;
constexpr std::size_t kMaxRules = 4096;
constexpr std::size_t kMaxReplyTokens = 1u << 20;  // of all replies together
constexpr std::size_t kMaxRandomLetters = 65536;
constexpr std::array<std::string_view, kScriptVocab - 256> kTokenTexts = {"<|system|>", "<|user|>", "<|assistant|>",
                                                                          "<|tool|>",   "<|end|>",  "<|reply|>"};

std::unexpected<Error> fail_at(std::size_t line, std::string_view what) {
  return fail(Code::kInvalidArgument, fmt::format("script line {}: {}", line, what));
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::vector<std::string> split_pattern(std::string_view pattern) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '*') {
      parts.emplace_back();
    } else if (pattern[i] == '\\' && i + 1 < pattern.size()) {
      ++i;
      parts.back() += pattern[i] == 'n' ? '\n' : pattern[i];
    } else {
      parts.back() += pattern[i];
    }
  }
  std::erase(parts, "");
  return parts;
}

bool holds_in_order(std::string_view text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    const std::size_t at = text.find(part);
    if (at == std::string_view::npos) return false;
    text.remove_prefix(at + part.size());
  }
  return true;
}

void append_bytes(ScriptReply& reply, std::string_view text) {
  for (const char byte : text) reply.append(static_cast<unsigned char>(byte));
}

// <|end|>, <|repeat|> or <|random:N|>; `name` is what stands between the bars.
Status append_directive(ScriptReply& reply, std::string_view name, bool is_last, std::size_t line) {
  if (name == "end") {
    reply.append(kEndToken);
    return {};
  }
  if (name == "repeat") {
    if (!is_last || reply.is_empty())
      return fail_at(line, "<|repeat|> must stand at the end of a reply that says something");
    reply.repeat_for_ever();
    return {};
  }
  if (name.starts_with("random:")) {
    const std::string_view digits = name.substr(7);
    std::size_t count = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
    if (error == std::errc() && end == digits.data() + digits.size() && count > 0 && count <= kMaxRandomLetters) {
      for (std::size_t i = 0; i < count; ++i) reply.append(ScriptReply::kAnyLetter);
      return {};
    }
  }
  return fail_at(line, fmt::format("the reply has an unknown directive; there are <|end|>, <|repeat|> and <|random:N|> "
                                   "with N from 1 to {}",
                                   kMaxRandomLetters));
}

Result<ScriptReply> parse_reply(std::string_view text, std::size_t line) {
  ScriptReply reply;
  text = trim(text);
  while (!text.empty()) {
    const std::size_t open = text.find("<|");
    const std::size_t close = open == std::string_view::npos ? open : text.find("|>", open + 2);
    append_bytes(reply, text.substr(0, close == std::string_view::npos ? text.size() : open));
    if (close == std::string_view::npos) break;
    const std::string_view name = text.substr(open + 2, close - open - 2);
    text.remove_prefix(close + 2);
    TRY(append_directive(reply, name, text.empty(), line));
  }
  return reply;
}

}  // namespace

std::string_view script_token_text(text::TokenId token) {
  return kTokenTexts.at(static_cast<std::size_t>(token) - 256);
}

Result<Script> Script::parse(std::string_view text) {
  if (text.size() > kMaxScriptBytes) {
    return fail(Code::kExhausted,
                fmt::format("the script has {} bytes, at most {} are read", text.size(), kMaxScriptBytes));
  }
  Script script;
  append_bytes(script.no_rule_, "no rule of the script matches this prompt");
  std::string reply;
  std::size_t rule_line = 0;
  std::size_t tokens = 0;
  const auto close_rule = [&]() -> Status {
    if (script.rules_.empty()) return {};
    script.rules_.back().reply = TRY(parse_reply(reply, rule_line));
    tokens += script.rules_.back().reply.size();
    if (tokens > kMaxReplyTokens) {
      return fail(Code::kExhausted, fmt::format("the script's replies have more than {} tokens", kMaxReplyTokens));
    }
    reply.clear();
    return {};
  };
  std::size_t line_number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.starts_with("==")) {
      TRY(close_rule());
      if (script.rules_.size() == kMaxRules)
        return fail(Code::kExhausted, fmt::format("more than {} rules", kMaxRules));
      script.rules_.push_back({split_pattern(trim(line.substr(2))), {}});
      rule_line = line_number;
    } else if (!script.rules_.empty()) {
      reply += line.starts_with("\\==") ? line.substr(1) : line;
      reply += '\n';
    } else if (!trim(line).empty() && !line.starts_with('#')) {
      return fail_at(line_number, "expected a comment (#) or a rule (== PATTERN)");
    }
  }
  TRY(close_rule());
  if (script.rules_.empty()) return fail(Code::kInvalidArgument, "the script has no rule (== PATTERN)");
  return script;
}

const ScriptReply& Script::reply_to(std::string_view prompt) const {
  for (const Rule& rule : rules_) {
    if (holds_in_order(prompt, rule.parts)) return rule.reply;
  }
  return no_rule_;
}

}  // namespace autoglm::engine
