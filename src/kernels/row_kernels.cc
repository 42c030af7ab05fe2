// SPDX-License-Identifier: Apache-2.0
#include "kernels/row_kernels.h"

#include <algorithm>
#include <cstring>

#include "kernels/row_split.h"
#include "kernels/row_table.h"

namespace autoglm::kernels {
namespace {

const RowTable& table_of(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return scalar_row_table();
    case Isa::kAvx2:
      return avx2_row_table();
    case Isa::kAvx512:
      return avx512_row_table();
  }
  return scalar_row_table();
}

void check_f32(const Tensor& x, const char* what) {
  CHECK(x.type == DType::kF32 && (x.rows == 0 || x.row_stride >= x.columns * sizeof(float)))
      << what << " must be f32 rows; " << traits(x.type).name << ", " << x.columns << " columns " << x.row_stride
      << " bytes apart";
}

void check_same_shape(const Tensor& a, const Tensor& b) {
  CHECK(a.rows == b.rows && a.columns == b.columns)
      << "[" << a.rows << ", " << a.columns << "] beside [" << b.rows << ", " << b.columns << "]";
}

// Where the forms of one row, or of a run of its columns, go.
struct FormsWriter {
  const RowTable& table;
  Activations out;
  std::int8_t* q8 = nullptr;
  float* scale = nullptr;
  float* sum = nullptr;
  std::uint16_t* bf16 = nullptr;

  FormsWriter(const RowTable& row_table, Arena& arena, std::size_t rows, std::size_t columns, ActivationForms forms)
      : table(row_table) {
    out.rows = rows;
    out.columns = columns;
    if (forms.q8) {
      CHECK(columns % 32 == 0) << columns << " columns in int8 blocks of 32";
      q8 = arena.take_array<std::int8_t>(rows * columns);
      scale = arena.take_array<float>(rows * columns / 32);
      sum = arena.take_array<float>(rows * columns / 32);
    }
    if (forms.bf16) bf16 = arena.take_array<std::uint16_t>(rows * columns);
    out.q8 = q8;
    out.q8_scale = scale;
    out.q8_sum = sum;
    out.bf16 = bf16;
  }

  // x = the row's values from `first` on, a multiple of 32.
  void write(std::size_t row, std::size_t first, std::size_t count, const float* x) const {
    const std::size_t at = row * out.columns + first;
    if (q8 != nullptr) table.quantize(x, count, q8 + at, scale + at / 32, sum + at / 32);
    if (bf16 != nullptr) table.round_bf16(x, count, bf16 + at);
  }
};

}  // namespace

RowKernels::RowKernels(Isa isa, Compute compute, base::ThreadPool& pool, Arena& arena)
    : table_(table_of(isa)),
      compute_(compute),
      pool_(pool),
      arena_(arena),
      scratch_(attention_scratch_bytes(pool.threads())) {}

Activations RowKernels::prepare(const Tensor& x, ActivationForms forms) const {
  check_f32(x, "prepare's input");
  CHECK(compute_ == Compute::kFast || (!forms.q8 && !forms.bf16)) << "rounded activations in exact mode";
  FormsWriter writer(table_, arena_, x.rows, x.columns, forms);
  const bool dense = x.rows <= 1 || x.row_stride == x.columns * sizeof(float);
  float* copy = dense ? nullptr : arena_.take_array<float>(x.rows * x.columns);
  writer.out.f32 = dense ? reinterpret_cast<const float*>(x.data) : copy;
  if (dense && !forms.q8 && !forms.bf16) return writer.out;
  split_rows(pool_, x.rows, x.columns, [&](std::size_t row) {
    if (copy != nullptr) std::memcpy(copy + row * x.columns, x.f32(row), x.columns * sizeof(float));
    writer.write(row, 0, x.columns, x.f32(row));
  });
  return writer.out;
}

Activations RowKernels::rms_norm_prepare(const Tensor& x, const float* weight, float eps, ActivationForms forms) const {
  check_f32(x, "rms_norm's input");
  FormsWriter writer(table_, arena_, x.rows, x.columns, forms);
  float* normed = arena_.take_array<float>(x.rows * x.columns);
  writer.out.f32 = normed;
  split_rows(pool_, x.rows, x.columns, [&](std::size_t row) {
    float* to = normed + row * x.columns;
    table_.rms_norm(x.f32(row), weight, eps, x.columns, to);
    writer.write(row, 0, x.columns, to);
  });
  return writer.out;
}

