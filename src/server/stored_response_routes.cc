// SPDX-License-Identifier: Apache-2.0
// /v1/responses/ID: reads, removes and cancels what a tenant has there. Worker threads.
#include <algorithm>
#include <string>
#include <utility>

#include "base/json.h"
#include "protocol/response_items.h"
#include "server/service.h"

namespace autoglm::server {
namespace {

using protocol::ApiError;

// The path's part after "/v1/responses/" up to the next slash. What is no id of ours is found nowhere.
std::string id_of(const Call& call) {
  std::string_view rest = std::string_view(call.request.path).substr(std::string_view("/v1/responses/").size());
  return std::string(rest.substr(0, rest.find('/')));
}

ApiError not_found(std::string_view id) {
  return Error{Code::kNotFound, "there is no stored response " + std::string(id.substr(0, 100)), "response_id"};
}

// Streams cannot be taken up again, and there is nothing more to include.
bool refuse_query(const Call& call) {
  if (call.request.query.empty()) return false;
  call.reply->fail(Error{Code::kInvalidArgument,
                         "this path takes no parameters here: " + call.request.query.substr(0, 100), "query"});
  return true;
}

}  // namespace

void serve_stored_response(Service& service, const Call& call) {
  if (refuse_query(call)) return;
  const std::string id = id_of(call);
  // In this order: what is no longer being made has been stored before.
  if (std::string so_far = service.runs.find(call.tenant, id); !so_far.empty()) {
    return call.reply->json(std::move(so_far));
  }
  auto row = service.responses.find(call.tenant, id);
  if (!row) return call.reply->fail(std::move(row).error());
  if (!*row) return call.reply->fail(not_found(id));
  call.reply->json(std::move((*row)->response));
}

void serve_response_removal(Service& service, const Call& call) {
  if (refuse_query(call)) return;
  const std::string id = id_of(call);
  if (!service.runs.find(call.tenant, id).empty()) {
    return call.reply->fail(
        Error{Code::kInvalidArgument, "the response " + id + " is being made: cancel it first", "response_id"});
  }
  auto removed = service.responses.remove(call.tenant, id);
  if (!removed) return call.reply->fail(std::move(removed).error());
  if (!*removed) return call.reply->fail(not_found(id));
  std::string out = R"({"id":)";
  json::append_string(out, id);
  call.reply->json(out + R"(,"object":"response.deleted","deleted":true})");
}

void serve_response_cancel(Service& service, const Call& call) {
  if (refuse_query(call)) return;
  const std::string id = id_of(call);
  const auto reply = call.reply;
  if (service.runs.cancel(call.tenant, id, [reply](const std::string& response) { reply->json(response); })) return;
  auto row = service.responses.find(call.tenant, id);
  if (!row) return call.reply->fail(std::move(row).error());
  if (!*row) return call.reply->fail(not_found(id));
  call.reply->fail(Error{Code::kInvalidArgument, "the response " + id + " has ended already", "response_id"});
}

void serve_input_items(Service& service, const Call& call) {
  const std::string_view query = call.request.query;
  const bool is_descending = query.empty() || query == "order=desc";
  if (!is_descending && query != "order=asc") {
    return call.reply->fail(
        Error{Code::kInvalidArgument, "this path takes order=asc and order=desc only: all items are told", "query"});
  }
  const std::string id = id_of(call);
  auto row = service.responses.find(call.tenant, id);
  if (!row) return call.reply->fail(std::move(row).error());
  if (!*row) return call.reply->fail(not_found(id));
  auto items = store::parse_stored((*row)->input);
  if (!items || !items->is_array()) {
    return call.reply->fail(Error{Code::kCorrupt, "a stored response's input cannot be read", {}});
  }
  json::Array list = std::move(items->get_array());
  if (is_descending) std::reverse(list.begin(), list.end());
  const auto id_at = [&](std::size_t index) { return json::Value(list[index].get_object()["id"]); };
  json::Object out = {{"object", "list"}, {"has_more", false}};
  out["first_id"] = list.empty() ? json::Value() : id_at(0);
  out["last_id"] = list.empty() ? json::Value() : id_at(list.size() - 1);
  out["data"] = std::move(list);
  call.reply->json(json::format(out));
}

}  // namespace autoglm::server
