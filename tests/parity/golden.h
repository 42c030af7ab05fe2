// SPDX-License-Identifier: Apache-2.0
// The committed goldens as plain values: prompts with the logits, greedy tokens and losses that transformers computed.
// What each field means: tests/testdata/golden/README.md. For the parity tests.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/batch.h"

namespace autoglm::parity {

struct GoldenPrompt {
  std::vector<model::TokenId> ids;
  std::vector<float> last_logits;                       // of the last position, all of the vocabulary
  std::map<std::size_t, std::vector<float>> logits_at;  // by position; may be empty
  std::vector<model::TokenId> top_ids;                  // instead of last_logits, with their logits
  std::vector<float> top_logits;
  std::vector<model::TokenId> greedy;
  std::vector<float> greedy_gap;                           // best minus second logit at each step
  std::map<std::string, std::vector<float>> hidden_norms;  // by stage: of the residual stream, a number a token
};

struct Golden {
  std::string name;
  std::filesystem::path model;  // what to load
  float atol_f32 = 0;
  std::vector<GoldenPrompt> prompts;
  std::vector<model::TokenId> nll_ids;  // a longer text and its mean loss; empty where there is none
  double nll_mean = 0;
};

std::filesystem::path golden_folder();
/// A committed file, whole; a missing or broken one ends the test program.
std::string read_text(const std::filesystem::path& path);
json::Value read_json(const std::filesystem::path& path);
std::vector<model::TokenId> ids_of(const json::Value& list);
/// `file` in the folder that OPENAUTOGLM_TEST_MODELS names; without that variable the test program ends. For suites
/// named *RealModel*, which are registered only where it is set.
std::filesystem::path real_model(const std::string& file);
/// The names of every golden below `kind`: "tiny" or "gguf", sorted.
std::vector<std::string> golden_names(const std::string& kind);
/// Reads tiny/NAME/golden.json or gguf/NAME.golden.json; a missing or broken one ends the test program.
Golden read_golden(const std::string& kind, const std::string& name);
/// real/NAME/golden.json for the model in `file`.
Golden read_real_golden(const std::string& name, const std::filesystem::path& file);

}  // namespace autoglm::parity
