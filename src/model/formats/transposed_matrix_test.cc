// SPDX-License-Identifier: Apache-2.0
// Matrices as GPTQ and AWQ write them: packed here by their formulas, they become the values that the formulas say, and
// parts that do not fit each other are refused.
#include "model/formats/transposed_matrix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/half.h"
#include "kernels/quantize.h"
#include "model/formats/output_tensor.h"
#include "model/formats/safetensors.h"

namespace autoglm::model {
namespace {

using kernels::DType;
using Layout = TransposedScheme::Layout;

// A linear layer of codes [inputs, outputs], zeros and scales [groups, outputs].
struct Layer {
  TransposedScheme scheme;
  std::size_t inputs, outputs;
  std::vector<unsigned> codes, zeros;
  std::vector<float> scales;
  std::vector<std::uint32_t> group_of;  // of each input

  Layer(const TransposedScheme& which, std::size_t in, std::size_t out, bool is_plain = false)
      : scheme(which), inputs(in), outputs(out) {
    base::Random random(11);
    const std::size_t group = scheme.group == 0 ? inputs : scheme.group;
    const std::size_t groups = (inputs + group - 1) / group;
    const unsigned levels = 1u << scheme.bits;
    for (std::size_t i = 0; i < inputs * outputs; ++i) codes.push_back(static_cast<unsigned>(random.below(levels)));
    for (std::size_t i = 0; i < groups * outputs; ++i) {
      // Stored less one, a zero point is at least 1 and may be one above the largest code.
      const auto zero = static_cast<unsigned>(random.below(levels)) + (scheme.is_one_less ? 1 : 0);
      zeros.push_back(is_plain ? levels / 2 : zero);
      scales.push_back(kernels::f32_from_f16(kernels::f16_from_f32(static_cast<float>(random.unit() - 0.5))));
    }
    for (std::size_t i = 0; i < inputs; ++i) {
      group_of.push_back(static_cast<std::uint32_t>(scheme.has_order ? (7 * i + 3) % groups : i / group));
    }
  }

  float value(std::size_t output, std::size_t input) const {
    const std::size_t at = group_of[input] * outputs + output;
    return scales[at] * (static_cast<float>(codes[input * outputs + output]) - static_cast<float>(zeros[at]));
  }
};

// Words of codes that lie along a row of `width`, in the order of the layout.
std::vector<std::uint32_t> along_row(const std::vector<unsigned>& values, std::size_t width, int bits, Layout layout,
                                     unsigned less) {
  // The column that each place of a word holds. Source: AutoAWQ, packing_utils.py; vLLM, quant_utils.py.
  const std::vector<std::size_t> awq =
      bits == 4 ? std::vector<std::size_t>{0, 2, 4, 6, 1, 3, 5, 7} : std::vector<std::size_t>{0, 2, 1, 3};
  const std::size_t in_word = 32 / static_cast<std::size_t>(bits);
  std::vector<std::uint32_t> words(values.size() / in_word);
  for (std::size_t w = 0; w < words.size(); ++w) {
    const std::size_t first = w / (width / in_word) * width + w % (width / in_word) * in_word;
    for (std::size_t place = 0; place < in_word; ++place) {
      const std::size_t column = layout == Layout::kAwq ? awq[place] : place;
      words[w] |= (values[first + column] - less) << (place * static_cast<std::size_t>(bits));
    }
  }
  return words;
}

// Words of codes that lie along the inputs: code k of an output is in word k / codes in a word.
std::vector<std::uint32_t> along_inputs(const Layer& layer) {
  const std::size_t in_word = 32 / static_cast<std::size_t>(layer.scheme.bits);
  std::vector<std::uint32_t> words(layer.inputs / in_word * layer.outputs);
  for (std::size_t k = 0; k < layer.inputs; ++k) {
    for (std::size_t n = 0; n < layer.outputs; ++n) {
      words[k / in_word * layer.outputs + n] |= layer.codes[k * layer.outputs + n]
                                                << (k % in_word * static_cast<std::size_t>(layer.scheme.bits));
    }
  }
  return words;
}

// A safetensors file of a layer, of which parts may be changed, and what is gathered from it.
class TransposedFolder final {
 public:
  explicit TransposedFolder(const Layer& layer) : scheme_(layer.scheme) {
    const bool is_gptq = scheme_.layout == Layout::kGptq;
    const std::size_t in_word = 32 / static_cast<std::size_t>(scheme_.bits);
    const std::size_t groups = layer.scales.size() / layer.outputs;
    if (is_gptq) {
      put("a.qweight", "I32", {layer.inputs / in_word, layer.outputs}, along_inputs(layer));
    } else {
      put("a.qweight", "I32", {layer.inputs, layer.outputs / in_word},
          along_row(layer.codes, layer.outputs, scheme_.bits, scheme_.layout, 0));
    }
    put("a.qzeros", "I32", {groups, layer.outputs / in_word},
        along_row(layer.zeros, layer.outputs, scheme_.bits, scheme_.layout, scheme_.is_one_less ? 1 : 0));
    std::vector<std::uint16_t> halves;
    for (const float scale : layer.scales) halves.push_back(kernels::f16_from_f32(scale));
    put("a.scales", "F16", {groups, layer.outputs}, halves);
    if (is_gptq) put("a.g_idx", "I32", {layer.inputs}, layer.group_of);
  }

