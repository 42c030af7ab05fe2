// SPDX-License-Identifier: Apache-2.0
#include "model/tensor_reader.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/log.h"
#include "kernels/quantize.h"

namespace autoglm::model {

Result<const StoredTensor*> TensorReader::find(const std::string& name) {
  const StoredTensor* const stored = checkpoint_.find(name);
  if (stored == nullptr) return fail(Code::kCorrupt, "the checkpoint has no tensor \"" + name + "\"");
  if (!stored->type) {
    return fail(Code::kInvalidArgument,
                "tensor \"" + name + "\" has the element type " + stored->type_text() + ", which is not supported");
  }
  used_.insert(name);
  return stored;
}

Result<const StoredTensor*> TensorReader::tensor(const std::string& name, std::initializer_list<std::uint64_t> shape) {
  const StoredTensor* const stored = TRY(find(name));
  if (!std::ranges::equal(std::span(stored->shape).first(stored->rank), shape)) {
    StoredTensor expected{.rank = static_cast<std::uint32_t>(shape.size())};
    std::ranges::copy(shape, expected.shape.begin());
    return fail(Code::kCorrupt,
                "tensor \"" + name + "\" is " + stored->shape_text() + "; expected " + expected.shape_text());
  }
  return stored;
}

Result<std::vector<float>> TensorReader::values(const std::string& name, std::initializer_list<std::uint64_t> shape) {
  const StoredTensor* const stored = TRY(tensor(name, shape));
  const std::vector<std::byte> aligned(stored->bytes.begin(), stored->bytes.end());
  std::vector<float> values(stored->elements());
  kernels::dequantize(*stored->type, aligned.data(), values.data(), values.size());
  checkpoint_.let_go(*stored);
  return values;
}

Result<std::vector<float>> TensorReader::vector(const std::string& name, std::size_t size, float offset) {
  std::vector<float> values = TRY(this->values(name, {size}));
  for (float& value : values) value += offset;
  return values;
}

Result<StoredProjection> TensorReader::projection(const std::string& name, std::size_t rows, std::size_t columns,
                                                  bool has_bias) {
  StoredProjection projection{.rows = rows};
  projection.tensor = TRY(tensor(name + ".weight", {rows, columns}));
  if (has_bias) projection.bias = TRY(vector(name + ".bias", rows));
  return projection;
}

Status TensorReader::refuse_the_rest(std::string_view what,
                                     const std::function<bool(const StoredTensor&)>& leaves_out) const {
  for (const StoredTensor& stored : checkpoint_.tensors()) {
    if (used_.contains(std::string(stored.name)) || leaves_out(stored)) continue;
    return fail(Code::kInvalidArgument, "tensor \"" + base::printable(stored.name) + "\" is not a part of a " +
                                            std::string(what) + " that we know how to run");
  }
  return {};
}

}  // namespace autoglm::model
