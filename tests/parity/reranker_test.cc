// SPDX-License-Identifier: Apache-2.0
// Rerankers against a second implementation in numpy (tools/check_reranker, which wrote the goldens): small random ones
// on every instruction set. And against ourselves: a score's bits do not depend on the batch.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/temporary_folder.h"
#include "generation/embedder.h"
#include "kernels/cpu.h"
#include "model/load_encoder.h"
#include "parity/golden.h"

namespace autoglm::parity {
namespace {

namespace fs = std::filesystem;

struct Pair {
  std::string query, document;
  std::vector<model::TokenId> ids;
  std::size_t second = 0;
  double score = 0;
};

struct Case {
  const char* name;
  kernels::Isa isa;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* name : {"bert_rerank", "xlmr_rerank"}) {
    for (const kernels::Isa isa : kernels::available_isas()) all.push_back({name, isa});
  }
  return all;
}

class TinyReranker : public testing::TestWithParam<Case> {
 protected:
  TinyReranker() {
    for (const json::Value& item : read_json(folder_ / "golden.json").at("pairs").as_array()) {
      pairs_.push_back({.query = std::string(item.at("query").as_string()),
                        .document = std::string(item.at("document").as_string()),
                        .ids = ids_of(item.at("ids")),
                        .second = item.at("second").to_number<std::size_t>(),
                        .score = item.at("score").to_number<double>()});
    }
  }

  model::LoadedEncoder load(kernels::Compute compute) const {
    auto loaded = model::load_encoder(folder_, {.isa = GetParam().isa, .compute = compute, .threads = 2});
    EXPECT_TRUE(loaded) << loaded.error().message;
    EXPECT_TRUE(loaded->is_reranker);
    EXPECT_EQ(loaded->network->width(), 1u);
    std::size_t rows = 0;
    for (const Pair& pair : pairs_) rows += pair.ids.size();
    loaded->network->reserve(rows, pairs_.size());
    return std::move(*loaded);
  }

  std::vector<float> scores(model::EmbeddingModel& network, std::size_t size) const {
    std::vector<float> all;
    for (std::size_t first = 0; first < pairs_.size(); first += size) {
      std::vector<model::TokenId> tokens;
      std::vector<std::size_t> lengths, seconds;
      for (std::size_t i = first; i < std::min(first + size, pairs_.size()); ++i) {
        tokens.insert(tokens.end(), pairs_[i].ids.begin(), pairs_[i].ids.end());
        lengths.push_back(pairs_[i].ids.size());
        seconds.push_back(pairs_[i].second);
      }
      const model::Vectors out = network.forward({.tokens = tokens, .lengths = lengths, .second_begins = seconds});
      for (std::size_t i = 0; i < out.rows; ++i) all.push_back(out.row(i)[0]);
    }
    return all;
  }

  const fs::path folder_ = golden_folder() / "encoders" / GetParam().name;
  std::vector<Pair> pairs_;
};
INSTANTIATE_TEST_SUITE_P(Goldens, TinyReranker, testing::ValuesIn(cases()), [](const auto& test) {
  return std::string(test.param.name) + "_" + std::string(kernels::isa_name(test.param.isa));
});

TEST_P(TinyReranker, EqualsTheGoldens) {
  // float32 beside float64, and int8 activations, of scores of about 1.
  for (const auto& [compute, tolerance] :
       {std::pair(kernels::Compute::kExact, 2e-5), std::pair(kernels::Compute::kFast, 3e-2)}) {
    const auto loaded = load(compute);
    const std::vector<float> got = scores(*loaded.network, 1);
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      EXPECT_NEAR(static_cast<double>(got[i]), pairs_[i].score, tolerance) << pairs_[i].document;
    }
    for (const std::size_t size : {std::size_t{2}, std::size_t{3}, pairs_.size()}) {
      EXPECT_EQ(scores(*loaded.network, size), got) << size << " pairs together";
    }
  }
}

TEST_P(TinyReranker, PairsAreFramedAsTheGoldensAre) {
  const auto loaded = load(kernels::Compute::kExact);
  const auto frame = generation::make_pair_frame(*loaded.tokenizer, loaded.separators);
  ASSERT_TRUE(frame) << frame.error().message;
  for (const Pair& pair : pairs_) {
    std::vector<model::TokenId> ids = frame->before;
    const auto add = [&](const std::vector<model::TokenId>& more) { ids.insert(ids.end(), more.begin(), more.end()); };
    add(loaded.tokenizer->encode(pair.query, {}).value());
    add(frame->between);
    EXPECT_EQ(ids.size(), pair.second);
    add(loaded.tokenizer->encode(pair.document, {}).value());
    add(frame->behind);
    EXPECT_EQ(ids, pair.ids);
  }
}

// What a config.json may say instead, and what comes of it.
TEST(TinyRerankerConfig, IsReadOrRefused) {
  const fs::path from = golden_folder() / "encoders" / "bert_rerank";
  const base::TemporaryFolder temporary;
  const fs::path folder = temporary / "reranker";
  fs::copy(from, folder, fs::copy_options::recursive);
  const json::Object golden = read_json(from / "config.json").as_object();
  const auto load_with = [&](std::string_view key, json::Value value) {
    json::Object config = golden;
    config[key] = std::move(value);
    std::ofstream(folder / "config.json", std::ios::trunc) << json::format(config);
    return model::load_encoder(folder, {.threads = 1});
  };
  const auto refused = [&](std::string_view key, json::Value value) {
    const auto loaded = load_with(key, std::move(value));
    return !loaded && loaded.error().code == Code::kInvalidArgument;
  };
  EXPECT_TRUE(load_with("sentence_transformers", json::Object()));
  EXPECT_TRUE(load_with("sbert_ce_default_activation_function", "torch.nn.modules.activation.Sigmoid"));
  EXPECT_TRUE(refused("sentence_transformers", json::Object{{"activation_fn", "torch.nn.Tanh"}}));
  EXPECT_TRUE(refused("id2label", json::Object{{"0", "a"}, {"1", "b"}}));
  EXPECT_TRUE(refused("architectures", json::Array{"BertModel"})) << "its classifier is a part that would be left out";
}

}  // namespace
}  // namespace autoglm::parity
