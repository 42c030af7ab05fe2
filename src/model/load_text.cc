// SPDX-License-Identifier: Apache-2.0
// Tokenizer, chat template and end tokens of a checkpoint, from GGUF metadata or from the JSON files of a folder.
#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/json.h"
#include "model/config.h"
#include "model/formats/checkpoint.h"
#include "model/load.h"

namespace autoglm::model {
namespace {

using std::filesystem::path;

constexpr std::uint64_t kMaxTokenizerBytes = 256ull << 20;
constexpr std::uint64_t kMaxTemplateBytes = 4ull << 20;
constexpr std::uint64_t kMaxMerges = 4'194'304;

base::Budget tokenizer_budget() { return base::Budget({.bytes = 1ull << 30, .steps = 200'000'000, .depth = 64}); }

class EndTokens final {
 public:
  void add(std::int64_t id) {
    if (id >= 0 && id <= std::numeric_limits<TokenId>::max()) ids_.push_back(static_cast<TokenId>(id));
  }
  /// `eos_token_id` of a config: an integer or a list of them; anything else says nothing.
  void add_from(const json::Object& config) {
    // A model that sees keeps what its language part says within.
    if (const json::Value* text = config.if_contains("text_config"); text != nullptr && text->is_object()) {
      add_from(text->get_object());
    }
    const json::Value* const value = config.if_contains("eos_token_id");
    if (value == nullptr) return;
    if (value->is_int64()) add(value->get_int64());
    if (!value->is_array()) return;
    for (const json::Value& entry : value->get_array()) {
      if (entry.is_int64()) add(entry.get_int64());
    }
  }
  void add_from(const text::Tokenizer& tokenizer) {
    for (const TokenId id : tokenizer.eos()) add(id);
  }
  std::vector<TokenId> rising() && {
    std::ranges::sort(ids_);
    const auto repeated = std::ranges::unique(ids_);
    ids_.erase(repeated.begin(), repeated.end());
    return std::move(ids_);
  }

