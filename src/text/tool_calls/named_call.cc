// SPDX-License-Identifier: Apache-2.0
// Calls as a name and the JSON object of its arguments behind it. Mistral's from version 11 on write
// name[ARGS]{...}, some with [CALL_ID]id between; before that a list of objects, which is read as well. GLM-4's name
// stands on a line of its own, and is known before this begins. Sources: the chat templates of Mistral-Nemo-2407,
// Mistral-Small-3.2 and Devstral-2507; that of GLM-4-0414.
#include <string>
#include <utility>

#include "base/ascii.h"
#include "text/tool_calls/call_reader.h"
#include "text/tool_calls/json_arguments.h"
#include "text/tool_calls/marker_scan.h"

namespace autoglm::text {
namespace {

constexpr std::size_t kMaxWrittenNameBytes = 256;

class MistralCallReader final : public CallReader {
 public:
  explicit MistralCallReader(std::size_t max_depth) : max_depth_(max_depth), arguments_(max_depth) {}

  Step step(char c, CallSink& sink) override {
    if (list_ != nullptr) return list_->step(c, sink);
    if (has_name_) return arguments_.step(c, sink);
    const bool is_first = name_.empty() && !has_id_ && scan_.held().empty();
    if (is_first && (c == '{' || c == '[')) {
      list_ = json_call_reader(true, max_depth_, {});
      return list_->step(c, sink);
    }
    if (is_first && base::is_space(c)) return Step::kMore;
    // Whoever leaves special tokens out shows the object right behind the name.
    if (c == '{' && scan_.held().empty()) return begin(sink) ? arguments_.step(c, sink) : Step::kBroken;
    std::string plain;
    const int marker = scan_.step(c, plain);
    if (!has_id_) name_ += plain;
    id_bytes_ += plain.size();
    if (name_.size() > kMaxWrittenNameBytes || id_bytes_ > 2 * kMaxWrittenNameBytes) return Step::kBroken;
    if (marker == kId) return std::exchange(has_id_, true) ? Step::kBroken : Step::kMore;
    return marker != kArguments || begin(sink) ? Step::kMore : Step::kBroken;
  }

 private:
  enum Marker : int { kId, kArguments };

  bool begin(CallSink& sink) {
    while (!name_.empty() && base::is_space(name_.back())) name_.pop_back();
    if (name_.empty()) return false;
    sink.begin(name_);
    return has_name_ = true;
  }

  std::size_t max_depth_;
  std::unique_ptr<CallReader> list_;
  MarkerScan scan_{"[CALL_ID]", "[ARGS]"};
  std::string name_;
  std::size_t id_bytes_ = 0;  // of the name and of the id, which is the model's own and of no use to us
  bool has_id_ = false;
  bool has_name_ = false;
  JsonArguments arguments_;
};

class LineCallReader final : public CallReader {
 public:
  LineCallReader(std::string_view name, std::size_t max_depth) : name_(name), arguments_(max_depth) {}

  Step step(char c, CallSink& sink) override {
    if (!std::exchange(has_begun_, true)) sink.begin(name_);
    return arguments_.step(c, sink);
  }

 private:
  std::string name_;
  bool has_begun_ = false;
  JsonArguments arguments_;
};

}  // namespace

std::unique_ptr<CallReader> mistral_call_reader(std::size_t max_depth) {
  return std::make_unique<MistralCallReader>(max_depth);
}

std::unique_ptr<CallReader> line_call_reader(std::string_view name, std::size_t max_depth) {
  return std::make_unique<LineCallReader>(name, max_depth);
}

}  // namespace autoglm::text
