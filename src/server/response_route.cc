// SPDX-License-Identifier: Apache-2.0
// POST /v1/responses: from a body to a response that is being made. Worker threads.
#include <algorithm>
#include <utility>
#include <vector>

#include "protocol/response_items.h"
#include "protocol/response_request.h"
#include "server/response_run.h"
#include "server/service.h"

namespace autoglm::server {
namespace {

using protocol::ApiError;

std::unexpected<ApiError> refused(std::string message, std::string where, std::string_view word = {}) {
  return std::unexpected(ApiError(Error{Code::kInvalidArgument, std::move(message), std::move(where)}, word));
}

// Of the stored responses that one goes on from: more is read for no request.
constexpr std::size_t kMaxEarlierBytes = 16u << 20;

// The items that a stored response has put into its conversation.
Result<json::Array> items_of(const store::ResponseRow& row) {
  json::Value input = TRY(store::parse_stored(row.input));
  const json::Value response = TRY(store::parse_stored(row.response));
  const json::Value* output = response.is_object() ? response.get_object().if_contains("output") : nullptr;
  if (!input.is_array() || output == nullptr || !output->is_array()) {
    return fail(Code::kCorrupt, "a stored response has no items");
  }
  json::Array items = std::move(input.get_array());
  items.insert(items.end(), output->get_array().begin(), output->get_array().end());
  return items;
}

ApiResult<void> check_can_go_on(const store::ResponseRow& row) {
  auto response = store::parse_stored(row.response);
  if (!response) return std::unexpected(ApiError(std::move(response).error()));
  const std::string_view status = protocol::text_of_field(response->get_object(), "status");
  if (status == "completed" || status == "incomplete") return {};
  return refused("the response " + row.id + " is " + std::string(status) + ": nothing goes on from it",
                 "previous_response_id");
}

// All items before a request, oldest first.
ApiResult<json::Array> earlier_items(Service& service, const std::string& tenant, std::string id) {
  std::vector<json::Array> newest_first;
  std::size_t count = 0, bytes = 0;
  for (bool is_first = true; !id.empty(); is_first = false) {
    auto row = service.responses.find(tenant, id);
    if (!row) return std::unexpected(ApiError(std::move(row).error()));
    if (!*row) {
      return std::unexpected(
          ApiError(Error{Code::kNotFound, "there is no stored response " + id.substr(0, 100), "previous_response_id"},
                   "previous_response_not_found"));
    }
    if (auto good = is_first ? check_can_go_on(**row) : ApiResult<void>(); !good) return std::unexpected(good.error());
    bytes += (*row)->input.size() + (*row)->response.size();
    if (bytes > kMaxEarlierBytes) {
      return refused("the conversation has more than " + std::to_string(kMaxEarlierBytes) + " bytes",
                     "previous_response_id");
    }
    auto items = items_of(**row);
    if (!items) return std::unexpected(ApiError(std::move(items).error()));
    // Each response has an item at least, so the way back ends.
    count += std::max<std::size_t>(items->size(), 1);
    if (count > protocol::kMaxMessages) {
      return refused("the conversation has more than " + std::to_string(protocol::kMaxMessages) + " items",
                     "previous_response_id");
    }
    newest_first.push_back(std::move(*items));
    id = (*row)->previous;
  }
  json::Array all;
  for (auto items = newest_first.rbegin(); items != newest_first.rend(); ++items) {
    all.insert(all.end(), items->begin(), items->end());
  }
  return all;
}

// Every item can be named: those without an id get one.
json::Array with_ids(json::Array items, const std::string& response) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    json::Object& item = items[i].get_object();
    if (!item.contains("id")) item["id"] = "in_" + response + "_i_" + std::to_string(i);
  }
  return items;
}

ApiResult<ResponseJob> job_of(Service& service, const Call& call, ModelLease model, protocol::ResponseRequest request) {
  auto tools = ResponseToolSet::make(request.tools, service.tools);
  if (!tools) return std::unexpected(tools.error());
  auto earlier = earlier_items(service, call.tenant, request.previous);
  if (!earlier) return std::unexpected(earlier.error());
  ResponseJob job{.model = std::move(model),
                  .id = call.id,
                  .request_id = call.id,
                  .tenant = call.tenant,
                  .request = std::move(request),
                  .tools = std::move(*tools),
                  .earlier = std::move(*earlier),
                  .input = {}};
  job.input = with_ids(job.request.input, call.id);
  return job;
}

}  // namespace

void serve_response(Service& service, const Call& call) {
  auto request = protocol::parse_response_request(call.request.body);
  if (!request) return call.reply->fail(request.error());
  ModelLease model = model_for(service, call, request->model, ModelUse::kWrites, serve_response);
  if (model == nullptr) return;
  auto job = job_of(service, call, std::move(model), std::move(*request));
  if (!job) return call.reply->fail(job.error());
  std::stop_source stop;
  const auto run = std::make_shared<ResponseRun>(service, std::move(*job), call.reply, stop);
  if (auto good = run->prepare(); !good) return call.reply->fail(good.error());
  call.reply->when_gone([stop]() mutable { stop.request_stop(); });
  const auto started = service.runs.start("resp_" + call.id, call.tenant, json::format(run->so_far()), stop,
                                          [run](std::stop_token token) { return run->run(std::move(token)); });
  if (!started) call.reply->fail(started.error());
}

}  // namespace autoglm::server
