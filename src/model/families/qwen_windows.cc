// SPDX-License-Identifier: Apache-2.0
#include "model/families/qwen_windows.h"

#include "model/families/json_config.h"

namespace autoglm::model {
namespace {

constexpr std::size_t kDefaultWindow = 4'096;
constexpr std::size_t kDefaultFullLayers = 28;

}  // namespace

Status read_qwen_windows(const json::Object& config, ModelConfig& result) {
  const auto types = TRY(read_layer_types(config, result.layers.size()));
  if (!TRY(find_flag(config, "use_sliding_window")).value_or(false)) return {};
  auto window = TRY(find_count(config, "sliding_window", ranges::kWindow));
  if (!config.contains("sliding_window")) window = kDefaultWindow;
  if (!window) return {};  // null: nothing slides
  constexpr CountRange kFirst{"max_window_layers", 0, 65'536};
  const std::size_t first = TRY(find_count(config, "max_window_layers", kFirst)).value_or(kDefaultFullLayers);
  for (std::size_t i = 0; i < result.layers.size(); ++i) {
    if (types ? (*types)[i] : i >= first) result.layers[i].window = *window;
  }
  return {};
}

}  // namespace autoglm::model
