// SPDX-License-Identifier: Apache-2.0
// GGUF to GGUF: the metadata as it is, every matrix in the one type that was asked for.
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_set>

#include "base/log.h"
#include "model/conversion.h"
#include "model/formats/compressed_tensors.h"
#include "model/weights.h"

namespace autoglm::model {
namespace {

using kernels::DType;

// Source of the numbers: the GGUF specification, general.file_type.
struct Target {
  DType type = DType::kQ8_0;
  std::uint32_t file_type = 7;
};

Result<Target> target_of(const QuantizeOptions& options) {
  const auto refused = [](std::string what, const char* where) {
    return fail(Code::kInvalidArgument,
                "GGUF has no type for " + std::move(what) + "; --format safetensors has, from a Hugging Face folder",
                where);
  };
  const bool is_integer = options.kind == WeightKind::kInt8 || options.kind == WeightKind::kInt4;
  if (is_integer && options.group.value_or(kBlockColumns) != kBlockColumns) {
    return refused(*options.group == 0 ? "a scale for each row" : "groups of " + std::to_string(*options.group),
                   "group_size");
  }
  switch (options.kind) {
    case WeightKind::kInt8:
      if (!options.is_symmetric) return refused("8 bits with a zero point", "scheme");
      return Target{DType::kQ8_0, 7};
    case WeightKind::kInt4:
      return options.is_symmetric ? Target{DType::kQ4_0, 2} : Target{DType::kQ4_1, 3};
    case WeightKind::kF16:
      return Target{DType::kF16, 1};
    case WeightKind::kBF16:
      return Target{DType::kBF16, 32};
  }
  return fail(Code::kInternal, "an unknown kind of weights");
}

// A u32 value as a file has it: type id 4, then the number.
std::vector<std::byte> u32_value(std::uint32_t number) {
  const std::uint32_t words[2] = {4, number};
  std::vector<std::byte> bytes(sizeof(words));
  std::memcpy(bytes.data(), words, sizeof(words));
  return bytes;
}

bool is_ours_to_write(std::string_view key) {
  return key == "general.file_type" || key == "general.quantization_version" || key.starts_with("split.") ||
         key.starts_with("quantize.");
}

// Adds `source` to the plan, in the type `wanted` where its rows allow it: a matrix, or one for each expert.
void add_tensor(ConversionPlan& plan, const StoredTensor& source, DType wanted) {
  PlannedTensor planned{.source = &source, .first_part = plan.parts.size()};
  OutputTensor part{.name = std::string(source.name),
                    .shape = {source.shape.begin(), source.shape.begin() + source.rank},
                    .type = *source.type,
                    .bytes = source.bytes.size()};
  if (source.rank >= 2 && source.elements() > 0) {
    const std::size_t columns = source.shape[source.rank - 1];
    if (kernels::traits(wanted).block_elements > 1 && columns % kBlockColumns != 0) {
      planned.note = "rows of " + std::to_string(columns) + " are not whole blocks of 32";
      wanted = DType::kF16;
    }
    if (wanted != *source.type) {
      planned.rows = convert_to_blocks(wanted, columns);
      part.type = wanted;
      part.bytes = source.elements() / columns * planned.rows->row_bytes();
    }
  }
  plan.parts.push_back(std::move(part));
  plan.tensors.push_back(std::move(planned));
}

}  // namespace

Result<ConversionPlan> plan_gguf(const Checkpoint& checkpoint, const Description& description,
                                 const QuantizeOptions& options) {
  const GgufFile* const file = checkpoint.gguf();
  if (file == nullptr) {
    return fail(Code::kInvalidArgument,
                "a GGUF is made of a GGUF only, not of a Hugging Face folder; --format safetensors is made of one",
                "format");
  }
  const Target target = TRY(target_of(options));
  std::unordered_set<std::string_view> routers;  // they choose, which a rounded score would change
  for (const ListedProjection& one : TRY(list_projections(checkpoint, description))) {
    if (one.part == ListedProjection::Part::kRouter) routers.insert(one.tensor->name);
  }
  ConversionPlan plan{.file_name = "model.gguf"};
  for (const StoredTensor& source : file->tensors()) {
    if (!source.type) {
      return fail(Code::kInvalidArgument, "tensor \"" + base::printable(source.name) + "\" has the element type " +
                                              source.type_text() + ", which is not supported");
    }
    // Embedding and head are the rows that every token meets: 4 bits cost more there than they save.
    const bool is_vocabulary = source.name == std::string(description.names->embedding) + ".weight" ||
                               source.name == std::string(description.names->head) + ".weight";
    const bool has_four_bits = options.kind == WeightKind::kInt4;
    DType wanted = is_vocabulary && has_four_bits ? DType::kQ8_0 : target.type;
    if (routers.contains(source.name) || description.leaves_out(source.name)) wanted = *source.type;
    add_tensor(plan, source, wanted);
  }
  std::vector<GgufFile::Pair> pairs = file->pairs();
  std::erase_if(pairs, [](const GgufFile::Pair& pair) { return is_ours_to_write(pair.key); });
  const std::vector<std::byte> file_type = u32_value(target.file_type);
  const std::vector<std::byte> version = u32_value(2);
  pairs.push_back({"general.file_type", file_type});
  pairs.push_back({"general.quantization_version", version});
  plan.header = gguf_header(pairs, file->alignment(), plan.parts);
  return plan;
}

}  // namespace autoglm::model
