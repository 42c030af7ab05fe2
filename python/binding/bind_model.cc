// SPDX-License-Identifier: Apache-2.0
// What Python sees of a model: names, defaults and docstrings.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "binding/failure.h"
#include "binding/generation.h"
#include "binding/model.h"
#include "kernels/cpu.h"
#include "text/grammar.h"

namespace autoglm::python {
namespace {

namespace nb = nanobind;
using Ids = std::vector<std::int32_t>;
using OptionalText = std::optional<std::string>;

void check_choice(const std::string& value, std::initializer_list<std::string_view> allowed, const char* where) {
  std::string list;
  for (const std::string_view each : allowed) {
    if (value == each) return;
    list += (list.empty() ? "" : " or ") + std::string(each);
  }
  throw Failure({Code::kInvalidArgument, std::string(where) + " is " + list + ", not '" + value + "'", where});
}

std::unique_ptr<Model> open_model(const std::string& reference, int threads, const std::string& compute,
                                  const std::string& kv_type, const std::string& isa, std::size_t context_length,
                                  const std::string& kv_memory, std::size_t max_batch_size,
                                  std::size_t max_batch_tokens, bool prefix_cache) {
  check_choice(compute, {"fast", "exact"}, "compute");
  check_choice(kv_type, {"f16", "int8"}, "kv_type");
  app::EngineFlags flags;
  flags.model = reference;
  flags.threads = threads;
  flags.compute = compute;
  flags.kv_type = kv_type;
  flags.isa = isa;
  flags.context_length = context_length;
  flags.kv_memory = kv_memory;
  flags.max_batch_size = max_batch_size;
  flags.max_batch_tokens = max_batch_tokens;
  flags.has_prefix_cache = prefix_cache;
  return std::make_unique<Model>(std::move(flags));
}

// Compiled without the GIL: a large schema takes milliseconds.
std::shared_ptr<const text::Grammar> grammar_of(const std::string& schema, const app::RunningModel& running) {
  const nb::gil_scoped_release released;
  return take(text::Grammar::from_json_schema(schema, running.generator->card().tokenizer));
}

struct Asked {
  Ids prompt;
  std::size_t max_new_tokens = 0;
  generation::Sampling sampling;
  std::vector<std::string> stop;
  Ids stop_token_ids;
  bool ignore_eos = false;
  OptionalText schema;
  std::optional<std::size_t> logprobs;
  bool skip_special_tokens = true;
};

std::unique_ptr<Generation> submit(Model& model, Asked asked) {
  const auto running = model.writer();
  generation::Request request;
  request.id = "python";
  request.prompt = std::move(asked.prompt);
  request.sampling = std::move(asked.sampling);
  request.max_tokens = asked.max_new_tokens;
  request.stop = std::move(asked.stop);
  request.stop_tokens = std::move(asked.stop_token_ids);
  request.ignore_eos = asked.ignore_eos;
  if (asked.schema) request.grammar = grammar_of(*asked.schema, *running);
  request.want_logprobs = asked.logprobs.has_value();
  request.top_logprobs = asked.logprobs.value_or(0);
  request.keep_special_text = !asked.skip_special_tokens;
  return std::make_unique<Generation>(running, std::move(request));
}

void bind_submit(nb::class_<Model>& model) {
  model.def(
      "submit",
      [](Model& self, Ids prompt, std::size_t max_new_tokens, float temperature, std::int32_t top_k, float top_p,
         float min_p, float repetition_penalty, float frequency_penalty, float presence_penalty,
         std::vector<std::pair<std::int32_t, float>> logit_bias, std::optional<std::uint64_t> seed,
         std::vector<std::string> stop, Ids stop_token_ids, bool ignore_eos, OptionalText schema,
         std::optional<std::size_t> logprobs, bool skip_special_tokens) {
        return submit(self, {.prompt = std::move(prompt),
                             .max_new_tokens = max_new_tokens,
                             .sampling = {.temperature = temperature,
                                          .top_k = top_k,
                                          .top_p = top_p,
                                          .min_p = min_p,
                                          .repetition_penalty = repetition_penalty,
                                          .frequency_penalty = frequency_penalty,
                                          .presence_penalty = presence_penalty,
                                          .logit_bias = std::move(logit_bias),
                                          .seed = seed},
                             .stop = std::move(stop),
                             .stop_token_ids = std::move(stop_token_ids),
                             .ignore_eos = ignore_eos,
                             .schema = std::move(schema),
                             .logprobs = logprobs,
                             .skip_special_tokens = skip_special_tokens});
      },
      nb::arg("prompt"), nb::kw_only(), nb::arg("max_new_tokens"), nb::arg("temperature"), nb::arg("top_k"),
      nb::arg("top_p"), nb::arg("min_p"), nb::arg("repetition_penalty"), nb::arg("frequency_penalty"),
      nb::arg("presence_penalty"), nb::arg("logit_bias"), nb::arg("seed").none(), nb::arg("stop"),
      nb::arg("stop_token_ids"), nb::arg("ignore_eos"), nb::arg("schema").none(), nb::arg("logprobs").none(),
      nb::arg("skip_special_tokens"), "Queues a request of these token ids; the engine batches what runs together.");
}

void bind_words(nb::class_<Model>& model) {
  model
      .def(
          "encode",
          [](Model& self, const std::string& text, bool add_special, bool parse_special) {
            const auto words = self.words();
            const nb::gil_scoped_release released;
            return words->encode(text, add_special, parse_special);
          },
          nb::arg("text"), nb::arg("add_special"), nb::arg("parse_special"))
      .def(
          "decode",
          [](Model& self, const Ids& ids, bool skip_special) {
            const auto words = self.words();
            const nb::gil_scoped_release released;
            return words->decode(ids, skip_special);
          },
          nb::arg("ids"), nb::arg("skip_special"))
      .def(
          "render_chat",
          [](Model& self, std::string messages, OptionalText tools, OptionalText fields, bool add_generation_prompt) {
            const auto words = self.words();
            const nb::gil_scoped_release released;
            return words->render({std::move(messages), std::move(tools), std::move(fields), add_generation_prompt});
          },
          nb::arg("messages"), nb::arg("tools").none(), nb::arg("template_fields").none(),
          nb::arg("add_generation_prompt"), "The prompt of a chat in JSON, as text.")
      .def(
          "encode_chat",
          [](Model& self, std::string messages, OptionalText tools, OptionalText fields, bool add_generation_prompt) {
            const auto words = self.words();
            const nb::gil_scoped_release released;
            return words->encode(
                Words::Chat{std::move(messages), std::move(tools), std::move(fields), add_generation_prompt});
          },
          nb::arg("messages"), nb::arg("tools").none(), nb::arg("template_fields").none(),
          nb::arg("add_generation_prompt"), "The prompt of a chat in JSON, as token ids.")
      .def_prop_ro("vocab_size", [](Model& self) { return self.words()->card().tokenizer->vocab(); })
      .def_prop_ro("has_chat_template", [](Model& self) { return self.words()->card().chat_template != nullptr; })
      .def(
          "token_bytes",
          [](Model& self, std::int32_t id) {
            const auto words = self.words();
            const text::Tokenizer& tokenizer = *words->card().tokenizer;
            if (id < 0 || static_cast<std::size_t>(id) >= tokenizer.vocab()) {
              throw Failure({Code::kInvalidArgument,
                             "token id " + std::to_string(id) + " is not in the vocabulary of " +
                                 std::to_string(tokenizer.vocab()),
                             "id"});
            }
            const std::string_view bytes = tokenizer.token_bytes(id);
            return nb::bytes(bytes.data(), bytes.size());
          },
          nb::arg("id"))
      .def_prop_ro("bos_token_id",
                   [](Model& self) -> std::optional<std::int32_t> {
                     const std::int32_t id = self.words()->card().tokenizer->bos();
                     return id < 0 ? std::nullopt : std::optional(id);
                   })
      .def_prop_ro("eos_token_ids", [](Model& self) {
        const auto words = self.words();
        const auto ids = words->card().tokenizer->eos();
        return Ids(ids.begin(), ids.end());
      });
}

// Of a model that is loaded; asking loads it.
std::size_t context_length(Model& model) {
  const auto running = model.running();
  return running->generator ? running->generator->card().context_length : running->embedder->card().context_length;
}

void bind_life(nb::class_<Model>& model) {
  model.def(
           "load", [](Model& self) { self.running(); }, "Loads the weights and starts the engine, unless it runs.")
      .def(
          "close", [](Model& self) { self.unload(true); }, "Lets go of the engine for good.")
      .def("keep_weights_as_f16", [](Model& self) { self.keep_weights_as(kernels::DType::kF16); })
      .def(
          "quantize",
          [](Model& self, const std::string& dtype, const std::string& output, const std::string& scheme,
             const std::string& group, const std::string& format, int threads) {
            check_choice(scheme, {"symmetric", "asymmetric"}, "scheme");
            if (!format.empty()) check_choice(format, {"gguf", "safetensors"}, "format");
            self.quantize({.output = output,
                           .dtype = dtype,
                           .scheme = scheme,
                           .group = group,
                           .format = format,
                           .threads = threads});
          },
          nb::arg("dtype"), nb::arg("output"), nb::kw_only(), nb::arg("scheme"), nb::arg("group"), nb::arg("format"),
          nb::arg("threads"))
      .def_prop_ro("is_loaded", &Model::is_loaded)
      .def_prop_ro("max_in_flight",
                   [](Model& self) {
                     const auto running = self.running();
                     return running->generator ? running->generator->card().max_in_flight
                                               : running->embedder->card().max_in_flight;
                   })
      .def_prop_ro("context_length", &context_length)
      .def_prop_ro("summary", [](Model& self) { return self.running()->summary; });
}

}  // namespace

void bind_model(nb::module_& core) {
  nb::class_<Model> model(core, "Model", "A model and its engine. openautoglm.AutoModel is the friendly face of it.");
  model
      .def(nb::new_(&open_model), nb::arg("reference"), nb::kw_only(), nb::arg("threads"), nb::arg("compute"),
           nb::arg("kv_type"), nb::arg("isa"), nb::arg("context_length"), nb::arg("kv_memory"),
           nb::arg("max_batch_size"), nb::arg("max_batch_tokens"), nb::arg("prefix_cache"))
      .def("logits", &Model::logits, nb::arg("ids"), "float32 [ids, vocab]; row i is what follows ids[0..i].")
      .def("embed", &Model::embed, nb::arg("texts"), "float32 [texts, width] of texts in token ids.")
      .def_prop_ro("name", &Model::name)
      .def_prop_ro("path", &Model::path)
      .def_prop_ro("is_encoder", &Model::is_encoder)
      .def_prop_ro("architecture", [](const Model& self) { return self.facts().architecture; })
      .def_prop_ro("parameters", [](const Model& self) { return self.facts().parameters; });
  bind_words(model);
  bind_submit(model);
  bind_life(model);
}

}  // namespace autoglm::python