  template <typename T>
  TransposedFolder& put(const std::string& name, const std::string& dtype, std::vector<std::uint64_t> shape,
                        const std::vector<T>& values) {
    remove(name);
    std::string bytes(values.size() * sizeof(T), '\0');
    if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    parts_.push_back({.name = name, .shape = std::move(shape), .dtype = dtype, .bytes = bytes.size()});
    contents_[name] = std::move(bytes);
    return *this;
  }
  TransposedFolder& remove(const std::string& name) {
    std::erase_if(parts_, [&](const OutputTensor& part) { return part.name == name; });
    return *this;
  }

  Status gather() {
    const OutputHeader header = safetensors_header(parts_);
    std::string file = header.bytes;
    file.resize(header.file_bytes);
    for (const OutputTensor& part : parts_) file.replace(part.offset, part.bytes, contents_[part.name]);
    file_.resize(file.size());
    std::memcpy(file_.data(), file.data(), file.size());
    base::Budget budget;
    parsed_ = TRY(SafetensorsFile::parse(file_, budget));
    tensors.assign(parsed_->tensors().begin(), parsed_->tensors().end());
    std::ranges::sort(tensors, {}, &StoredTensor::name);
    matrices = TRY(gather_transposed(scheme_, tensors));
    return {};
  }

  Code code() {
    const Status status = gather();
    return status ? Code::kInternal : status.error().code;
  }

  std::vector<StoredTensor> tensors;
  std::vector<std::unique_ptr<const QuantizedMatrix>> matrices;

