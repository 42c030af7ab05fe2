// SPDX-License-Identifier: Apache-2.0
#include "parity/golden.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/check.h"

namespace autoglm::parity {
namespace {

namespace fs = std::filesystem;

template <typename T>
std::vector<T> numbers(const json::Object& object, std::string_view key) {
  std::vector<T> result;
  const json::Value* const value = object.if_contains(key);
  if (value == nullptr) return result;
  for (const json::Value& number : value->as_array()) result.push_back(static_cast<T>(number.to_number<double>()));
  return result;
}

GoldenPrompt read_prompt(const json::Object& object) {
  GoldenPrompt prompt;
  prompt.ids = numbers<model::TokenId>(object, "ids");
  prompt.last_logits = numbers<float>(object, "last_logits");
  prompt.top_ids = numbers<model::TokenId>(object, "top50_ids");
  prompt.top_logits = numbers<float>(object, "top50_logits");
  prompt.greedy = numbers<model::TokenId>(object, "greedy");
  prompt.greedy_gap = numbers<float>(object, "greedy_gap");
  if (const json::Value* at = object.if_contains("logits_at"); at != nullptr) {
    for (const auto& entry : at->as_object()) {
      prompt.logits_at[std::stoul(std::string(entry.key()))] = numbers<float>(at->as_object(), entry.key());
    }
  }
  if (const json::Value* norms = object.if_contains("hidden_norms"); norms != nullptr) {
    for (const auto& entry : norms->as_object()) {
      prompt.hidden_norms[std::string(entry.key())] = numbers<float>(norms->as_object(), entry.key());
    }
  }
  return prompt;
}

Golden read(const fs::path& path, const fs::path& model) {
  const json::Value value = read_json(path);
  const json::Object& object = value.as_object();
  Golden golden;
  golden.model = model;
  if (const json::Value* atol = object.if_contains("atol_f32"); atol != nullptr) {
    golden.atol_f32 = static_cast<float>(atol->to_number<double>());
  }
  for (const json::Value& prompt : object.at("prompts").as_array()) {
    golden.prompts.push_back(read_prompt(prompt.as_object()));
  }
  CHECK(!golden.prompts.empty()) << path.string();
  if (const json::Value* nll = object.if_contains("nll"); nll != nullptr) {
    golden.nll_ids = numbers<model::TokenId>(nll->as_object(), "ids");
    golden.nll_mean = nll->as_object().at("mean").to_number<double>();
  }
  return golden;
}

}  // namespace

fs::path golden_folder() { return fs::path(TESTDATA_DIR) / "golden"; }

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  CHECK(file.good()) << path.string();
  return {std::istreambuf_iterator<char>(file), {}};
}

json::Value read_json(const fs::path& path) {
  base::Budget budget;
  auto value = json::parse(read_text(path), budget);
  CHECK(value) << path.string();
  return std::move(*value);
}

std::vector<model::TokenId> ids_of(const json::Value& list) {
  std::vector<model::TokenId> ids;
  for (const json::Value& id : list.as_array()) ids.push_back(static_cast<model::TokenId>(id.as_int64()));
  return ids;
}

fs::path real_model(const std::string& file) {
  const char* const folder = std::getenv("OPENAUTOGLM_TEST_MODELS");
  CHECK(folder != nullptr) << "OPENAUTOGLM_TEST_MODELS must name a folder with " << file;
  return fs::path(folder) / file;
}

std::vector<std::string> golden_names(const std::string& kind) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(golden_folder() / kind)) {
    if (entry.is_directory() || entry.path().extension() == ".gguf") names.push_back(entry.path().stem().string());
  }
  std::ranges::sort(names);
  return names;
}

Golden read_golden(const std::string& kind, const std::string& name) {
  const fs::path folder = golden_folder() / kind;
  Golden golden = fs::is_directory(folder / name) ? read(folder / name / "golden.json", folder / name)
                                                  : read(folder / (name + ".golden.json"), folder / (name + ".gguf"));
  golden.name = name;
  return golden;
}

Golden read_real_golden(const std::string& name, const fs::path& file) {
  Golden golden = read(golden_folder() / "real" / name / "golden.json", file);
  golden.name = name;
  return golden;
}

}  // namespace autoglm::parity
