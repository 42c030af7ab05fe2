// SPDX-License-Identifier: Apache-2.0
#include "model/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/thread_pool.h"
#include "model/encoder_weights.h"
#include "model/families/encoder_family.h"
#include "model/families/family.h"
#include "model/formats/checkpoint.h"
#include "model/kv_cache.h"
#include "model/sentence_folder.h"
#include "model/weights.h"

namespace autoglm::model {
namespace {

std::vector<TypeFacts> count_types(const Checkpoint& checkpoint) {
  std::map<std::string, TypeFacts> by_name;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    TypeFacts& facts = by_name[tensor.type_text()];
    facts.tensors += 1;
    facts.elements += tensor.elements();
    facts.bytes += tensor.file_bytes();
  }
  std::vector<TypeFacts> types;
  for (auto& [name, facts] : by_name) {
    facts.type = name;
    types.push_back(std::move(facts));
  }
  std::ranges::sort(types, std::greater(), &TypeFacts::bytes);
  return types;
}

kernels::Arithmetic arithmetic_of(kernels::ActivationForms forms) {
  if (forms.q8) return kernels::Arithmetic::kInt8;
  return forms.bf16 ? kernels::Arithmetic::kBF16 : kernels::Arithmetic::kF32;
}

void add_linear(std::vector<LinearFacts>& linear, const LinearFacts& one) {
  const auto same = std::ranges::find_if(linear, [&](const LinearFacts& other) {
    return other.arithmetic == one.arithmetic && other.is_head == one.is_head;
  });
  if (same == linear.end()) return linear.push_back(one);
  same->weights += one.weights;
  same->bytes += one.bytes;
}

// What all projections cost, and their bytes once packed. Of experts a token runs, and reads, only a few.
void measure_projections(std::span<const ListedProjection> projections, const LoadOptions& options,
                         const ExpertConfig& experts, ModelFacts& facts) {
  using Part = ListedProjection::Part;
  base::ThreadPool pool(1);
  kernels::Arena arena(4096);
  const auto made = kernels::make_ops(options.isa, options.compute, pool, arena);
  const kernels::Ops& ops = *made;
  LinearFacts of_experts[3];  // by arithmetic, of all experts
  std::uint64_t expert_weights = 0;
  for (const ListedProjection& one : projections) {
    const std::uint64_t weights = one.extent.rows * one.extent.columns;
    const kernels::Arithmetic arithmetic = arithmetic_of(ops.forms(one.extent.type));
    const std::size_t packed = ops.packed_bytes(one.extent);
    facts.packed_bytes += packed;
    if (one.part == Part::kExpert) {
      LinearFacts& sum = of_experts[static_cast<std::size_t>(arithmetic)];
      sum.arithmetic = arithmetic;
      sum.weights += weights;
      sum.bytes += one.file_bytes;
      facts.expert_bytes += packed;
      expert_weights += weights;
      continue;
    }
    add_linear(
        facts.linear,
        {.arithmetic = arithmetic, .is_head = one.part == Part::kHead, .weights = weights, .bytes = one.file_bytes});
  }
  if (experts.count == 0) return;
  facts.active_parameters -= expert_weights - expert_weights / experts.count * experts.used;
  for (LinearFacts& sum : of_experts) {
    if (sum.weights == 0) continue;
    sum.weights = sum.weights / experts.count * experts.used;
    sum.bytes = sum.bytes / experts.count * experts.used;
    add_linear(facts.linear, sum);
  }
}

Status read_gguf_facts(const GgufFile& file, ModelFacts& facts) {
  facts.format = "GGUF v" + std::to_string(file.version());
  facts.name = TRY(file.find_string("general.name")).value_or("");
  facts.has_chat_template = file.has("tokenizer.chat_template");
  facts.tokenizer = TRY(file.find_string("tokenizer.ggml.model")).value_or("");
  const auto pre = TRY(file.find_string("tokenizer.ggml.pre"));
  if (pre && !pre->empty()) facts.tokenizer += " (" + std::string(*pre) + ")";
  return {};
}

void read_folder_facts(const std::filesystem::path& folder, ModelFacts& facts) {
  std::error_code error;
  if (std::filesystem::exists(folder / "tokenizer.json", error)) facts.tokenizer = "tokenizer.json";
  facts.has_chat_template = std::filesystem::exists(folder / "chat_template.jinja", error);
  if (facts.has_chat_template) return;
  const auto config = read_small_file(folder / "tokenizer_config.json", 64ull << 20);
  facts.has_chat_template = config && *config && (*config)->find("\"chat_template\"") != std::string::npos;
}

std::string mebibytes(std::uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1024.0 * 1024.0));
}