 private:
  std::vector<TokenId> ids_;
};

Result<text::GgufVocabulary> read_vocabulary(const GgufFile& file) {
  text::GgufVocabulary vocabulary;
  vocabulary.model = TRY(file.get_string("tokenizer.ggml.model"));
  vocabulary.pre = TRY(file.find_string("tokenizer.ggml.pre")).value_or("");
  vocabulary.tokens = TRY(file.find_strings("tokenizer.ggml.tokens", ranges::kVocab.max));
  vocabulary.scores = TRY(file.find_floats("tokenizer.ggml.scores", ranges::kVocab.max));
  vocabulary.token_types = TRY(file.find_ints("tokenizer.ggml.token_type", ranges::kVocab.max));
  vocabulary.merges = TRY(file.find_strings("tokenizer.ggml.merges", kMaxMerges));
  const auto id = [&](const char* key) -> Result<std::int32_t> {
    const auto value = TRY(file.find_int(key));
    if (!value || *value == -1 || *value == 0xffff'ffff) return -1;  // how writers spell "none"
    if (*value < 0 || static_cast<std::uint64_t>(*value) >= vocabulary.tokens.size()) {
      return fail(Code::kCorrupt, "metadata key \"" + std::string(key) + "\" is " + std::to_string(*value) +
                                      ", outside the vocabulary of " + std::to_string(vocabulary.tokens.size()));
    }
    return static_cast<std::int32_t>(*value);
  };
  vocabulary.bos = TRY(id("tokenizer.ggml.bos_token_id"));
  vocabulary.eos = TRY(id("tokenizer.ggml.eos_token_id"));
  vocabulary.eot = TRY(id("tokenizer.ggml.eot_token_id"));
  vocabulary.eom = TRY(id("tokenizer.ggml.eom_token_id"));
  vocabulary.unknown = TRY(id("tokenizer.ggml.unknown_token_id"));
  vocabulary.padding = TRY(id("tokenizer.ggml.padding_token_id"));
  vocabulary.add_bos = TRY(file.find_bool("tokenizer.ggml.add_bos_token"));
  vocabulary.add_eos = TRY(file.find_bool("tokenizer.ggml.add_eos_token")).value_or(false);
  vocabulary.add_space_prefix = TRY(file.find_bool("tokenizer.ggml.add_space_prefix")).value_or(true);
  if (vocabulary.model == "bert") {
    vocabulary.lowercase = TRY(file.find_bool("tokenizer.ggml.normalizer.lowercase")).value_or(true);
    const auto strips = TRY(file.find_bool("tokenizer.ggml.normalizer.strip_accents"));
    vocabulary.strip_accents = strips.value_or(vocabulary.lowercase);
    // A text stands between these two; files name them, or not, and spell them as BERT does. The key has that letter.
    const auto named = [&](std::int32_t by_key, std::string_view spelling) {
      const auto found = std::ranges::find(vocabulary.tokens, spelling);
      return by_key >= 0 || found == vocabulary.tokens.end()
                 ? by_key
                 : static_cast<std::int32_t>(found - vocabulary.tokens.begin());
    };
    const std::int32_t first = TRY(id("tokenizer.ggml.cls_token_id"));
    vocabulary.bos = named(first >= 0 ? first : vocabulary.bos, "[CLS]");
    vocabulary.eos = named(TRY(id("tokenizer.ggml.seperator_token_id")), "[SEP]");
    vocabulary.unknown = named(vocabulary.unknown, "[UNK]");
    vocabulary.add_bos = vocabulary.add_eos = true;
  }
  return vocabulary;
}

std::string spelling(const text::Tokenizer& tokenizer, TokenId id) {
  return id < 0 ? std::string() : std::string(tokenizer.token_bytes(id));
}

Result<LoadedText> text_of_gguf(const GgufFile& file) {
  LoadedText loaded;
  const text::GgufVocabulary vocabulary = TRY(read_vocabulary(file));
  base::Budget budget = tokenizer_budget();
  loaded.tokenizer = TRY(text::Tokenizer::from_gguf(vocabulary, budget));
  if (const auto source = TRY(file.find_string("tokenizer.chat_template")); source) {
    if (source->size() > kMaxTemplateBytes) return fail(Code::kExhausted, "the chat template is too large");
    loaded.tool_format = text::tool_format_of(*source);
    loaded.chat_template = TRY(text::ChatTemplate::parse(*source, spelling(*loaded.tokenizer, vocabulary.bos),
                                                         spelling(*loaded.tokenizer, vocabulary.eos)));
  }
  EndTokens ends;
  ends.add_from(*loaded.tokenizer);
  loaded.eos = std::move(ends).rising();
  return loaded;
}

// "bos_token" and its like: a string, or an object with the string as "content".
std::string token_text(const json::Object& config, std::string_view key) {
  const json::Value* value = config.if_contains(key);
  if (value != nullptr && value->is_object()) value = value->get_object().if_contains("content");
  return value != nullptr && value->is_string() ? std::string(json::view(value->get_string())) : std::string();
}

// The template named "default", or the only one, of tokenizer_config.json.
std::optional<std::string> template_of(const json::Object& config) {
  const json::Value* const value = config.if_contains("chat_template");
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return std::string(json::view(value->get_string()));
  if (!value->is_array()) return std::nullopt;
  std::optional<std::string> found;
  for (const json::Value& entry : value->get_array()) {
    if (!entry.is_object()) continue;
    const std::string name = token_text(entry.get_object(), "name");
    if (!found || name == "default") found = token_text(entry.get_object(), "template");
    if (name == "default") break;
  }
  return found;
}

Result<LoadedText> text_of_folder(const path& folder, std::string_view tokenizer_json) {
  const auto config_json = TRY(read_small_file(folder / "tokenizer_config.json", kMaxTokenizerBytes));
  const json::Object config =
      TRY(read_object(folder / "tokenizer_config.json", kMaxTokenizerBytes, tokenizer_budget()));
  LoadedText loaded;
  base::Budget budget = tokenizer_budget();
  loaded.tokenizer = TRY(text::Tokenizer::from_json(tokenizer_json, config_json.value_or(""), budget));
  auto source = TRY(read_small_file(folder / "chat_template.jinja", kMaxTemplateBytes));
  if (!source) source = template_of(config);
  if (source) {
    loaded.tool_format = text::tool_format_of(*source);
    loaded.chat_template =
        TRY(text::ChatTemplate::parse(*source, token_text(config, "bos_token"), token_text(config, "eos_token")));
  }
  EndTokens ends;
  ends.add_from(TRY(read_object(folder / "config.json", kMaxTokenizerBytes, tokenizer_budget())));
  ends.add_from(TRY(read_object(folder / "generation_config.json", kMaxTokenizerBytes, tokenizer_budget())));
  ends.add_from(*loaded.tokenizer);
  loaded.eos = std::move(ends).rising();
  return loaded;
}

// A checkpoint without tokenizer.json gives only what its configs say, and no tokenizer.
Result<LoadedText> read_text(const path& where) {
  std::error_code error;
  if (std::filesystem::is_directory(where, error)) {
    const auto tokenizer_json = TRY(read_small_file(where / "tokenizer.json", kMaxTokenizerBytes));
    if (tokenizer_json) {
      auto loaded = text_of_folder(where, *tokenizer_json);
      if (!loaded) return fail_in(where.string(), std::move(loaded).error());
      return loaded;
    }
  }
  const Checkpoint checkpoint = TRY(Checkpoint::open(where));
  if (checkpoint.gguf() == nullptr) {
    LoadedText loaded;
    EndTokens ends;
    ends.add_from(checkpoint.config());
    ends.add_from(checkpoint.generation_config());
    loaded.eos = std::move(ends).rising();
    return loaded;
  }
  auto loaded = text_of_gguf(*checkpoint.gguf());
  if (!loaded) return fail_in(where.string(), std::move(loaded).error());
  return loaded;
}

}  // namespace

Result<LoadedText> load_text(const path& where) {
  LoadedText words = TRY(read_text(where));
  if (words.tokenizer == nullptr) {
    return fail(Code::kInvalidArgument, where.string() + " has no tokenizer.json");
  }
  return words;
}

Result<LoadedModel> load_model(const path& where, const LoadOptions& options) {
  // The words first: they take a moment only, and a checkpoint whose words are broken is not worth packing.
  telemetry::StageTimer time(options.stages, telemetry::Stage::kLoadTokenizer);
  LoadedText words = TRY(read_text(where));
  time.stop();
  LoadedModel model;
  model.network = TRY(load_network(where, options));
  model.tokenizer = std::move(words.tokenizer);
  if (model.tokenizer == nullptr) model.tokenizer = text::Tokenizer::ids_only(model.network->vocab());
  model.chat_template = std::move(words.chat_template);
  model.tool_format = words.tool_format;
  model.eos = std::move(words.eos);
  std::erase_if(model.eos, [&](TokenId id) { return static_cast<std::size_t>(id) >= model.network->vocab(); });
  return model;
}

}  // namespace autoglm::model
