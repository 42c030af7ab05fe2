// SPDX-License-Identifier: Apache-2.0
// What a family's weights are called in a file. "{}" stands for the layer's index; an empty name means that the family
// has no such tensor. Plain values.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace autoglm::model {

struct TensorNames {
  std::string_view embedding, final_norm, head;
  std::string_view rope_factors;  // divisors of the rope's frequencies, or empty
  std::string_view short_rope_factors, long_rope_factors;
  // Of layer {}; a projection's weight and bias are NAME.weight and NAME.bias.
  std::string_view attention_norm, query, key, value, output;
  std::string_view query_norm, key_norm, post_attention_norm;
  std::string_view mlp_norm, gate, up, down, post_mlp_norm;
  // Query, key and value, or gate and up, in one tensor, their rows in this order: what is read where the first of them
  // has no tensor of its own.
  std::string_view query_key_value, gate_up;
  // Of a layer with experts. Two "{}" stand for layer and expert; one, and all experts lie in one tensor, the first
  // dimension theirs. `router_bias` is the whole name of a tensor.
  std::string_view router, router_bias;
  std::string_view expert_gate, expert_up, expert_down;
  std::string_view shared_gate, shared_up, shared_down;
  std::string_view layer;              // what all tensors of layer {} begin with
  std::string_view left_out;           // tensors that begin with it are of a part that we do not run
  const TensorNames* older = nullptr;  // what earlier files call them; null = the same
};

/// GGUF's names; the same for every family but where it says otherwise. Source: gguf-py, constants.py.
const TensorNames& gguf_names();
/// Hugging Face's names of Llama and those that took them over.
const TensorNames& llama_style_names();

/// `name` with its first "{}" replaced by `layer`.
std::string layer_name(std::string_view name, std::size_t layer);

}  // namespace autoglm::model
