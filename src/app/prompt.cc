// SPDX-License-Identifier: Apache-2.0
#include "app/prompt.h"

namespace autoglm::app {

Result<std::vector<text::TokenId>> encode_plain(const text::Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, {.add_special = true, .parse_special = false});
}

}  // namespace autoglm::app
