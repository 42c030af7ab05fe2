// SPDX-License-Identifier: Apache-2.0
// A tool's bytes as a text that a model may read. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace autoglm::agent {

/// `bytes` as UTF-8 (ill-formed parts become U+FFFD, NUL too, which some tokenizers end at) of at most `max_bytes`
/// before a line that tells that it was cut. Spellings of control tokens stay: they are text, and encoded as such.
std::string readable_text(std::string_view bytes, std::size_t max_bytes);

/// The first `max_bytes` of `text` at most, without half a character at the end.
std::string_view clip_utf8(std::string_view text, std::size_t max_bytes);

}  // namespace autoglm::agent
