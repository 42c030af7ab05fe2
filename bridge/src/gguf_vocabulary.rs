// SPDX-License-Identifier: Apache-2.0
//! Builds a tokenizer from the vocabulary that a GGUF file carries. The file names its kind and its pre-tokenizer and gives
//! tokens, scores and merges; normalizer, pre-tokenizer and decoder are what the checkpoint's own tokenizer.json has.

use ahash::AHashMap;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{BertNormalizer, Prepend, Replace, Sequence as NormalizerSequence, NFC};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizerSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer};

use crate::guard::{catch, Failure, Outcome};
use crate::limits::MAX_VOCABULARY;
use crate::tokenizer::{BridgeTokenizer, Frame};

// Token types of tokenizer.ggml.token_type (GGUF specification).
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

const LLAMA3_SPLIT: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2_SPLIT: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN_SPLIT: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O_SPLIT: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// True for the patterns above: each of them begins a new word at a space between letters.
pub fn is_known_split(regex: &str) -> bool {
    [LLAMA3_SPLIT, QWEN2_SPLIT, TEKKEN_SPLIT, GPT4O_SPLIT].contains(&regex)
}

pub struct GgufVocabulary<'a> {
    pub model: &'a str,
    pub pre: &'a str,
    pub tokens: Vec<&'a [u8]>,
    pub scores: &'a [f32],
    pub token_types: &'a [i32],
    pub merges: Vec<&'a [u8]>,
    pub unknown: i32,
    pub bos: i32,
    pub eos: i32,
    pub add_bos: bool,
    pub add_eos: bool,
    pub add_space_prefix: bool,
    pub lowercase: bool,
    pub strip_accents: bool,
}

