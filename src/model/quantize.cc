// SPDX-License-Identifier: Apache-2.0
#include "model/quantize.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "model/conversion.h"
#include "model/formats/compressed_tensors.h"
#include "model/output_folder.h"
#include "model/weights.h"

namespace autoglm::model {
namespace {

using kernels::DType;

// What is read, rounded and written at a time: enough for all threads, little beside any model.
constexpr std::size_t kChunkElements = std::size_t{1} << 20;
constexpr std::size_t kCopyBytes = std::size_t{4} << 20;

// Rows of a stored matrix as f32.
class RowReader final {
 public:
  explicit RowReader(const StoredTensor& stored)
      : stored_(stored),
        columns_(stored.shape[stored.rank - 1]),
        row_bytes_(kernels::row_bytes(*stored.type, columns_)) {}

  void read(std::size_t row, float* to) const {
    if (stored_.compressed == nullptr) {
      kernels::dequantize(*stored_.type, stored_.bytes.data() + row * row_bytes_, to, columns_);
      return;
    }
    std::vector<std::byte> blocks(row_bytes_);
    stored_.compressed->expand(row, 1, blocks.data());
    kernels::dequantize(*stored_.type, blocks.data(), to, columns_);
  }

 private:
  const StoredTensor& stored_;
  std::size_t columns_;
  std::size_t row_bytes_;
};

// How far one row, or all of them, went off.
struct Squares {
  double error = 0, value = 0;
  bool is_in_range = true;
};

Squares squares_of(std::span<const float> before, std::span<const float> after, float limit) {
  Squares squares;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const double error = double{before[i]} - after[i];
    squares.error += error * error;
    squares.value += double{before[i]} * before[i];
    squares.is_in_range &= std::fabs(before[i]) <= limit;  // NaN is in no range
  }
  return squares;
}

// Carries a plan out, tensor by tensor.
class Converter final {
 public:
  Converter(const Checkpoint& checkpoint, ConversionPlan& plan, OutputFile& file, const QuantizeOptions& options)
      : checkpoint_(checkpoint), plan_(plan), file_(file), options_(options), pool_(options.threads) {
    for (const PlannedTensor& planned : plan.tensors) total_bytes_ += planned.source->bytes.size();
  }

  Status run(QuantizeReport& report) {
    TRY(file_.write_at(0, plan_.header.bytes));
    for (PlannedTensor& planned : plan_.tensors) {
      ConvertedTensor converted{.name = std::string(planned.source->name),
                                .from = planned.source->type_text(),
                                .to = planned.source->type_text(),
                                .elements = planned.source->elements(),
                                .bytes_before = planned.source->file_bytes(),
                                .note = planned.note};
      for (const OutputTensor& part : parts_of(planned)) converted.bytes_after += part.bytes;
      if (planned.rows == nullptr) {
        TRY(copy(planned));
      } else {
        converted.to = planned.rows->type_text();
        converted.relative_error = TRY(convert(planned));
      }
      checkpoint_.let_go(*planned.source);
      report.parameters += converted.elements;
      report.tensors.push_back(std::move(converted));
    }
    // A GGUF is padded behind its last tensor too: a byte at the end, where nothing was written, makes it so.
    const OutputTensor& last = *std::ranges::max_element(plan_.parts, {}, &OutputTensor::offset);
    if (last.offset + last.bytes < plan_.header.file_bytes) {
      TRY(file_.write_at(plan_.header.file_bytes - 1, std::string_view("\0", 1)));
    }
    return {};
  }

 private:
  std::span<const OutputTensor> parts_of(const PlannedTensor& planned) const {
    return std::span(plan_.parts).subspan(planned.first_part, planned.part_count);
  }

  Status count(std::uint64_t bytes) {
    done_bytes_ += bytes;
    if (options_.progress) options_.progress(done_bytes_, total_bytes_);
    if (options_.is_cancelled && options_.is_cancelled()) return fail(Code::kCancelled, "stopped");
    return {};
  }

  Status copy(const PlannedTensor& planned) {
    std::uint64_t offset = parts_of(planned).front().offset;
    for (std::span<const std::byte> left = planned.source->bytes; !left.empty();) {
      const auto piece = left.first(std::min(left.size(), kCopyBytes));
      TRY(file_.write_at(offset, piece));
      TRY(count(piece.size()));
      offset += piece.size();
      left = left.subspan(piece.size());
    }
    return {};
  }

