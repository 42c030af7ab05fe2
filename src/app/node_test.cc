// SPDX-License-Identifier: Apache-2.0
// What flags and [[model]] tables make of the models of a node.
#include "app/node.h"

#include <gtest/gtest.h>

#include <utility>

#include "app/settings.h"

namespace autoglm::app {
namespace {

json::Array tables(std::string_view text) {
  CLI::App app("test");
  auto* verb = app.add_subcommand("serve");
  json::Array found;
  EXPECT_TRUE(apply_settings(*verb, text, "test.toml", &found));
  return found;
}

EngineFlags named(std::vector<std::string> models) {
  EngineFlags flags;
  flags.models = std::move(models);
  flags.config = "test.toml";
  return flags;
}

TEST(NodeModels, OneValueIsForAllAndSeveralAreInOrder) {
  const auto models = node_models(named({"a", "b"}), {.weights = {3, 1}, .max_concurrency = {8}}, {});
  ASSERT_TRUE(models) << models.error().message;
  ASSERT_EQ(models->size(), 2u);
  EXPECT_EQ((*models)[1].engine.model, "b");
  EXPECT_EQ((*models)[0].weight, 3);
  EXPECT_EQ((*models)[1].weight, 1);
  EXPECT_EQ((*models)[1].max_concurrency, 8u);
  EXPECT_EQ(node_models(named({"a", "b"}), {.weights = {3, 1, 2}}, {}).error().where, "--weight");
  EXPECT_EQ(node_models(named({"a", "b", "c"}), {.max_concurrency = {3, 1}}, {}).error().where, "--max-concurrency");
}

TEST(NodeModels, ATableHasWhatItDoesNotSayFromTheFlags) {
  EngineFlags flags = named({});
  flags.max_batch_size = 7;
  flags.threads = 3;
  const auto models = node_models(
      flags, {.weights = {2}},
      tables("[[model]]\nmodel = \"a\"\nweight = 1\nthreads = 1\nload-at-start = false\n[[model]]\nmodel = \"b\"\n"
             "name = \"x\"\nkv_memory = \"1M\"\nprefix_cache = false\n"));
  ASSERT_TRUE(models) << models.error().message;
  const NodeModel &a = (*models)[0], &b = (*models)[1];
  EXPECT_EQ(a.weight, 1) << "a table's own word wins";
  EXPECT_EQ(b.weight, 2);
  EXPECT_EQ(a.engine.threads, 1);
  EXPECT_EQ(b.engine.threads, 3);
  EXPECT_EQ(a.engine.max_batch_size, 7u);
  EXPECT_FALSE(a.is_loaded_at_start);
  EXPECT_TRUE(b.is_loaded_at_start);
  EXPECT_EQ(b.name, "x");
  EXPECT_EQ(b.engine.kv_memory, "1M");
  EXPECT_FALSE(b.engine.has_prefix_cache);
  EXPECT_TRUE(a.engine.has_prefix_cache);
}

TEST(NodeModels, WhatATableMayNotSayIsNamed) {
  for (const auto& [text, word] : {std::pair("model = \"a\"\nwieght = 1", "'wieght'"),
                                   {"model = \"a\"\nweight = 0", "'weight'"},
                                   {"model = \"a\"\nmax_concurrency = 0", "'max_concurrency'"},
                                   {"name = \"x\"", "model = "},
                                   {"model = \"a\"\nport = 1", "'port'"},
                                   {"model = \"a\"\nconfig = \"b\"", "'config'"}}) {
    const auto models = node_models(named({}), {}, tables("[[model]]\n" + std::string(text) + "\n"));
    ASSERT_FALSE(models) << text;
    EXPECT_EQ(models.error().where, "--config") << text;
    EXPECT_NE(models.error().message.find(word), std::string::npos) << models.error().message;
  }
  EXPECT_FALSE(node_models(named({"a"}), {}, tables("[[model]]\nmodel = \"b\"\n")));
}

TEST(Node, TwoOfOneNameAreRefused) {
  std::vector<NodeModel> models(2);
  for (NodeModel& model : models) model.engine.model = "scripted:x";
  EXPECT_EQ(Node::make(std::move(models), "1G").error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace autoglm::app
