// SPDX-License-Identifier: Apache-2.0
// A Hugging Face folder to another: linear layers in the compressed-tensors convention, embedding and head in 16 bits
// (the convention quantises linear layers and leaves out the head), everything else as it is.
#include <string>
#include <string_view>
#include <unordered_set>

#include "base/json.h"
#include "base/log.h"
#include "model/conversion.h"
#include "model/formats/compressed_tensors.h"
#include "model/group_rows.h"
#include "model/weights.h"

namespace autoglm::model {
namespace {

using kernels::DType;
using kernels::ScaleGrid;
using Scales = CompressedScheme::Scales;

// What lies beside the weights of a model that somebody may want: words, licences.
constexpr const char* kCopied[] = {"tokenizer.json",
                                   "tokenizer_config.json",
                                   "special_tokens_map.json",
                                   "added_tokens.json",
                                   "vocab.json",
                                   "merges.txt",
                                   "tokenizer.model",
                                   "chat_template.jinja",
                                   "generation_config.json",
                                   "LICENSE",
                                   "LICENSE.txt",
                                   "NOTICE"};

std::string_view name_of_16_bits(DType type) { return type == DType::kBF16 ? "BF16" : "F16"; }

// The integer scheme that is asked for; nothing for 16 bits.
Result<std::optional<CompressedScheme>> scheme_of(const QuantizeOptions& options) {
  if (options.kind != WeightKind::kInt8 && options.kind != WeightKind::kInt4) return std::nullopt;
  const bool is_four = options.kind == WeightKind::kInt4;
  CompressedScheme scheme{.bits = is_four ? 4 : 8, .is_packed = is_four, .is_symmetric = options.is_symmetric};
  scheme.group = options.group.value_or(is_four ? kBlockColumns : 0);
  scheme.scales = scheme.group == 0 ? Scales::kRow : Scales::kGroup;
  if (scheme.group % kBlockColumns != 0) {
    return fail(Code::kInvalidArgument,
                "groups of " + std::to_string(scheme.group) + " are not whole blocks of 32; a multiple of 32 is",
                "group_size");
  }
  return scheme;
}

json::Object weights_config(const CompressedScheme& scheme) {
  json::Object weights{{"num_bits", scheme.bits}, {"type", "int"}, {"symmetric", scheme.is_symmetric}};
  weights["strategy"] = scheme.group == 0 ? "channel" : "group";
  weights["group_size"] = scheme.group == 0 ? json::Value() : json::Value(scheme.group);
  weights["dynamic"] = false;
  return weights;
}

// int8 rows with one scale are what others run with activations of 8 bits, rounded as they come; all else is for
// weights alone.
json::Value activations_config(const CompressedScheme& scheme) {
  if (scheme.bits != 8 || !scheme.is_symmetric || scheme.group != 0) return nullptr;
  return json::Object{{"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", "token"}, {"dynamic", true}};
}

json::Object quantization_config(const CompressedScheme& scheme, json::Array ignored) {
  json::Object group{{"targets", json::Array{"Linear"}}, {"weights", weights_config(scheme)}};
  group["input_activations"] = activations_config(scheme);
  group["output_activations"] = nullptr;
  return {{"quant_method", "compressed-tensors"},
          {"format", scheme.is_packed ? "pack-quantized" : "int-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups", json::Object{{"group_0", std::move(group)}}},
          {"ignore", std::move(ignored)}};
}

class SafetensorsPlanner final {
 public:
  SafetensorsPlanner(const Checkpoint& checkpoint, const Description& description, const QuantizeOptions& options,
                     const std::optional<CompressedScheme>& scheme)
      : checkpoint_(checkpoint), description_(description), options_(options), scheme_(scheme) {}

  Result<ConversionPlan> plan() {
    plan_.file_name = "model.safetensors";
    for (const ListedProjection& one : TRY(list_projections(checkpoint_, description_))) {
      (one.part == ListedProjection::Part::kRouter ? routers_ : linear_).insert(one.tensor->name);
    }
    linear_.erase(std::string(description_.names->embedding) + ".weight");
    linear_.erase(std::string(description_.names->head) + ".weight");
    for (const StoredTensor& source : checkpoint_.tensors()) TRY(add(source));
    plan_.header = safetensors_header(plan_.parts);
    plan_.small_files.emplace_back("config.json", json::format(config()) + "\n");
    return std::move(plan_);
  }

