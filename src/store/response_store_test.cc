// SPDX-License-Identifier: Apache-2.0
#include "store/response_store.h"

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "store/session_store.h"

namespace autoglm::store {
namespace {

namespace fs = std::filesystem;

// The clock of a test: what it says is what it was told.
class SetClock final : public base::Clock {
 public:
  base::Time now() const override { return {}; }
  std::int64_t unix_seconds() const override { return seconds; }
  std::int64_t seconds = 1'000'000'000;
};

class ResponseStoreTest : public testing::Test {
 protected:
  std::unique_ptr<ResponseStore> open(const fs::path& file = ":memory:", ResponseBounds bounds = {}) {
    auto store = ResponseStore::open(file, clock_, bounds);
    EXPECT_TRUE(store) << store.error().message;
    return store ? std::move(*store) : nullptr;
  }
  static ResponseRow row(std::string id, std::string tenant = "a", std::size_t bytes = 10) {
    return {.id = std::move(id),
            .tenant = std::move(tenant),
            .previous = "resp_0",
            .input = "[]",
            .response = std::string(bytes - 2, 'x')};
  }
  static bool has(ResponseStore& store, std::string_view id, std::string_view tenant = "a") {
    auto found = store.find(tenant, id);
    EXPECT_TRUE(found);
    return found && found->has_value();
  }

  base::TemporaryFolder folder_;
  SetClock clock_;
};

TEST_F(ResponseStoreTest, KeepsWhatWasPutOverAClose) {
  {
    const auto store = open(folder_ / "r.db");
    ASSERT_TRUE(store->put(row("resp_1")));
    EXPECT_FALSE(store->put(row("resp_1")));
  }
  const auto store = open(folder_ / "r.db");
  const auto found = store->find("a", "resp_1");
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->previous, "resp_0");
  EXPECT_EQ((*found)->input, "[]");
  EXPECT_EQ((*found)->response, "xxxxxxxx");
}

TEST_F(ResponseStoreTest, ATenantFindsAndRemovesItsOwnOnly) {
  const auto store = open();
  ASSERT_TRUE(store->put(row("resp_1", "a")));
  EXPECT_FALSE(has(*store, "resp_1", "b"));
  EXPECT_FALSE(has(*store, "resp_1", ""));
  EXPECT_EQ(store->remove("b", "resp_1"), false);
  EXPECT_TRUE(has(*store, "resp_1", "a"));
  EXPECT_EQ(store->remove("a", "resp_1"), true);
  EXPECT_EQ(store->remove("a", "resp_1"), false);
  EXPECT_FALSE(has(*store, "resp_1", "a"));
}

TEST_F(ResponseStoreTest, TheOldestGoBeyondTheCount) {
  const auto store = open(":memory:", {.max_count = 2});
  for (const char* id : {"resp_1", "resp_2", "resp_3"}) ASSERT_TRUE(store->put(row(id)));
  EXPECT_FALSE(has(*store, "resp_1"));
  EXPECT_TRUE(has(*store, "resp_2"));
  EXPECT_TRUE(has(*store, "resp_3"));
}

TEST_F(ResponseStoreTest, TheOldestGoBeyondTheBytes) {
  const auto store = open(":memory:", {.max_bytes = 100});
  for (const char* id : {"resp_1", "resp_2", "resp_3"}) ASSERT_TRUE(store->put(row(id, "a", 30)));
  ASSERT_TRUE(store->put(row("resp_4", "a", 70)));
  EXPECT_FALSE(has(*store, "resp_1"));
  EXPECT_FALSE(has(*store, "resp_2"));
  EXPECT_TRUE(has(*store, "resp_3"));
  EXPECT_TRUE(has(*store, "resp_4"));
  const auto refused = store->put(row("resp_5", "a", 101));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
}

TEST_F(ResponseStoreTest, TheOldAreForgotten) {
  {
    const auto store = open(folder_ / "r.db", {.max_age = std::chrono::seconds(100)});
    ASSERT_TRUE(store->put(row("resp_1")));
    clock_.seconds += 100;
    EXPECT_TRUE(has(*store, "resp_1"));
    clock_.seconds += 1;
    EXPECT_FALSE(has(*store, "resp_1"));
    EXPECT_EQ(store->count(), 1U);  // until the next is put, or the file is opened
  }
  EXPECT_EQ(open(folder_ / "r.db", {.max_age = std::chrono::seconds(100)})->count(), 0U);
}

TEST_F(ResponseStoreTest, AFileOfSessionsIsNotOne) {
  ASSERT_TRUE(SessionStore::open(folder_ / "sessions.db", clock_));
  const auto store = ResponseStore::open(folder_ / "sessions.db", clock_);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace autoglm::store
