// SPDX-License-Identifier: Apache-2.0
#include "model/load_encoder.h"

#include <algorithm>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "model/encoder.h"
#include "model/families/encoder_family.h"
#include "model/formats/checkpoint.h"
#include "model/sentence_folder.h"

namespace autoglm::model {
namespace {

constexpr std::uint64_t kMaxEncoderConfigBytes = 16ull << 20;

// Texts are as long as the embedder was made for, unless more is asked for, up to what the encoder has positions for.
Result<std::size_t> text_length(const EmbeddingModel& network, const SentenceSettings& settings, std::size_t asked) {
  if (asked > network.max_tokens()) {
    return fail(Code::kInvalidArgument,
                "a context of " + std::to_string(asked) + " tokens, but the model has positions for " +
                    std::to_string(network.max_tokens()),
                "context_length");
  }
  if (asked != 0) return asked;
  return settings.max_tokens == 0 ? network.max_tokens() : std::min(settings.max_tokens, network.max_tokens());
}

Result<LoadedEncoder> load(const std::filesystem::path& path, const LoadOptions& options) {
  Checkpoint checkpoint = TRY(Checkpoint::open(path));
  const EncoderFamily* const family = find_encoder_family(checkpoint);
  if (family == nullptr) {
    return fail(Code::kInvalidArgument, path.string() +
                                            " is no encoder: it makes no embeddings; run and serve it as a "
                                            "model that writes text");
  }
  const EncoderDescription description = TRY(describe_encoder(*family, checkpoint));
  LoadedEncoder loaded;
  if (!description.config.has_score) loaded.settings = TRY(read_sentence_settings(path, checkpoint));
  loaded.is_reranker = description.config.has_score;
  loaded.separators = description.config.separators;
  telemetry::StageTimer time(options.stages, telemetry::Stage::kLoadWeights);
  loaded.network = TRY(Encoder::make(std::move(checkpoint), description, loaded.settings, options));
  loaded.context_length = TRY(text_length(*loaded.network, loaded.settings, options.context_length));
  return loaded;
}

Result<std::shared_ptr<const text::Tokenizer>> load_words(const std::filesystem::path& path, std::size_t vocab) {
  std::error_code error;
  const bool is_gguf = !std::filesystem::is_directory(path, error) || TRY(find_gguf(path));
  if (!is_gguf && !std::filesystem::exists(path / "tokenizer.json", error)) {
    return std::shared_ptr<const text::Tokenizer>(text::Tokenizer::ids_only(vocab));
  }
  return TRY(load_text(path)).tokenizer;
}

}  // namespace

Result<bool> is_encoder(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error) || TRY(find_gguf(path))) {
    return find_encoder_family(TRY(Checkpoint::open(path))) != nullptr;
  }
  const json::Object config =
      TRY(read_object(path / "config.json", kMaxEncoderConfigBytes,
                      base::Budget({.bytes = kMaxEncoderConfigBytes, .steps = 4'000'000, .depth = 64})));
  return find_encoder_family(config) != nullptr;
}

Result<LoadedEncoder> load_encoder(const std::filesystem::path& path, const LoadOptions& options) {
  try {
    auto loaded = load(path, options);
    if (!loaded) {
      if (!loaded.error().where.empty()) return std::unexpected(std::move(loaded).error());
      return fail_in(path.string(), std::move(loaded).error());
    }
    telemetry::StageTimer time(options.stages, telemetry::Stage::kLoadTokenizer);
    loaded->tokenizer = TRY(load_words(path, loaded->network->vocab()));
    return loaded;
  } catch (const std::bad_alloc&) {
    return fail(Code::kExhausted, path.string() + ": not enough memory for its weights");
  }
}

Result<std::vector<float>> compute_embedding(LoadedEncoder& encoder, std::span<const TokenId> ids) {
  EmbeddingModel& network = *encoder.network;
  if (ids.empty() || ids.size() > network.max_tokens()) {
    return fail(Code::kInvalidArgument,
                std::to_string(ids.size()) + " ids; the model takes from 1 to " + std::to_string(network.max_tokens()));
  }
  for (const TokenId id : ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= network.vocab()) {
      return fail(Code::kInvalidArgument,
                  "the id " + std::to_string(id) + " is outside the vocabulary of " + std::to_string(network.vocab()));
    }
  }
  network.reserve(ids.size(), 1);
  const std::size_t length = ids.size();
  const std::span<const float> vector = network.forward({.tokens = ids, .lengths = {&length, 1}}).row(0);
  return std::vector<float>(vector.begin(), vector.end());
}

}  // namespace autoglm::model
