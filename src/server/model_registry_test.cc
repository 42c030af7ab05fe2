// SPDX-License-Identifier: Apache-2.0
// Which models are in memory: loads on demand, one load for all who wait, the budget, who leaves for whom, and that
// nobody leaves who is in use.
#include "server/model_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <map>
#include <memory>
#include <random>
#include <thread>

#include "server/fake_generator.h"

namespace autoglm::server {
namespace {

using testing::HasSubstr;

class ModelRegistryTest : public testing::Test {
 protected:
  static constexpr std::size_t kBytes = 40;

  ~ModelRegistryTest() override { hold_loads(false); }

  ModelSpec spec(const std::string& name, std::size_t bytes = kBytes) {
    ModelSpec spec{.name = name};
    spec.needed_bytes = [bytes] { return bytes; };
    spec.load = [this, name, bytes]() -> Result<ModelParts> {
      ++begun_;
      is_held_.wait(true);
      ++loads_;
      if (is_broken_) return fail(Code::kCorrupt, "the file is broken at byte 7");
      auto generator = std::make_unique<FakeGenerator>();
      generator->card_for_test().name = name;
      return ModelParts{.generator = std::move(generator), .embedder = nullptr, .bytes = bytes};
    };
    return spec;
  }

  void make(const std::vector<std::string>& names, ModelRegistryOptions options = {}) {
    std::vector<ModelSpec> specs;
    for (const std::string& name : names) specs.push_back(spec(name));
    registry_ = std::make_unique<ModelRegistry>(std::move(specs), options, clock_);
  }

  Result<ModelLease> get(std::string_view name) {
    auto promise = std::make_shared<std::promise<Result<ModelLease>>>();
    auto future = promise->get_future();
    ModelLease lease =
        TRY(registry_->acquire(name, [promise](Result<ModelLease> got) { promise->set_value(std::move(got)); }));
    if (lease != nullptr) return lease;
    return future.get();
  }
  Status load(std::string_view name) {
    std::promise<Status> promise;
    auto future = promise.get_future();
    TRY(registry_->load(name, [&](const Result<ModelLease>& got) {
      promise.set_value(got ? Status() : std::unexpected(got.error()));
    }));
    return future.get();
  }
  std::future<Status> unload(std::string_view name) {
    auto promise = std::make_shared<std::promise<Status>>();
    auto future = promise->get_future();
    if (auto asked = registry_->unload(name, [promise](Status gone) { promise->set_value(std::move(gone)); }); !asked) {
      promise->set_value(std::move(asked));
    }
    return future;
  }
  ModelState state(std::string_view name) const { return registry_->status(name)->state; }
  // The next loads stop at their door.
  void hold_loads(bool is_held) {
    is_held_ = is_held;
    is_held_.notify_all();
  }

