// SPDX-License-Identifier: Apache-2.0
// Writing answers. Field order is that of OpenAI's own examples.
#include "protocol/openai_response.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/utf8.h"

namespace autoglm::protocol {
namespace {

void append_integer(std::string& out, std::int64_t number) { out += std::to_string(number); }

void append_ids(std::string& out, std::span<const std::int32_t> ids) {
  out.push_back('[');
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out.push_back(',');
    append_integer(out, ids[i]);
  }
  out.push_back(']');
}

// JSON has no infinities; OpenAI writes -9999.0 for what cannot happen.
void append_logprob(std::string& out, float logprob) {
  json::append_number(out, std::isfinite(logprob) ? std::max(static_cast<double>(logprob), -9999.0) : -9999.0);
}

void append_token(std::string& out, const TokenLogprob& token) {
  out += R"({"token":)";
  json::append_string(out, token.token);
  out += R"(,"logprob":)";
  append_logprob(out, token.logprob);
  out += R"(,"bytes":[)";
  for (std::size_t i = 0; i < token.token.size(); ++i) {
    if (i > 0) out.push_back(',');
    append_integer(out, static_cast<unsigned char>(token.token[i]));
  }
  out.push_back(']');
}

void append_chat_logprobs(std::string& out, std::span<const TokenRecord> records) {
  out += R"({"content":[)";
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (i > 0) out.push_back(',');
    append_token(out, records[i].chosen);
    out += R"(,"top_logprobs":[)";
    for (std::size_t k = 0; k < records[i].top.size(); ++k) {
      if (k > 0) out.push_back(',');
      append_token(out, records[i].top[k]);
      out.push_back('}');
    }
    out += "]}";
  }
  out += R"(],"refusal":null})";
}

// {"token":logprob}: the most likely ones and the chosen one, in OpenAI's words up to N + 1. Tokens may be spelled
// alike (bytes that are no UTF-8), but a JSON object has each key once: the likeliest keeps it.
void append_completion_tops(std::string& out, const TokenRecord& record) {
  std::vector<std::string> keys;
  out.push_back('{');
  const auto append = [&](const TokenLogprob& entry) {
    std::string key;
    json::append_string(key, entry.token);
    if (std::ranges::find(keys, key) != keys.end()) return;
    if (!keys.empty()) out.push_back(',');
    append_logprob(out.append(key).append(":"), entry.logprob);
    keys.push_back(std::move(key));
  };
  for (const TokenLogprob& entry : record.top) append(entry);
  append(record.chosen);
  out.push_back('}');
}

// Completions have the older shape: parallel lists.
void append_completion_logprobs(std::string& out, std::span<const TokenRecord> records, std::size_t offset) {
  std::string tokens, logprobs, tops, offsets;
  for (const TokenRecord& record : records) {
    const char* comma = tokens.empty() ? "" : ",";
    json::append_string(tokens += comma, record.chosen.token);
    logprobs += comma;
    tops += comma;
    if (record.has_logprob) {
      append_logprob(logprobs, record.chosen.logprob);
      append_completion_tops(tops, record);
    } else {
      logprobs += "null";
      tops += "null";
    }
    append_integer(offsets += comma, static_cast<std::int64_t>(offset));
    offset += count_characters({&record, 1});
  }
  out += R"({"tokens":[)" + tokens + R"(],"token_logprobs":[)" + logprobs + R"(],"top_logprobs":[)" + tops +
         R"(],"text_offset":[)" + offsets + "]}";
}

void append_logprobs(std::string& out, AnswerKind kind, const Piece& piece) {
  out += R"(,"logprobs":)";
  if (!piece.has_logprobs) {
    out += "null";
  } else if (kind == AnswerKind::kChat) {
    append_chat_logprobs(out, piece.records);
  } else {
    append_completion_logprobs(out, piece.records, piece.text_offset);
  }
}

// [{"index":0,"id":...,"type":"function","function":{"name":...,"arguments":...}}]; in a stream with their indices, and
// without id and name after the first part.
void append_tool_calls(std::string& out, std::span<const ToolCallPiece> calls, bool is_streamed) {
  out += R"("tool_calls":[)";
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const ToolCallPiece& call = calls[i];
    out += i > 0 ? ",{" : "{";
    if (is_streamed) out += R"("index":)" + std::to_string(call.index) + ",";
    if (!call.id.empty()) {
      json::append_string(out += R"("id":)", call.id);
      out += R"(,"type":"function",)";
    }
    out += R"("function":{)";
    if (!call.id.empty()) {
      json::append_string(out += R"("name":)", call.name);
      out += ",";
    }
    json::append_string(out += R"("arguments":)", call.arguments);
    out += "}}";
  }
  out += "]";
}

void append_message(std::string& out, const Piece& choice) {
  out += R"(,"message":{"role":"assistant","content":)";
  if (choice.text.empty() && !choice.tool_calls.empty()) {
    out += "null";
  } else {
    json::append_string(out, choice.text);
  }
  out += R"(,"refusal":null)";
  if (!choice.reasoning.empty()) json::append_string(out += R"(,"reasoning_content":)", choice.reasoning);
  if (!choice.tool_calls.empty()) append_tool_calls(out += ",", choice.tool_calls, false);
  out += "}";
}

