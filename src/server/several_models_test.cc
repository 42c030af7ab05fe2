// SPDX-License-Identifier: Apache-2.0
// Several models behind one server: a request gets the one that it names, of the kind that its route needs, loaded when
// it is not in memory; and the operator's routes.
#include <atomic>
#include <functional>
#include <thread>

#include "engine/embedding_engine.h"
#include "engine/fake_embedding_model.h"
#include "server/server_fixture.h"

namespace autoglm::server {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kAdminKey = "an-admin-key-of-the-tests";

class SeveralModels : public ServerFixture {
 protected:
  // Two that write, an encoder, and one whose file is broken. Room for three.
  void start_several(ServerOptions options = {}) {
    options.port = 0;
    std::vector<ModelSpec> specs;
    specs.push_back(writer("first"));
    specs.push_back(writer("second/with slash"));
    specs.push_back(encoder("encoder"));
    specs.push_back(writer("third"));
    specs.push_back(writer("broken"));
    specs.back().load = [] { return fail(Code::kCorrupt, "/secret/path: broken at byte 7"); };
    for (std::size_t i = 0; i < specs.size(); ++i) {
      specs[i].metrics = model_metrics_.emplace_back(std::make_unique<telemetry::Registry>(clock_)).get();
    }
    registry_ = std::make_unique<ModelRegistry>(std::move(specs), ModelRegistryOptions{.memory_budget = 30}, clock_);
    auto server = start_server(*registry_, options, clock_, metrics_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }
  void TearDown() override {
    hold_loads(false);
    server_.reset();
    registry_.reset();
  }

  ModelSpec writer(const std::string& name) {
    ModelSpec spec{.name = name, .created_unix_seconds = 1'700'000'000, .weight = 2, .max_concurrency = 4};
    spec.needed_bytes = [] { return 10; };
    spec.load = [this, name]() -> Result<ModelParts> {
      begun_ = true;
      is_held_.wait(true);
      auto generator = std::make_unique<FakeGenerator>();
      generator->card_for_test().name = name;
      fakes_[name] = generator.get();
      return ModelParts{.generator = std::move(generator), .embedder = nullptr, .bytes = 10};
    };
    return spec;
  }
  ModelSpec encoder(const std::string& name) {
    ModelSpec spec{.name = name, .is_encoder = true};
    spec.needed_bytes = [] { return 10; };
    spec.load = [this, name]() -> Result<ModelParts> {
      engine::EmbeddingEngineModel model{.network = std::make_unique<engine::FakeEmbeddingModel>(), .card = {}};
      model.card.name = name;
      model.card.context_length = engine::FakeEmbeddingModel::kMaxTokens;
      model.card.tokenizer = std::make_shared<FakeTokenizer>();
      auto engine =
          TRY(engine::start_embedding_engine(std::move(model), {.batch_timeout = {}}, clock_, encoder_metrics_));
      return ModelParts{.generator = nullptr, .embedder = std::move(engine), .bytes = 10};
    };
    return spec;
  }
  void hold_loads(bool is_held) {
    is_held_ = is_held;
    is_held_.notify_all();
  }

  static std::string chat_of(std::string_view model, std::string_view content = "x", std::string_view more = {}) {
    std::string body = R"({"messages":[{"role":"user","content":")" + std::string(content) + R"("}],"model":")";
    return body + std::string(model) + "\"" + (more.empty() ? "" : ",") + std::string(more) + "}";
  }
  net::RawResponse ask(std::string_view model, std::string_view content = "x") const {
    return post("/v1/chat/completions", chat_of(model, content));
  }
  net::RawResponse embed(std::string_view model) const {
    return post("/v1/embeddings", R"({"input":"ab","model":")" + std::string(model) + "\"}");
  }
  static std::string admin(std::string_view key = kAdminKey) {
    return "Authorization: Bearer " + std::string(key) + "\r\n";
  }
  static ServerOptions with_admin() { return {.admin_keys = {std::string(kAdminKey)}}; }
  std::string state_of(std::size_t index) const {
    return text_of(at(parsed(get("/admin/models", admin()).body), "data", index, "state"));
  }