  base::SystemClock clock_;
  std::atomic<int> begun_ = 0, loads_ = 0;
  std::atomic<bool> is_held_ = false, is_broken_ = false;
  std::unique_ptr<ModelRegistry> registry_;
};

TEST_F(ModelRegistryTest, LoadsAModelWhenItIsAskedFor) {
  make({"a", "b"});
  EXPECT_EQ(registry_->find_loaded("a"), nullptr);
  EXPECT_EQ(loads_, 0);
  const auto lease = get("a");
  ASSERT_TRUE(lease) << lease.error().message;
  EXPECT_EQ((*lease)->card().name, "a");
  EXPECT_EQ(state("a"), ModelState::kLoaded);
  EXPECT_EQ(state("b"), ModelState::kUnloaded);
  EXPECT_EQ(registry_->status("a")->uses, 1u);
  EXPECT_EQ(registry_->used_bytes(), kBytes);
  EXPECT_EQ(get("")->get()->card().name, "a") << "the first one is the default";
  EXPECT_EQ(loads_, 1);
  EXPECT_EQ(get("c").error().code, Code::kNotFound);
}

TEST_F(ModelRegistryTest, AllWhoWaitShareOneLoad) {
  make({"a"});
  hold_loads(true);
  std::vector<std::future<Result<ModelLease>>> all;
  for (int i = 0; i < 8; ++i) all.push_back(std::async(std::launch::async, [&] { return get("a"); }));
  while (registry_->status("a")->waiting < 8) std::this_thread::yield();
  EXPECT_EQ(state("a"), ModelState::kLoading);
  hold_loads(false);
  for (auto& each : all) EXPECT_TRUE(each.get());
  EXPECT_EQ(loads_, 1);
  EXPECT_EQ(registry_->status("a")->uses, 0u);
}

TEST_F(ModelRegistryTest, OnlySoManyMayWait) {
  make({"a", "b"}, {.max_waiting = 1});
  hold_loads(true);
  auto first = std::async(std::launch::async, [&] { return get("a"); });
  while (registry_->status("a")->waiting < 1) std::this_thread::yield();
  EXPECT_EQ(get("b").error().code, Code::kExhausted);
  hold_loads(false);
  EXPECT_TRUE(first.get());
}

TEST_F(ModelRegistryTest, AFailedLoadIsToldAndNotRepeatedForEachRequest) {
  make({"a", "b"}, {.failed_for = std::chrono::hours(1)});
  EXPECT_TRUE(get("b"));
  is_broken_ = true;
  EXPECT_EQ(get("a").error().code, Code::kCorrupt);
  EXPECT_THAT(registry_->status("a")->error, HasSubstr("byte 7"));
  EXPECT_EQ(registry_->used_bytes(), kBytes) << "of b alone";
  const int loads = loads_;
  EXPECT_EQ(get("a").error().code, Code::kUnavailable);
  EXPECT_EQ(loads_, loads);
  EXPECT_TRUE(get("b")) << "the others go on";
  is_broken_ = false;
  EXPECT_TRUE(load("a")) << "an operator may try at once";
  EXPECT_TRUE(get("a"));
  EXPECT_EQ(registry_->status("a")->error, "");
}

TEST_F(ModelRegistryTest, WhoWasUsedLeastRecentlyMakesRoom) {
  make({"a", "b", "c"}, {.memory_budget = 2 * kBytes + 1});
  ASSERT_TRUE(get("a"));
  ASSERT_TRUE(get("b"));
  ASSERT_TRUE(get("a"));
  ASSERT_TRUE(get("c"));
  EXPECT_EQ(state("a"), ModelState::kLoaded);
  EXPECT_EQ(state("b"), ModelState::kUnloaded);
  EXPECT_EQ(registry_->used_bytes(), 2 * kBytes);
  ASSERT_TRUE(get("b"));
  EXPECT_EQ(state("a"), ModelState::kUnloaded);
}

// The end of a request counts as use, not only its beginning.
TEST_F(ModelRegistryTest, ALongRequestIsUseToItsEnd) {
  make({"a", "b", "c"}, {.memory_budget = 2 * kBytes});
  auto lease = get("a").value();
  ASSERT_TRUE(get("b"));
  lease.reset();
  ASSERT_TRUE(get("c"));
  EXPECT_EQ(state("b"), ModelState::kUnloaded);
}

TEST_F(ModelRegistryTest, NobodyLeavesWhoIsInUse) {
  make({"a", "b", "c"}, {.memory_budget = 2 * kBytes});
  auto a = get("a").value(), b = get("b").value();
  const auto refused = get("c");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
  for (const char* figure : {"needs 40", "of the 80", "80 are in use by a, b"}) {
    EXPECT_THAT(refused.error().message, HasSubstr(figure));
  }
  EXPECT_EQ(state("a"), ModelState::kLoaded);
  EXPECT_EQ(state("b"), ModelState::kLoaded);
  a.reset();
  EXPECT_TRUE(get("c")) << "it may ask again at once";
  EXPECT_EQ(state("a"), ModelState::kUnloaded);
  EXPECT_EQ(b->card().name, "b");
}

TEST_F(ModelRegistryTest, NobodyLeavesInVain) {
  std::vector<ModelSpec> specs;
  for (const char* name : {"a", "b", "huge"}) specs.push_back(spec(name, name[0] == 'h' ? 81 : kBytes));
  registry_ =
      std::make_unique<ModelRegistry>(std::move(specs), ModelRegistryOptions{.memory_budget = 2 * kBytes}, clock_);
  ASSERT_TRUE(get("a"));
  ASSERT_TRUE(get("b"));
  EXPECT_THAT(get("huge").error().message, HasSubstr("needs 81 bytes of the 80"));
  EXPECT_EQ(state("a"), ModelState::kLoaded);
  EXPECT_EQ(state("b"), ModelState::kLoaded);
}

TEST_F(ModelRegistryTest, UnloadingWaitsForThoseWhoHaveIt) {
  make({"a"});
  auto lease = get("a").value();
  auto gone = unload("a");
  EXPECT_EQ(state("a"), ModelState::kUnloading);
  EXPECT_EQ(lease->card().name, "a");
  EXPECT_EQ(registry_->find_loaded("a"), nullptr) << "it takes nobody in any more";
  // Who asks now gets it again, afterwards.
  auto later = std::async(std::launch::async, [&] { return get("a"); });
  while (registry_->status("a")->waiting < 1) std::this_thread::yield();
  EXPECT_EQ(loads_, 1);
  lease.reset();
  EXPECT_TRUE(gone.get());
  EXPECT_TRUE(later.get());
  EXPECT_EQ(loads_, 2);
}

TEST_F(ModelRegistryTest, UnloadingWhatIsNotThere) {
  make({"a"});
  EXPECT_TRUE(unload("a").get()) << "it is not there, as was asked for";
  EXPECT_EQ(unload("b").get().error().code, Code::kNotFound);
  hold_loads(true);
  auto loading = std::async(std::launch::async, [&] { return get("a"); });
  while (begun_ < 1) std::this_thread::yield();
  EXPECT_EQ(unload("a").get().error().code, Code::kUnavailable);
  hold_loads(false);
  EXPECT_TRUE(loading.get());
  EXPECT_TRUE(unload("a").get());
  EXPECT_EQ(registry_->used_bytes(), 0u);
}

TEST_F(ModelRegistryTest, ADrainTellsThoseWhoWait) {
  make({"a", "b"});
  ASSERT_TRUE(get("b"));
  hold_loads(true);
  auto waiting = std::async(std::launch::async, [&] { return get("a"); });
  while (begun_ < 2) std::this_thread::yield();
  EXPECT_TRUE(registry_->is_ready());
  registry_->drain();
  EXPECT_EQ(waiting.get().error().code, Code::kUnavailable);
  EXPECT_FALSE(registry_->is_ready());
  EXPECT_FALSE(registry_->find_loaded("b")->generator.is_ready());
}

TEST_F(ModelRegistryTest, OneThatIsThereStays) {
  FakeGenerator generator;
  ModelRegistry registry(generator, clock_);
  ModelLease lease = registry.acquire("fake-model", {}).value();
  EXPECT_EQ(&lease->generator, &generator);
  EXPECT_EQ(registry.unload("fake-model", {}).error().code, Code::kInvalidArgument);
  EXPECT_TRUE(registry.figures().empty());
}

TEST_F(ModelRegistryTest, ALeaseMayOutliveTheRegistryOfOneThatIsThere) {
  FakeGenerator generator;
  ModelLease lease;
  {
    ModelRegistry registry(generator, clock_);
    lease = registry.find_loaded("");
  }
  EXPECT_EQ(lease->card().name, "fake-model");
}

TEST_F(ModelRegistryTest, FiguresGoToTheModelsOwn) {
  telemetry::Registry metrics(clock_);
  std::vector<ModelSpec> specs;
  specs.push_back(spec("a"));
  specs[0].metrics = &metrics;
  registry_ = std::make_unique<ModelRegistry>(std::move(specs), ModelRegistryOptions{}, clock_);
  ASSERT_TRUE(get("a"));
  EXPECT_THAT(metrics.expose(), HasSubstr("openautoglm_model_bytes 40\n"));
  EXPECT_THAT(metrics.expose(), HasSubstr("openautoglm_model_loads_total{result=\"loaded\"} 1\n"));
  ASSERT_TRUE(unload("a").get());
  EXPECT_THAT(metrics.expose(), HasSubstr("openautoglm_model_bytes 0\n"));
  EXPECT_THAT(metrics.expose(), HasSubstr("openautoglm_model_unloads_total{reason=\"asked\"} 1\n"));
  EXPECT_EQ(registry_->figures().at(0).model, "a");
}

// Four models, room for two, many who ask: whoever has a lease has a model that works, and in the end nobody has one.
TEST_F(ModelRegistryTest, ManyAtOnce) {
  make({"a", "b", "c", "d"}, {.memory_budget = 2 * kBytes, .failed_for = {}});
  std::atomic<int> served = 0;
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < 100; ++i) {
        const std::string name(1, static_cast<char>('a' + random() % 4));
        if (random() % 10 == 0) (void)unload(name);
        const auto lease = get(name);
        if (!lease) {
          EXPECT_EQ(lease.error().code, Code::kExhausted) << lease.error().message;
          continue;
        }
        EXPECT_EQ((*lease)->card().name, name);
        EXPECT_LE(registry_->used_bytes(), 2 * kBytes);
        ++served;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(served, 0);
  for (const ModelStatus& model : registry_->list()) EXPECT_EQ(model.uses, 0u) << model.name;
}

}  // namespace
}  // namespace autoglm::server
