// SPDX-License-Identifier: Apache-2.0
#include "parity/encoder_gguf.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "model/formats/checkpoint.h"
#include "model/formats/gguf_writer.h"
#include "parity/golden.h"

namespace autoglm::parity {
namespace {

using model::GgufWriter;

// Of a tensor without its layer's number; longest first where one begins another.
constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kNames = {{
    {"embeddings.word_embeddings", "token_embd"},
    {"embeddings.position_embeddings", "position_embd"},
    {"embeddings.token_type_embeddings", "token_types"},
    {"embeddings.LayerNorm", "token_embd_norm"},
    {"attention.self.query", "attn_q"},
    {"attention.self.key", "attn_k"},
    {"attention.self.value", "attn_v"},
    {"attention.output.dense", "attn_output"},
    {"attention.output.LayerNorm", "attn_output_norm"},
    {"intermediate.dense", "ffn_up"},
    {"output.dense", "ffn_down"},
    {"output.LayerNorm", "layer_output_norm"},
}};

// Empty: a GGUF has no such tensor.
std::string gguf_name(std::string_view name) {
  std::string layer;
  if (constexpr std::string_view kLayer = "encoder.layer."; name.starts_with(kLayer)) {
    name.remove_prefix(kLayer.size());
    const std::size_t dot = name.find('.');
    layer = "blk." + std::string(name.substr(0, dot + 1));
    name.remove_prefix(dot + 1);
  }
  for (const auto& [from, to] : kNames) {
    if (name.starts_with(from)) return layer + std::string(to) + std::string(name.substr(from.size()));
  }
  return {};
}

void put_tensors(GgufWriter& writer, const model::Checkpoint& checkpoint) {
  for (const model::StoredTensor& tensor : checkpoint.tensors()) {
    const std::string name = gguf_name(tensor.name);
    if (name.empty()) continue;
    CHECK(tensor.type == kernels::DType::kF32) << tensor.name;
    std::vector<std::uint64_t> shape(tensor.shape.begin(), tensor.shape.begin() + tensor.rank);
    std::ranges::reverse(shape);
    writer.tensor_of(name, shape, 0, {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()});
  }
}

void put_vocabulary(GgufWriter& writer, const json::Value& tokenizer) {
  const json::Object& vocab = tokenizer.at("model").at("vocab").as_object();
  std::vector<std::string> tokens(vocab.size());
  std::vector<std::int32_t> types(vocab.size(), 1);
  for (const json::Value& added : tokenizer.at("added_tokens").as_array()) {
    if (added.at("special").as_bool()) types.at(added.at("id").to_number<std::size_t>()) = 3;
  }
  for (const auto& [text, id] : vocab) {
    const auto index = id.to_number<std::size_t>();
    const bool goes_on = text.starts_with("##");
    std::string spelled(text);
    if (types[index] != 3) spelled = goes_on ? spelled.substr(2) : "\u2581" + spelled;
    tokens[index] = spelled;
  }
  std::string texts, kinds;
  for (const std::string& token : tokens) texts += GgufWriter::string(token);
  for (const std::int32_t type : types) kinds += GgufWriter::encoded(type);
  writer.text("tokenizer.ggml.model", "bert");
  writer.array("tokenizer.ggml.tokens", GgufWriter::kString, tokens.size(), texts);
  constexpr std::uint32_t kI32 = 5;
  writer.array("tokenizer.ggml.token_type", kI32, types.size(), kinds);
  const auto id_of = [&](std::string_view text) { return vocab.at(text).to_number<std::uint32_t>(); };
  writer.number("tokenizer.ggml.cls_token_id", id_of("[CLS]"));
  writer.number("tokenizer.ggml.seperator_token_id", id_of("[SEP]"));
  writer.number("tokenizer.ggml.unknown_token_id", id_of("[UNK]"));
}

}  // namespace

void write_encoder_gguf(const std::filesystem::path& folder, const std::filesystem::path& file) {
  const auto checkpoint = model::Checkpoint::open(folder);
  CHECK(checkpoint) << checkpoint.error().message;
  const json::Object& config = checkpoint->config();
  const auto number = [&](const char* key) { return config.at(key).to_number<std::uint32_t>(); };
  GgufWriter writer;
  writer.text("general.architecture", "bert");
  writer.number("bert.context_length", number("max_position_embeddings"));
  writer.number("bert.embedding_length", number("hidden_size"));
  writer.number("bert.block_count", number("num_hidden_layers"));
  writer.number("bert.feed_forward_length", number("intermediate_size"));
  writer.number("bert.attention.head_count", number("num_attention_heads"));
  writer.real("bert.attention.layer_norm_epsilon", config.at("layer_norm_eps").to_number<float>());
  writer.flag("bert.attention.causal", false);
  const json::Value pooling = read_json(folder / "1_Pooling" / "config.json");
  const json::Value* const mean = pooling.as_object().if_contains("pooling_mode_mean_tokens");
  writer.number("bert.pooling_type", mean != nullptr && mean->as_bool() ? 1 : 2);
  writer.number("tokenizer.ggml.token_type_count", number("type_vocab_size"));
  put_vocabulary(writer, read_json(folder / "tokenizer.json"));
  put_tensors(writer, *checkpoint);
  const auto bytes = writer.bytes();
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace autoglm::parity
