// SPDX-License-Identifier: Apache-2.0
// Whole checkpoints quantised and loaded again: what is written is what the report says, it runs, and whatever goes
// wrong leaves nothing behind.
#include "model/quantize.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <span>

#include "base/temporary_folder.h"
#include "kernels/cpu.h"
#include "model/evaluate.h"
#include "model/formats/checkpoint.h"
#include "model/formats/compressed_tensors.h"
#include "model/load.h"
#include "model/model_fixture.h"

namespace autoglm::model {
namespace {

namespace fs = std::filesystem;

// All values of a matrix, however it is stored.
std::vector<float> values_of(const StoredTensor& stored) {
  std::vector<float> values(stored.elements());
  std::vector<std::byte> blocks(stored.bytes.begin(), stored.bytes.end());
  if (stored.compressed != nullptr) {
    blocks.resize(stored.shape[0] * kernels::row_bytes(*stored.type, stored.shape[1]));
    stored.compressed->expand(0, stored.shape[0], blocks.data());
  }
  kernels::dequantize(*stored.type, blocks.data(), values.data(), values.size());
  return values;
}

double relative_error(std::span<const float> before, std::span<const float> after) {
  double error = 0, value = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    error += (double{before[i]} - after[i]) * (double{before[i]} - after[i]);
    value += double{before[i]} * before[i];
  }
  return std::sqrt(error / value);
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

class QuantizeModel : public testing::Test {
 protected:
  QuantizeReport quantize(const fs::path& source, const QuantizeOptions& options, const char* name = "out") {
    auto report = quantize_model(source, home_ / name, options);
    EXPECT_TRUE(report) << report.error().message;
    return report.value_or(QuantizeReport{});
  }
  std::optional<Error> refusal(const fs::path& source, const QuantizeOptions& options) {
    const auto report = quantize_model(source, home_ / "out", options);
    EXPECT_FALSE(report);
    EXPECT_TRUE(fs::is_empty(home_)) << "something stayed behind";
    return report ? std::nullopt : std::optional(report.error());
  }

