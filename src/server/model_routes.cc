// SPDX-License-Identifier: Apache-2.0
// The models of this node: which model a request means, the list that clients read, and the operator's routes that load
// and unload.
#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

#include "base/json.h"
#include "server/embedding_route.h"
#include "server/service.h"

namespace autoglm::server {
namespace {

using protocol::ApiError;

// With the word that clients look for.
ApiError model_error(Error error) {
  if (error.code == Code::kNotFound) return {std::move(error), "model_not_found"};
  if (error.code == Code::kUnavailable && error.where == "model") return {std::move(error), "model_not_loaded"};
  return error;
}

// Why a model that a request waited for did not come. That its file is broken is no fault of the client's, and the
// operator's to know.
ApiError load_error(std::string_view name, const Error& error) {
  if (error.code == Code::kExhausted || error.code == Code::kUnavailable) return model_error(error);
  return model_error(
      {Code::kUnavailable, "the model \"" + std::string(name) + "\" could not be loaded; the log says why", "model"});
}

// Served again as if it had just come: the lease keeps the model until then.
void serve_again(Service& service, Call call, ServeCall again, ModelLease lease) {
  const auto reply = call.reply;
  const bool is_taken = service.workers.push(
      [&service, again, call = std::move(call), lease = std::move(lease)] { again(service, call); });
  if (!is_taken) reply->fail(Error{Code::kExhausted, "too many requests wait already; try again", {}});
}

std::string model_object(const ModelStatus& model) {
  std::string out = R"({"id":)";
  json::append_string(out, model.name);
  out +=
      R"(,"object":"model","created":)" + std::to_string(model.created_unix_seconds) + R"(,"owned_by":"openautoglm")";
  if (model.context_length > 0) out += R"(,"max_model_len":)" + std::to_string(model.context_length);
  return out + "}";
}

// What stands between two words of a path, without its escapes; nothing when they are malformed: the caller was told.
std::optional<std::string> name_in_path(const Call& call, std::string_view before, std::string_view after = {}) {
  std::string_view written = std::string_view(call.request.path).substr(before.size());
  written.remove_suffix(after.size());
  std::string name;
  if (net::decode_percent(written, name)) return name;
  call.reply->fail(Error{Code::kInvalidArgument, "the path has a malformed escape", "model"});
  return std::nullopt;
}

json::Object admin_object(const ModelStatus& model) {
  json::Object object{{"id", model.name},
                      {"object", "model"},
                      {"kind", model.is_encoder ? "encoder" : "generator"},
                      {"state", std::string(word_of(model.state))},
                      {"weight", model.weight},
                      {"max_concurrency", model.max_concurrency},
                      {"memory_bytes", model.bytes},
                      {"requests", model.uses},
                      {"requests_waiting", model.waiting}};
  object["error"] = model.error.empty() ? json::Value() : json::Value(model.error);
  return object;
}

void answer_with(const Service& service, Reply& reply, const std::string& name) {
  const auto status = service.models.status(name);
  if (!status) return reply.fail(model_error(status.error()));
  reply.json(json::format(admin_object(*status)));
}

}  // namespace

ModelLease model_for(Service& service, const Call& call, std::string_view name, ModelUse use, ServeCall again) {
  const auto refuse = [&call](const ApiError& error) {
    call.reply->fail(error);
    return ModelLease();
  };
  const auto status = service.models.status(name);
  if (!status) return refuse(model_error(status.error()));
  if (use == ModelUse::kWrites && status->is_encoder) return refuse(writes_no_text(status->name));
  if (use == ModelUse::kEmbeds && !status->is_encoder) return refuse(makes_no_embeddings(status->name));
  if (use == ModelUse::kScores && !status->is_encoder) return refuse(makes_no_scores(status->name));
  auto later = [&service, call, again, name = status->name](Result<ModelLease> lease) {
    if (!lease) return call.reply->fail(load_error(name, lease.error()));
    serve_again(service, call, again, std::move(*lease));
  };
  auto lease = service.models.acquire(name, std::move(later));
  if (!lease) return refuse(model_error(lease.error()));
  return std::move(*lease);
}

void serve_models(Service& service, const Call& call) {
  std::string list;
  for (const ModelStatus& model : service.models.list()) list += (list.empty() ? "" : ",") + model_object(model);
  call.reply->json(R"({"object":"list","data":[)" + list + "]}");
}

void serve_model(Service& service, const Call& call) {
  const auto name = name_in_path(call, "/v1/models/");
  if (!name) return;
  const auto status = service.models.status(*name);
  if (!status) return call.reply->fail(model_error(status.error()));
  call.reply->json(model_object(*status));
}

void serve_admin_models(Service& service, const Call& call) {
  json::Array models;
  for (const ModelStatus& model : service.models.list()) models.push_back(admin_object(model));
  const std::size_t budget = service.models.memory_budget();
  json::Object memory{{"used_bytes", service.models.used_bytes()}};
  memory["budget_bytes"] = budget == 0 ? json::Value() : json::Value(budget);
  call.reply->json(
      json::format(json::Object{{"object", "list"}, {"memory", std::move(memory)}, {"data", std::move(models)}}));
}

void serve_admin_load(Service& service, const Call& call) {
  const auto name = name_in_path(call, "/admin/models/", "/load");
  if (!name) return;
  // An operator hears the reason itself.
  auto done = [&service, reply = call.reply, name = *name](Result<ModelLease> lease) {
    if (!lease) {
      return reply->fail(lease.error().code == Code::kExhausted
                             ? model_error(lease.error())
                             : model_error({Code::kUnavailable, lease.error().message, "model"}));
    }
    lease->reset();  // else the answer would count itself
    answer_with(service, *reply, name);
  };
  if (auto asked = service.models.load(*name, std::move(done)); !asked) call.reply->fail(model_error(asked.error()));
}

void serve_admin_unload(Service& service, const Call& call) {
  const auto name = name_in_path(call, "/admin/models/", "/unload");
  if (!name) return;
  auto done = [&service, reply = call.reply, name = *name](Status gone) {
    if (!gone) return reply->fail(model_error(gone.error()));
    answer_with(service, *reply, name);
  };
  if (auto asked = service.models.unload(*name, std::move(done)); !asked) {
    call.reply->fail(model_error(asked.error()));
  }
}

}  // namespace autoglm::server
