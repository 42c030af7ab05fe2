// SPDX-License-Identifier: Apache-2.0
// The files beside an embedder: what they say, what is refused by name, and every bound.
#include "model/sentence_folder.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/temporary_folder.h"

namespace autoglm::model {
namespace {

constexpr std::string_view kUsual = R"([
  {"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},
  {"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.models.Pooling"},
  {"idx":2,"name":"2","path":"2_Normalize","type":"sentence_transformers.models.Normalize"}])";

json::Object object(std::string_view text) {
  base::Budget budget;
  return json::parse(text, budget).value().get_object();
}

Code refused(std::string_view modules) {
  const auto parsed = parse_modules(modules);
  EXPECT_FALSE(parsed) << modules;
  return parsed ? Code::kInternal : parsed.error().code;
}

std::string module(std::string_view type, std::string_view path = "") {
  return R"({"type":"x.)" + std::string(type) + R"(","path":")" + std::string(path) + "\"}";
}

TEST(SentenceModules, AreReadInTheirOrder) {
  const SentenceModules usual = parse_modules(kUsual).value();
  EXPECT_EQ(usual.pooling, "1_Pooling");
  EXPECT_TRUE(usual.is_normalised);
  const auto plain = parse_modules("[" + module("Transformer") + "," + module("Pooling", "p") + "]").value();
  EXPECT_EQ(plain.pooling, "p");
  EXPECT_FALSE(plain.is_normalised);
}

TEST(SentenceModules, WhatWeLackIsRefused) {
  EXPECT_EQ(refused("[" + module("Transformer") + "," + module("Pooling", "p") + "," + module("Dense", "d") + "]"),
            Code::kInvalidArgument);
  EXPECT_EQ(refused("[" + module("CLIPModel") + "]"), Code::kInvalidArgument);
  EXPECT_EQ(refused("[" + module("Transformer") + "]"), Code::kInvalidArgument);
  EXPECT_EQ(refused("[" + module("Pooling", "p") + "," + module("Transformer") + "]"), Code::kInvalidArgument);
  EXPECT_EQ(refused("[" + module("Pooling", "p") + "," + module("Pooling", "q") + "]"), Code::kInvalidArgument);
  EXPECT_EQ(refused("[" + module("Transformer", "0_Encoder") + "," + module("Pooling", "p") + "]"),
            Code::kInvalidArgument);
}

TEST(SentenceModules, BrokenFilesAreCorrupt) {
  for (const char* text : {"", "{}", "[1]", "[{\"type\":1}]", "not json"}) EXPECT_EQ(refused(text), Code::kCorrupt);
}

// A path never leads out of the folder.
TEST(SentenceModules, AFolderElsewhereIsCorrupt) {
  for (const char* path : {"/etc", "../x", "a/../../x"}) {
    EXPECT_EQ(refused("[" + module("Transformer") + "," + module("Pooling", path) + "]"), Code::kCorrupt) << path;
  }
}

TEST(SentenceModules, AreAtMostSixteen) {
  std::string many = "[" + module("Transformer");
  for (int i = 0; i < 16; ++i) many += "," + module("Normalize");
  EXPECT_EQ(refused(many + "]"), Code::kCorrupt);
}

TEST(SentencePooling, MeanAndClsAreKnown) {
  EXPECT_EQ(parse_pooling(object(R"({"pooling_mode_mean_tokens":true})")), Pooling::kMean);
  EXPECT_EQ(parse_pooling(object(R"({"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false})")),
            Pooling::kFirst);
}

TEST(SentencePooling, OtherWaysAreRefused) {
  EXPECT_EQ(parse_pooling(object(R"({"pooling_mode_max_tokens":true})")).error().code, Code::kInvalidArgument);
  EXPECT_EQ(parse_pooling(object(R"({"pooling_mode_mean_tokens":true,"pooling_mode_cls_token":true})")).error().code,
            Code::kInvalidArgument);
  EXPECT_EQ(parse_pooling(object("{}")).error().code, Code::kCorrupt);
  EXPECT_EQ(parse_pooling(object(R"({"pooling_mode_mean_tokens":1})")).error().code, Code::kCorrupt);
}

TEST(SentenceFolder, WithoutModulesIsABareEncoder) {
  const base::TemporaryFolder folder;
  const SentenceSettings settings = read_sentence_folder(folder.path()).value();
  EXPECT_EQ(settings.pooling, Pooling::kMean);
  EXPECT_FALSE(settings.is_normalised);
  EXPECT_EQ(settings.max_tokens, 0u);
}

TEST(SentenceFolder, SaysHowLongATextMayBe) {
  const base::TemporaryFolder folder;
  const auto write = [&](std::string_view text) {
    std::ofstream(folder.path() / "sentence_bert_config.json", std::ios::trunc) << text;
  };
  write(R"({"max_seq_length":1048576})");
  EXPECT_EQ(read_sentence_folder(folder.path()).value().max_tokens, 1'048'576u);
  for (const char* text : {R"({"max_seq_length":1048577})", R"({"max_seq_length":0})"}) {
    write(text);
    EXPECT_EQ(read_sentence_folder(folder.path()).error().code, Code::kInvalidArgument) << text;
  }
  write(R"({"max_seq_length":null})");
  EXPECT_EQ(read_sentence_folder(folder.path()).value().max_tokens, 0u);
}

}  // namespace
}  // namespace autoglm::model