 private:
  TransposedScheme scheme_;
  std::vector<OutputTensor> parts_;
  std::map<std::string, std::string> contents_;
  std::vector<std::byte> file_;
  std::optional<SafetensorsFile> parsed_;
};

// Rows [first, first + count) of a matrix as values.
std::vector<float> values_of(const QuantizedMatrix& matrix, std::size_t first, std::size_t count) {
  std::vector<std::byte> blocks(count * kernels::row_bytes(matrix.block_type(), matrix.columns));
  matrix.expand(first, count, blocks.data());
  std::vector<float> values(count * matrix.columns);
  kernels::dequantize(matrix.block_type(), blocks.data(), values.data(), values.size());
  return values;
}

struct Kind {
  TransposedScheme scheme;
  bool is_plain;
  std::size_t inputs;
  DType type;
};

const Kind kKinds[] = {
    {{.bits = 4, .group = 32}, true, 96, DType::kQ4_0},
    {{.bits = 4, .group = 32}, false, 96, DType::kQ4_1},
    {{.bits = 4}, false, 96, DType::kQ4_1},
    {{.bits = 4, .group = 64}, false, 96, DType::kQ4_1},  // the last group is half of one
    {{.bits = 4, .group = 16}, true, 96, DType::kF16},
    {{.bits = 4, .group = 32}, true, 40, DType::kF16},
    {{.bits = 4, .group = 32, .has_order = true}, true, 96, DType::kF16},
    {{.bits = 4, .group = 32, .is_one_less = false}, false, 96, DType::kQ4_1},
    {{.bits = 8, .group = 32}, true, 96, DType::kQ8_0},
    {{.bits = 8, .group = 32}, false, 96, DType::kF16},
    {{.bits = 8, .group = 32, .has_order = true, .is_one_less = false}, false, 96, DType::kF16},
    {{.layout = Layout::kAwq, .bits = 4, .group = 32, .is_one_less = false}, false, 96, DType::kQ4_1},
    {{.layout = Layout::kAwq, .bits = 4, .is_one_less = false}, true, 96, DType::kQ4_0},
    {{.layout = Layout::kAwq, .bits = 8, .group = 32, .is_one_less = false}, true, 96, DType::kQ8_0},
    {{.layout = Layout::kAwq, .bits = 8, .group = 96, .is_one_less = false}, false, 96, DType::kF16},
};

TEST(TransposedMatrix, BecomesTheValuesOfItsFormula) {
  for (const Kind& kind : kKinds) {
    for (const std::size_t outputs : {8, 40}) {
      const Layer layer(kind.scheme, kind.inputs, outputs, kind.is_plain);
      TransposedFolder folder(layer);
      folder.put<float>("b.weight", "F32", {1}, {1});
      const Status gathered = folder.gather();
      ASSERT_TRUE(gathered) << gathered.error().message;
      ASSERT_EQ(folder.tensors.size(), 2u);
      EXPECT_EQ(folder.tensors[0].name, "a.weight");
      EXPECT_EQ(folder.tensors[0].shape_text(),
                "[" + std::to_string(outputs) + ", " + std::to_string(kind.inputs) + "]");
      const QuantizedMatrix& matrix = *folder.matrices.at(0);
      ASSERT_EQ(matrix.block_type(), kind.type) << kind.scheme.bits << " bits, groups of " << kind.scheme.group;
      const std::vector<float> values = values_of(matrix, 0, outputs);
      const float levels = static_cast<float>(1 << kind.scheme.bits);
      for (std::size_t n = 0; n < outputs; ++n) {
        for (std::size_t k = 0; k < kind.inputs; ++k) {
          // A Q4_1 rounds its minimum, an F16 its value, each to 11 bits of at most levels * scale.
          const float scale = std::fabs(layer.scales[layer.group_of[k] * outputs + n]);
          const bool is_exact = kind.type == DType::kQ4_0 || kind.type == DType::kQ8_0;
          ASSERT_NEAR(values[n * kind.inputs + k], layer.value(n, k), is_exact ? 0 : 0x1p-11f * levels * scale)
              << n << ", " << k;
        }
      }
      const std::vector<float> some = values_of(matrix, 3, 2);
      EXPECT_TRUE(std::equal(some.begin(), some.end(), values.begin() + static_cast<std::ptrdiff_t>(3 * kind.inputs)));
    }
  }
}

TEST(TransposedMatrix, AnOrderThatIsNotSaidIsNotLookedAt) {
  const Layer layer({.bits = 4, .group = 32}, 64, 8, true);
  TransposedFolder folder(layer);
  folder.put("a.g_idx", "I32", {64}, std::vector<std::uint32_t>(64, 0));  // as some write it
  ASSERT_TRUE(folder.gather());
  EXPECT_EQ(values_of(*folder.matrices[0], 0, 1)[40], layer.value(0, 40));
  ASSERT_TRUE(TransposedFolder(layer).remove("a.g_idx").gather());
}

TEST(TransposedMatrix, PartsThatDoNotFitAreRefused) {
  const Layer gptq({.bits = 4, .group = 32, .has_order = true}, 64, 16);
  const auto broken = [&] { return TransposedFolder(gptq); };
  EXPECT_EQ(broken().code(), Code::kInternal) << "the whole one is right";
  for (const char* part : {"a.qzeros", "a.scales", "a.g_idx"}) {
    EXPECT_EQ(broken().remove(part).code(), Code::kCorrupt) << part;
  }
  using Words = std::vector<std::uint32_t>;
  EXPECT_EQ(broken().put("a.qweight", "I32", {128}, Words(128)).code(), Code::kCorrupt);
  EXPECT_EQ(broken().put("a.qweight", "F32", {8, 16}, Words(128)).code(), Code::kCorrupt);
  EXPECT_EQ(broken().put("a.qweight", "I32", {8, 15}, Words(120)).code(), Code::kCorrupt);
  EXPECT_EQ(broken().put("a.qweight", "I32", {0, 16}, Words()).code(), Code::kCorrupt);
  EXPECT_EQ(broken().put("a.qweight", "I32", {16, 16}, Words(256)).code(), Code::kCorrupt);
  EXPECT_EQ(broken().put("a.qzeros", "I32", {2, 3}, Words(6)).code(), Code::kCorrupt);
  EXPECT_EQ(broken().put("a.qzeros", "F32", {2, 2}, Words(4)).code(), Code::kCorrupt);
  EXPECT_EQ(broken().put("a.scales", "F32", {1, 16}, std::vector<float>(16)).code(), Code::kCorrupt);
  EXPECT_EQ(broken().put("a.scales", "I32", {2, 16}, Words(32)).code(), Code::kCorrupt);
  for (const float bad : {NAN, INFINITY, 300.0f}) {
    std::vector<float> scales(32, 0.5f);
    scales[31] = bad;
    EXPECT_EQ(broken().put("a.scales", "F32", {2, 16}, scales).code(), Code::kCorrupt) << bad;
  }
  for (const std::uint32_t group : {2u, 0xffffffffu}) {
    Words order(64);
    order[63] = group;
    EXPECT_EQ(broken().put("a.g_idx", "I32", {64}, order).code(), Code::kCorrupt) << group;
  }
  EXPECT_EQ(broken().put("a.g_idx", "I32", {63}, Words(63)).code(), Code::kCorrupt);
  EXPECT_EQ(broken().put("a.weight", "F32", {1}, Words(1)).code(), Code::kCorrupt) << "there twice";
}

Result<std::optional<TransposedScheme>> scheme_of(const std::string& quantization) {
  base::Budget budget;
  return find_transposed_scheme(json::parse(R"({"quantization_config":)" + quantization + "}", budget)->as_object());
}

TEST(TransposedScheme, ReadsWhatOthersWrite) {
  EXPECT_EQ(*scheme_of("null"), std::nullopt);
  EXPECT_EQ(*scheme_of(R"({"quant_method":"compressed-tensors"})"), std::nullopt);
  EXPECT_EQ(*scheme_of(R"({"quant_method":"gptq","bits":4,"group_size":128,"desc_act":true,"sym":true,
                           "damp_percent":0.01,"true_sequential":true,"dynamic":{}})"),
            (TransposedScheme{.bits = 4, .group = 128, .has_order = true}));
  EXPECT_EQ(*scheme_of(R"({"quant_method":"gptq","bits":8,"group_size":-1,"checkpoint_format":"gptq_v2"})"),
            (TransposedScheme{.bits = 8, .is_one_less = false}));
  EXPECT_EQ(*scheme_of(R"({"quant_method":"awq","bits":4,"group_size":128,"zero_point":true,"version":"GEMM",
                           "modules_to_not_convert":null})"),
            (TransposedScheme{.layout = Layout::kAwq, .bits = 4, .group = 128, .is_one_less = false}));
  EXPECT_EQ(*scheme_of(R"({"quant_method":"awq","w_bit":4,"q_group_size":64})"),
            (TransposedScheme{.layout = Layout::kAwq, .bits = 4, .group = 64, .is_one_less = false}));
}

