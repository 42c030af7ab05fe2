// SPDX-License-Identifier: Apache-2.0
// Sentence embedders against transformers: small random ones on every instruction set, and the catalogue's real one
// where its folder is given (OPENAUTOGLM_TEST_MODELS; label `model`). And against ourselves: a text's bits do not
// depend on the batch it is in, nor on the number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "base/temporary_folder.h"
#include "kernels/cpu.h"
#include "model/load_encoder.h"
#include "parity/comparison.h"
#include "parity/encoder_gguf.h"
#include "parity/golden.h"

namespace autoglm::parity {
namespace {

namespace fs = std::filesystem;

struct Sentence {
  std::string text;  // may be empty
  std::vector<model::TokenId> ids;
  std::vector<float> embedding;
};

std::vector<Sentence> read_sentences(const fs::path& golden, std::string_view list) {
  std::vector<Sentence> sentences;
  for (const json::Value& item : read_json(golden).at(list).as_array()) {
    Sentence sentence;
    sentence.ids = ids_of(item.at("ids"));
    for (const json::Value& x : item.at("embedding").as_array()) {
      sentence.embedding.push_back(static_cast<float>(x.to_number<double>()));
    }
    if (item.as_object().contains("text")) sentence.text = std::string(item.at("text").as_string());
    sentences.push_back(std::move(sentence));
  }
  return sentences;
}

model::LoadedEncoder load_embedder(const fs::path& folder, kernels::Isa isa, kernels::Compute compute,
                                   int threads = 1) {
  auto loaded = model::load_encoder(folder, {.isa = isa, .compute = compute, .threads = threads});
  EXPECT_TRUE(loaded) << loaded.error().message;
  return loaded ? std::move(*loaded) : model::LoadedEncoder{};
}

// All of `sentences`, in batches of `size`.
std::vector<std::vector<float>> embed(model::EmbeddingModel& network, const std::vector<Sentence>& sentences,
                                      std::size_t size) {
  std::vector<std::vector<float>> vectors;
  for (std::size_t first = 0; first < sentences.size(); first += size) {
    std::vector<model::TokenId> tokens;
    std::vector<std::size_t> lengths;
    for (std::size_t i = first; i < std::min(first + size, sentences.size()); ++i) {
      tokens.insert(tokens.end(), sentences[i].ids.begin(), sentences[i].ids.end());
      lengths.push_back(sentences[i].ids.size());
    }
    const model::Vectors out = network.forward({.tokens = tokens, .lengths = lengths});
    EXPECT_EQ(out.rows, lengths.size());
    for (std::size_t i = 0; i < out.rows; ++i) vectors.emplace_back(out.row(i).begin(), out.row(i).end());
  }
  return vectors;
}

std::size_t rows_of(const std::vector<Sentence>& sentences) {
  std::size_t rows = 0;
  for (const Sentence& sentence : sentences) rows += sentence.ids.size();
  return rows;
}

struct Case {
  const char* name;
  kernels::Isa isa;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* name : {"bert_small", "xlmr_cls"}) {
    for (const kernels::Isa isa : kernels::available_isas()) all.push_back({name, isa});
  }
  return all;
}

class TinyEncoder : public testing::TestWithParam<Case> {
 protected:
  const fs::path folder_ = golden_folder() / "encoders" / GetParam().name;
  const std::vector<Sentence> sentences_ = read_sentences(folder_ / "golden.json", "sequences");
};
INSTANTIATE_TEST_SUITE_P(Goldens, TinyEncoder, testing::ValuesIn(cases()), [](const auto& test) {
  return std::string(test.param.name) + "_" + std::string(kernels::isa_name(test.param.isa));
});

TEST_P(TinyEncoder, ExactEqualsTheGoldens) {
  const auto loaded = load_embedder(folder_, GetParam().isa, kernels::Compute::kExact);
  ASSERT_NE(loaded.network, nullptr);
  const float tolerance = static_cast<float>(read_json(folder_ / "golden.json").at("atol_f32").to_number<double>());
  loaded.network->reserve(rows_of(sentences_), sentences_.size());
  const auto vectors = embed(*loaded.network, sentences_, 1);
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    EXPECT_LE(largest_difference(vectors[i], sentences_[i].embedding), tolerance) << sentences_[i].ids.size() << " ids";
  }
}

