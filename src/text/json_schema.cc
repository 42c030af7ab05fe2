// SPDX-License-Identifier: Apache-2.0
#include "text/json_schema.h"

#include <string>
#include <utility>

#include "text/bridge_call.h"

namespace autoglm::text {
namespace {

struct FreeSchema {
  void operator()(bridge_schema* schema) const { bridge_schema_free(schema); }
};

// As call_bridge(), with the place of what was refused.
template <typename Call>
Status call_with_place(Call call) {
  std::string where;
  Status done = call_bridge([&](bridge_sink error) { return call(sink_into(where), error); });
  if (!done) done.error().where = std::move(where);
  return done;
}

class BridgeSchema final : public JsonSchema {
 public:
  explicit BridgeSchema(bridge_schema* schema) : schema_(schema) {}

  Status validate(const json::Value& value) const override {
    const std::string text = json::format(value);
    return call_with_place([&](bridge_sink where, bridge_sink error) {
      return bridge_schema_check(schema_.get(), bytes_of(text), where, error);
    });
  }

 private:
  std::unique_ptr<bridge_schema, FreeSchema> schema_;
};

}  // namespace

Result<std::unique_ptr<const JsonSchema>> JsonSchema::parse(std::string_view schema) {
  bridge_schema* made = nullptr;
  TRY(call_with_place([&](bridge_sink where, bridge_sink error) {
    return bridge_schema_parse(bytes_of(schema), where, error, &made);
  }));
  return std::make_unique<BridgeSchema>(made);
}

}  // namespace autoglm::text
