// SPDX-License-Identifier: Apache-2.0
//! Tokens that a grammar forces: where only one text may follow, its tokens need not be sampled one at a time. Masks are
//! computed as if nothing were ever forced; only here the grammar's environment becomes one that can spell a text as the
//! model's tokenizer does.

use std::cell::Cell;

use llguidance::toktrie::{TokTrie, TokenId};

use crate::grammar::GrammarMatcher;
use crate::guard::{Failure, Outcome};
use crate::tokenizer::BridgeTokenizer;

thread_local! {
    static SPELLER: Cell<Option<*const BridgeTokenizer>> = const { Cell::new(None) };
}

/// Whether this thread is asking for forced tokens.
pub fn is_asked() -> bool {
    SPELLER.with(Cell::get).is_some()
}

/// The tokens of a text: the tokenizer's where one is at hand and they spell the text, else the longest that fit.
pub fn spell(trie: &TokTrie, bytes: &[u8]) -> Vec<TokenId> {
    let speller = SPELLER.with(Cell::get).filter(|tokenizer| !tokenizer.is_null());
    let Some((tokenizer, text)) = speller.zip(std::str::from_utf8(bytes).ok()) else { return trie.greedy_tokenize(bytes) };
    // SAFETY: it is set while forced() runs, whose caller keeps the tokenizer alive.
    let tokens = unsafe { &*tokenizer }.encode(text, false, false, &[], usize::MAX).unwrap_or_default();
    let spelled: Vec<u8> = tokens.iter().flat_map(|&token| trie.token(token).iter().copied()).collect();
    if spelled == bytes {
        tokens
    } else {
        trie.greedy_tokenize(bytes)
    }
}

struct Asking;

impl Asking {
    fn with(tokenizer: *const BridgeTokenizer) -> Self {
        SPELLER.with(|speller| speller.set(Some(tokenizer)));
        Asking
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        SPELLER.with(|speller| speller.set(None));
    }
}

impl GrammarMatcher {
    /// The tokens that must follow, as far as it is sure how they are spelled; they are not consumed. `tokenizer` may be null.
    pub fn forced(&mut self, tokenizer: *const BridgeTokenizer) -> Outcome<Vec<TokenId>> {
        if self.is_finished() {
            return Ok(vec![]);
        }
        let asking = Asking::with(tokenizer);
        let tokens = self.matcher.compute_ff_tokens();
        drop(asking);
        if let Some(error) = self.matcher.get_error() {
            return Err(self.failed(&error));
        }
        // What it says is taken for advice: a token that the grammar forbids ends it.
        let valid = self.matcher.validate_tokens(&tokens).map_err(|error| Failure::internal(error.to_string()))?;
        Ok(tokens[..valid].to_vec())
    }
}
