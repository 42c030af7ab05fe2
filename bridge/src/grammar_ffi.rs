// SPDX-License-Identifier: Apache-2.0
//! Constrained decoding's part of the C header.

use crate::grammar::{Grammar, GrammarMatcher, Vocabulary};
use crate::guard::{catch, enter, slice, utf8, Bytes, Failure, Sink, Strings};
use crate::tokenizer::BridgeTokenizer;

/// # Safety
/// Pointers are valid for the call, as the header says; `is_special` holds one byte a token.
#[no_mangle]
pub unsafe extern "C" fn bridge_vocabulary_new(
    tokens: Strings,
    is_special: *const u8,
    eos: *const u32,
    eos_count: usize,
    error: Sink,
    vocabulary: *mut *mut Vocabulary,
) -> i32 {
    enter(error, || {
        let special: Vec<bool> = slice(is_special, tokens.count).iter().map(|&flag| flag != 0).collect();
        *vocabulary = Box::into_raw(Box::new(Vocabulary::new(&tokens.read()?, &special, slice(eos, eos_count))?));
        Ok(())
    })
}

/// # Safety
/// `vocabulary` came from here and is not used again.
#[no_mangle]
pub unsafe extern "C" fn bridge_vocabulary_free(vocabulary: *mut Vocabulary) {
    if !vocabulary.is_null() {
        drop(Box::from_raw(vocabulary));
    }
}

/// # Safety
/// Pointers are valid for the call, as the header says.
#[no_mangle]
pub unsafe extern "C" fn bridge_grammar_from_json_schema(
    vocabulary: *const Vocabulary,
    schema: Bytes,
    place: Sink,
    error: Sink,
    grammar: *mut *mut Grammar,
) -> i32 {
    enter(error, || match Grammar::from_json_schema(&*vocabulary, schema.as_slice()) {
        Ok(made) => {
            *grammar = Box::into_raw(Box::new(made));
            Ok(())
        }
        Err(failure) => {
            place.write(failure.place.as_bytes());
            Err(failure)
        }
    })
}

/// # Safety
/// Pointers are valid for the call, as the header says.
#[no_mangle]
pub unsafe extern "C" fn bridge_grammar_from_lark(
    vocabulary: *const Vocabulary,
    lark: Bytes,
    schemas: Strings,
    place: Sink,
    error: Sink,
    grammar: *mut *mut Grammar,
) -> i32 {
    enter(error, || match Grammar::from_lark(&*vocabulary, utf8(lark, "the grammar")?, &schemas.read()?) {
        Ok(made) => {
            *grammar = Box::into_raw(Box::new(made));
            Ok(())
        }
        Err(failure) => {
            place.write(failure.place.as_bytes());
            Err(failure)
        }
    })
}

/// # Safety
/// `grammar` came from here and is not used again.
#[no_mangle]
pub unsafe extern "C" fn bridge_grammar_free(grammar: *mut Grammar) {
    if !grammar.is_null() {
        drop(Box::from_raw(grammar));
    }
}

/// # Safety
/// Pointers are valid for the call, as the header says.
#[no_mangle]
pub unsafe extern "C" fn bridge_matcher_start(grammar: *const Grammar, error: Sink, matcher: *mut *mut GrammarMatcher) -> i32 {
    enter(error, || {
        *matcher = Box::into_raw(Box::new((*grammar).start()));
        Ok(())
    })
}

/// # Safety
/// `matcher` came from here and is not used again.
#[no_mangle]
pub unsafe extern "C" fn bridge_matcher_free(matcher: *mut GrammarMatcher) {
    if !matcher.is_null() {
        drop(Box::from_raw(matcher));
    }
}

/// # Safety
/// `words` holds `count` words; no other thread uses `matcher`.
#[no_mangle]
pub unsafe extern "C" fn bridge_matcher_mask(matcher: *mut GrammarMatcher, words: *mut u32, count: usize, error: Sink) -> i32 {
    enter(error, || {
        if words.is_null() {
            return Err(Failure::internal("no room for the mask"));
        }
        (*matcher).mask(std::slice::from_raw_parts_mut(words, count))
    })
}

/// # Safety
/// No other thread uses `matcher`.
#[no_mangle]
pub unsafe extern "C" fn bridge_matcher_accept(matcher: *mut GrammarMatcher, token: u32, error: Sink) -> i32 {
    enter(error, || (*matcher).accept(token))
}

/// # Safety
/// `tokenizer` is null or alive; no other thread uses `matcher`.
#[no_mangle]
pub unsafe extern "C" fn bridge_matcher_forced(
    matcher: *mut GrammarMatcher,
    tokenizer: *const BridgeTokenizer,
    tokens: Sink,
    error: Sink,
) -> i32 {
    enter(error, || {
        let forced = (*matcher).forced(tokenizer)?;
        tokens.write(slice(forced.as_ptr().cast::<u8>(), std::mem::size_of_val(forced.as_slice())));
        Ok(())
    })
}

/// # Safety
/// No other thread uses `matcher`.
#[no_mangle]
pub unsafe extern "C" fn bridge_matcher_is_finished(matcher: *const GrammarMatcher) -> i32 {
    catch(|| Ok((*matcher).is_finished())).unwrap_or(false).into()
}
