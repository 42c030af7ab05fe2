// SPDX-License-Identifier: Apache-2.0
#include "app/sampling_flags.h"

#include "generation/validate.h"

namespace autoglm::app {

void add_sampling_flags(CLI::App& verb, SamplingFlags& flags, const std::string& group) {
  verb.option_defaults()->group(group);
  verb.add_option("--system", flags.system, "The system prompt")->type_name("TEXT");
  verb.add_option("--temperature", flags.temperature, "0 = always the most likely token")
      ->check(CLI::Range(0.0f, generation::kMaxTemperature))
      ->capture_default_str();
  verb.add_option("--top-p", flags.top_p, "Sample among the most likely tokens of this total probability")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  verb.add_option("--top-k", flags.top_k, "Sample among this many most likely tokens; 0 = all")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  verb.add_option("--min-p", flags.min_p, "Leave out tokens of less than this share of the likeliest one's probability")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  verb.add_option("--repetition-penalty", flags.repetition_penalty, "Above 1 makes repetition less likely")
      ->check(CLI::Range(1 / generation::kMaxRepetitionPenalty, generation::kMaxRepetitionPenalty))
      ->capture_default_str();
  verb.add_option("--seed", flags.seed, "The same seed gives the same answer; default: drawn each time")
      ->check(CLI::Validator(
          [](const std::string& text) {
            return text.starts_with('-') ? "a whole number from 0 was expected, not " + text : std::string();
          },
          ""));
  verb.add_option("--max-tokens", flags.max_tokens, "Longest answer, as far as the context leaves room; 0 = all of it")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str();
  verb.option_defaults()->group("Options");
}

ChatOptions chat_options(const SamplingFlags& flags) {
  ChatOptions options;
  options.system = flags.system;
  options.max_tokens = flags.max_tokens;
  options.sampling.temperature = flags.temperature;
  options.sampling.top_p = flags.top_p;
  options.sampling.top_k = flags.top_k;
  options.sampling.min_p = flags.min_p;
  options.sampling.repetition_penalty = flags.repetition_penalty;
  options.sampling.seed = flags.seed;
  return options;
}

}  // namespace autoglm::app
