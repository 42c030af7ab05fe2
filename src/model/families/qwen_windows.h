// SPDX-License-Identifier: Apache-2.0
// The sliding windows that Qwen2 and Qwen3 configs may switch on. Any thread.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "model/config.h"

namespace autoglm::model {

/// Sets the window of the layers that slide: those that `layer_types` names, else all from `max_window_layers` on; none
/// unless `use_sliding_window` is true. Source: transformers, configuration_qwen2.py.
Status read_qwen_windows(const json::Object& config, ModelConfig& result);

}  // namespace autoglm::model