impl GgufVocabulary<'_> {
    pub fn build(&self) -> Outcome<BridgeTokenizer> {
        let count = self.tokens.len();
        if count == 0 || count > MAX_VOCABULARY {
            return Err(Failure::corrupt(format!("a vocabulary of {count} tokens; expected 1 to {MAX_VOCABULARY}")));
        }
        if !self.scores.is_empty() && self.scores.len() != count
            || !self.token_types.is_empty() && self.token_types.len() != count
        {
            return Err(Failure::corrupt("tokens, scores and token types differ in number"));
        }
        let mut strings = texts(&self.tokens, "token")?;
        if self.model == "bert" {
            strings = strings.iter().enumerate().map(|(id, text)| self.word_piece(id, text)).collect();
        }
        let frame = self.frame(count)?;
        let tokenizer = catch(|| match self.model {
            "gpt2" => self.byte_level(&strings),
            "llama" => self.sentencepiece(&strings),
            "bert" => self.words(&strings),
            other => Err(Failure::invalid(format!("the tokenizer model '{other}' is not supported; gpt2, llama and bert are"))),
        })?;
        BridgeTokenizer::new(tokenizer, frame, Some(strings))
    }

    fn token_type(&self, id: usize) -> i32 {
        self.token_types.get(id).copied().unwrap_or(1)
    }

    fn frame(&self, count: usize) -> Outcome<Frame> {
        let checked = |wanted: bool, id: i32, name: &str| match usize::try_from(id) {
            Ok(index) if wanted && index < count => Ok(vec![id as u32]),
            Ok(_) if wanted => Err(Failure::corrupt(format!("the {name} token {id} is not in the vocabulary"))),
            _ => Ok(vec![]),
        };
        Ok(Frame::Fixed { before: checked(self.add_bos, self.bos, "bos")?, after: checked(self.add_eos, self.eos, "eos")? })
    }

    fn byte_level(&self, strings: &[String]) -> Outcome<Tokenizer> {
        let (normalizer, pre_tokenizer, ignore_merges) = pre_tokenizer(self.pre)?;
        let merges = texts(&self.merges, "merge")?
            .into_iter()
            .map(|merge| {
                // A token never begins with the separator, but may hold one after its first character.
                let space = merge.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at);
                let space = space.ok_or_else(|| Failure::corrupt(format!("the merge '{merge}' is not two tokens")))?;
                Ok((merge[..space].to_string(), merge[space + 1..].to_string()))
            })
            .collect::<Outcome<Vec<_>>>()?;
        let model = BPE::builder()
            .vocab_and_merges(vocabulary(strings), merges)
            .ignore_merges(ignore_merges)
            .build()
            .map_err(corrupt)?;
        let mut tokenizer = Tokenizer::new(model);
        tokenizer.with_normalizer(normalizer).map_err(corrupt)?;
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
        tokenizer.with_decoder(Some(ByteLevel::default()));
        self.add_tokens(&mut tokenizer, strings, |_| true)?;
        Ok(tokenizer)
    }

    /// SentencePiece's BPE. Gemma's files have no dummy prefix, store runs of spaces as user-defined tokens of real spaces,
    /// and rank pieces by position, not by score.
    fn sentencepiece(&self, strings: &[String]) -> Outcome<Tokenizer> {
        let is_space_run = |text: &str| text.len() > 1 && text.bytes().all(|byte| byte == b' ');
        let spelled: Vec<String> =
            strings.iter().map(|text| if is_space_run(text) { "\u{2581}".repeat(text.len()) } else { text.clone() }).collect();
        let vocab = vocabulary(&spelled);
        let by_position = !self.add_space_prefix || self.scores.is_empty();
        let score = |id: usize| if by_position { -(id as f32) } else { self.scores[id] };
        let merges = merges_of_scores(&spelled, &vocab, score)?;
        let unknown =
            usize::try_from(self.unknown).ok().or_else(|| (0..strings.len()).find(|&id| self.token_type(id) == UNKNOWN));
        let unknown = unknown.and_then(|id| spelled.get(id));
        let mut builder = BPE::builder().vocab_and_merges(vocab, merges).byte_fallback(true).fuse_unk(true);
        if let Some(unknown) = unknown {
            builder = builder.unk_token(unknown.clone());
        }
        let mut tokenizer = Tokenizer::new(builder.build().map_err(corrupt)?);
        let replace: NormalizerWrapper = Replace::new(" ", "\u{2581}").map_err(corrupt)?.into();
        let normalizer = if self.add_space_prefix {
            NormalizerSequence::new(vec![Prepend::new("\u{2581}".to_string()).into(), replace]).into()
        } else {
            replace
        };
        tokenizer.with_normalizer(Some(normalizer)).map_err(corrupt)?;
        tokenizer.with_decoder(Some(self.sentencepiece_decoder()?));
        self.add_tokens(&mut tokenizer, strings, |text| !is_space_run(text))?;
        Ok(tokenizer)
    }

    /// A token of WordPiece as BERT spells it. The file marks the beginning of a word where BERT marks what goes on.
    fn word_piece(&self, id: usize, text: &str) -> String {
        match text.strip_prefix('\u{2581}') {
            _ if self.token_type(id) == CONTROL || self.token_type(id) == UNKNOWN => text.to_string(),
            Some(word) => word.to_string(),
            None => format!("##{text}"),
        }
    }

    fn words(&self, strings: &[String]) -> Outcome<Tokenizer> {
        /// What every BERT has: longer words are unknown.
        const MAX_WORD_CHARS: usize = 100;
        let unknown = usize::try_from(self.unknown).ok().and_then(|id| strings.get(id));
        let unknown = unknown.ok_or_else(|| Failure::corrupt("the vocabulary names no token for unknown words"))?;
        let model = WordPiece::builder()
            .vocab(vocabulary(strings))
            .unk_token(unknown.clone())
            .continuing_subword_prefix("##".to_string())
            .max_input_chars_per_word(MAX_WORD_CHARS)
            .build()
            .map_err(corrupt)?;
        let mut tokenizer = Tokenizer::new(model);
        let normalizer = BertNormalizer::new(true, true, Some(self.strip_accents), self.lowercase);
        tokenizer.with_normalizer(Some(normalizer)).map_err(corrupt)?;
        tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
        tokenizer.with_decoder(Some(WordPieceDecoder::default()));
        self.add_tokens(&mut tokenizer, strings, |_| true)?;
        Ok(tokenizer)
    }

    fn sentencepiece_decoder(&self) -> Outcome<tokenizers::DecoderWrapper> {
        let mut steps = vec![
            serde_json::json!({"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}),
            serde_json::json!({"type": "ByteFallback"}),
            serde_json::json!({"type": "Fuse"}),
        ];
        if self.add_space_prefix {
            steps.push(serde_json::json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        serde_json::from_value(serde_json::json!({"type": "Sequence", "decoders": steps})).map_err(corrupt)
    }

    /// Control tokens are special; user-defined ones are matched whole too, but are ordinary text.
    fn add_tokens(&self, tokenizer: &mut Tokenizer, strings: &[String], wanted: impl Fn(&str) -> bool) -> Outcome<()> {
        let unknown = usize::try_from(self.unknown).ok();
        let added: Vec<AddedToken> = strings
            .iter()
            .enumerate()
            .filter_map(|(id, text)| {
                let kind = self.token_type(id);
                let special = kind == CONTROL || kind == UNKNOWN || unknown == Some(id) && self.model == "llama";
                let matched = (special || kind == USER_DEFINED) && !text.is_empty() && wanted(text);
                matched.then(|| AddedToken::from(text.clone(), special).normalized(false))
            })
            .collect();
        tokenizer.add_tokens(added).map_err(corrupt)?;
        Ok(())
    }
}

fn corrupt(error: impl std::fmt::Display) -> Failure {
    Failure::corrupt(format!("the vocabulary does not fit together: {error}"))
}

fn texts(strings: &[&[u8]], what: &str) -> Outcome<Vec<String>> {
    let text = |(index, bytes): (usize, &&[u8])| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_string()),
        Err(_) => Err(Failure::corrupt(format!("{what} {index} is not UTF-8"))),
    };
    strings.iter().enumerate().map(text).collect()
}

fn vocabulary(strings: &[String]) -> AHashMap<String, u32> {
    strings.iter().zip(0..).map(|(text, id)| (text.clone(), id)).collect()
}

/// Normalizer, pre-tokenizer and whether whole words in the vocabulary are taken as they are, by the file's `pre` name.
fn pre_tokenizer(pre: &str) -> Outcome<(Option<NormalizerWrapper>, PreTokenizerWrapper, bool)> {
    let split = |regex: &str| -> Outcome<PreTokenizerWrapper> {
        let pattern = SplitPattern::Regex(regex.to_string());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(corrupt)?;
        Ok(PreTokenizerSequence::new(vec![split.into(), ByteLevel::new(false, false, false).into()]).into())
    };
    let gpt2 = || ByteLevel::new(false, false, true).into();
    match pre {
        "" | "default" | "gpt-2" | "gpt2" | "phi-2" | "mpt" | "olmo" => Ok((None, gpt2(), false)),
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" => {
            Ok((None, PreTokenizerSequence::new(vec![Digits::new(true).into(), gpt2()]).into(), false))
        }
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2" => {
            Ok((None, split(LLAMA3_SPLIT)?, true))
        }
        "glm4" | "chatglm-bpe" | "dbrx" | "smaug-bpe" => Ok((None, split(LLAMA3_SPLIT)?, false)),
        "qwen2" | "deepseek-r1-qwen" | "megrez" => Ok((Some(NFC.into()), split(QWEN2_SPLIT)?, false)),
        "tekken" => Ok((None, split(TEKKEN_SPLIT)?, true)),
        "gpt-4o" | "llama4" => Ok((None, split(GPT4O_SPLIT)?, false)),
        other => Err(Failure::invalid(format!("the pre-tokenizer '{other}' is not supported"))),
    }
}

