// SPDX-License-Identifier: Apache-2.0
//! The tokenizer's part of the C header.

use std::ops::Range;

use crate::gguf_vocabulary::GgufVocabulary;
use crate::guard::{enter, slice, utf8, Bytes, Failure, Outcome, Sink, Strings};
use crate::tokenizer::BridgeTokenizer;

#[repr(C)]
pub struct CGgufVocabulary {
    model: Bytes,
    pre: Bytes,
    tokens: Strings,
    scores: *const f32,
    token_types: *const i32,
    merges: Strings,
    unknown: i32,
    bos: i32,
    eos: i32,
    add_bos: i32,
    add_eos: i32,
    add_space_prefix: i32,
    lowercase: i32,
    strip_accents: i32,
}

#[repr(C)]
pub struct PlainRange {
    begin: usize,
    end: usize,
}

/// # Safety
/// Pointers are valid for the call, as the header says.
#[no_mangle]
pub unsafe extern "C" fn bridge_tokenizer_from_json(json: Bytes, error: Sink, tokenizer: *mut *mut BridgeTokenizer) -> i32 {
    enter(error, || {
        *tokenizer = Box::into_raw(Box::new(BridgeTokenizer::from_json(json.as_slice())?));
        Ok(())
    })
}

/// # Safety
/// Pointers are valid for the call, as the header says.
#[no_mangle]
pub unsafe extern "C" fn bridge_tokenizer_from_gguf(
    vocabulary: *const CGgufVocabulary,
    error: Sink,
    tokenizer: *mut *mut BridgeTokenizer,
) -> i32 {
    enter(error, || {
        let source = &*vocabulary;
        let optional_count = |missing: bool| if missing { 0 } else { source.tokens.count };
        let built = GgufVocabulary {
            model: utf8(source.model, "the tokenizer model's name")?,
            pre: utf8(source.pre, "the pre-tokenizer's name")?,
            tokens: source.tokens.read()?,
            scores: slice(source.scores, optional_count(source.scores.is_null())),
            token_types: slice(source.token_types, optional_count(source.token_types.is_null())),
            merges: source.merges.read()?,
            unknown: source.unknown,
            bos: source.bos,
            eos: source.eos,
            add_bos: source.add_bos != 0,
            add_eos: source.add_eos != 0,
            add_space_prefix: source.add_space_prefix != 0,
            lowercase: source.lowercase != 0,
            strip_accents: source.strip_accents != 0,
        }
        .build()?;
        *tokenizer = Box::into_raw(Box::new(built));
        Ok(())
    })
}

/// # Safety
/// `tokenizer` came from here and is not used again.
#[no_mangle]
pub unsafe extern "C" fn bridge_tokenizer_free(tokenizer: *mut BridgeTokenizer) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer));
    }
}

/// Ranges that rise, are disjoint and lie within `size` bytes.
fn plain_ranges(ranges: &[PlainRange], size: usize) -> Outcome<Vec<Range<usize>>> {
    let mut end = 0;
    let mut plain = Vec::with_capacity(ranges.len());
    for range in ranges {
        if range.begin < end || range.end < range.begin || range.end > size {
            return Err(Failure::internal("plain ranges do not rise within the text"));
        }
        end = range.end;
        plain.push(range.begin..range.end);
    }
    Ok(plain)
}

/// # Safety
/// Pointers are valid for the call, as the header says.
#[no_mangle]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn bridge_tokenizer_encode(
    tokenizer: *const BridgeTokenizer,
    text: Bytes,
    add_special: i32,
    parse_special: i32,
    plain: *const PlainRange,
    plain_count: usize,
    most_ids: usize,
    ids: Sink,
    error: Sink,
) -> i32 {
    enter(error, || {
        let text = utf8(text, "the text")?;
        let plain = plain_ranges(slice(plain, plain_count), text.len())?;
        let found = (*tokenizer).encode(text, add_special != 0, parse_special != 0, &plain, most_ids)?;
        let bytes: &[u8] = std::slice::from_raw_parts(found.as_ptr().cast(), std::mem::size_of_val(found.as_slice()));
        ids.write(bytes);
        Ok(())
    })
}

/// # Safety
/// Pointers are valid for the call, as the header says.
#[no_mangle]
pub unsafe extern "C" fn bridge_tokenizer_decode(
    tokenizer: *const BridgeTokenizer,
    ids: *const u32,
    count: usize,
    skip_special: i32,
    text: Sink,
    error: Sink,
) -> i32 {
    enter(error, || {
        text.write((*tokenizer).decode(slice(ids, count), skip_special != 0)?.as_bytes());
        Ok(())
    })
}

/// # Safety
/// `tokenizer` came from here.
#[no_mangle]
pub unsafe extern "C" fn bridge_tokenizer_vocab(tokenizer: *const BridgeTokenizer) -> usize {
    (*tokenizer).vocab()
}

/// # Safety
/// `tokenizer` came from here; the bytes live as long as it.
#[no_mangle]
pub unsafe extern "C" fn bridge_tokenizer_token_bytes(tokenizer: *const BridgeTokenizer, id: u32) -> Bytes {
    Bytes::of((*tokenizer).token_bytes(id))
}

/// # Safety
/// `tokenizer` came from here.
#[no_mangle]
pub unsafe extern "C" fn bridge_tokenizer_is_special(tokenizer: *const BridgeTokenizer, id: u32) -> i32 {
    (*tokenizer).is_special(id).into()
}

/// # Safety
/// `tokenizer` came from here; `token` is valid for the call.
#[no_mangle]
pub unsafe extern "C" fn bridge_tokenizer_id_of(tokenizer: *const BridgeTokenizer, token: Bytes) -> i64 {
    let found = std::str::from_utf8(token.as_slice()).ok().and_then(|token| (*tokenizer).id_of(token));
    found.map_or(-1, i64::from)
}

/// # Safety
/// `tokenizer` came from here.
#[no_mangle]
pub unsafe extern "C" fn bridge_tokenizer_strips_leading_space(tokenizer: *const BridgeTokenizer) -> i32 {
    (*tokenizer).strips_leading_space().into()
}
