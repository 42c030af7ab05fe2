// SPDX-License-Identifier: Apache-2.0
#include "protocol/rerank.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "base/check.h"
#include "protocol/field_reader.h"
#include "protocol/limits.h"
#include "protocol/number_text.h"
#include "protocol/openai_parameters.h"

namespace autoglm::protocol {
namespace {

constexpr std::array<std::string_view, 1> kIgnored = {"user"};

// A text, or an object that holds it.
Result<std::string> read_document(const json::Value& given, const std::string& place) {
  const json::Value* text = &given;
  if (given.is_object() && given.get_object().size() == 1) text = given.get_object().if_contains("text");
  if (text == nullptr || !text->is_string() || text->get_string().size() > kMaxTextBytes) {
    return fail(Code::kInvalidArgument,
                place + " must be a text of at most " + std::to_string(kMaxTextBytes) + " bytes, or {\"text\": of one}",
                place);
  }
  return std::string(json::view(text->get_string()));
}

Result<RerankRequest> read_rerank(FieldReader& reader) {
  RerankRequest out;
  auto model = TRY(reader.string("model", kMaxNameBytes));
  if (!model || model->empty()) return reader.wrong("model", "the name of a model");
  out.model = std::move(*model);
  auto query = TRY(reader.string("query", kMaxTextBytes));
  if (!query || query->empty()) return reader.wrong("query", "a text");
  out.query = std::move(*query);
  const json::Array* documents = TRY(reader.array("documents", kMaxInputs));
  if (documents == nullptr || documents->empty()) return reader.wrong("documents", "a list of at least one text");
  for (std::size_t i = 0; i < documents->size(); ++i) {
    out.documents.push_back(TRY(read_document((*documents)[i], "documents[" + std::to_string(i) + "]")));
  }
  if (const auto top = TRY(reader.integer("top_n", 1, static_cast<std::int64_t>(kMaxInputs)))) {
    out.top_n = static_cast<std::size_t>(*top);
  }
  out.returns_documents = TRY(reader.boolean("return_documents")).value_or(true);
  out.is_cut = TRY(reader.boolean("truncate")).value_or(false);
  TRY(reader.refuse_rest(kIgnored));
  return out;
}

}  // namespace

Result<RerankRequest> parse_rerank_request(std::string_view body) {
  const json::Value value = TRY(parse_body(body));
  FieldReader reader(value.get_object(), "");
  return read_rerank(reader);
}

std::string format_rerank(const RerankAnswer& answer) {
  std::vector<std::size_t> order(answer.scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    return answer.scores[a] != answer.scores[b] ? answer.scores[a] > answer.scores[b] : a < b;
  });
  order.resize(std::min(order.size(), answer.top_n));
  std::string out = R"({"id":)";
  json::append_string(out, answer.id);
  out += R"(,"model":)";
  json::append_string(out, answer.model);
  const std::string tokens = std::to_string(answer.prompt_tokens);
  out += R"(,"usage":{"prompt_tokens":)" + tokens + R"(,"total_tokens":)" + tokens + R"(},"results":[)";
  for (std::size_t place = 0; place < order.size(); ++place) {
    const std::size_t i = order[place];
    out += (place > 0 ? "," : "") + (R"({"index":)" + std::to_string(i));
    if (!answer.documents.empty()) {
      out += R"(,"document":{"text":)";
      json::append_string(out, answer.documents[i]);
      out += '}';
    }
    out += R"(,"relevance_score":)";
    append_float(out, answer.scores[i]);
    out += '}';
  }
  return out + "]}";
}

std::vector<std::string_view> rerank_parameters() {
  const json::Object least = {{"model", "-"}, {"query", "-"}, {"documents", json::Array{""}}};
  FieldReader reader(least, "");
  CHECK(read_rerank(reader));
  return reader.known();
}

}  // namespace autoglm::protocol
