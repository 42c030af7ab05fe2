// SPDX-License-Identifier: Apache-2.0
//! What a tokenizer.json may ask for. The crate that runs it trusts the file; these checks run before, on the parts that
//! decide how much work and memory a text costs. Vocabulary and merges are only skipped over here.

use crate::guard::{Failure, Outcome};
use serde::de::IgnoredAny;
use serde::Deserialize;
use serde_json::Value;

/// More than four times the largest vocabulary in use (Gemma's 262,144).
pub const MAX_VOCABULARY: usize = 1 << 20;
/// The longest real pattern is under 500 bytes.
const MAX_REGEX_BYTES: usize = 8 << 10;
/// Nodes of normalizer, pre-tokenizer, post-processor and decoder together; real files have under 200.
const MAX_NODES: usize = 4096;
/// How many times longer normalizers or decoders may make a text, multiplied over the chain.
const MAX_GROWTH: usize = 1024;

#[derive(Deserialize)]
struct ModelOutline {
    #[serde(rename = "type")]
    kind: Option<String>,
    continuing_subword_prefix: Option<String>,
    dropout: Option<f64>,
    #[serde(rename = "vocab")]
    _vocab: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Outline {
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    model: ModelOutline,
}

/// Refuses what would make the tokenizer crash, random, or grow a text without bound.
pub fn check_tokenizer_json(json: &[u8]) -> Outcome<()> {
    let outline: Outline = serde_json::from_slice(json)
        .map_err(|error| Failure::corrupt(format!("tokenizer.json is not what it must be: {error}")))?;
    // A prefix that is not where the file says makes the merge table slice strings out of bounds.
    let is_word_piece = outline.model.kind.as_deref() == Some("WordPiece");
    if !is_word_piece && outline.model.continuing_subword_prefix.is_some_and(|prefix| !prefix.is_empty()) {
        return Err(Failure::invalid("tokenizer.json has a BPE continuing_subword_prefix, which is not supported"));
    }
    if outline.model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err(Failure::invalid("tokenizer.json asks for BPE dropout, which would make ids random"));
    }
    let mut nodes = 0;
    for part in [&outline.normalizer, &outline.pre_tokenizer, &outline.post_processor, &outline.decoder].into_iter().flatten() {
        check_nodes(part, &mut nodes)?;
    }
    for chain in [&outline.normalizer, &outline.decoder].into_iter().flatten() {
        if growth(chain) > MAX_GROWTH {
            return Err(Failure::invalid("tokenizer.json has replacements that may grow a text without bound"));
        }
    }
    Ok(())
}

/// serde_json stops at 128 levels, so this recursion is bounded.
fn check_nodes(value: &Value, nodes: &mut usize) -> Outcome<()> {
    *nodes += 1;
    if *nodes > MAX_NODES {
        return Err(Failure::exhausted("tokenizer.json has too many steps"));
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_nodes(item, nodes)),
        Value::Object(fields) => fields.iter().try_for_each(|(key, item)| {
            let too_long = key == "Regex" && item.as_str().is_some_and(|regex| regex.len() > MAX_REGEX_BYTES);
            if too_long {
                return Err(Failure::exhausted("tokenizer.json has a regular expression longer than 8 KiB"));
            }
            check_nodes(item, nodes)
        }),
        _ => Ok(()),
    }
}

/// How many times longer the chain may make a text: the product over its replacements.
fn growth(step: &Value) -> usize {
    let steps = ["normalizers", "decoders"].iter().find_map(|key| step.get(key)).and_then(Value::as_array);
    if let Some(steps) = steps {
        return steps.iter().fold(1usize, |product, step| product.saturating_mul(growth(step)));
    }
    let content = step.get("content").and_then(Value::as_str).map_or(0, str::len);
    match step.get("type").and_then(Value::as_str) {
        Some("Replace") => match step.pointer("/pattern/String").and_then(Value::as_str) {
            Some(pattern) => content.div_ceil(pattern.len().max(1)).max(1),
            None => content + 1, // a regular expression may match at every byte
        },
        Some("Prepend") => 1 + step.get("prepend").and_then(Value::as_str).map_or(0, str::len) / 64,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Code;

    fn code_of(json: &str) -> Option<Code> {
        check_tokenizer_json(json.as_bytes()).err().map(|failure| failure.code)
    }

    fn with(part: &str, value: &str) -> String {
        format!(r#"{{"model":{{"type":"BPE","vocab":{{}},"merges":[]}},"{part}":{value}}}"#)
    }

    #[test]
    fn an_ordinary_file_passes() {
        assert_eq!(code_of(&with("normalizer", r#"{"type":"Replace","pattern":{"String":" "},"content":"▁"}"#)), None);
        assert_eq!(code_of(&with("decoder", "null")), None);
    }

    #[test]
    fn hostile_files_are_refused() {
        assert_eq!(code_of("{}"), Some(Code::Corrupt));
        assert_eq!(code_of(r#"{"model":{"type":"BPE","continuing_subword_prefix":"@@"}}"#), Some(Code::Invalid));
        assert_eq!(code_of(r#"{"model":{"type":"WordPiece","continuing_subword_prefix":"@@"}}"#), None);
        assert_eq!(code_of(r#"{"model":{"dropout":0.1}}"#), Some(Code::Invalid));
        assert_eq!(code_of(&with("x", &"[".repeat(200))), Some(Code::Corrupt));
    }

    #[test]
    fn growth_is_bounded_exactly() {
        let double = r#"{"type":"Replace","pattern":{"String":"a"},"content":"aa"}"#;
        let chain = |n| with("normalizer", &format!(r#"{{"type":"Sequence","normalizers":[{}]}}"#, vec![double; n].join(",")));
        assert_eq!(code_of(&chain(10)), None);
        assert_eq!(code_of(&chain(11)), Some(Code::Invalid));
    }

    #[test]
    fn regular_expressions_are_bounded_exactly() {
        let split = |n| with("pre_tokenizer", &format!(r#"{{"type":"Split","pattern":{{"Regex":"{}"}}}}"#, "a".repeat(n)));
        assert_eq!(code_of(&split(MAX_REGEX_BYTES)), None);
        assert_eq!(code_of(&split(MAX_REGEX_BYTES + 1)), Some(Code::Exhausted));
    }

    #[test]
    fn steps_are_bounded_exactly() {
        let list = |n| with("pre_tokenizer", &format!("[{}]", vec!["0"; n].join(",")));
        assert_eq!(code_of(&list(MAX_NODES - 1)), None);
        assert_eq!(code_of(&list(MAX_NODES)), Some(Code::Exhausted));
    }
}