  // Returns the relative error.
  Result<double> convert(const PlannedTensor& planned) {
    const StoredTensor& source = *planned.source;
    const std::size_t columns = source.shape[source.rank - 1];
    const std::size_t rows = source.elements() / columns;
    const std::size_t row_bytes = planned.rows->row_bytes();
    const std::size_t chunk = std::clamp<std::size_t>(kChunkElements / columns, 1, rows);
    const RowReader reader(source);
    std::vector<float> scratch(2 * columns * static_cast<std::size_t>(pool_.threads()));
    std::vector<std::byte> out(chunk * row_bytes);
    std::vector<Squares> squares(chunk);
    Squares sum;
    planned.rows->begin();
    for (std::size_t first = 0; first < rows; first += chunk) {
      const std::size_t count_rows = std::min(chunk, rows - first);
      pool_.run(count_rows, [&](std::size_t i, int worker) {
        const std::span before = std::span(scratch).subspan(2 * columns * static_cast<std::size_t>(worker), columns);
        const std::span after(before.data() + columns, columns);
        reader.read(first + i, before.data());
        squares[i] = squares_of(before, before, planned.rows->limit());
        if (!squares[i].is_in_range) return;
        planned.rows->convert(first + i, before, out.data() + i * row_bytes, after.data());
        squares[i] = squares_of(before, after, planned.rows->limit());
      });
      for (std::size_t i = 0; i < count_rows; ++i) {
        if (!squares[i].is_in_range) return out_of_range(source, first + i, planned.rows->limit());
        sum.error += squares[i].error;
        sum.value += squares[i].value;
      }
      const std::uint64_t offset = parts_of(planned).front().offset + first * row_bytes;
      TRY(file_.write_at(offset, std::span<const std::byte>(out).first(count_rows * row_bytes)));
      TRY(count(source.bytes.size() * (first + count_rows) / rows - source.bytes.size() * first / rows));
    }
    for (std::size_t index = 1; index < planned.part_count; ++index) {
      const std::vector<std::byte> part = planned.rows->take_part(index);
      CHECK(part.size() == parts_of(planned)[index].bytes) << parts_of(planned)[index].name;
      TRY(file_.write_at(parts_of(planned)[index].offset, part));
    }
    return sum.value > 0 ? std::sqrt(sum.error / sum.value) : 0;
  }

  static std::unexpected<Error> out_of_range(const StoredTensor& source, std::size_t row, float limit) {
    return fail(Code::kCorrupt, "tensor \"" + base::printable(source.name) + "\" has a value in row " +
                                    std::to_string(row) + " that is not finite or above " + std::to_string(limit));
  }

  const Checkpoint& checkpoint_;
  ConversionPlan& plan_;
  OutputFile& file_;
  const QuantizeOptions& options_;
  base::ThreadPool pool_;
  std::uint64_t done_bytes_ = 0, total_bytes_ = 0;
};

Status write_file(OutputFolder& folder, const std::string& name, std::span<const std::byte> bytes) {
  OutputFile file = TRY(folder.create(name));
  TRY(file.write_at(0, bytes));
  return file.finish();
}

Result<ConversionPlan> plan_of(const Checkpoint& checkpoint, const std::filesystem::path& source,
                               const QuantizeOptions& options) {
  const bool is_integer = options.kind == WeightKind::kInt8 || options.kind == WeightKind::kInt4;
  if (!is_integer && options.group) return fail(Code::kInvalidArgument, "16 bits have no groups", "group_size");
  if (!is_integer && !options.is_symmetric) return fail(Code::kInvalidArgument, "16 bits have no zero point", "scheme");
  const Description description = TRY(describe(checkpoint));
  TRY(list_projections(checkpoint, description));  // refuses what is no model that we run
  const OutputFormat own = checkpoint.gguf() != nullptr ? OutputFormat::kGguf : OutputFormat::kSafetensors;
  if (options.format.value_or(own) == OutputFormat::kGguf) return plan_gguf(checkpoint, description, options);
  return plan_safetensors(checkpoint, description, source, options);
}

}  // namespace

Result<QuantizeReport> quantize_model(const std::filesystem::path& source, const std::filesystem::path& output,
                                      const QuantizeOptions& options) {
  const Checkpoint checkpoint = TRY(Checkpoint::open(source));
  auto planned = plan_of(checkpoint, source, options);
  if (!planned) return fail_in(source.string(), std::move(planned).error());
  ConversionPlan& plan = *planned;
  OutputFolder folder = TRY(OutputFolder::open(output));
  QuantizeReport report;
  report.format = plan.file_name.ends_with(".gguf") ? OutputFormat::kGguf : OutputFormat::kSafetensors;
  report.bytes_before = checkpoint.file_bytes();
  report.bytes_after = plan.header.file_bytes;
  OutputFile weights = TRY(folder.create(plan.file_name));
  TRY(Converter(checkpoint, plan, weights, options).run(report));
  TRY(weights.finish());
  for (const auto& [name, text] : plan.small_files) {
    TRY(write_file(folder, name, std::as_bytes(std::span(text))));
  }
  for (const std::filesystem::path& path : plan.copied_files) {
    const MappedFile file = TRY(MappedFile::open(path));
    TRY(write_file(folder, path.filename().string(), file.bytes()));
  }
  TRY(folder.commit());
  return report;
}

}  // namespace autoglm::model
