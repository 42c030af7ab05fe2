// SPDX-License-Identifier: Apache-2.0
// openautoglm quantize: makes a smaller model of a model, and tells what it costs.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "app/conversion.h"
#include "app/model_choice.h"
#include "app/prompt.h"
#include "app/running_model.h"
#include "app/terminal.h"
#include "app/text_file.h"
#include "app/verb.h"
#include "base/json.h"
#include "base/log.h"
#include "model/evaluate.h"
#include "model/load.h"
#include "model/quantize.h"

namespace autoglm::app {
namespace {

namespace fs = std::filesystem;

// Tokens of the text that are seen: 8,192 of them are scored.
constexpr std::size_t kEvalTokens = 8193;
constexpr std::size_t kWorst = 5;

struct QuantizeFlags {
  std::string model;
  bool may_pull = false;
  ConversionFlags conversion;
  std::string eval_file;
  bool as_json = false;
};

struct Evaluation {
  std::size_t tokens = 0;  // of the whole text
  model::Comparison comparison;
};

Result<Evaluation> evaluate(const fs::path& before, const fs::path& after, std::span<const model::TokenId> tokens,
                            const QuantizeFlags& flags) {
  model::LoadOptions options;
  options.isa = kernels::available_isas().back();
  options.threads = chosen_threads(flags.conversion.threads);
  const auto reference = TRY(model::load_network(before, options));
  const auto made = TRY(model::load_network(after, options));
  model::PerplexityOptions measuring;
  const bool is_seen = is_terminal(STDERR_FILENO);
  if (is_seen) {
    measuring.progress = [](std::size_t scored, std::size_t total) {
      fmt::print(stderr, "\r{} of {} tokens\x1b[K", scored, total);
    };
  }
  auto comparison = model::compare(*reference, *made, tokens.first(std::min(tokens.size(), kEvalTokens)), measuring);
  if (is_seen) fmt::print(stderr, "\r\x1b[K");
  return Evaluation{tokens.size(), TRY(std::move(comparison))};
}

void print_json(const QuantizeFlags& flags, const model::QuantizeReport& report,
                const std::optional<Evaluation>& evaluation) {
  json::Array tensors;
  for (const model::ConvertedTensor& tensor : report.tensors) {
    json::Object entry{{"name", tensor.name},
                       {"from", tensor.from},
                       {"to", tensor.to},
                       {"bytes_before", tensor.bytes_before},
                       {"bytes_after", tensor.bytes_after},
                       {"relative_rmse", tensor.relative_error}};
    if (!tensor.note.empty()) entry["note"] = tensor.note;
    tensors.push_back(std::move(entry));
  }
  json::Object root{{"output", flags.conversion.output},
                    {"parameters", report.parameters},
                    {"bytes_before", report.bytes_before},
                    {"bytes_after", report.bytes_after}};
  if (evaluation) {
    const auto& [reference, other, mean_kl] = evaluation->comparison;
    root["tokens"] = evaluation->tokens;
    root["tokens_scored"] = other.tokens_scored;
    root["perplexity_before"] = reference.perplexity;
    root["perplexity_after"] = other.perplexity;
    root["mean_kl"] = mean_kl;
  }
  root["tensors"] = std::move(tensors);
  fmt::print("{}\n", json::format(root));
}

void print_types(const model::QuantizeReport& report) {
  struct Sum {
    std::size_t tensors = 0;
    std::uint64_t before = 0, after = 0;
    double error = 0;
  };
  std::map<std::string, Sum> by_type;
  for (const model::ConvertedTensor& tensor : report.tensors) {
    Sum& sum = by_type[tensor.to];
    sum.tensors += 1;
    sum.before += tensor.bytes_before;
    sum.after += tensor.bytes_after;
    sum.error = std::max(sum.error, tensor.relative_error);
  }
  fmt::print("{:<8}{:>8}{:>12}{:>12}{:>16}\n", "type", "tensors", "before", "after", "largest error");
  for (const auto& [type, sum] : by_type) {
    fmt::print("{:<8}{:>8}{:>12}{:>12}{:>16.5f}\n", type, sum.tensors, format_bytes(sum.before),
               format_bytes(sum.after), sum.error);
  }
}

void print_worst(const model::QuantizeReport& report) {
  std::vector<const model::ConvertedTensor*> worst;
  for (const model::ConvertedTensor& tensor : report.tensors) {
    if (tensor.relative_error > 0) worst.push_back(&tensor);
  }
  std::ranges::sort(worst, std::greater(), &model::ConvertedTensor::relative_error);
  worst.resize(std::min(worst.size(), kWorst));
  if (!worst.empty()) fmt::print("\nroot mean square error, relative to the tensor's values\n");
  for (const model::ConvertedTensor* tensor : worst) {
    fmt::print("  {:.5f}  {}  {} -> {}\n", tensor->relative_error, base::printable(tensor->name), tensor->from,
               tensor->to);
  }
  std::map<std::string, std::size_t> notes;
  for (const model::ConvertedTensor& tensor : report.tensors) {
    if (!tensor.note.empty()) notes[fmt::format("in {}: {}", tensor.to, tensor.note)] += 1;
  }
  for (const auto& [note, count] : notes) fmt::print("{} tensor{} {}\n", count, count == 1 ? "" : "s", note);
}

void print_report(const QuantizeFlags& flags, const model::QuantizeReport& report,
                  const std::optional<Evaluation>& evaluation) {
  print_types(report);
  print_worst(report);
  const auto as_f32 = static_cast<double>(4 * report.parameters);
  fmt::print("\nsize        {} -> {}, {:.1f} % of F32\n", format_bytes(report.bytes_before),
             format_bytes(report.bytes_after), 100 * static_cast<double>(report.bytes_after) / as_f32);
  if (evaluation) {
    const auto& [reference, other, mean_kl] = evaluation->comparison;
    fmt::print("perplexity  {:.4f} -> {:.4f} ({:+.2f} %), KL divergence {:.5f}; {} of {} tokens scored\n",
               reference.perplexity, other.perplexity, (other.perplexity / reference.perplexity - 1) * 100, mean_kl,
               other.tokens_scored, evaluation->tokens);
  }
  fmt::print("wrote       {}\n", base::printable(flags.conversion.output));
}

Status run_quantize(const QuantizeFlags& flags) {
  const model::QuantizeOptions options = TRY(conversion_options(flags.conversion));
  std::string text;
  if (!flags.eval_file.empty()) text = TRY(read_text_file(flags.eval_file, "the text", "--eval"));
  const ModelChoice choice = TRY(choose_model(flags.model, flags.may_pull));
  if (choice.kind == ModelKind::kScript) {
    return fail(Code::kInvalidArgument, "a script has no weights to quantise", "--model-name");
  }
  std::vector<model::TokenId> tokens;
  if (!flags.eval_file.empty()) {
    const model::LoadedText words = TRY(model::load_text(choice.path));
    tokens = TRY(encode_plain(*words.tokenizer, text));
    if (tokens.size() < 2) return fail(Code::kInvalidArgument, "the text has fewer than two tokens", "--eval");
  }
  const model::QuantizeReport report = TRY(convert(choice.path, flags.conversion, options));
  std::optional<Evaluation> evaluation;
  if (!tokens.empty()) evaluation = TRY(evaluate(choice.path, flags.conversion.output, tokens, flags));
  flags.as_json ? print_json(flags, report, evaluation) : print_report(flags, report, evaluation);
  return {};
}

}  // namespace

void add_quantize(CLI::App& app) {
  auto* verb = app.add_subcommand("quantize", "Make a smaller model of a model");
  auto flags = std::make_shared<QuantizeFlags>();
  verb->add_option("--model-name,--model", flags->model, "A model's name or path")->required();
  add_may_pull(*verb, flags->may_pull);
  verb->add_option("--output-dir", flags->conversion.output, "The folder to make; must not exist or be empty")
      ->required()
      ->type_name("FOLDER");
  verb->add_option("--dtype", flags->conversion.dtype, "int8, int4, fp16 or bf16")
      ->required()
      ->check(CLI::IsMember({"int8", "int4", "fp16", "bf16"}));
  verb->add_option("--scheme", flags->conversion.scheme, "symmetric, or asymmetric: integers with a zero point")
      ->check(CLI::IsMember({"symmetric", "asymmetric"}))
      ->capture_default_str();
  verb->add_option("--group-size", flags->conversion.group,
                   "Columns that share a scale, or channel: a whole row; default 32, and channel for int8 safetensors")
      ->type_name("N|channel");
  verb->add_option("--format", flags->conversion.format, "gguf or safetensors; default: that of the model")
      ->check(CLI::IsMember({"gguf", "safetensors"}));
  verb->add_option("--eval", flags->eval_file,
                   "A text, UTF-8: perplexity before and after over its first 8192 tokens, and KL divergence")
      ->type_name("FILE");
  add_threads(*verb, flags->conversion.threads);
  verb->add_flag("--json", flags->as_json, "One JSON object, with every tensor");
  set_action(*verb, [flags] { return run_quantize(*flags); });
}

}  // namespace autoglm::app