/// The merges that a SentencePiece vocabulary implies: every way to cut a piece into two pieces, best score first, then the
/// longer left part first.
fn merges_of_scores(
    strings: &[String],
    vocab: &AHashMap<String, u32>,
    score: impl Fn(usize) -> f32,
) -> Outcome<Vec<(String, String)>> {
    /// Cutting a piece costs the square of its length; real pieces have under 100 bytes.
    const MAX_PIECE_BYTES: usize = 1024;
    struct Merge<'a> {
        score: f32,
        left: &'a str,
        right: &'a str,
        left_chars: usize,
        right_chars: usize,
    }
    let mut merges = Vec::new();
    for (id, text) in strings.iter().enumerate() {
        if text.len() > MAX_PIECE_BYTES {
            return Err(Failure::corrupt(format!(
                "token {id} has {} bytes; at most {MAX_PIECE_BYTES} are expected",
                text.len()
            )));
        }
        let chars = text.chars().count();
        for (left_chars, (at, _)) in text.char_indices().enumerate().skip(1) {
            let (left, right) = text.split_at(at);
            if vocab.contains_key(left) && vocab.contains_key(right) {
                merges.push(Merge { score: score(id), left, right, left_chars, right_chars: chars - left_chars });
            }
        }
    }
    // Stable, so that equal ones keep the order of ids.
    merges.sort_by(|a, b| {
        b.score.total_cmp(&a.score).then(b.left_chars.cmp(&a.left_chars)).then(b.right_chars.cmp(&a.right_chars))
    });
    Ok(merges.into_iter().map(|merge| (merge.left.to_string(), merge.right.to_string())).collect())
}
