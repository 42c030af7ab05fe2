// SPDX-License-Identifier: Apache-2.0
#include "model/sentence_folder.h"

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "base/log.h"
#include "model/config.h"
#include "model/families/gguf_config.h"
#include "model/families/json_config.h"
#include "model/formats/checkpoint.h"

namespace autoglm::model {
namespace {

constexpr std::uint64_t kMaxSettingsBytes = 1ull << 20;
constexpr std::size_t kMaxModules = 16;
constexpr std::size_t kMaxDimensionLists = 64;
constexpr CountRange kMaxSequence{"longest text (max_seq_length)", 1, 1'048'576};

base::Budget settings_budget() { return base::Budget({.bytes = kMaxSettingsBytes, .steps = 1'000'000, .depth = 16}); }

// "sentence_transformers.models.Pooling" and what later versions call it: the last word counts.
std::string_view last_word(std::string_view type) { return type.substr(type.rfind('.') + 1); }

// A folder below this one, by a relative path that stays in it.
Result<std::filesystem::path> folder_of(const json::Object& module) {
  const std::filesystem::path path = std::string(TRY(find_text(module, "path")).value_or(""));
  for (const auto& part : path) {
    if (path.is_absolute() || part == "..") {
      return fail(Code::kCorrupt,
                  "modules.json: the path \"" + base::printable(path.string()) + "\" leaves the folder");
    }
  }
  return path;
}

}  // namespace

Result<SentenceModules> parse_modules(std::string_view text) {
  base::Budget budget = settings_budget();
  auto value = json::parse(text, budget);
  if (!value) return fail(Code::kCorrupt, "modules.json: " + value.error().message);
  if (!value->is_array() || value->get_array().size() > kMaxModules) {
    return fail(Code::kCorrupt, "modules.json is not a list of up to " + std::to_string(kMaxModules) + " modules");
  }
  SentenceModules modules;
  // The order that we run, each step at most once.
  constexpr std::array<std::string_view, 3> kOrder{"Transformer", "Pooling", "Normalize"};
  std::size_t next = 0;
  for (const json::Value& entry : value->get_array()) {
    if (!entry.is_object()) return fail(Code::kCorrupt, "modules.json: a module is not an object");
    const std::string_view type = last_word(TRY(find_text(entry.get_object(), "type")).value_or(""));
    std::size_t step = next;
    while (step < kOrder.size() && kOrder[step] != type) ++step;
    if (step == kOrder.size()) {
      return refuse("modules.json: the module \"" + base::printable(type) +
                    "\" is not supported here; an encoder, Pooling and Normalize are, in this order");
    }
    if (type == "Pooling") modules.pooling = TRY(folder_of(entry.get_object()));
    if (type == "Normalize") modules.is_normalised = true;
    if (type == "Transformer" && !TRY(folder_of(entry.get_object())).empty()) {
      return refuse("modules.json: an encoder in a folder of its own is not supported");
    }
    next = step + 1;
  }
  if (modules.pooling.empty()) return refuse("modules.json names no Pooling module with a folder");
  return modules;
}

Result<Pooling> parse_pooling(const json::Object& config) {
  std::optional<Pooling> pooling;
  for (const auto& entry : config) {
    const std::string_view key(entry.key().data(), entry.key().size());
    if (!key.starts_with("pooling_mode_") || !TRY(find_flag(config, key)).value_or(false)) continue;
    const bool is_first = key == "pooling_mode_cls_token";
    if (!is_first && key != "pooling_mode_mean_tokens") {
      return refuse("the pooling \"" + base::printable(key) + "\" is not supported; cls and mean are");
    }
    if (pooling) return refuse("vectors of several poolings side by side are not supported");
    pooling = is_first ? Pooling::kFirst : Pooling::kMean;
  }
  if (!pooling) return fail(Code::kCorrupt, "the config of the pooling names none");
  return *pooling;
}

Status read_dimensions(const json::Object& config, SentenceSettings& settings) {
  settings.may_cut_anywhere = TRY(find_flag(config, "is_matryoshka")).value_or(false);
  const json::Value* const list = config.if_contains("matryoshka_dimensions");
  if (list == nullptr || list->is_null()) return {};
  if (!list->is_array() || list->get_array().size() > kMaxDimensionLists) {
    return fail(Code::kCorrupt, "config.json: \"matryoshka_dimensions\" is not a list of up to " +
                                    std::to_string(kMaxDimensionLists) + " numbers");
  }
  settings.may_cut_anywhere = false;
  for (const json::Value& entry : list->get_array()) {
    if (!entry.is_int64() || entry.get_int64() < 1) {
      return fail(Code::kCorrupt, "config.json: \"matryoshka_dimensions\" has what is no dimension");
    }
    settings.dimensions.push_back(static_cast<std::size_t>(entry.get_int64()));
  }
  return {};
}

Result<SentenceSettings> read_sentence_folder(const std::filesystem::path& folder) {
  SentenceSettings settings;
  const json::Object limits =
      TRY(read_object(folder / "sentence_bert_config.json", kMaxSettingsBytes, settings_budget()));
  settings.max_tokens = TRY(find_count(limits, "max_seq_length", kMaxSequence)).value_or(0);
  const auto text = TRY(read_small_file(folder / "modules.json", kMaxSettingsBytes));
  if (!text) return settings;
  const SentenceModules modules = TRY(parse_modules(*text));
  settings.is_normalised = modules.is_normalised;
  const std::filesystem::path config = modules.pooling / "config.json";
  const auto pooling = parse_pooling(TRY(read_object(folder / config, kMaxSettingsBytes, settings_budget())));
  if (!pooling) return fail_in(config.string(), pooling.error());
  settings.pooling = *pooling;
  return settings;
}

Result<SentenceSettings> read_sentence_settings(const std::filesystem::path& path, const Checkpoint& checkpoint) {
  if (checkpoint.gguf() == nullptr) {
    SentenceSettings settings = TRY(read_sentence_folder(path));
    TRY(read_dimensions(checkpoint.config(), settings));
    return settings;
  }
  // Source of the numbers: gguf-py, constants.py, PoolingType. 0 is none, which leaves it to the program.
  const GgufFile& file = *checkpoint.gguf();
  const std::uint64_t pooling = TRY(file.find_uint(architecture_key(file, "pooling_type"))).value_or(0);
  if (pooling > 2) {
    return refuse("the pooling type " + std::to_string(pooling) + " is not supported; 1 (mean) and 2 (cls) are");
  }
  return SentenceSettings{.pooling = pooling == 2 ? Pooling::kFirst : Pooling::kMean, .is_normalised = true};
}

}  // namespace autoglm::model
