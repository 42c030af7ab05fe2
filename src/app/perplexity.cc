// SPDX-License-Identifier: Apache-2.0
// openautoglm perplexity: how well a model predicts a text, and what the fast arithmetic costs.
#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "app/model_choice.h"
#include "app/prompt.h"
#include "app/running_model.h"
#include "app/terminal.h"
#include "app/text_file.h"
#include "app/verb.h"
#include "base/json.h"
#include "model/evaluate.h"
#include "model/load.h"

namespace autoglm::app {
namespace {

struct PerplexityFlags {
  std::string model;
  bool may_pull = false;
  std::string file;
  std::string compute = "fast";
  std::string kv_type = "f16";
  std::string isa;
  int threads = 0;
  std::size_t window = 0;
  std::size_t stride = 0;
  bool as_json = false;
};

Result<std::vector<model::TokenId>> read_tokens(const std::filesystem::path& path, const std::string& text_path) {
  const std::string text = TRY(read_text_file(text_path, "the text", "--file"));
  const auto loaded = TRY(model::load_text(path));
  return encode_plain(*loaded.tokenizer, text);
}

Result<model::Perplexity> measure(const std::filesystem::path& path, const std::vector<model::TokenId>& tokens,
                                  const PerplexityFlags& flags, const std::string& compute) {
  model::LoadOptions options;
  options.isa = TRY(chosen_isa(flags.isa));
  // Of both, exact is what the other is compared with.
  const bool is_reference = flags.compute == "both" && compute == "exact";
  TRY(choose_precision(compute, is_reference ? "f16" : flags.kv_type, options));
  options.threads = chosen_threads(flags.threads);
  const auto network = TRY(model::load_network(path, options));
  model::PerplexityOptions measuring{.window = flags.window, .stride = flags.stride, .progress = {}};
  const bool is_seen = is_terminal(STDERR_FILENO);
  if (is_seen) {
    measuring.progress = [](std::size_t scored, std::size_t total) {
      fmt::print(stderr, "\r{} of {} tokens\x1b[K", scored, total);
    };
  }
  auto result = model::perplexity(*network, tokens, measuring);
  if (is_seen) fmt::print(stderr, "\r\x1b[K");
  if (!result && (result.error().where == "window" || result.error().where == "stride")) {
    result.error().where = "--" + result.error().where;  // an option that is refused is a flag that was used wrongly
  }
  return result;
}

void print_result(const char* compute, const model::Perplexity& result, bool as_json) {
  if (as_json) {
    fmt::print("{}\n", json::format(json::Object{{"compute", compute},
                                                 {"window", result.window},
                                                 {"stride", result.stride},
                                                 {"tokens", result.tokens},
                                                 {"tokens_scored", result.tokens_scored},
                                                 {"mean_nll", result.mean_nll},
                                                 {"perplexity", result.perplexity}}));
    return;
  }
  fmt::print("{:<6} perplexity {:.4f}  mean NLL {:.6f}  window {}, stride {}, {} of {} tokens scored\n", compute,
             result.perplexity, result.mean_nll, result.window, result.stride, result.tokens_scored, result.tokens);
}

Status run_perplexity(const PerplexityFlags& flags) {
  const ModelChoice choice = TRY(choose_model(flags.model, flags.may_pull));
  if (choice.kind == ModelKind::kScript)
    return fail(Code::kInvalidArgument, "a script has no weights to measure", "--model");
  const auto tokens = TRY(read_tokens(choice.path, flags.file));
  double means[2] = {};
  for (const char* compute : {"fast", "exact"}) {
    const bool is_exact = compute[0] == 'e';
    if (flags.compute != "both" && flags.compute != compute) continue;
    const auto result = TRY(measure(choice.path, tokens, flags, compute));
    means[is_exact ? 1 : 0] = result.mean_nll;
    print_result(compute, result, flags.as_json);
  }
  if (flags.compute == "both" && !flags.as_json) {
    fmt::print("fast differs from exact by {:+.3f} % in mean NLL\n", (means[0] / means[1] - 1) * 100);
  }
  return {};
}

}  // namespace

void add_perplexity(CLI::App& app) {
  auto* verb = app.add_subcommand("perplexity", "How well a model predicts a text");
  auto flags = std::make_shared<PerplexityFlags>();
  verb->add_option("--model", flags->model, "A model's name or path")->required();
  add_may_pull(*verb, flags->may_pull);
  verb->add_option("--file", flags->file, "The text, UTF-8")->required()->type_name("FILE");
  verb->add_option("--compute", flags->compute, "fast, exact or both")
      ->check(CLI::IsMember({"fast", "exact", "both"}))
      ->capture_default_str();
  add_kv_type(*verb, flags->kv_type);
  verb->add_option("--window", flags->window, "Tokens seen at once; 0 = the smaller of 2048 and the context length")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str();
  verb->add_option("--stride", flags->stride, "Tokens scored by each further window; 0 = half the window")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str();
  add_isa(*verb, flags->isa);
  add_threads(*verb, flags->threads);
  verb->add_flag("--json", flags->as_json, "One line of JSON each");
  set_action(*verb, [flags] { return run_perplexity(*flags); });
}

}  // namespace autoglm::app