// What follows the text of a choice, up to its closing brace.
void append_tail(std::string& out, AnswerKind kind, const Piece& piece) {
  append_logprobs(out, kind, piece);
  out += R"(,"finish_reason":)";
  if (piece.finish_reason.empty()) {
    out += "null";
  } else {
    json::append_string(out, piece.finish_reason);
  }
  if (piece.has_prompt_ids) append_ids(out += R"(,"prompt_token_ids":)", piece.prompt_ids);
  if (piece.has_token_ids) append_ids(out += R"(,"token_ids":)", piece.token_ids);
  out.push_back('}');
}

void append_usage_object(std::string& out, const UsageCount& usage) {
  out += R"({"prompt_tokens":)" + std::to_string(usage.prompt_tokens) + R"(,"completion_tokens":)" +
         std::to_string(usage.completion_tokens) + R"(,"total_tokens":)" +
         std::to_string(usage.prompt_tokens + usage.completion_tokens) +
         R"(,"prompt_tokens_details":{"cached_tokens":)" + std::to_string(usage.cached_tokens) + "}}";
}

// {"id":...,"object":...,"created":...,"model":...,"system_fingerprint":...,"choices":[
void append_head(std::string& out, const AnswerHead& head, std::string_view object) {
  out += R"({"id":)";
  json::append_string(out, head.id);
  out += R"(,"object":)";
  json::append_string(out, object);
  out += R"(,"created":)" + std::to_string(head.created) + R"(,"model":)";
  json::append_string(out, head.model);
  out += R"(,"system_fingerprint":)";
  json::append_string(out, head.fingerprint);
  out += R"(,"choices":[)";
}

}  // namespace

std::size_t count_characters(std::span<const TokenRecord> records) {
  std::size_t count = 0;
  for (const TokenRecord& record : records) {
    if (!record.is_in_text) continue;
    for (char c : record.chosen.token) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }
  return count;
}

std::string format_answer(const AnswerHead& head, std::span<const Piece> choices, const UsageCount& usage) {
  const bool is_chat = head.kind == AnswerKind::kChat;
  std::string out;
  append_head(out, head, is_chat ? "chat.completion" : "text_completion");
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) out.push_back(',');
    out += R"({"index":)" + std::to_string(choices[i].index);
    if (is_chat) {
      append_message(out, choices[i]);
    } else {
      json::append_string(out += R"(,"text":)", choices[i].text);
    }
    append_tail(out, head.kind, choices[i]);
  }
  out += R"(],"usage":)";
  append_usage_object(out, usage);
  out.push_back('}');
  return out;
}

ChunkWriter::ChunkWriter(const AnswerHead& head, bool include_usage)
    : kind_(head.kind), include_usage_(include_usage), prefix_("data: ") {
  append_head(prefix_, head, kind_ == AnswerKind::kChat ? "chat.completion.chunk" : "text_completion");
}

void ChunkWriter::append_choice(std::string& out, std::string_view delta, const Piece& piece) const {
  out += prefix_;
  out += R"({"index":)";
  append_integer(out, static_cast<std::int64_t>(piece.index));
  out += delta;
  append_tail(out, kind_, piece);
  out += include_usage_ ? "],\"usage\":null}\n\n" : "]}\n\n";
}

void ChunkWriter::append_role(std::string& out, const Piece& piece) const {
  append_choice(out, R"(,"delta":{"role":"assistant","content":""})", piece);
}

void ChunkWriter::append_piece(std::string& out, const Piece& piece) const {
  std::string delta;
  if (kind_ == AnswerKind::kCompletion) {
    json::append_string(delta = R"(,"text":)", piece.text);
  } else if (piece.text.empty() && !piece.finish_reason.empty()) {
    delta = R"(,"delta":{})";
  } else if (!piece.tool_calls.empty()) {
    append_tool_calls(delta = R"(,"delta":{)", piece.tool_calls, true);
    delta.push_back('}');
  } else if (!piece.reasoning.empty()) {
    json::append_string(delta = R"(,"delta":{"reasoning_content":)", piece.reasoning);
    delta.push_back('}');
  } else {
    json::append_string(delta = R"(,"delta":{"content":)", piece.text);
    delta.push_back('}');
  }
  append_choice(out, delta, piece);
}

void ChunkWriter::append_usage(std::string& out, const UsageCount& usage) const {
  if (!include_usage_) return;
  out += prefix_;
  append_usage_object(out += R"(],"usage":)", usage);
  out += "}\n\n";
}

void ChunkWriter::append_error(std::string& out, const ApiError& error) {
  out += "data: " + format_error(error) + "\n\n";
}

void ChunkWriter::append_done(std::string& out) { out += "data: [DONE]\n\n"; }

}  // namespace autoglm::protocol
