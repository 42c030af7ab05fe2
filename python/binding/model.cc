// SPDX-License-Identifier: Apache-2.0
#include "binding/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "binding/failure.h"
#include "binding/waiting.h"
#include "kernels/cpu.h"
#include "model/load_encoder.h"

namespace autoglm::python {
namespace {

namespace nb = nanobind;

// What shows progress takes Ctrl-C for itself while it runs, and one of them at a time can.
base::Mutex g_interrupts;

template <typename Run>
auto run_interruptibly(const Run& run) {
  auto result = [&] {
    const nb::gil_scoped_release released;
    base::MutexLock lock(g_interrupts);
    return run();
  }();
  if (!result && result.error().code == Code::kCancelled) throw_keyboard_interrupt();
  return take(std::move(result));
}

// Of the array's own memory: numpy frees it.
Rows as_array(std::unique_ptr<float[]> numbers, std::size_t rows, std::size_t columns) {
  float* const data = numbers.release();
  nb::capsule owner(data, [](void* memory) noexcept { delete[] static_cast<float*>(memory); });
  return Rows(data, {rows, columns}, owner);
}

model::LoadOptions load_options(const app::EngineFlags& flags) {
  model::LoadOptions options;
  options.isa = take(app::chosen_isa(flags.isa));
  take(app::choose_precision(flags.compute, flags.kv_type, options));
  options.threads = app::chosen_threads(flags.threads);
  options.context_length = flags.context_length;
  return options;
}

std::vector<float> embed_some(generation::Embedder& embedder, std::vector<std::vector<std::int32_t>> texts) {
  const auto sink = std::make_shared<generation::WaitingSink>();
  const generation::Ticket ticket = take(embedder.submit({.id = "python", .texts = std::move(texts)}, sink));
  return take(wait_for_end(*sink, [&] { embedder.cancel(ticket); })).vectors;
}

}  // namespace

Model::Model(app::EngineFlags flags) {
  flags.may_pull = true;
  load_options(flags);  // refuses what no model could be loaded with
  choice_ = run_interruptibly([&] { return app::choose_model(flags.model, true); });
  flags_ = std::move(flags);
  read();
}

void Model::read() {
  if (choice_.kind == app::ModelKind::kScript) {
    words();
    return;
  }
  const nb::gil_scoped_release released;
  model::LoadOptions options;
  options.isa = kernels::available_isas().back();
  facts_ = take(model::inspect_model(choice_.path, options));
  is_encoder_ = take(model::is_encoder(choice_.path));
}

std::shared_ptr<const Words> Model::words() {
  const nb::gil_scoped_release released;
  base::MutexLock lock(mutex_);
  if (words_ == nullptr) words_ = std::make_shared<Words>(choice_);
  return words_;
}

std::shared_ptr<const app::RunningModel> Model::running() {
  const nb::gil_scoped_release released;
  base::MutexLock lock(mutex_);
  if (is_closed_) throw Failure({Code::kUnavailable, "the model " + choice_.name + " was closed", {}});
  if (running_ == nullptr) running_ = std::make_shared<app::RunningModel>(take(app::start_any_model(flags_)));
  return running_;
}

std::shared_ptr<const app::RunningModel> Model::writer() {
  if (is_encoder_) {
    throw Failure({Code::kInvalidArgument,
                   "the model " + choice_.name + " is an encoder: it makes vectors (embed) and writes no text",
                   {}});
  }
  return running();
}

bool Model::is_loaded() {
  const nb::gil_scoped_release released;
  base::MutexLock lock(mutex_);
  return running_ != nullptr;
}

void Model::keep_weights_as(kernels::DType type) {
  const nb::gil_scoped_release released;
  base::MutexLock lock(mutex_);
  flags_.weights_as = type;
  running_.reset();
}

void Model::quantize(const app::ConversionFlags& flags) {
  if (choice_.kind == app::ModelKind::kScript) {
    throw Failure({Code::kInvalidArgument, "a script has no weights to quantise", {}});
  }
  const model::QuantizeOptions options = take(app::conversion_options(flags));
  unload(false);
  run_interruptibly([&] { return app::convert(choice_.path, flags, options); });
  {
    const nb::gil_scoped_release released;
    base::MutexLock lock(mutex_);
    flags_.model = flags.output;
    flags_.weights_as.reset();
  }
  choice_ = run_interruptibly([&] { return app::choose_model(flags.output, false); });
  read();
}

void Model::unload(bool for_good) {
  const nb::gil_scoped_release released;
  base::MutexLock lock(mutex_);
  running_.reset();
  is_closed_ = is_closed_ || for_good;
}

Rows Model::logits(const std::vector<std::int32_t>& ids) {
  const auto running = writer();
  const generation::ModelCard& card = running->generator->card();
  if (ids.empty()) throw Failure({Code::kInvalidArgument, "there are no token ids", "ids"});
  if (ids.size() >= card.context_length) {
    throw Failure({Code::kInvalidArgument,
                   fmt::format("logits of {} ids were asked for, and this model takes fewer than its context of {}",
                               ids.size(), card.context_length),
                   "ids"});
  }
  generation::Request request{.id = "python", .prompt = ids};
  request.prompt.push_back(ids.back());  // the engine scores what stands before the last token
  request.prompt_only = request.want_prompt_logprobs = request.want_prompt_logits = true;
  const auto sink = std::make_shared<LogitsSink>(ids.size());
  const generation::Ticket ticket = take(running->generator->submit(std::move(request), sink));
  const generation::Finish finish = wait_for_end(*sink, [&] { running->generator->cancel(ticket); });
  if (finish.error) throw Failure(*finish.error);
  return as_array(sink->take(), ids.size(), sink->vocab());
}

Rows Model::embed(std::vector<std::vector<std::int32_t>> texts) {
  if (!is_encoder_) {
    throw Failure(
        {Code::kInvalidArgument,
         "the model " + choice_.name + " writes text and makes no vectors; an encoder does (all-minilm-l6-v2)",
         {}});
  }
  const auto running = this->running();
  const std::size_t width = running->embedder->card().width;
  auto all = std::make_unique_for_overwrite<float[]>(texts.size() * width);
  for (std::size_t done = 0; done < texts.size();) {
    const std::size_t count = std::min(generation::kMaxTexts, texts.size() - done);
    const auto first = std::make_move_iterator(texts.begin() + static_cast<std::ptrdiff_t>(done));
    const auto vectors = embed_some(*running->embedder, {first, first + static_cast<std::ptrdiff_t>(count)});
    std::ranges::copy(vectors, all.get() + done * width);
    done += count;
  }
  return as_array(std::move(all), texts.size(), width);
}

}  // namespace autoglm::python
