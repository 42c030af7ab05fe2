// SPDX-License-Identifier: Apache-2.0
// Plain text as the token ids that a model continues. Any thread.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace autoglm::app {

/// Ids of plain text, with the special tokens that the tokenizer adds around it.
Result<std::vector<text::TokenId>> encode_plain(const text::Tokenizer& tokenizer, std::string_view text);

}  // namespace autoglm::app