  base::TemporaryFolder home_;
};

// The report against the two checkpoints as they can be read: names, types, sizes, errors.
void check_report(const QuantizeReport& report, const fs::path& before, const fs::path& after) {
  const auto source = Checkpoint::open(before);
  const auto made = Checkpoint::open(after);
  ASSERT_TRUE(source && made) << made.error().message;
  ASSERT_EQ(source->tensors().size(), made->tensors().size());
  ASSERT_EQ(report.tensors.size(), source->tensors().size());
  EXPECT_EQ(report.bytes_after, made->file_bytes());
  for (const ConvertedTensor& tensor : report.tensors) {
    SCOPED_TRACE(tensor.name);
    const StoredTensor* const from = source->find(tensor.name);
    const StoredTensor* const to = made->find(tensor.name);
    ASSERT_TRUE(from != nullptr && to != nullptr);
    EXPECT_EQ(from->shape, to->shape);
    // A loader makes an f16 of the minimum of an int4 and of the values of an int8 with a zero point.
    const bool is_rounded_again = to->type == kernels::DType::kQ4_1 || to->type == kernels::DType::kF16;
    const double error = relative_error(values_of(*from), values_of(*to));
    EXPECT_NEAR(tensor.relative_error, error, is_rounded_again ? 0.002 * error + 1e-4 : 1e-9);
    if (from->rank == 1) EXPECT_EQ(error, 0);
  }
}

TEST_F(QuantizeModel, GgufInEveryKindIsWhatTheReportSaysAndRuns) {
  const fs::path source = golden("gguf/llama32-F16.gguf");
  const std::vector<float> expected = logits_of(source);
  struct Case {
    QuantizeOptions options;
    const char* type;
    double least_cosine;
  };
  const Case cases[] = {{{.kind = WeightKind::kInt8}, "Q8_0", 0.999},
                        {{.kind = WeightKind::kInt4}, "Q4_0", 0.9},
                        {{.kind = WeightKind::kInt4, .is_symmetric = false}, "Q4_1", 0.9},
                        {{.kind = WeightKind::kBF16, .threads = 3}, "BF16", 0.9999},
                        {{.kind = WeightKind::kF16}, "F16", 0.9999999}};
  for (const Case& test : cases) {
    SCOPED_TRACE(test.type);
    const QuantizeReport report = quantize(source, test.options, test.type);
    const fs::path made = home_ / test.type / "model.gguf";
    check_report(report, source, made);
    EXPECT_GT(cosine(logits_of(home_ / test.type), expected), test.least_cosine);
    const auto checkpoint = Checkpoint::open(made);
    ASSERT_TRUE(checkpoint);
    EXPECT_EQ(checkpoint->find("blk.1.ffn_down.weight")->type_text(), test.type);
    const bool is_four = test.options.kind == WeightKind::kInt4;
    EXPECT_EQ(checkpoint->find("output.weight")->type_text(), is_four ? "Q8_0" : test.type);
    EXPECT_EQ(checkpoint->find("blk.0.attn_norm.weight")->type_text(), "F32");
    if (test.options.kind == WeightKind::kInt8) EXPECT_LE(3 * report.bytes_after, 4 * report.parameters + 200'000);
  }
}

TEST_F(QuantizeModel, AGgufKeepsItsWordsAndSettings) {
  const fs::path source = golden("gguf/llama32-F16.gguf");
  quantize(source, {.kind = WeightKind::kInt8});
  const auto before = Checkpoint::open(source);
  const auto after = Checkpoint::open(home_ / "out");
  ASSERT_TRUE(before && after);
  std::map<std::string_view, std::string> pairs;
  for (const GgufFile::Pair& pair : after->gguf()->pairs()) {
    pairs[pair.key] = {reinterpret_cast<const char*>(pair.value.data()), pair.value.size()};
  }
  for (const GgufFile::Pair& pair : before->gguf()->pairs()) {
    if (pair.key == "general.file_type" || pair.key == "general.quantization_version") continue;
    EXPECT_EQ(pairs[pair.key], std::string(reinterpret_cast<const char*>(pair.value.data()), pair.value.size()));
  }
  EXPECT_EQ(*after->gguf()->find_uint("general.file_type"), 7u);
  EXPECT_EQ(*after->gguf()->find_uint("general.quantization_version"), 2u);
  const auto words = load_text(home_ / "out");
  ASSERT_TRUE(words) << words.error().message;
  EXPECT_NE(words->chat_template, nullptr);
}

// What is quantised already may be quantised again; what is in the type already is copied.
TEST_F(QuantizeModel, AnySourceTypeWillDo) {
  for (const char* name : {"gguf/llama256-Q4_K_M.gguf", "gguf/gemma3-F16.gguf", "gguf/qwen2-F32.gguf"}) {
    SCOPED_TRACE(name);
    const QuantizeReport report = quantize(golden(name), {.kind = WeightKind::kInt8}, fs::path(name).stem().c_str());
    check_report(report, golden(name), home_ / fs::path(name).stem());
  }
  const QuantizeReport same = quantize(golden("gguf/llama32-Q8_0.gguf"), {.kind = WeightKind::kInt8}, "same");
  for (const ConvertedTensor& tensor : same.tensors) EXPECT_EQ(tensor.relative_error, 0) << tensor.name;
}

TEST_F(QuantizeModel, RowsThatAreNoBlocksStayInF16AndAreTold) {
  const fs::path source = golden("gguf/qwen3-F16.gguf");
  const QuantizeReport report = quantize(source, {.kind = WeightKind::kInt4});
  std::size_t told = 0;
  for (const ConvertedTensor& tensor : report.tensors) {
    if (tensor.note.empty()) continue;
    EXPECT_EQ(tensor.to, "F16") << tensor.name;
    ++told;
  }
  EXPECT_GT(told, 0u);
  check_report(report, source, home_ / "out");
}

TEST_F(QuantizeModel, SafetensorsInEveryKindIsWhatTheReportSaysAndRuns) {
  const fs::path source = golden("tiny/llama_tied");  // rows of 64; those of `down` are 94
  const std::vector<float> expected = logits_of(source);
  struct Case {
    const char* name;
    QuantizeOptions options;
    kernels::DType runs_as;
    double least_cosine;
  };
  using kernels::DType;
  const Case cases[] = {{"int8", {.kind = WeightKind::kInt8}, DType::kQ8_0, 0.998},
                        {"int8-32", {.kind = WeightKind::kInt8, .group = 32}, DType::kQ8_0, 0.998},
                        {"int8-asym", {.kind = WeightKind::kInt8, .is_symmetric = false}, DType::kF16, 0.998},
                        {"int4", {.kind = WeightKind::kInt4, .threads = 2}, DType::kQ4_0, 0.8},
                        {"int4-64", {.kind = WeightKind::kInt4, .group = 64}, DType::kQ4_0, 0.8},
                        {"int4-row", {.kind = WeightKind::kInt4, .group = 0}, DType::kQ4_0, 0.8},
                        {"int4-asym", {.kind = WeightKind::kInt4, .is_symmetric = false}, DType::kQ4_1, 0.8},
                        {"fp16", {.kind = WeightKind::kF16}, DType::kF16, 0.9999},
                        {"bf16", {.kind = WeightKind::kBF16}, DType::kBF16, 0.999}};
  for (const Case& test : cases) {
    SCOPED_TRACE(test.name);
    const QuantizeReport report = quantize(source, test.options, test.name);
    check_report(report, source, home_ / test.name);
    EXPECT_GT(cosine(logits_of(home_ / test.name), expected), test.least_cosine);
    const auto checkpoint = Checkpoint::open(home_ / test.name);
    ASSERT_TRUE(checkpoint);
    EXPECT_EQ(checkpoint->find("model.layers.1.self_attn.q_proj.weight")->type, test.runs_as);
    const bool is_16 = test.options.kind == WeightKind::kF16 || test.options.kind == WeightKind::kBF16;
    EXPECT_EQ(checkpoint->config().contains("quantization_config"), !is_16);
    EXPECT_EQ(checkpoint->config().at("torch_dtype"), test.options.kind == WeightKind::kBF16 ? "bfloat16" : "float16");
    // Random weights make much of small errors, so the bounds above are wide. This one is not: the same values, as f16.
    quantize(home_ / test.name, {.kind = WeightKind::kF16}, "again");
    EXPECT_GT(cosine(logits_of(home_ / "again"), logits_of(home_ / test.name)), 0.9999);
    fs::remove_all(home_ / "again");
  }
}

TEST_F(QuantizeModel, AFolderKeepsItsWords) {
  quantize(golden("tiny/qwen2"), {.kind = WeightKind::kInt8});
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    EXPECT_EQ(text_of(home_ / "out" / name), text_of(golden("tiny/qwen2") / name)) << name;
    EXPECT_FALSE(text_of(home_ / "out" / name).empty());
  }
  EXPECT_TRUE(load_model(home_ / "out", {}));
  // Nothing of it has rows of whole groups (84 and 102): then nothing is said of quantisation either.
  EXPECT_EQ(text_of(home_ / "out/config.json").find("quantization_config"), std::string::npos);
}

TEST_F(QuantizeModel, WhatAFormatCannotExpressIsRefused) {
  const fs::path gguf = golden("gguf/llama32-F16.gguf");
  const fs::path folder = golden("tiny/llama_tied");
  const auto expect = [&](const fs::path& source, const QuantizeOptions& options, const char* where,
                          const char* named) {
    const auto error = refusal(source, options);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, Code::kInvalidArgument);
    EXPECT_EQ(error->where, where);
    EXPECT_NE(error->message.find(named), std::string::npos) << error->message;
  };
  expect(gguf, {.kind = WeightKind::kInt8, .is_symmetric = false}, "scheme", "--format safetensors");
  expect(gguf, {.kind = WeightKind::kInt4, .group = 64}, "group_size", "--format safetensors");
  expect(gguf, {.kind = WeightKind::kInt8, .group = 0}, "group_size", "--format safetensors");
  expect(gguf, {.format = OutputFormat::kSafetensors}, "format", "--format gguf");
  expect(folder, {.format = OutputFormat::kGguf}, "format", "--format safetensors");
  expect(folder, {.kind = WeightKind::kInt4, .group = 48}, "group_size", "multiple of 32");
  expect(folder, {.kind = WeightKind::kF16, .group = 32}, "group_size", "16 bits");
  expect(gguf, {.kind = WeightKind::kBF16, .is_symmetric = false}, "scheme", "16 bits");
  EXPECT_EQ(refusal(home_ / "missing", {})->code, Code::kNotFound);
}

TEST_F(QuantizeModel, StoppedAnywhereLeavesNothingAndCanBeRepeated) {
  const fs::path source = golden("gguf/llama32-F16.gguf");
  for (const int after : {1, 5, 19}) {
    int asked = 0;
    const QuantizeOptions stopped{.is_cancelled = [&] { return ++asked >= after; }};
    EXPECT_EQ(refusal(source, stopped)->code, Code::kCancelled);
    EXPECT_EQ(asked, after);
  }
  std::uint64_t done_bytes = 0, total_bytes = 0;
  quantize(source, {.progress = [&](std::uint64_t done, std::uint64_t total) {
             EXPECT_GE(done, done_bytes);
             done_bytes = done;
             total_bytes = total;
           }});
  EXPECT_EQ(done_bytes, total_bytes);
  EXPECT_TRUE(load_model(home_ / "out", {}));
}

TEST_F(QuantizeModel, AFullDiskLeavesNothing) {
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  for (const rlim_t left : {1000u, 40'000u, 100'000u}) {  // in the header, in the middle, nearly done
    rlimit small = before;
    small.rlim_cur = left;
    setrlimit(RLIMIT_FSIZE, &small);
    const auto report = quantize_model(golden("gguf/llama32-F16.gguf"), home_ / "out", {});
    setrlimit(RLIMIT_FSIZE, &before);
    ASSERT_FALSE(report) << left;
    EXPECT_EQ(report.error().code, Code::kExhausted);
    EXPECT_TRUE(fs::is_empty(home_));
  }
  std::signal(SIGXFSZ, old);
}

TEST_F(QuantizeModel, AnExistingFolderIsNotTouched) {
  fs::create_directories(home_ / "out");
  std::ofstream(home_ / "out/mine") << "keep";
  const auto report = quantize_model(golden("gguf/llama32-F16.gguf"), home_ / "out", {});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Code::kInvalidArgument);
  EXPECT_EQ(report.error().where, "output");
  EXPECT_EQ(text_of(home_ / "out/mine"), "keep");
}

