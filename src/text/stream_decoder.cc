// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "base/utf8.h"
#include "text/tokenizer.h"

namespace autoglm::text {

std::string StreamDecoder::push(TokenId id) {
  using Kind = base::Utf8Step::Kind;
  if (skip_special_ && tokenizer_->is_special(id)) return {};
  std::string_view bytes = tokenizer_->token_bytes(id);
  if (bytes.empty()) return {};
  if (!std::exchange(started_, true) && tokenizer_->strips_leading_space() && bytes.front() == ' ')
    bytes.remove_prefix(1);
  held_ += bytes;
  std::string certain;
  std::string_view rest = held_;
  while (!rest.empty()) {
    const base::Utf8Step step = base::utf8_step(rest);
    if (step.kind == Kind::kIncomplete) break;
    certain += step.kind == Kind::kCharacter ? rest.substr(0, step.size) : base::kReplacementCharacter;
    rest.remove_prefix(step.size);
  }
  held_ = std::string(rest);
  return certain;
}

std::string StreamDecoder::finish() {
  if (held_.empty()) return {};
  held_.clear();
  return std::string(base::kReplacementCharacter);  // an incomplete character is one maximal subpart
}

}  // namespace autoglm::text
