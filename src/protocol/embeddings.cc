// SPDX-License-Identifier: Apache-2.0
#include "protocol/embeddings.h"

#include <array>
#include <bit>

#include "base/base64.h"
#include "base/check.h"
#include "protocol/field_reader.h"
#include "protocol/limits.h"
#include "protocol/number_text.h"
#include "protocol/openai_parameters.h"

namespace autoglm::protocol {
namespace {

constexpr std::array<std::string_view, 1> kHarmlessHere = {"user"};

Result<EmbeddingsRequest> read_embeddings(FieldReader& reader) {
  EmbeddingsRequest out;
  auto model = TRY(reader.string("model", kMaxNameBytes));
  if (!model || model->empty()) return reader.wrong("model", "the name of a model");
  out.model = std::move(*model);
  out.inputs = TRY(read_prompts(reader, "input", kMaxInputs));
  const std::string format = TRY(reader.string("encoding_format", kMaxNameBytes)).value_or("float");
  if (format != "float" && format != "base64") return reader.wrong("encoding_format", "float or base64");
  out.is_base64 = format == "base64";
  if (const auto dimensions = TRY(reader.integer("dimensions", 1, static_cast<std::int64_t>(kMaxDimensions)))) {
    out.dimensions = static_cast<std::size_t>(*dimensions);
  }
  TRY(reader.refuse_rest(kHarmlessHere));
  return out;
}

void append_vector(std::string& out, std::span<const float> vector, bool is_base64) {
  static_assert(std::endian::native == std::endian::little, "clients read float32 little-endian");
  if (is_base64) {
    out.push_back('"');
    base::append_base64(out, {reinterpret_cast<const std::uint8_t*>(vector.data()), vector.size_bytes()});
    out.push_back('"');
    return;
  }
  out.push_back('[');
  for (std::size_t i = 0; i < vector.size(); ++i) {
    if (i > 0) out.push_back(',');
    append_float(out, vector[i]);
  }
  out.push_back(']');
}

}  // namespace

Result<EmbeddingsRequest> parse_embeddings_request(std::string_view body) {
  const json::Value value = TRY(parse_body(body));
  FieldReader reader(value.get_object(), "");
  return read_embeddings(reader);
}

std::string format_embeddings(const EmbeddingsAnswer& answer) {
  const std::size_t texts = answer.vectors.size() / answer.dimensions;
  std::string out = R"({"object":"list","data":[)";
  for (std::size_t i = 0; i < texts; ++i) {
    out += (i > 0 ? "," : "") + (R"({"object":"embedding","index":)" + std::to_string(i)) + R"(,"embedding":)";
    append_vector(out, answer.vectors.subspan(i * answer.dimensions, answer.dimensions), answer.is_base64);
    out.push_back('}');
  }
  out += R"(],"model":)";
  json::append_string(out, answer.model);
  const std::string tokens = std::to_string(answer.prompt_tokens);
  return out + R"(,"usage":{"prompt_tokens":)" + tokens + R"(,"total_tokens":)" + tokens + "}}";
}

std::vector<std::string_view> embeddings_parameters() {
  const json::Object least = {{"model", "-"}, {"input", ""}};
  FieldReader reader(least, "");
  CHECK(read_embeddings(reader));
  return reader.known();
}

}  // namespace autoglm::protocol
