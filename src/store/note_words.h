// SPDX-License-Identifier: Apache-2.0
// Between people's text and the full-text index of notes: what is indexed, and the query that a caller's words become.
// Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

namespace autoglm::store {

/// `text` as it is indexed: scripts that are written without spaces (Han, kana, Hangul) are spaced out, one character
/// a word, because the tokenizer would take a whole sentence for one word.
std::string indexed_words(std::string_view text);

/// An FTS5 query that any of `words` satisfies; empty when there is nothing to look for. Nothing in `words` is taken
/// for FTS5's query language, and words such as "the" are left out. At most 32 words are used; in unspaced scripts each
/// pair of neighbours is one.
std::string match_query(std::string_view words);

}  // namespace autoglm::store