TEST(TransposedScheme, RefusesWhatWeDoNotRun) {
  const std::pair<std::string, Code> cases[] = {
      {"7", Code::kCorrupt},
      {R"({"quant_method":7})", Code::kCorrupt},
      {R"({"quant_method":"gptq"})", Code::kCorrupt},
      {R"({"quant_method":"gptq","bits":"4","group_size":128})", Code::kCorrupt},
      {R"({"quant_method":"gptq","bits":4})", Code::kCorrupt},
      {R"({"quant_method":"gptq","bits":4,"group_size":0})", Code::kCorrupt},
      {R"({"quant_method":"gptq","bits":4,"group_size":2000000})", Code::kCorrupt},
      {R"({"quant_method":"gptq","bits":4,"group_size":128,"desc_act":1})", Code::kCorrupt},
      {R"({"quant_method":"gptq","bits":3,"group_size":128})", Code::kInvalidArgument},
      {R"({"quant_method":"gptq","bits":4,"group_size":128,"checkpoint_format":"marlin"})", Code::kInvalidArgument},
      {R"({"quant_method":"gptq","bits":4,"group_size":128,"is_marlin_format":true})", Code::kInvalidArgument},
      {R"({"quant_method":"gptq","bits":4,"group_size":128,"dynamic":{"-:down":{}}})", Code::kInvalidArgument},
      {R"({"quant_method":"awq","bits":4,"group_size":128,"version":"gemv"})", Code::kInvalidArgument},
      {R"({"quant_method":"awq","bits":4,"group_size":128,"zero_point":false})", Code::kInvalidArgument},
  };
  for (const auto& [text, code] : cases) {
    const auto refused = scheme_of(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, code) << text;
  }
}

}  // namespace
}  // namespace autoglm::model