TEST_P(TinyEncoder, FastPointsTheSameWay) {
  const auto loaded = load_embedder(folder_, GetParam().isa, kernels::Compute::kFast);
  ASSERT_NE(loaded.network, nullptr);
  loaded.network->reserve(rows_of(sentences_), sentences_.size());
  const auto vectors = embed(*loaded.network, sentences_, 1);
  for (std::size_t i = 0; i < vectors.size(); ++i) EXPECT_GE(cosine(vectors[i], sentences_[i].embedding), 0.9999);
}

TEST_P(TinyEncoder, BitsDependNeitherOnTheBatchNorOnTheThreads) {
  for (const kernels::Compute compute : {kernels::Compute::kExact, kernels::Compute::kFast}) {
    std::vector<std::vector<float>> alone;
    for (const int threads : {1, 2}) {
      const auto loaded = load_embedder(folder_, GetParam().isa, compute, threads);
      ASSERT_NE(loaded.network, nullptr);
      loaded.network->reserve(rows_of(sentences_), sentences_.size());
      for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{3}, sentences_.size()}) {
        auto vectors = embed(*loaded.network, sentences_, size);
        if (alone.empty()) alone = vectors;
        EXPECT_EQ(vectors, alone) << size << " texts, " << threads << " threads";
      }
      std::vector<Sentence> backwards(sentences_.rbegin(), sentences_.rend());
      auto vectors = embed(*loaded.network, backwards, backwards.size());
      std::ranges::reverse(vectors);
      EXPECT_EQ(vectors, alone);
    }
  }
}

// A golden proves something only if a mistake shows: an embedder of the folder whose pooling says otherwise.
TEST(TinyEncoderMistakes, AnotherPoolingShows) {
  const fs::path from = golden_folder() / "encoders" / "bert_small";
  const base::TemporaryFolder temporary;
  const fs::path folder = temporary / "embedder";
  fs::copy(from, folder, fs::copy_options::recursive);
  std::ofstream(folder / "1_Pooling" / "config.json", std::ios::trunc) << R"({"pooling_mode_cls_token":true})";
  auto loaded = load_embedder(folder, kernels::available_isas().back(), kernels::Compute::kExact);
  ASSERT_NE(loaded.network, nullptr);
  const Sentence sentence = read_sentences(from / "golden.json", "sequences")[2];
  const auto vector = model::compute_embedding(loaded, sentence.ids);
  ASSERT_TRUE(vector);
  EXPECT_LT(cosine(*vector, sentence.embedding), 0.99);
}

// The same weights in the other format make the same vectors, but for their length, which a GGUF always brings to 1.
TEST(GgufEncoder, EqualsItsFolder) {
  const fs::path folder = golden_folder() / "encoders" / "bert_small";
  const base::TemporaryFolder temporary;
  const fs::path file = temporary / "bert.gguf";
  write_encoder_gguf(folder, file);
  EXPECT_TRUE(model::is_encoder(file).value());
  const auto sentences = read_sentences(folder / "golden.json", "sequences");
  const auto from_folder = load_embedder(folder, kernels::available_isas().back(), kernels::Compute::kExact);
  const auto from_file = load_embedder(file, kernels::available_isas().back(), kernels::Compute::kExact);
  ASSERT_NE(from_file.network, nullptr);
  EXPECT_TRUE(from_file.settings.is_normalised);
  EXPECT_EQ(from_file.settings.pooling, from_folder.settings.pooling);
  EXPECT_EQ(from_file.network->max_tokens(), from_folder.network->max_tokens());
  from_folder.network->reserve(rows_of(sentences), sentences.size());
  from_file.network->reserve(rows_of(sentences), sentences.size());
  const auto expected = embed(*from_folder.network, sentences, 1);
  const auto vectors = embed(*from_file.network, sentences, 1);
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    EXPECT_GE(cosine(vectors[i], expected[i]), 0.9999999);
    if (from_folder.settings.is_normalised) EXPECT_EQ(vectors[i], expected[i]);
  }
  for (const std::string_view text : {"The cat sits.", "ÄRGER über naïve 世界 \u200b\tx", "a ## b [SEP] ##c", ""}) {
    EXPECT_EQ(from_file.tokenizer->encode(text, {.add_special = true}).value(),
              from_folder.tokenizer->encode(text, {.add_special = true}).value())
        << text;
  }
}

