// SPDX-License-Identifier: Apache-2.0
//! What bytes each token stands for in the middle of a text, read off the tokenizer's decoder. Streaming and constrained
//! decoding work on these; whole texts are decoded by the tokenizers crate itself.

use serde_json::Value;

/// One step of a decoder that acts on single tokens.
enum Step {
    Replace { from: String, to: String },
    ByteFallback,
    ByteLevel,
    WordPiece { prefix: String },
    Suffix { suffix: String },
}

#[derive(Default)]
pub struct TokenBytes {
    steps: Vec<Step>,
    /// The decoder takes one space from the front of a whole text.
    pub strips_leading_space: bool,
}

const METASPACE: &str = "\u{2581}";

impl TokenBytes {
    /// `decoder` as tokenizer.json spells it, or null.
    pub fn new(decoder: &Value) -> Self {
        let mut rule = TokenBytes::default();
        rule.add(decoder);
        rule
    }

    fn add(&mut self, decoder: &Value) {
        let text = |key: &str| decoder.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
        match decoder.get("type").and_then(Value::as_str) {
            Some("Sequence") => {
                for step in decoder.get("decoders").and_then(Value::as_array).into_iter().flatten() {
                    self.add(step);
                }
            }
            Some("Replace") => {
                if let Some(from) = decoder.pointer("/pattern/String").and_then(Value::as_str) {
                    self.steps.push(Step::Replace { from: from.to_string(), to: text("content") });
                }
            }
            Some("ByteFallback") => self.steps.push(Step::ByteFallback),
            Some("ByteLevel") => self.steps.push(Step::ByteLevel),
            Some("Metaspace") => {
                self.steps.push(Step::Replace { from: METASPACE.to_string(), to: " ".to_string() });
                self.strips_leading_space = text("prepend_scheme") != "never";
            }
            Some("Strip") => {
                let start = decoder.get("start").and_then(Value::as_u64).unwrap_or(0);
                self.strips_leading_space |= text("content") == " " && start > 0;
            }
            Some("WordPiece") => {
                self.steps.push(Step::WordPiece { prefix: text("prefix") });
                self.strips_leading_space = true;
            }
            Some("BPEDecoder") => self.steps.push(Step::Suffix { suffix: text("suffix") }),
            _ => {}
        }
    }

    pub fn of(&self, token: &str) -> Vec<u8> {
        let mut text = token.to_string();
        for step in &self.steps {
            match step {
                Step::Replace { from, to } if !from.is_empty() => text = text.replace(from.as_str(), to),
                Step::Replace { .. } => {}
                Step::ByteFallback => {
                    if let Some(byte) = fallback_byte(&text) {
                        return vec![byte];
                    }
                }
                Step::ByteLevel => return byte_level_bytes(&text),
                Step::WordPiece { prefix } => {
                    text = match text.strip_prefix(prefix.as_str()) {
                        Some(rest) if !prefix.is_empty() => rest.to_string(),
                        _ => format!(" {text}"),
                    }
                }
                Step::Suffix { suffix } => {
                    if let Some(rest) = text.strip_suffix(suffix.as_str()) {
                        text = format!("{rest} ");
                    }
                }
            }
        }
        text.into_bytes()
    }
}

/// The byte that "<0x41>" means.
fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

/// GPT-2's alphabet: printable bytes stand for themselves, the other 68 for U+0100 and up, in order. A token with any other
/// character is its own text, as Hugging Face's byte-level decoder has it.
fn byte_level_bytes(token: &str) -> Vec<u8> {
    token.chars().map(byte_of).collect::<Option<Vec<u8>>>().unwrap_or_else(|| token.as_bytes().to_vec())
}

fn byte_of(c: char) -> Option<u8> {
    match c as u32 {
        point @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(point as u8),
        point @ 0x100..=0x120 => Some((point - 0x100) as u8), // 0x00 .. 0x20
        point @ 0x121..=0x142 => Some((point - 0x121 + 0x7F) as u8), // 0x7F .. 0xA0
        0x143 => Some(0xAD),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn byte_level_is_a_bijection() {
        let mut bytes: Vec<u8> = (0..=0x143u32).filter_map(char::from_u32).filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn byte_level_tokens() {
        let rule = TokenBytes::new(&json!({"type": "ByteLevel"}));
        assert_eq!(rule.of("Ġhi"), b" hi");
        assert_eq!(rule.of("äl"), b"\xE4l");
        assert_eq!(rule.of("<｜end｜>"), "<｜end｜>".as_bytes());
        assert!(!rule.strips_leading_space);
    }

    #[test]
    fn sentencepiece_tokens() {
        let rule = TokenBytes::new(&json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}));
        assert_eq!(rule.of("▁▁a"), b"  a");
        assert_eq!(rule.of("<0xE4>"), b"\xE4");
        assert_eq!(rule.of("<0x+1>"), b"<0x+1>");
        assert!(rule.strips_leading_space);
    }

    #[test]
    fn word_pieces() {
        let rule = TokenBytes::new(&json!({"type": "WordPiece", "prefix": "##", "cleanup": false}));
        assert_eq!(rule.of("##ing"), b"ing");
        assert_eq!(rule.of("go"), b" go");
        assert!(rule.strips_leading_space);
    }
}
