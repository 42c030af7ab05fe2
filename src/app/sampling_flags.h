// SPDX-License-Identifier: Apache-2.0
// The flags that say how a chat on the terminal samples. Main thread.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <optional>
#include <string>

#include "app/chat.h"

namespace autoglm::app {

struct SamplingFlags {
  std::string system;
  // Low temperatures suit small models: what SmolLM2's model card recommends.
  float temperature = 0.2f;
  float top_p = 0.9f;
  int top_k = 0;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
  std::optional<std::uint64_t> seed;
  std::size_t max_tokens = 0;
};

/// `group` is the heading that they stand under in --help.
void add_sampling_flags(CLI::App& verb, SamplingFlags& flags, const std::string& group);
ChatOptions chat_options(const SamplingFlags& flags);

}  // namespace autoglm::app
