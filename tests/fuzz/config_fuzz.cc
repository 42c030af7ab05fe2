// SPDX-License-Identifier: Apache-2.0
// Hyper-parameters of an untrusted model: a config.json (first byte J) or the metadata of a GGUF (G), through every
// family's reader; or the files beside a sentence embedder (S). Oracles: memory in proportion to the input, a refusal
// is the file's fault or a bound, an accepted description keeps every bound, and all that is sized by it fits 64 bits
// with room to spare.
#include <cmath>
#include <limits>
#include <string>

#include "base/check.h"
#include "base/json.h"
#include "fuzz_target.h"
#include "kernels/rope_table.h"
#include "memory_meter.h"
#include "model/families/encoder_family.h"
#include "model/families/family.h"
#include "model/formats/gguf.h"
#include "model/kv_cache.h"
#include "model/sentence_folder.h"

namespace {

using namespace autoglm;

constexpr std::size_t kMostBlocks = std::size_t{1} << 24;  // far more KV blocks than memory can hold

void check_accepted(const model::Description& description) {
  const model::ModelConfig& config = description.config;
  CHECK(model::check_config(config));
  CHECK(description.names != nullptr && !config.architecture.empty() && !config.ropes.empty());
  for (const auto type : {kernels::KvType::kF32, kernels::KvType::kF16, kernels::KvType::kInt8}) {
    const std::size_t block_bytes = model::KvCache::bytes_per_block(config, type);
    CHECK(block_bytes > 0 && block_bytes <= std::numeric_limits<std::size_t>::max() / kMostBlocks) << block_bytes;
  }
  CHECK(kernels::rope_bytes(config.context_length, config.head_dim) / config.head_dim / sizeof(float) ==
        config.context_length);
  for (const kernels::RopeDescription& rope : config.ropes) {
    for (const double frequency : kernels::rope_frequencies(rope)) CHECK(std::isfinite(frequency)) << frequency;
    if (rope.long_divisors.empty()) continue;
    CHECK(rope.short_positions > 0 && std::isfinite(rope.attention_factor)) << rope.attention_factor;
    for (const double frequency : kernels::rope_frequencies(kernels::long_rope(rope))) CHECK(std::isfinite(frequency));
  }
  const model::ExpertConfig& experts = config.experts;
  for (const model::LayerConfig& layer : config.layers) {
    if (!layer.has_experts) continue;
    CHECK(experts.used > 0 && experts.used <= experts.count && experts.feed_forward > 0) << experts.count;
    CHECK(experts.groups > 0 && experts.count % experts.groups == 0 && std::isfinite(experts.scale)) << experts.groups;
    CHECK(experts.count / experts.groups * experts.groups_used >= experts.used) << experts.groups_used;
  }
  CHECK(std::isfinite(config.attention_scale) && std::isfinite(config.embedding_scale));
}

void check_refused(const Error& error) {
  CHECK(error.code == Code::kInvalidArgument || error.code == Code::kCorrupt || error.code == Code::kExhausted)
      << code_name(error.code) << ": " << error.message;
  CHECK(!error.message.empty());
}

void judge(const Result<model::Description>& description) {
  description ? check_accepted(*description) : check_refused(description.error());
}

void judge(const Result<model::EncoderConfig>& read) {
  if (!read) return check_refused(read.error());
  CHECK(model::check_encoder_config(*read));
  CHECK(read->head_dim() * read->heads == read->hidden && read->max_tokens() > 0);
  CHECK(read->head_dim() <= kernels::KvLayer::kMaxHeadDim) << read->head_dim();
}

void read_json(std::string_view text) {
  base::Budget budget({.bytes = std::uint64_t{16} << 20, .steps = 1'000'000, .depth = 64});
  const auto config = json::parse(text, budget);
  if (!config || !config->is_object()) return;
  judge(model::describe(config->get_object()));
  const model::EncoderFamily* const family = model::find_encoder_family(config->get_object());
  if (family != nullptr) judge(family->from_json(config->get_object()));
}

void read_sentence_files(std::string_view text) {
  if (const auto modules = model::parse_modules(text); !modules) {
    check_refused(modules.error());
  } else {
    CHECK(!modules->pooling.empty() && modules->pooling.is_relative());
    for (const auto& part : modules->pooling) CHECK(part != "..");
  }
  base::Budget budget({.bytes = std::uint64_t{16} << 20, .steps = 1'000'000, .depth = 64});
  const auto value = json::parse(text, budget);
  if (!value || !value->is_object()) return;
  if (const auto pooling = model::parse_pooling(value->get_object()); !pooling) check_refused(pooling.error());
  model::SentenceSettings settings;
  if (const auto read = model::read_dimensions(value->get_object(), settings); !read) check_refused(read.error());
  for (const std::size_t dimensions : settings.dimensions) CHECK(dimensions > 0);
}

void read_gguf(std::span<const std::byte> bytes) {
  base::Budget budget({.bytes = std::uint64_t{512} << 20, .steps = 1'000'000, .depth = 64});
  const auto file = model::GgufFile::parse(bytes, budget);
  if (!file) return;
  judge(model::describe(*file));
  if (const model::EncoderFamily* family = model::find_encoder_family(*file)) judge(family->from_gguf(*file));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const fuzz::MemoryMeter meter;
  if (data[0] == 'G') {
    read_gguf(fuzz::as_bytes(data + 1, size - 1));
  } else if (data[0] == 'S') {
    read_sentence_files(fuzz::as_text(data + 1, size - 1));
  } else {
    read_json(fuzz::as_text(data + 1, size - 1));
  }
  CHECK(meter.peak_bytes() <= fuzz::memory_allowed(size)) << meter.peak_bytes() << " bytes for " << size;
  return 0;
}
