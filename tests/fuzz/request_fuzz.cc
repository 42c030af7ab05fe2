// SPDX-License-Identifier: Apache-2.0
// Bodies of the OpenAI API; the first byte picks the route. Oracles: every cap holds in what is accepted, a refusal is
// the caller's fault or a bound, and its answer is JSON without an address of ours.
#include <cmath>
#include <string>

#include "base/check.h"
#include "base/json.h"
#include "fuzz_target.h"
#include "protocol/embeddings.h"
#include "protocol/limits.h"
#include "protocol/openai_error.h"
#include "protocol/openai_request.h"
#include "protocol/rerank.h"
#include "protocol/response_conversation.h"
#include "protocol/response_items.h"
#include "protocol/response_request.h"

namespace {

using namespace autoglm;

void check_refusal(const Error& error) {
  CHECK(error.code == Code::kInvalidArgument || error.code == Code::kExhausted || error.code == Code::kNotFound)
      << code_name(error.code);
  const std::string body = protocol::format_error(error);
  base::Budget budget;
  CHECK(json::parse(body, budget)) << body;
}

void check_parameters(const protocol::Parameters& parameters) {
  CHECK(parameters.n >= 1 && parameters.n <= protocol::kMaxChoices) << parameters.n;
  CHECK(parameters.max_tokens.value_or(0) <= protocol::kMaxTokens);
  CHECK(parameters.min_tokens <= protocol::kMaxTokens);
  CHECK(parameters.temperature >= 0 && parameters.temperature <= protocol::kMaxTemperature) << parameters.temperature;
  CHECK(parameters.top_p >= 0 && parameters.top_p <= 1) << parameters.top_p;
  CHECK(parameters.min_p >= 0 && parameters.min_p <= 1) << parameters.min_p;
  CHECK(std::abs(parameters.frequency_penalty) <= protocol::kMaxOccurrencePenalty);
  CHECK(std::abs(parameters.presence_penalty) <= protocol::kMaxOccurrencePenalty);
  CHECK(parameters.repetition_penalty > 0 && parameters.repetition_penalty <= protocol::kMaxRepetitionPenalty);
  CHECK(parameters.top_k >= 0 && parameters.top_k <= static_cast<std::int64_t>(protocol::kMaxTopK));
  CHECK(parameters.top_logprobs <= protocol::kMaxTopLogprobs) << parameters.top_logprobs;
  CHECK(parameters.stop.size() <= protocol::kMaxStops);
  for (const std::string& stop : parameters.stop) CHECK(!stop.empty() && stop.size() <= protocol::kMaxStopBytes);
  CHECK(parameters.stop_token_ids.size() <= protocol::kMaxStopTokens);
  CHECK(parameters.logit_bias.size() <= protocol::kMaxLogitBias);
  for (const auto& [token, bias] : parameters.logit_bias) CHECK(token >= 0 && std::abs(bias) <= 100) << token;
  CHECK(parameters.response_format.schema.size() <= protocol::kMaxSchemaBytes);
}

void check_chat(const protocol::ChatRequest& request) {
  check_parameters(request.parameters);
  CHECK(!request.messages.empty() && request.messages.size() <= protocol::kMaxMessages);
  CHECK(request.template_fields.size() <= protocol::kMaxTemplateFields);
  for (const json::Value& message : request.messages) {
    CHECK(message.is_object() && message.as_object().at("role").is_string());
  }
}

void check_embeddings(const protocol::EmbeddingsRequest& request) {
  CHECK(request.inputs.size() <= protocol::kMaxInputs && !request.inputs.empty());
  CHECK(request.model.size() <= protocol::kMaxNameBytes);
  CHECK(request.dimensions.value_or(1) >= 1 && request.dimensions.value_or(1) <= protocol::kMaxDimensions);
  for (const protocol::Prompt& input : request.inputs) {
    if (const auto* text = std::get_if<std::string>(&input)) {
      CHECK(text->size() <= protocol::kMaxTextBytes);
    } else {
      for (const std::int32_t id : std::get<std::vector<std::int32_t>>(input)) CHECK(id >= 0) << id;
    }
  }
}

void check_rerank(const protocol::RerankRequest& request) {
  CHECK(!request.model.empty() && request.model.size() <= protocol::kMaxNameBytes);
  CHECK(!request.query.empty() && request.query.size() <= protocol::kMaxTextBytes);
  CHECK(!request.documents.empty() && request.documents.size() <= protocol::kMaxInputs);
  CHECK(request.top_n.value_or(1) >= 1 && request.top_n.value_or(1) <= protocol::kMaxInputs);
  for (const std::string& document : request.documents) CHECK(document.size() <= protocol::kMaxTextBytes);
}

// Items that were accepted are complete: each is written and read again to itself, and a conversation is made of them
// or refused.
void check_response(const protocol::ResponseRequest& request) {
  CHECK(request.input.size() <= protocol::kMaxMessages && !request.model.empty());
  CHECK(request.temperature >= 0 && request.temperature <= protocol::kMaxTemperature) << request.temperature;
  CHECK(request.top_p >= 0 && request.top_p <= 1) << request.top_p;
  CHECK(request.max_output_tokens.value_or(1) >= 1 && request.max_output_tokens.value_or(1) <= protocol::kMaxTokens);
  CHECK(request.max_tool_calls.value_or(0) <= protocol::kMaxToolCalls);
  CHECK(request.tools.functions.size() + request.tools.servers.size() <= protocol::kMaxTools);
  CHECK(request.tools.functions.size() == request.tools.places.size());
  CHECK(request.format.schema.size() <= protocol::kMaxSchemaBytes);
  if (request.input.empty()) return;
  const json::Object again = {{"model", "m"}, {"input", request.input}};
  const auto reread = protocol::parse_response_request(json::format(again));
  CHECK(reread) << reread.error().message;
  CHECK(reread->input == request.input) << json::format(again);
  const auto conversation = protocol::read_conversation(
      request.input,
      [](std::string_view label, std::string_view name) { return std::string(label) + std::string(name); });
  if (!conversation) return check_refusal(conversation.error());
  for (const json::Value& message : conversation->messages) CHECK(message.as_object().at("role").is_string());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view body = fuzz::as_text(data + 1, size - 1);
  switch (data[0]) {
    case 'C': {
      const auto request = protocol::parse_chat_request(body);
      request ? check_chat(*request) : check_refusal(request.error());
      break;
    }
    case 'E': {
      const auto request = protocol::parse_embeddings_request(body);
      request ? check_embeddings(*request) : check_refusal(request.error());
      break;
    }
    case 'K': {
      const auto request = protocol::parse_rerank_request(body);
      request ? check_rerank(*request) : check_refusal(request.error());
      break;
    }
    case 'P': {
      const auto request = protocol::parse_completion_request(body);
      if (!request) {
        check_refusal(request.error());
        break;
      }
      check_parameters(request->parameters);
      CHECK(!request->prompts.empty() && request->prompts.size() <= protocol::kMaxPrompts);
      break;
    }
    case 'R': {
      const auto request = protocol::parse_response_request(body);
      request ? check_response(*request) : check_refusal(request.error());
      break;
    }
    case 'T': {
      const auto request = protocol::parse_tokenize_request(body);
      if (!request) check_refusal(request.error());
      break;
    }
    default: {
      const auto request = protocol::parse_detokenize_request(body);
      if (!request) check_refusal(request.error());
      break;
    }
  }
  return 0;
}