// The last value of the last tensor of a folder becomes one that no block can hold.
TEST_F(QuantizeModel, WeightsThatAreNoNumbersAreRefused) {
  const fs::path source = golden("tiny/llama_tied");
  const auto checkpoint = Checkpoint::open(source);
  ASSERT_TRUE(checkpoint);
  const StoredTensor* const tensor = checkpoint->find("model.layers.0.mlp.up_proj.weight");
  ASSERT_EQ(tensor->type, kernels::DType::kF32);
  const std::string original = text_of(source / "model.safetensors");
  const std::string_view bytes(reinterpret_cast<const char*>(tensor->bytes.data()), tensor->bytes.size());
  const std::size_t place = original.find(bytes);
  ASSERT_NE(place, std::string::npos);
  for (const float bad : {std::nanf(""), 1e5f, -INFINITY}) {
    std::string broken = original;
    std::memcpy(broken.data() + place, &bad, sizeof(bad));
    fs::create_directories(home_ / "source");
    fs::copy_file(source / "config.json", home_ / "source/config.json", fs::copy_options::overwrite_existing);
    std::ofstream(home_ / "source/model.safetensors", std::ios::binary) << broken;
    const auto report = quantize_model(home_ / "source", home_ / "out", {.kind = WeightKind::kInt4});
    ASSERT_FALSE(report) << bad;
    EXPECT_EQ(report.error().code, Code::kCorrupt);
    EXPECT_NE(report.error().message.find("up_proj"), std::string::npos);
    EXPECT_FALSE(fs::exists(home_ / "out"));
  }
}

