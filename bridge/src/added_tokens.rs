// SPDX-License-Identifier: Apache-2.0
//! Finds added tokens (special ones, and those that the vocabulary wants matched whole) in a text. The tokenizers crate
//! can do this too, but only for all special tokens or none; we must leave those alone that a caller spelled.

use aho_corasick::{AhoCorasick, MatchKind};
use std::ops::Range;
use tokenizers::AddedToken;

use crate::guard::{Failure, Outcome};

/// Byte ranges of the original text, rising and disjoint, in which no special token may be found.
pub type Plain<'a> = &'a [Range<usize>];

pub struct AddedTokens {
    tokens: Vec<(u32, AddedToken)>,
    search: Option<AhoCorasick>,
}

/// One piece of a text: an added token, or what lies between.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    pub token: Option<u32>,
    pub range: Range<usize>,
}

impl AddedTokens {
    /// `patterns` are the texts to look for, beside the token's id and rules.
    pub fn new(patterns: Vec<(String, u32, AddedToken)>) -> Outcome<Self> {
        if patterns.is_empty() {
            return Ok(AddedTokens { tokens: vec![], search: None });
        }
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns.iter().map(|(pattern, _, _)| pattern))
            .map_err(|error| Failure::exhausted(format!("too many added tokens: {error}")))?;
        let tokens = patterns.into_iter().map(|(_, id, token)| (id, token)).collect();
        Ok(AddedTokens { tokens, search: Some(search) })
    }

    /// Cuts `text` into added tokens and the rest, as Hugging Face's added vocabulary does: leftmost, longest; a match that
    /// does not count is skipped whole. `is_plain` says whether a range of `text` must not become a special token.
    pub fn split(&self, text: &str, parse_special: bool, is_plain: impl Fn(&Range<usize>) -> bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut done = 0;
        let matches = self.search.iter().flat_map(|search| search.find_iter(text));
        for found in matches {
            let (id, token) = &self.tokens[found.pattern().as_usize()];
            let mut range = found.start()..found.end();
            if token.special && (!parse_special || is_plain(&range)) {
                continue;
            }
            if token.single_word && !is_single_word(text, &range) {
                continue;
            }
            if token.lstrip {
                range.start = text[..range.start].trim_end().len().max(done);
            }
            if token.rstrip {
                range.end = text.len() - text[range.end..].trim_start().len();
            }
            if done < range.start {
                pieces.push(Piece { token: None, range: done..range.start });
            }
            done = range.end;
            pieces.push(Piece { token: Some(*id), range });
        }
        if done < text.len() {
            pieces.push(Piece { token: None, range: done..text.len() });
        }
        pieces
    }
}

/// A word character as regular expressions see it: letters, marks, digits, connectors.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_single_word(text: &str, range: &Range<usize>) -> bool {
    let before = text[..range.start].chars().next_back();
    let after = text[range.end..].chars().next();
    !before.is_some_and(is_word) && !after.is_some_and(is_word)
}

/// True when `range` shares a byte with one of the plain ranges.
pub fn touches(plain: Plain, range: &Range<usize>) -> bool {
    let next = plain.partition_point(|candidate| candidate.end <= range.start);
    plain.get(next).is_some_and(|candidate| candidate.start < range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(tokens: &[AddedToken]) -> AddedTokens {
        let patterns = tokens.iter().zip(0..).map(|(token, id)| (token.content.clone(), id, token.clone())).collect();
        AddedTokens::new(patterns).unwrap()
    }

    fn found(tokens: &AddedTokens, text: &str, parse_special: bool, plain: Plain) -> Vec<(u32, String)> {
        tokens
            .split(text, parse_special, |range| touches(plain, range))
            .into_iter()
            .filter_map(|piece| piece.token.map(|id| (id, text[piece.range].to_string())))
            .collect()
    }

    #[test]
    fn the_leftmost_longest_wins() {
        let tokens = added(&[AddedToken::from("<a", true), AddedToken::from("<a>", true), AddedToken::from("a>b", true)]);
        assert_eq!(found(&tokens, "x<a>b<a", true, &[]), [(1, "<a>".into()), (0, "<a".into())]);
    }

    #[test]
    fn special_tokens_stay_text_where_they_must() {
        let tokens = added(&[AddedToken::from("<s>", true), AddedToken::from("<t>", false)]);
        assert_eq!(found(&tokens, "<s><t>", false, &[]), [(1, "<t>".into())]);
        assert_eq!(found(&tokens, "<s><s><t>", true, &[3..4, 6..9]), [(0, "<s>".into()), (1, "<t>".into())]);
        assert_eq!(found(&tokens, "<s><s>", true, &[2..3]), [(0, "<s>".into())]);
    }

    #[test]
    fn stripping_and_single_words() {
        let tokens =
            added(&[AddedToken::from("<m>", true).lstrip(true).rstrip(true), AddedToken::from("cat", false).single_word(true)]);
        assert_eq!(found(&tokens, "a \t<m>  b", true, &[]), [(0, " \t<m>  ".into())]);
        assert_eq!(found(&tokens, "cat cats concat cat", true, &[]), [(1, "cat".into()), (1, "cat".into())]);
    }

    #[test]
    fn pieces_cover_the_text() {
        let tokens = added(&[AddedToken::from("<s>", true)]);
        let text = "héllo<s><s>世界<s>";
        let pieces = tokens.split(text, true, |_| false);
        let mut end = 0;
        for piece in &pieces {
            assert_eq!(piece.range.start, end);
            end = piece.range.end;
        }
        assert_eq!(end, text.len());
        assert!(tokens.split("", true, |_| false).is_empty());
    }
}
