// SPDX-License-Identifier: Apache-2.0
// /v1/responses/ID: reads, removes and cancels what a tenant has there. Worker threads.
#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "protocol/limits.h"
#include "protocol/response_items.h"
#include "server/service.h"

namespace autoglm::server {
namespace {

using protocol::ApiError;

constexpr std::size_t kMaxPage = 100;  // OpenAI's bound

// The path's part after "/v1/responses/" up to the next slash. What is no id of ours is found nowhere.
std::string id_of(const Call& call) {
  std::string_view rest = std::string_view(call.request.path).substr(std::string_view("/v1/responses/").size());
  return std::string(rest.substr(0, rest.find('/')));
}

ApiError not_found(std::string_view id) {
  return Error{Code::kNotFound, "there is no stored response " + std::string(id.substr(0, 100)), "response_id"};
}

// Which of a response's items are asked for. The official clients fetch page by page.
struct Page {
  bool is_descending = true;
  std::size_t limit = protocol::kMaxMessages;  // all of them
  std::string after;                           // the last one of the page before
};

std::unexpected<Error> wrong_query(std::string_view name, const std::string& expected, std::string_view came) {
  return fail(Code::kInvalidArgument,
              std::string(name) + " must be " + expected + "; it is \"" + base::printable(came, 100) + "\"",
              std::string(name));
}

Result<Page> read_page(std::string_view query) {
  Page page;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    const std::string_view name = pair.substr(0, pair.find('='));
    const std::string_view value = pair.substr(std::min(name.size() + 1, pair.size()));
    if (name == "order") {
      if (value != "asc" && value != "desc") return wrong_query(name, "asc or desc", value);
      page.is_descending = value == "desc";
    } else if (name == "limit") {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), page.limit);
      const bool is_number = error == std::errc() && end == value.data() + value.size();
      if (!is_number || page.limit == 0 || page.limit > kMaxPage) {
        return wrong_query(name, "a whole number from 1 to " + std::to_string(kMaxPage), value);
      }
    } else if (name == "after") {
      page.after = value;  // no id of ours has a character that would be escaped
    } else {
      const std::string shown = base::printable(name, 100);
      return fail(Code::kInvalidArgument, shown + " is not supported here", shown);
    }
  }
  return page;
}

Result<json::Object> page_of(json::Array items, const Page& page) {
  if (page.is_descending) std::reverse(items.begin(), items.end());
  const auto id_of_item = [](const json::Value& item) { return protocol::text_of_field(item.get_object(), "id"); };
  if (!page.after.empty()) {
    const auto* last = std::ranges::find(items, page.after, id_of_item);
    if (last == items.end()) return wrong_query("after", "the id of an item of this response", page.after);
    items.erase(items.begin(), last + 1);
  }
  const bool has_more = items.size() > page.limit;
  if (has_more) items.resize(page.limit);
  json::Object out = {{"object", "list"}, {"has_more", has_more}};
  out["first_id"] = items.empty() ? json::Value() : json::Value(id_of_item(items.front()));
  out["last_id"] = items.empty() ? json::Value() : json::Value(id_of_item(items.back()));
  out["data"] = std::move(items);
  return out;
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
  const auto page = read_page(call.request.query);
  if (!page) return call.reply->fail(page.error());
  const std::string id = id_of(call);
  auto row = service.responses.find(call.tenant, id);
  if (!row) return call.reply->fail(std::move(row).error());
  if (!*row) return call.reply->fail(not_found(id));
  auto items = store::parse_stored((*row)->input);
  if (!items || !items->is_array()) {
    return call.reply->fail(Error{Code::kCorrupt, "a stored response's input cannot be read", {}});
  }
  auto shown = page_of(std::move(items->get_array()), *page);
  if (!shown) return call.reply->fail(shown.error());
  call.reply->json(json::format(*shown));
}

}  // namespace autoglm::server