Activations RowKernels::layer_norm_prepare(const Tensor& x, const float* weight, const float* bias, float eps,
                                           ActivationForms forms) const {
  check_f32(x, "layer_norm's input");
  CHECK(x.rows <= 1 || x.row_stride == x.columns * sizeof(float)) << "rows apart";
  FormsWriter writer(table_, arena_, x.rows, x.columns, forms);
  writer.out.f32 = reinterpret_cast<const float*>(x.data);
  split_rows(pool_, x.rows, 2 * x.columns, [&](std::size_t row) {
    table_.layer_norm(x.f32(row), weight, bias, eps, x.columns, x.f32(row));
    writer.write(row, 0, x.columns, x.f32(row));
  });
  return writer.out;
}

// Every element, and every block of 32, stands for itself: pieces of a row may go to different threads.
template <typename Function>
Activations RowKernels::activate(const Tensor& x, ActivationForms forms, const Function& function) const {
  FormsWriter writer(table_, arena_, x.rows, x.columns, forms);
  float* out = arena_.take_array<float>(x.rows * x.columns);
  writer.out.f32 = out;
  constexpr std::size_t kPiece = 2048;
  const std::size_t pieces = (x.columns + kPiece - 1) / kPiece;
  constexpr std::size_t kCost = 4;  // the exponential, against a multiply-add
  split_rows(pool_, x.rows * pieces, std::min(x.columns, kPiece) * kCost, [&](std::size_t piece) {
    const std::size_t row = piece / pieces;
    const std::size_t first = piece % pieces * kPiece;
    const std::size_t count = std::min(kPiece, x.columns - first);
    float* to = out + row * x.columns + first;
    function(row, first, count, to);
    writer.write(row, first, count, to);
  });
  return writer.out;
}

Activations RowKernels::gelu_prepare(const Tensor& x, ActivationForms forms) const {
  check_f32(x, "gelu's input");
  return activate(x, forms, [&](std::size_t row, std::size_t first, std::size_t count, float* to) {
    table_.gelu(x.f32(row) + first, count, to);
  });
}

Activations RowKernels::gated_prepare(const Tensor& gate, const Tensor& up, Activation activation,
                                      ActivationForms forms) const {
  check_f32(gate, "a gate");
  check_f32(up, "gated values");
  check_same_shape(gate, up);
  const auto function = activation == Activation::kSilu ? table_.silu_gate : table_.gelu_gate;
  return activate(gate, forms, [&](std::size_t row, std::size_t first, std::size_t count, float* to) {
    function(gate.f32(row) + first, up.f32(row) + first, count, to);
  });
}

void RowKernels::add_norm(const Tensor& x, const Tensor& y, const float* weight, float eps) const {
  check_f32(x, "a residual");
  check_f32(y, "what is added");
  check_same_shape(x, y);
  split_rows(pool_, x.rows, x.columns, [&](std::size_t row) {
    if (weight == nullptr) {
      table_.add(x.f32(row), y.f32(row), x.columns);
    } else {
      table_.add_norm(x.f32(row), y.f32(row), weight, eps, x.columns);
    }
  });
}

void RowKernels::embed(const Tensor& table, std::span<const std::int32_t> ids, float scale, const Tensor& out) const {
  check_f32(out, "embeddings");
  CHECK(out.rows == ids.size() && out.columns == table.columns)
      << ids.size() << " ids of [" << table.rows << ", " << table.columns << "] into [" << out.rows << ", "
      << out.columns << "]";
  constexpr std::size_t kCost = 8;  // of unpacking an element, against a multiply-add
  split_rows(pool_, ids.size(), table.columns * kCost, [&](std::size_t row) {
    const std::int32_t id = ids[row];
    CHECK(id >= 0 && static_cast<std::size_t>(id) < table.rows) << "id " << id << " of " << table.rows;
    dequantize(table.type, table.row(static_cast<std::size_t>(id)), out.f32(row), table.columns);
    if (scale != 1.0f) table_.multiply(out.f32(row), scale, table.columns);
  });
}

void RowKernels::softcap(const Tensor& x, float cap) const {
  check_f32(x, "capped values");
  constexpr std::size_t kPiece = 8192;
  const std::size_t pieces = (x.columns + kPiece - 1) / kPiece;
  constexpr std::size_t kCost = 6;
  split_rows(pool_, x.rows * pieces, std::min(x.columns, kPiece) * kCost, [&](std::size_t piece) {
    const std::size_t first = piece % pieces * kPiece;
    table_.softcap(x.f32(piece / pieces) + first, cap, std::min(kPiece, x.columns - first));
  });
}

}  // namespace autoglm::kernels
