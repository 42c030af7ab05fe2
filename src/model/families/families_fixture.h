// SPDX-License-Identifier: Apache-2.0
// What a family makes of a description that a test writes, as config.json or as metadata of a GGUF. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/temporary_folder.h"
#include "model/families/family.h"
#include "model/formats/gguf_writer.h"

namespace autoglm::model {

class Families : public testing::Test {
 protected:
  Result<Description> describe_config(const std::string& config) {
    std::ofstream(folder_ / "config.json") << config;
    std::ofstream(folder_ / "model.safetensors", std::ios::binary) << std::string("\x02\0\0\0\0\0\0\0{}", 10);
    const auto checkpoint = Checkpoint::open(folder_);
    if (!checkpoint) return std::unexpected(checkpoint.error());
    return describe(*checkpoint);
  }

  Result<Description> describe_gguf(const GgufWriter& writer) {
    const std::vector<std::byte> bytes = writer.bytes();
    const std::filesystem::path path = folder_ / "model.gguf";
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    const auto checkpoint = Checkpoint::open(path);
    if (!checkpoint) return std::unexpected(checkpoint.error());
    return describe(*checkpoint);
  }

  base::TemporaryFolder folder_;
};

// A true description with `extra` members put in front; later members of the same name are left out.
inline std::string llama_config(const std::string& extra = "", const std::string& without = "") {
  const std::pair<const char*, const char*> members[] = {
      {"model_type", "\"llama\""}, {"vocab_size", "100"},        {"hidden_size", "64"},
      {"num_hidden_layers", "2"},  {"num_attention_heads", "4"}, {"num_key_value_heads", "2"},
      {"intermediate_size", "96"}, {"rms_norm_eps", "1e-5"},     {"max_position_embeddings", "512"},
  };
  std::string config = "{" + extra;
  for (const auto& [key, value] : members) {
    if (without == key || extra.find("\"" + std::string(key) + "\"") != std::string::npos) continue;
    config += (config.size() > 1 ? ",\"" : "\"") + std::string(key) + "\":" + value;
  }
  return config + "}";
}

// The same in GGUF but for the heads; the key `without` below the architecture is left out.
inline GgufWriter gguf(const std::string& architecture, std::string_view without = "") {
  constexpr std::pair<const char*, std::uint32_t> kNumbers[] = {
      {"context_length", 512}, {"embedding_length", 64}, {"block_count", 6}, {"feed_forward_length", 96}};
  GgufWriter writer;
  writer.text("general.architecture", architecture).tensor("token_embd.weight", {64, 100}, 0, 64 * 100 * 4);
  for (const auto& [key, value] : kNumbers) {
    if (without != key) writer.number(architecture + "." + key, value);
  }
  const std::string epsilon = "attention.layer_norm_rms_epsilon";
  if (without != epsilon) writer.real(architecture + "." + epsilon, 1e-5f);
  return writer;
}

// Eight experts, two for a token.
inline GgufWriter& write_experts(GgufWriter& writer, const std::string& architecture) {
  return writer.number(architecture + ".expert_count", 8)
      .number(architecture + ".expert_used_count", 2)
      .number(architecture + ".expert_feed_forward_length", 24);
}

}  // namespace autoglm::model
