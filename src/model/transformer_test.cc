// SPDX-License-Identifier: Apache-2.0
// The transformer on tiny checkpoints: forward() never allocates, a sequence's logits do not depend on chunks, company
// or where its blocks lie, and checkpoints that lack or carry the wrong tensors are refused by name.
#include "model/transformer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <new>
#include <numeric>
#include <span>

#include "kernels/cpu.h"
#include "model/evaluate.h"
#include "model/formats/gguf_writer.h"
#include "model/load.h"
#include "model/model_fixture.h"

namespace {

[[maybe_unused]] std::atomic<std::size_t> allocation_count = 0;

[[maybe_unused]] void* count_allocation(std::size_t size) {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}

[[maybe_unused]] void* count_allocation(std::size_t size, std::size_t alignment) {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  void* const memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

// ThreadSanitizer links an allocator of its own that cannot be replaced: allocations are counted in the other builds.
#if !__has_feature(thread_sanitizer)
// Replaces the allocator of the whole test program, so that a test can see that nothing was allocated.
void* operator new(std::size_t size) { return count_allocation(size); }
void* operator new[](std::size_t size) { return count_allocation(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return count_allocation(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return count_allocation(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return count_allocation(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return count_allocation(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
#endif

namespace autoglm::model {
namespace {

using kernels::Compute;
using kernels::KvType;
using kernels::SequenceRows;

constexpr std::size_t kRows = 70;
constexpr TokenId kSmallestVocab = 256;  // of the models below

constexpr KvType kKvTypes[] = {KvType::kF16, KvType::kInt8, KvType::kF32};  // the last in exact

std::unique_ptr<LanguageModel> load(const std::string& name, KvType kv_type, int threads = 1) {
  auto network = load_network(golden(name), {.isa = kernels::available_isas().back(),
                                             .compute = kv_type == KvType::kF32 ? Compute::kExact : Compute::kFast,
                                             .kv_type = kv_type,
                                             .threads = threads});
  EXPECT_TRUE(network) << network.error().message;
  return std::move(*network);
}

std::vector<TokenId> some_ids(std::size_t count, TokenId first) {
  std::vector<TokenId> ids(count);
  for (std::size_t i = 0; i < count; ++i)
    ids[i] = static_cast<TokenId>((first + 37 * static_cast<TokenId>(i)) % kSmallestVocab);
  return ids;
}

std::vector<float> copy(const Logits& logits) { return {logits.data, logits.data + logits.rows * logits.vocab}; }

const char* const kModels[] = {"tiny/qwen3",
                               "tiny/gemma3_text",
                               "tiny/phi3_longrope",
                               "tiny/glm4_bf16",
                               "gguf/llama256-Q4_K_M.gguf",
                               "gguf/llama32-Q8_0.gguf",
                               "gguf/qwen3moe-F16.gguf",
                               "gguf/glm4moe-F16.gguf"};

#if !__has_feature(thread_sanitizer)
TEST(Transformer, ForwardNeverAllocates) {
  for (const std::string name : kModels) {
    for (const KvType kv_type : kKvTypes) {
      const auto network = load(name, kv_type, 2);
      const std::uint32_t blocks[] = {0, 1, 2};
      const std::uint32_t logit_rows[] = {0, 1, 2, 3, 4, 5, 6, 7};
      network->reserve(3, kRows, 8);
      const std::vector<TokenId> ids = some_ids(kRows, 5);
      const SequenceRows sequence{.rows = kRows, .block_table = blocks, .is_long = true};
      const Batch batch{.tokens = ids, .sequences = {&sequence, 1}, .logit_rows = logit_rows};
      if (network->unpacked_bytes() > 0) network->forward(batch);  // which packs the experts that it meets
      const std::size_t before = allocation_count.load();
      network->forward(batch);
      network->forward(batch);
      EXPECT_EQ(allocation_count.load(), before) << name;
    }
  }
}
#endif

TEST(Transformer, ChunksDoNotChangeABit) {
  for (const std::string name : kModels) {
    for (const KvType kv_type : kKvTypes) {
      const auto network = load(name, kv_type, 2);
      SoloSequence sequence(*network, kRows, kRows);
      const std::vector<TokenId> ids = some_ids(kRows, 11);
      const std::vector<float> whole = copy(sequence.append(ids, SoloSequence::Want::kAll));
      for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, std::size_t{33}}) {
        sequence.restart();
        std::vector<float> parts;
        for (std::size_t done = 0; done < kRows; done += chunk) {
          const auto part = std::span(ids).subspan(done, std::min(chunk, kRows - done));
          const std::vector<float> logits = copy(sequence.append(part, SoloSequence::Want::kAll));
          parts.insert(parts.end(), logits.begin(), logits.end());
        }
        EXPECT_EQ(std::memcmp(parts.data(), whole.data(), whole.size() * sizeof(float)), 0) << name << " by " << chunk;
      }
    }
  }
}

TEST(Transformer, CompanyAndPlacesOfBlocksDoNotChangeABit) {
  for (const std::string name : kModels) {
    const auto alone = load(name, KvType::kF16);
    SoloSequence sequence(*alone, kRows, kRows);
    const std::vector<TokenId> first = some_ids(40, 3);
    const std::vector<TokenId> second = some_ids(30, 100);
    const std::vector<float> first_logits = copy(sequence.append(first, SoloSequence::Want::kLast));
    sequence.restart();
    const std::vector<float> second_logits = copy(sequence.append(second, SoloSequence::Want::kLast));

    const auto together = load(name, KvType::kF16);
    together->reserve(8, kRows, 2);
    std::vector<TokenId> ids = second;
    ids.insert(ids.end(), first.begin(), first.end());
    const std::uint32_t second_blocks[] = {6};
    const std::uint32_t first_blocks[] = {7, 2};
    const SequenceRows sequences[] = {{.first_row = 0, .rows = 30, .block_table = second_blocks, .is_long = true},
                                      {.first_row = 30, .rows = 40, .block_table = first_blocks, .is_long = true}};
    const std::uint32_t logit_rows[] = {29, 69};
    const Logits logits = together->forward({.tokens = ids, .sequences = sequences, .logit_rows = logit_rows});
    EXPECT_EQ(std::memcmp(logits.row(0).data(), second_logits.data(), second_logits.size() * sizeof(float)), 0) << name;
    EXPECT_EQ(std::memcmp(logits.row(1).data(), first_logits.data(), first_logits.size() * sizeof(float)), 0) << name;
  }
}

// After the last layer's keys and values only rows with logits are computed.
TEST(Transformer, RowsWithoutLogitsDoNotChangeABit) {
  for (const std::string name : kModels) {
    for (const KvType kv_type : kKvTypes) {
      const auto network = load(name, kv_type, 2);
      network->reserve(5, kRows, kRows);
      const std::vector<TokenId> ids = some_ids(kRows, 7);
      const std::uint32_t first_blocks[] = {4, 0};
      const std::uint32_t second_blocks[] = {1, 3};
      const SequenceRows sequences[] = {{.first_row = 0, .rows = 37, .block_table = first_blocks, .is_long = true},
                                        {.first_row = 37, .rows = 33, .block_table = second_blocks, .is_long = true}};
      std::vector<std::uint32_t> every(kRows);
      std::iota(every.begin(), every.end(), 0u);
      const std::vector<float> whole =
          copy(network->forward({.tokens = ids, .sequences = sequences, .logit_rows = every}));
      // A run across the end of a sequence, lonely rows, and the last one.
      const std::vector<std::uint32_t> wanted = {0, 5, 6, 7, 35, 36, 37, 38, 50, 69};
      const Logits some = network->forward({.tokens = ids, .sequences = sequences, .logit_rows = wanted});
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        const float* const expected = whole.data() + wanted[i] * some.vocab;
        EXPECT_EQ(std::memcmp(some.row(i).data(), expected, some.vocab * sizeof(float)), 0) << name << wanted[i];
      }
    }
  }
}

// A short sequence turns by other factors than a long one, whatever runs beside it.
TEST(Transformer, LongAndShortSequencesShareABatch) {
  const std::vector<TokenId> ids = some_ids(30, 7);
  std::vector<float> expected[2];
  for (const bool is_long : {false, true}) {
    const auto network = load("tiny/phi3_longrope", KvType::kF16);
    ASSERT_EQ(network->short_context(), 34u);
    SoloSequence sequence(*network, 64, 64);
    sequence.restart(is_long ? 35 : 34);
    expected[is_long] = copy(sequence.append(ids, SoloSequence::Want::kLast));
  }
  EXPECT_NE(expected[0], expected[1]);
  const auto network = load("tiny/phi3_longrope", KvType::kF16);
  network->reserve(2, 60, 2);
  std::vector<TokenId> both = ids;
  both.insert(both.end(), ids.begin(), ids.end());
  const std::uint32_t blocks[] = {0, 1};
  const SequenceRows sequences[] = {{.first_row = 0, .rows = 30, .block_table = blocks, .is_long = true},
                                    {.first_row = 30, .rows = 30, .block_table = blocks + 1}};
  const std::uint32_t logit_rows[] = {29, 59};
  const Logits logits = network->forward({.tokens = both, .sequences = sequences, .logit_rows = logit_rows});
  EXPECT_EQ(std::memcmp(logits.row(0).data(), expected[1].data(), expected[1].size() * sizeof(float)), 0);
  EXPECT_EQ(std::memcmp(logits.row(1).data(), expected[0].data(), expected[0].size() * sizeof(float)), 0);
}

TEST(Transformer, NoLogitsAskedForGivesNone) {
  const auto network = load("tiny/qwen2", KvType::kF16);
  SoloSequence sequence(*network, 8, 8);
  EXPECT_EQ(sequence.append(some_ids(4, 1), SoloSequence::Want::kNone).rows, 0u);
}

TEST(TransformerDeathTest, BlocksThatAreNotThereAreABug) {
  const auto network = load("tiny/qwen2", KvType::kF16);
  network->reserve(2, 4, 1);
  const std::vector<TokenId> ids = some_ids(4, 1);
  const std::uint32_t blocks[] = {2};
  const SequenceRows sequence{.first_row = 0, .rows = 4, .first_position = 0, .block_table = blocks};
  EXPECT_DEATH(network->forward({.tokens = ids, .sequences = {&sequence, 1}, .logit_rows = {}}), "block 2 of 2");
}

TEST(Transformer, WeightsInAnotherTypeAreTheSameValues) {
  const std::vector<TokenId> ids = some_ids(20, 9);
  for (const char* name :
       {"gguf/llama32-Q8_0.gguf", "gguf/llama256-Q4_K_M.gguf", "tiny/qwen2", "gguf/glm4moe-F16.gguf"}) {
    const auto stored = load(name, KvType::kF32);
    SoloSequence sequence(*stored, kRows, kRows);
    const std::vector<float> expected = copy(sequence.append(ids, SoloSequence::Want::kLast));
    const float largest = std::ranges::max(expected, {}, [](float logit) { return std::abs(logit); });
    // F32 holds every value; F16 moves each by 2^-11 of itself, and the logits of these three layers by little more.
    for (const auto& [type, tolerance] : {std::pair{kernels::DType::kF32, 1e-4f}, {kernels::DType::kF16, 1e-2f}}) {
      LoadOptions options{.isa = kernels::available_isas().back(), .compute = Compute::kExact};
      options.weights_as = type;
      const auto network = load_network(golden(name), options);
      ASSERT_TRUE(network) << network.error().message;
      const auto& transformer = static_cast<const Transformer&>(**network);
      EXPECT_EQ(transformer.weights().head.weights->stored_type(), type) << name;
      EXPECT_EQ(transformer.weights().layers[0].down.weights->stored_type(), type) << name;
      SoloSequence other(**network, kRows, kRows);
      const std::vector<float> logits = copy(other.append(ids, SoloSequence::Want::kLast));
      for (std::size_t i = 0; i < logits.size(); ++i) {
        ASSERT_NEAR(logits[i], expected[i], tolerance * std::abs(largest)) << name << ", " << i;
      }
    }
  }
}

TEST(Transformer, ProgressEndsAtTheWhole) {
  std::size_t last_done = 0, total = 0, calls = 0;
  const auto network =
      load_network(golden("tiny/qwen2"), {.progress = [&](std::size_t done_bytes, std::size_t total_bytes) {
                     EXPECT_GT(done_bytes, last_done);
                     last_done = done_bytes;
                     total = total_bytes;
                     ++calls;
                   }});
  ASSERT_TRUE(network);
  EXPECT_EQ(last_done, total);
  EXPECT_EQ(calls, 3u * 7 + 1);
}

TEST(TransformerContext, OfMoreThanTheModelsOwnIsRefusedWithBothFigures) {
  EXPECT_EQ((*load_network(golden("tiny/qwen2"), {.context_length = 1024}))->context_length(), 1024u);
  const auto network = load_network(golden("tiny/qwen2"), {.context_length = 1025});
  ASSERT_FALSE(network);
  EXPECT_EQ(network.error().code, Code::kInvalidArgument);
  EXPECT_EQ(network.error().where, "context_length");
  for (const char* figure : {"1024", "1025"})
    EXPECT_NE(network.error().message.find(figure), std::string::npos) << network.error().message;
}

// A GGUF llama of one layer, with one tensor left out, changed or added.
class BrokenModel : public testing::Test {
 protected:
  Result<std::unique_ptr<LanguageModel>> load_with(const std::string& changed, const std::vector<std::uint64_t>& shape,
                                                   std::uint32_t type) {
    GgufWriter writer;
    writer.text("general.architecture", "llama")
        .number("llama.context_length", 64)
        .number("llama.embedding_length", 32)
        .number("llama.block_count", 1)
        .number("llama.attention.head_count", 2)
        .number("llama.feed_forward_length", 64)
        .real("llama.attention.layer_norm_rms_epsilon", 1e-5f)
        .real("llama.rope.scale_linear", rope_factor_);
    using Tensors = std::vector<std::pair<const char*, std::vector<std::uint64_t>>>;
    Tensors tensors = {{"token_embd.weight", {32, 40}},        {"output_norm.weight", {32}},
                       {"blk.0.attn_norm.weight", {32}},       {"blk.0.ffn_norm.weight", {32}},
                       {"blk.0.attn_output.weight", {32, 32}}, {"blk.0.ffn_down.weight", {64, 32}}};
    const Tensors apart = {{"blk.0.attn_q.weight", {32, 32}},
                           {"blk.0.attn_k.weight", {32, 32}},
                           {"blk.0.attn_v.weight", {32, 32}},
                           {"blk.0.ffn_gate.weight", {32, 64}},
                           {"blk.0.ffn_up.weight", {32, 64}}};
    const Tensors joint = {{"blk.0.attn_qkv.weight", {32, 96}}, {"blk.0.ffn_up.weight", {32, 128}}};
    tensors.insert(tensors.end(), joint_ ? joint.begin() : apart.begin(), joint_ ? joint.end() : apart.end());
    const auto bytes_of = [](const std::vector<std::uint64_t>& sizes) {
      return std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{4}, std::multiplies());
    };
    bool is_new = !changed.empty();
    for (const auto& [name, true_shape] : tensors) {
      const bool is_changed = name == changed;
      if (is_changed) is_new = false;
      if (is_changed && shape.empty()) continue;
      const auto& sizes = is_changed ? shape : true_shape;
      writer.tensor(name, sizes, is_changed ? type : 0, bytes_of(sizes));
    }
    if (is_new) writer.tensor(changed, shape, type, bytes_of(shape));
    const std::vector<std::byte> bytes = writer.bytes();
    const auto path = std::filesystem::path(testing::TempDir()) / ("broken_" + std::to_string(getpid()) + ".gguf");
    std::FILE* const file = std::fopen(path.c_str(), "wb");
    EXPECT_NE(file, nullptr);
    EXPECT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
    std::fclose(file);
    auto network = load_network(path, options_);
    std::filesystem::remove(path);
    return network;
  }

  void expect_refusal(const std::string& changed, const std::vector<std::uint64_t>& shape, std::uint32_t type,
                      Code code) {
    const auto network = load_with(changed, shape, type);
    ASSERT_FALSE(network) << changed;
    EXPECT_EQ(network.error().code, code) << network.error().message;
    EXPECT_NE(network.error().message.find(changed), std::string::npos) << network.error().message;
  }

  float rope_factor_ = 1;
  bool joint_ = false;  // q, k and v in one tensor, gate and up in another
  LoadOptions options_;
};

TEST_F(BrokenModel, TheWholeOneLoads) { EXPECT_TRUE(load_with("", {}, 0)); }

// A linear factor in the file says that its 64 positions may be stretched to four times as many.
TEST_F(BrokenModel, AStretchedContextMayBeAsLongAsItsFactorSays) {
  rope_factor_ = 4;
  options_.context_length = 256;
  EXPECT_TRUE(load_with("", {}, 0));
  options_.context_length = 257;
  EXPECT_EQ(load_with("", {}, 0).error().code, Code::kInvalidArgument);
  rope_factor_ = 1;
  options_.context_length = 65;
  EXPECT_EQ(load_with("", {}, 0).error().code, Code::kInvalidArgument);
}

TEST_F(BrokenModel, AMissingTensorIsNamed) { expect_refusal("blk.0.ffn_up.weight", {}, 0, Code::kCorrupt); }

TEST_F(BrokenModel, AWrongShapeIsNamed) {
  expect_refusal("blk.0.attn_k.weight", {32, 16}, 0, Code::kCorrupt);
  expect_refusal("blk.0.attn_norm.weight", {16}, 0, Code::kCorrupt);
  expect_refusal("blk.0.ffn_down.weight", {32, 64, 1}, 0, Code::kCorrupt);
}

TEST_F(BrokenModel, AJointTensorOfTheWrongShapeIsNamed) {
  joint_ = true;
  EXPECT_TRUE(load_with("", {}, 0));
  expect_refusal("blk.0.attn_qkv.weight", {32, 64}, 0, Code::kCorrupt);
  expect_refusal("blk.0.attn_qkv.weight", {}, 0, Code::kCorrupt);
  expect_refusal("blk.0.ffn_up.weight", {32, 64}, 0, Code::kCorrupt);
  // Beside the parts, the whole is one tensor too many.
  joint_ = false;
  expect_refusal("blk.0.attn_qkv.weight", {32, 96}, 0, Code::kInvalidArgument);
}

TEST_F(BrokenModel, AnUnknownTypeIsNamedWhereItIsUsed) {
  expect_refusal("blk.0.attn_v.weight", {32, 32}, 99, Code::kInvalidArgument);
}

TEST_F(BrokenModel, ATensorThatNobodyKnowsIsNamed) {
  expect_refusal("blk.0.attn_q_lora.weight", {32, 32}, 0, Code::kInvalidArgument);
}

TEST_F(BrokenModel, AFileThatIsNotThereIsNotFound) {
  EXPECT_EQ(load_network("/nowhere/model.gguf", {}).error().code, Code::kNotFound);
  EXPECT_EQ(load_network(golden("quant/Q4_K.bin"), {}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(load_network(golden("quant"), {}).error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace autoglm::model