 private:
  Status add(const StoredTensor& source) {
    if (!source.type) {
      return fail(Code::kInvalidArgument, "tensor \"" + base::printable(source.name) + "\" has the element type " +
                                              source.type_text() + ", which is not supported");
    }
    const bool is_linear = linear_.contains(source.name);
    PlannedTensor planned{.source = &source, .first_part = plan_.parts.size()};
    if (description_.leaves_out(source.name)) {
      if (source.rank == 2) ignored_.emplace_back(source.name.substr(0, source.name.rfind('.')));
      if (source.compressed != nullptr) {
        add_16_bits(source, planned);
      } else {
        add_copy(source);
      }
    } else if (source.rank == 2 && is_linear && scheme_) {
      if (!add_quantized(source, planned)) {
        ignored_.emplace_back(source.name.substr(0, source.name.rfind('.')));
        add_16_bits(source, planned);
      }
    } else if (source.rank == 2 && source.elements() > 0) {
      if (routers_.contains(source.name)) ignored_.emplace_back(source.name.substr(0, source.name.rfind('.')));
      add_16_bits(source, planned);
    } else {
      add_copy(source);
    }
    planned.part_count = plan_.parts.size() - planned.first_part;
    plan_.tensors.push_back(std::move(planned));
    return {};
  }

  bool add_quantized(const StoredTensor& source, PlannedTensor& planned) {
    const std::size_t columns = source.shape[1];
    const std::size_t unit = scheme_->group == 0 ? kBlockColumns : scheme_->group;
    if (columns % unit != 0) {
      planned.note = "rows of " + std::to_string(columns) + " are not whole groups of " + std::to_string(unit);
      return false;
    }
    const ScaleGrid grid = source.type == DType::kBF16 ? ScaleGrid::kBF16 : ScaleGrid::kF16;
    auto rows = std::make_unique<GroupRows>(*scheme_, grid, source.shape[0], columns);
    for (OutputTensor& part : rows->parts(std::string(source.name))) plan_.parts.push_back(std::move(part));
    planned.rows = std::move(rows);
    has_quantized_ = true;
    return true;
  }

  // F16 and BF16 stay what they are unless one of them is asked for.
  void add_16_bits(const StoredTensor& source, PlannedTensor& planned) {
    DType type = source.type == DType::kBF16 ? DType::kBF16 : DType::kF16;
    if (options_.kind == WeightKind::kF16) type = DType::kF16;
    if (options_.kind == WeightKind::kBF16) type = DType::kBF16;
    if (source.compressed == nullptr && source.type == type) return add_copy(source);
    planned.rows = convert_to_blocks(type, source.shape[1]);
    plan_.parts.push_back({.name = std::string(source.name),
                           .shape = {source.shape[0], source.shape[1]},
                           .dtype = std::string(name_of_16_bits(type)),
                           .bytes = source.shape[0] * planned.rows->row_bytes()});
  }

  void add_copy(const StoredTensor& source) {
    plan_.parts.push_back({.name = std::string(source.name),
                           .shape = {source.shape.begin(), source.shape.begin() + source.rank},
                           .dtype = std::string(source.stored_type_name),
                           .bytes = source.bytes.size()});
  }

  json::Object config() {
    json::Object config = checkpoint_.config();
    config.erase("quantization_config");
    if (has_quantized_) {
      json::Array ignored(ignored_.begin(), ignored_.end());
      ignored.emplace_back(description_.names->head);
      config["quantization_config"] = quantization_config(*scheme_, std::move(ignored));
    }
    const StoredTensor* const embedding = checkpoint_.find(std::string(description_.names->embedding) + ".weight");
    bool is_brain = embedding->type == DType::kBF16;
    if (!scheme_) is_brain = options_.kind == WeightKind::kBF16;
    for (const char* key : {"dtype", "torch_dtype"}) {
      if (config.contains(key)) config[key] = is_brain ? "bfloat16" : "float16";
    }
    return config;
  }

  const Checkpoint& checkpoint_;
  const Description& description_;
  const QuantizeOptions& options_;
  const std::optional<CompressedScheme>& scheme_;
  ConversionPlan plan_;
  std::unordered_set<std::string_view> linear_;
  std::unordered_set<std::string_view> routers_;  // linear layers too, which nobody quantises: they choose
  std::vector<std::string> ignored_;
  bool has_quantized_ = false;
};

}  // namespace

Result<ConversionPlan> plan_safetensors(const Checkpoint& checkpoint, const Description& description,
                                        const std::filesystem::path& folder, const QuantizeOptions& options) {
  if (checkpoint.gguf() != nullptr) {
    return fail(Code::kInvalidArgument,
                "a safetensors folder is made of a Hugging Face folder only, not of a GGUF; --format gguf is made of "
                "one",
                "format");
  }
  const auto scheme = TRY(scheme_of(options));
  ConversionPlan plan = TRY(SafetensorsPlanner(checkpoint, description, options, scheme).plan());
  std::error_code error;
  for (const char* name : kCopied) {
    if (std::filesystem::file_size(folder / name, error) > 0 && !error) plan.copied_files.push_back(folder / name);
  }
  return plan;
}

}  // namespace autoglm::model