std::string experts_text(const ModelFacts& facts) {
  const ExpertConfig& experts = facts.experts;
  std::string text = fmt::format("{} in {} layers, {} for a token, feed-forward {}", experts.count, facts.expert_layers,
                                 experts.used, experts.feed_forward);
  if (experts.shared_feed_forward > 0) text += fmt::format(", beside {} for all", experts.shared_feed_forward);
  return text;
}

void count_checkpoint(const Checkpoint& checkpoint, ModelFacts& facts) {
  facts.file_bytes = checkpoint.file_bytes();
  facts.types = count_types(checkpoint);
  for (const TypeFacts& type : facts.types) facts.parameters += type.elements;
}

Result<ModelFacts> inspect_encoder(const std::filesystem::path& path, const Checkpoint& checkpoint,
                                   const EncoderFamily& family, const LoadOptions& options) {
  const EncoderDescription description = TRY(describe_encoder(family, checkpoint));
  const EncoderConfig& config = description.config;
  const SentenceSettings settings =
      config.has_score ? SentenceSettings{} : TRY(read_sentence_settings(path, checkpoint));
  const auto projections = TRY(list_encoder_projections(checkpoint, description));
  ModelFacts facts;
  if (checkpoint.gguf() != nullptr) {
    TRY(read_gguf_facts(*checkpoint.gguf(), facts));
  } else {
    facts.format = "safetensors";
    read_folder_facts(path, facts);
  }
  count_checkpoint(checkpoint, facts);
  facts.architecture = config.architecture;
  facts.vocab = config.vocab;
  facts.hidden = config.hidden;
  facts.layers = config.layers;
  facts.heads = facts.kv_heads = config.heads;
  facts.head_dim = config.head_dim();
  facts.feed_forward = config.feed_forward;
  facts.context_length = config.max_tokens();
  if (settings.max_tokens != 0) facts.context_length = std::min(facts.context_length, settings.max_tokens);
  if (options.context_length != 0) facts.context_length = options.context_length;
  facts.embedding = config.has_score
                        ? std::string("one number: how well a text answers another")
                        : fmt::format("{} dimensions, {}{}", config.hidden,
                                      settings.pooling == Pooling::kMean ? "the mean of all tokens" : "the first token",
                                      settings.is_normalised ? ", normalised" : "");
  std::vector<ListedProjection> listed;
  for (const StoredTensor* stored : projections) {
    const std::uint64_t columns = stored->shape[1];
    listed.push_back({.tensor = stored,
                      .extent = {*stored->type, stored->shape[0], columns, kernels::row_bytes(*stored->type, columns)},
                      .file_bytes = stored->file_bytes()});
  }
  facts.active_parameters = facts.parameters;
  measure_projections(listed, options, {}, facts);
  return facts;
}

}  // namespace

