// SPDX-License-Identifier: Apache-2.0
#include "model/conversion.h"

#include <limits>

#include "base/check.h"
#include "kernels/half.h"

namespace autoglm::model {
namespace {

using kernels::DType;

class BlockRows final : public RowConverter {
 public:
  BlockRows(DType type, std::size_t columns) : type_(type), columns_(columns) {}

  std::string type_text() const override { return std::string(kernels::traits(type_).name); }
  std::size_t row_bytes() const override { return kernels::row_bytes(type_, columns_); }
  float limit() const override {
    return type_ == DType::kBF16 ? std::numeric_limits<float>::max() : kernels::kLargestF16;
  }
  void convert(std::size_t, std::span<const float> from, std::byte* to, float* back) override {
    kernels::quantize(type_, from.data(), to, from.size());
    kernels::dequantize(type_, to, back, from.size());
  }

 private:
  DType type_;
  std::size_t columns_;
};

}  // namespace

std::vector<std::byte> RowConverter::take_part(std::size_t index) {
  CHECK(false) << "there is no part " << index;
  return {};
}

std::unique_ptr<RowConverter> convert_to_blocks(DType type, std::size_t columns) {
  return std::make_unique<BlockRows>(type, columns);
}

}  // namespace autoglm::model