TEST(GgufEncoder, IsNoModelThatWrites) {
  const base::TemporaryFolder temporary;
  const fs::path file = temporary / "bert.gguf";
  write_encoder_gguf(golden_folder() / "encoders" / "bert_small", file);
  const auto refused = model::load_network(file, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
}

TEST(RealModelEncoder, AGgufOfMiniLmEqualsItsFolder) {
  const fs::path folder = real_model("all-minilm-l6-v2");
  const base::TemporaryFolder temporary;
  const fs::path file = temporary / "minilm.gguf";
  write_encoder_gguf(folder, file);
  const auto sentences = read_sentences(golden_folder() / "real" / "minilm" / "golden.json", "sentences");
  const auto from_folder = load_embedder(folder, kernels::available_isas().back(), kernels::Compute::kExact, 2);
  const auto from_file = load_embedder(file, kernels::available_isas().back(), kernels::Compute::kExact, 2);
  ASSERT_NE(from_file.network, nullptr);
  from_folder.network->reserve(rows_of(sentences), sentences.size());
  from_file.network->reserve(rows_of(sentences), sentences.size());
  EXPECT_EQ(embed(*from_file.network, sentences, sentences.size()),
            embed(*from_folder.network, sentences, sentences.size()));
  for (const Sentence& sentence : sentences) {
    EXPECT_EQ(from_file.tokenizer->encode(sentence.text, {.add_special = true}).value(),
              from_folder.tokenizer->encode(sentence.text, {.add_special = true}).value())
        << sentence.text;
  }
}

// Texts are tokenised as transformers does, and end in the vectors that it has.
TEST(RealModelEncoder, MiniLmEqualsTheGoldens) {
  const fs::path folder = real_model("all-minilm-l6-v2");
  const auto sentences = read_sentences(golden_folder() / "real" / "minilm" / "golden.json", "sentences");
  for (const kernels::Compute compute : {kernels::Compute::kExact, kernels::Compute::kFast}) {
    const auto loaded = load_embedder(folder, kernels::available_isas().back(), compute, 2);
    ASSERT_NE(loaded.network, nullptr);
    EXPECT_EQ(loaded.context_length, 256u);
    loaded.network->reserve(rows_of(sentences), sentences.size());
    const auto alone = embed(*loaded.network, sentences, 1);
    EXPECT_EQ(embed(*loaded.network, sentences, sentences.size()), alone);
    for (std::size_t i = 0; i < sentences.size(); ++i) {
      if (compute == kernels::Compute::kExact) {
        EXPECT_LE(largest_difference(alone[i], sentences[i].embedding), 1e-5f) << sentences[i].text;
      }
      EXPECT_GE(cosine(alone[i], sentences[i].embedding), 0.9999) << sentences[i].text;
      auto ids = loaded.tokenizer->encode(sentences[i].text, {.add_special = true}).value();
      if (ids.size() > loaded.context_length) {  // the golden's text is cut to what the model takes
        ids.resize(loaded.context_length - 1);
        ids.push_back(sentences[i].ids.back());
      }
      EXPECT_EQ(ids, sentences[i].ids) << sentences[i].text;
    }
  }
}

}  // namespace
}  // namespace autoglm::parity