Result<ModelFacts> inspect_model(const std::filesystem::path& path, const LoadOptions& options) {
  const Checkpoint checkpoint = TRY(Checkpoint::open(path));
  if (const EncoderFamily* family = find_encoder_family(checkpoint); family != nullptr) {
    auto facts = inspect_encoder(path, checkpoint, *family, options);
    if (!facts) return fail_in(path.string(), std::move(facts).error());
    return facts;
  }
  auto description = describe(checkpoint);
  if (!description) return fail_in(path.string(), std::move(description).error());
  auto projections = list_projections(checkpoint, *description);
  if (!projections) return fail_in(path.string(), std::move(projections).error());

  ModelFacts facts;
  if (checkpoint.gguf() != nullptr) {
    TRY(read_gguf_facts(*checkpoint.gguf(), facts));
  } else {
    facts.format = "safetensors";
    if (TRY(find_compressed_scheme(checkpoint.config()))) facts.format += ", compressed-tensors";
    if (const auto scheme = TRY(find_transposed_scheme(checkpoint.config())); scheme) {
      facts.format += scheme->layout == TransposedScheme::Layout::kGptq ? ", GPTQ" : ", AWQ";
    }
    read_folder_facts(path, facts);
  }
  count_checkpoint(checkpoint, facts);
  const ModelConfig& config = description->config;
  facts.architecture = config.architecture;
  facts.vocab = config.vocab;
  facts.hidden = config.hidden;
  facts.layers = config.layers.size();
  facts.heads = config.heads;
  facts.kv_heads = config.kv_heads;
  facts.head_dim = config.head_dim;
  facts.feed_forward = config.feed_forward;
  facts.experts = config.experts;
  facts.expert_layers = static_cast<std::size_t>(std::ranges::count_if(config.layers, &LayerConfig::has_experts));
  facts.context_length = options.context_length != 0 ? options.context_length : config.context_length;
  for (const LayerConfig& layer : config.layers) {
    facts.sliding_window = std::max(facts.sliding_window, layer.window);
    if (layer.window > 0) ++facts.sliding_layers;
  }
  facts.has_tied_head = config.has_tied_head;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    if (!description->leaves_out(tensor.name)) facts.active_parameters += tensor.elements();
  }
  measure_projections(*projections, options, config.experts, facts);
  facts.kv_bytes_per_token = KvCache::bytes_per_block(config, kv_type_of(options)) / kernels::KvLayer::kBlockTokens;
  facts.int8_kv_bytes_per_token =
      KvCache::bytes_per_block(config, kernels::KvType::kInt8) / kernels::KvLayer::kBlockTokens;
  facts.kv_bytes_of_context = facts.kv_bytes_per_token * facts.context_length;
  return facts;
}

std::string format_facts(const ModelFacts& facts) {
  std::string text;
  const auto line = [&](std::string_view label, const std::string& value) {
    text += fmt::format("{:<16}{}\n", label, value);
  };
  line("architecture", facts.architecture);
  if (!facts.name.empty()) line("name", base::printable(facts.name));
  line("format", fmt::format("{}, {}", facts.format, mebibytes(facts.file_bytes)));
  std::string parameters = fmt::format("{:.1f} million", static_cast<double>(facts.parameters) / 1e6);
  if (facts.experts.count > 0) {
    parameters +=
        fmt::format(", of which a token meets {:.1f} million", static_cast<double>(facts.active_parameters) / 1e6);
  }
  line("parameters", parameters);
  line("layers", fmt::format("{} of hidden size {}, feed-forward {}", facts.layers, facts.hidden, facts.feed_forward));
  if (facts.experts.count > 0) line("experts", experts_text(facts));
  line("attention", fmt::format("{} heads of {} on {} key-value heads", facts.heads, facts.head_dim, facts.kv_heads));
  if (facts.sliding_window > 0) line("sliding window", fmt::format("{} tokens", facts.sliding_window));
  line("vocabulary", fmt::format("{}{}", facts.vocab, facts.has_tied_head ? ", output tied to the embedding" : ""));
  line("context", fmt::format("{} tokens", facts.context_length));
  line("tokenizer", facts.tokenizer.empty() ? "none" : base::printable(facts.tokenizer));
  if (facts.embedding.empty()) {
    line("chat template", facts.has_chat_template ? "yes" : "no");
  } else {
    line("embedding", facts.embedding);
  }
  text += "\ntype       tensors        elements           size\n";
  for (const TypeFacts& type : facts.types) {
    text += fmt::format("{:<10} {:>7} {:>15} {:>14}\n", type.type, type.tensors, type.elements, mebibytes(type.bytes));
  }
  text += "\nmemory\n";
  line("  weights", mebibytes(facts.packed_bytes) + " as packed for this processor");
  if (facts.expert_bytes > 0) {
    line("    at start", mebibytes(facts.packed_bytes - facts.expert_bytes) + "; each expert when it is first chosen");
  }
  if (!facts.embedding.empty()) return text;
  line("  KV per token",
       fmt::format("{:.1f} KiB; {:.1f} KiB with --kv-type int8", static_cast<double>(facts.kv_bytes_per_token) / 1024.0,
                   static_cast<double>(facts.int8_kv_bytes_per_token) / 1024.0));
  line("  KV of context",
       fmt::format("{} for one sequence of {} tokens", mebibytes(facts.kv_bytes_of_context), facts.context_length));
  return text;
}

}  // namespace autoglm::model