// A tensor that nobody reads may have any shape, also one without elements.
TEST_F(QuantizeModel, TensorsWithoutElementsAreCopied) {
  const fs::path source = golden("tiny/llama_tied");
  const std::string original = text_of(source / "model.safetensors");
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, original.data(), sizeof(header_bytes));
  const std::string end = std::to_string(original.size() - 8 - header_bytes);
  for (const char* const shape : {"[1,0]", "[0,4]"}) {
    const std::string header = R"({"model.layers.0.self_attn.rotary_emb.inv_freq":{"dtype":"F32","shape":)" +
                               std::string(shape) + R"(,"data_offsets":[)" + end + "," + end + "]}," +
                               original.substr(9, header_bytes - 1);
    const std::uint64_t bytes = header.size();
    fs::create_directories(home_ / "source");
    fs::copy_file(source / "config.json", home_ / "source/config.json", fs::copy_options::overwrite_existing);
    std::ofstream(home_ / "source/model.safetensors", std::ios::binary)
        << std::string(reinterpret_cast<const char*>(&bytes), 8) << header << original.substr(8 + header_bytes);
    const auto report = quantize_model(home_ / "source", home_ / "out", {.kind = WeightKind::kInt8});
    ASSERT_TRUE(report) << shape << report.error().message;
    EXPECT_EQ(logits_of(home_ / "out").size(), logits_of(source).size());
    fs::remove_all(home_ / "out");
  }
}

}  // namespace
}  // namespace autoglm::model
