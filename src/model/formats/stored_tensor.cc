// SPDX-License-Identifier: Apache-2.0
#include "model/formats/stored_tensor.h"

#include "model/formats/quantized_matrix.h"

namespace autoglm::model {

std::uint64_t StoredTensor::file_bytes() const { return compressed == nullptr ? bytes.size() : compressed->bytes(); }

std::string StoredTensor::type_text() const {
  if (type) return std::string(kernels::traits(*type).name);
  if (!stored_type_name.empty()) return std::string(stored_type_name);
  return "GGML type " + std::to_string(stored_type);
}

std::string StoredTensor::shape_text() const {
  std::string text = "[";
  for (std::uint32_t i = 0; i < rank; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace autoglm::model