  std::vector<std::unique_ptr<telemetry::Registry>> model_metrics_;
  telemetry::Registry encoder_metrics_{clock_};
  std::map<std::string, FakeGenerator*> fakes_;
  std::atomic<bool> is_held_ = false, begun_ = false;
  std::unique_ptr<ModelRegistry> registry_;
};

TEST_F(SeveralModels, ARequestGetsTheModelThatItNames) {
  start_several();
  for (const char* model : {"first", "second/with slash"}) {
    const auto response = ask(model);
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_EQ(text_of(at(parsed(response.body), "model")), model);
  }
  EXPECT_EQ(embed("encoder").status, 200);
  const auto completed = post("/v1/completions", R"({"prompt":"x","model":"second/with slash"})");
  EXPECT_EQ(text_of(at(parsed(completed.body), "model")), "second/with slash");
  const auto made = post("/v1/responses", R"({"input":"x","model":"second/with slash"})");
  EXPECT_EQ(text_of(at(parsed(made.body), "model")), "second/with slash") << made.body;
  EXPECT_EQ(post("/tokenize", R"({"prompt":"ab","model":"encoder"})").status, 200);
  EXPECT_EQ(post("/tokenize", R"({"prompt":"ab"})").status, 200) << "without a name: the first one";
  EXPECT_EQ(post("/detokenize", R"({"tokens":[97],"model":"first"})").status, 200);
}

TEST_F(SeveralModels, AStreamGetsItsModelToo) {
  start_several();
  const auto response = post("/v1/chat/completions", chat_of("second/with slash", "x", R"("stream":true)"));
  EXPECT_THAT(response.body, HasSubstr(R"("model":"second/with slash")"));
  EXPECT_EQ(events_of(response.body).back(), "[DONE]");
}

TEST_F(SeveralModels, AnUnknownModelIsNotFoundOnEveryRoute) {
  start_several();
  expect_error(ask("nobody"), 404, "model_not_found", "model");
  expect_error(embed("nobody"), 404, "model_not_found", "model");
  expect_error(post("/v1/completions", R"({"prompt":"x","model":"nobody"})"), 404, "model_not_found", "model");
  expect_error(post("/v1/responses", R"({"input":"x","model":"nobody"})"), 404, "model_not_found", "model");
  expect_error(post("/tokenize", R"({"prompt":"x","model":"nobody"})"), 404, "model_not_found", "model");
  expect_error(post("/detokenize", R"({"tokens":[1],"model":"nobody"})"), 404, "model_not_found", "model");
  expect_error(get("/v1/models/nobody"), 404, "model_not_found", "model");
}

TEST_F(SeveralModels, TheWrongKindIsNamedAndNotLoaded) {
  start_several();
  EXPECT_THAT(expect_error(ask("encoder"), 400, "invalid_argument", "model"), HasSubstr("encoder"));
  EXPECT_THAT(expect_error(embed("first"), 400, "invalid_argument", "model"), HasSubstr("makes no embeddings"));
  for (const ModelStatus& model : registry_->list()) EXPECT_EQ(model.state, ModelState::kUnloaded) << model.name;
}

TEST_F(SeveralModels, AllAreListedWhetherTheyAreInMemoryOrNot) {
  start_several();
  const json::Value list = parsed(get("/v1/models").body);
  ASSERT_EQ(at(list, "data").get_array().size(), 5u);
  EXPECT_EQ(text_of(at(list, "data", 1, "id")), "second/with slash");
  EXPECT_FALSE(at(list, "data", 0).get_object().contains("max_model_len"));
  EXPECT_EQ(text_of(at(parsed(get("/v1/models/second%2Fwith%20slash").body), "id")), "second/with slash");
  EXPECT_EQ(ask("first").status, 200);
  EXPECT_EQ(text_of(at(parsed(get("/v1/models").body), "data", 0, "max_model_len")), "4096");
  const auto page = get("/");
  EXPECT_THAT(page.body, HasSubstr("second/with slash"));
  EXPECT_THAT(page.body, HasSubstr("unloaded"));
}

TEST_F(SeveralModels, RequestsWaitForTheirModelAndHoldUpNobody) {
  start_several();
  EXPECT_EQ(embed("encoder").status, 200);
  hold_loads(true);
  std::vector<net::RawResponse> answers(6);
  std::vector<std::thread> clients;
  for (auto& answer : answers) clients.emplace_back([&] { answer = ask("first"); });
  while (registry_->status("first")->waiting < answers.size()) std::this_thread::yield();
  EXPECT_EQ(embed("encoder").status, 200) << "there are fewer workers than those who wait";
  EXPECT_EQ(get("/healthz").status, 200);
  hold_loads(false);
  for (std::thread& client : clients) client.join();
  for (const auto& answer : answers) EXPECT_EQ(answer.status, 200) << answer.body;
}

TEST_F(SeveralModels, ABrokenFileIsUnavailableAndTheOthersGoOn) {
  start_several(with_admin());
  EXPECT_EQ(ask("first").status, 200);
  for (int i = 0; i < 2; ++i) {
    const std::string said = expect_error(ask("broken"), 503, "model_not_loaded", "model");
    EXPECT_THAT(said, Not(HasSubstr("secret"))) << "clients are not told of our files";
  }
  EXPECT_EQ(ask("first").status, 200);
  EXPECT_EQ(get("/readyz").status, 200);
  const auto told = post("/admin/models/broken/load", "", admin());
  EXPECT_THAT(expect_error(told, 503, "model_not_loaded", "model"), HasSubstr("byte 7")) << "the operator is";
  EXPECT_THAT(text_of(at(parsed(get("/admin/models", admin()).body), "data", 4, "error")), HasSubstr("byte 7"));
}

TEST_F(SeveralModels, WhatNobodyUsesMakesRoomAndWhatSomebodyUsesDoesNot) {
  start_several();
  EXPECT_EQ(ask("first").status, 200);
  EXPECT_EQ(ask("second/with slash").status, 200);
  EXPECT_EQ(embed("encoder").status, 200);
  net::TestClient streaming(port());
  streaming.send(request("POST", "/v1/chat/completions", chat_of("first", "[hold]", R"("stream":true)")));
  EXPECT_TRUE(streaming.read_until("\"content\":\"H\""));
  EXPECT_EQ(ask("third").status, 200);
  EXPECT_EQ(registry_->status("second/with slash")->state, ModelState::kUnloaded) << "the least recently used";
  EXPECT_EQ(registry_->status("first")->state, ModelState::kLoaded);
  fakes_["first"]->release();
  EXPECT_TRUE(streaming.read_until("[DONE]"));
}

TEST_F(SeveralModels, WhereNobodyCanLeaveTheRequestIsRefusedWithFigures) {
  start_several();
  std::vector<std::unique_ptr<net::TestClient>> streaming;
  for (const char* model : {"first", "second/with slash", "third"}) {
    streaming.push_back(std::make_unique<net::TestClient>(port()));
    streaming.back()->send(request("POST", "/v1/chat/completions", chat_of(model, "[hold]", R"("stream":true)")));
    EXPECT_TRUE(streaming.back()->read_until("\"content\":\"H\""));
  }
  const auto refused = embed("encoder");
  EXPECT_THAT(expect_error(refused, 429, "exhausted", "model"), HasSubstr("10 bytes of the 30"));
  EXPECT_EQ(refused.field("retry-after"), "1");
  for (auto& [name, fake] : fakes_) fake->release();
}

TEST_F(SeveralModels, ADrainTellsThoseWhoWaitForAModel) {
  start_several();
  hold_loads(true);
  net::RawResponse answer;
  std::thread client([&] { answer = ask("first"); });
  while (registry_->status("first")->waiting < 1) std::this_thread::yield();
  std::thread draining([&] { server_->drain(); });
  client.join();
  expect_error(answer, 503, "unavailable");
  draining.join();
}

TEST_F(SeveralModels, FiguresHaveTheModelsNameAndEachFamilyStandsOnce) {
  start_several();
  EXPECT_EQ(ask("first").status, 200);
  EXPECT_EQ(ask("second/with slash").status, 200);
  const std::string text = get("/metrics").body;
  EXPECT_THAT(text, HasSubstr("openautoglm_model_bytes{model=\"first\"} 10\n"));
  EXPECT_THAT(text, HasSubstr("openautoglm_model_loads_total{model=\"second/with slash\",result=\"loaded\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("openautoglm_http_requests_total{route=\"/v1/chat/completions\"} 2\n"));
  const std::string type = "# TYPE openautoglm_stage_seconds_total counter\n";
  EXPECT_EQ(text.find(type), text.rfind(type));
  EXPECT_THAT(text, Not(HasSubstr("openautoglm_stage_seconds_total{stage")));
}

TEST_F(SeveralModels, TheAdminRoutesAreNotThereWithoutAKey) {
  start_several();
  expect_error(get("/admin/models", admin()), 404, "not_found");
  expect_error(post("/admin/models/first/load", "", admin()), 404, "not_found");
}

TEST_F(SeveralModels, TheAdminRoutesWantTheirOwnKey) {
  ServerOptions options = with_admin();
  options.api_keys = {"a-client"};
  start_several(options);
  expect_error(get("/admin/models"), 401, "invalid_api_key");
  expect_error(get("/admin/models", admin("a-client")), 401, "invalid_api_key");
  expect_error(post("/admin/models/first/load", "", admin("a-client")), 401, "invalid_api_key");
  expect_error(get("/v1/models", admin()), 401, "invalid_api_key");
  EXPECT_EQ(get("/admin/models", admin()).status, 200);
  EXPECT_EQ(get("/v1/models", admin("a-client")).status, 200);
}

TEST_F(SeveralModels, AnOperatorLoadsAndUnloads) {
  start_several(with_admin());
  EXPECT_EQ(state_of(1), "unloaded");
  const auto loaded = post("/admin/models/second%2Fwith%20slash/load", "", admin());
  EXPECT_EQ(loaded.status, 200) << loaded.body;
  const json::Value object = parsed(loaded.body);
  EXPECT_EQ(text_of(at(object, "state")), "loaded");
  EXPECT_EQ(text_of(at(object, "memory_bytes")), "10");
  EXPECT_EQ(text_of(at(object, "requests")), "0");
  EXPECT_EQ(text_of(at(object, "kind")), "generator");
  EXPECT_EQ(post("/admin/models/second%2Fwith%20slash/load", "", admin()).status, 200) << "it is there already";
  const json::Value list = parsed(get("/admin/models", admin()).body);
  EXPECT_EQ(text_of(at(list, "memory", "budget_bytes")), "30");
  EXPECT_EQ(text_of(at(list, "memory", "used_bytes")), "10");
  EXPECT_EQ(text_of(at(list, "data", 1, "max_concurrency")), "4");
  const auto unloaded = post("/admin/models/second%2Fwith%20slash/unload", "", admin());
  EXPECT_EQ(text_of(at(parsed(unloaded.body), "state")), "unloaded");
  EXPECT_EQ(ask("second/with slash").status, 200) << "it comes back when it is asked for";
  expect_error(post("/admin/models/nobody/load", "", admin()), 404, "model_not_found", "model");
  expect_error(post("/admin/models/nobody/unload", "", admin()), 404, "model_not_found", "model");
  expect_error(post("/admin/models/%zz/unload", "", admin()), 400, "invalid_argument", "model");
}

TEST_F(SeveralModels, UnloadingWaitsForTheAnswersUnderWay) {
  start_several(with_admin());
  net::TestClient streaming(port());
  streaming.send(request("POST", "/v1/chat/completions", chat_of("first", "[hold]", R"("stream":true)")));
  EXPECT_TRUE(streaming.read_until("\"content\":\"H\""));
  net::RawResponse unloaded;
  std::thread operating([&] { unloaded = post("/admin/models/first/unload", "", admin()); });
  while (registry_->status("first")->state != ModelState::kUnloading) std::this_thread::yield();
  fakes_["first"]->release();
  EXPECT_TRUE(streaming.read_until("[DONE]")) << "the answer is whole";
  operating.join();
  EXPECT_EQ(text_of(at(parsed(unloaded.body), "state")), "unloaded");
}

TEST_F(SeveralModels, TwoLoadsOfOneModelAreOne) {
  start_several(with_admin());
  hold_loads(true);
  std::vector<net::RawResponse> answers(2);
  std::vector<std::thread> operators;
  for (auto& answer : answers) operators.emplace_back([&] { answer = post("/admin/models/first/load", "", admin()); });
  while (registry_->status("first")->waiting < 2) std::this_thread::yield();
  hold_loads(false);
  for (std::thread& each : operators) each.join();
  for (const auto& answer : answers) EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_THAT(model_metrics_[0]->expose(), HasSubstr("openautoglm_model_loads_total{result=\"loaded\"} 1\n"));
}

TEST_F(SeveralModels, AServerMayEndWhileSomebodyWaits) {
  start_several();
  hold_loads(true);
  net::TestClient client(port());
  client.send(request("POST", "/v1/chat/completions", chat_of("first")));
  while (registry_->status("first")->waiting < 1) std::this_thread::yield();
  server_.reset();
}

}  // namespace
}  // namespace autoglm::server
