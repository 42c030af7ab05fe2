// SPDX-License-Identifier: Apache-2.0
// A model as Python holds it: chosen at once, its words and its engine there from their first use on. The engine is
// the one that `serve` runs, with its batches and its prefix cache. Any thread, with the GIL, which every call that
// may take long lets go.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/conversion.h"
#include "app/model_choice.h"
#include "app/running_model.h"
#include "base/mutex.h"
#include "binding/words.h"
#include "generation/request.h"
#include "model/inspect.h"

namespace autoglm::python {

using Rows = nanobind::ndarray<nanobind::numpy, float, nanobind::ndim<2>, nanobind::c_contig>;

class Model final {
 public:
  /// Chooses the model that flags.model names, pulls what is missing, and reads what it is. Throws: Failure, with the
  /// errors of app::choose_model() and model::inspect_model(); KeyboardInterrupt.
  explicit Model(app::EngineFlags flags);

  const std::string& name() const { return choice_.name; }
  std::string path() const { return choice_.path.string(); }
  bool is_encoder() const { return is_encoder_; }
  const model::ModelFacts& facts() const { return facts_; }

  /// Both are made on their first use. Throw: Failure.
  std::shared_ptr<const Words> words() EXCLUDES(mutex_);
  std::shared_ptr<const app::RunningModel> running() EXCLUDES(mutex_);
  /// running(), of a model that writes. Throws: Failure when it is an encoder.
  std::shared_ptr<const app::RunningModel> writer() EXCLUDES(mutex_);
  bool is_loaded() EXCLUDES(mutex_);

  /// From the next use on, linear layers keep their weights in this type.
  void keep_weights_as(kernels::DType type) EXCLUDES(mutex_);
  /// Writes a smaller model, which is this one from then on. Throws: Failure, as app::convert(); KeyboardInterrupt.
  void quantize(const app::ConversionFlags& flags) EXCLUDES(mutex_);
  /// Lets go of the engine; with `for_good` no use is possible any more.
  void unload(bool for_good) EXCLUDES(mutex_);

  /// [ids, vocab]: row i is what follows ids[0..i].
  Rows logits(const std::vector<std::int32_t>& ids);
  /// [texts, width].
  Rows embed(std::vector<std::vector<std::int32_t>> texts);

 private:
  void read();

  app::ModelChoice choice_;
  model::ModelFacts facts_;
  bool is_encoder_ = false;
  base::Mutex mutex_;
  app::EngineFlags flags_ GUARDED_BY(mutex_);
  std::shared_ptr<const Words> words_ GUARDED_BY(mutex_);
  std::shared_ptr<const app::RunningModel> running_ GUARDED_BY(mutex_);
  bool is_closed_ GUARDED_BY(mutex_) = false;
};

void bind_model(nanobind::module_& core);

}  // namespace autoglm::python
