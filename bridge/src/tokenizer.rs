// SPDX-License-Identifier: Apache-2.0
//! The tokenizer behind the C header: Hugging Face's models, pre-tokenizers and decoders, with our own search for added
//! tokens, a table of token bytes, and bounds on what a text may cost.

use std::ops::Range;

use ahash::AHashMap;
use tokenizers::tokenizer::normalizer::Range as NormalizedRange;
use tokenizers::{
    Encoding, Model, NormalizedString, Normalizer, OffsetReferential, OffsetType, PostProcessor, PreTokenizedString,
    PreTokenizer, Token, Tokenizer,
};

use crate::added_tokens::{touches, AddedTokens, Piece, Plain};
use crate::guard::{catch, Failure, Outcome};
use crate::limits::{check_tokenizer_json, MAX_VOCABULARY};
use crate::token_bytes::TokenBytes;

/// The longest text of one call: a context of a million tokens, at four bytes each. Where nothing in the text allows a cut
/// (one letter four million times) a byte takes about 150 bytes of memory while it is tokenized.
pub const MAX_TEXT_BYTES: usize = 4 << 20;
/// Backtracking over a run of white space keeps one state a character, and the regex engine allows a million of them;
/// beyond it would silently stop cutting. A run longer than this is refused instead.
pub const MAX_WHITE_RUN: usize = 500_000;
/// Where the pre-tokenizer allows it, a text is cut into pieces of about this size, so that memory does not grow with it.
const PIECE_BYTES: usize = 32 << 10;

/// What goes around a text where special tokens are asked for.
pub enum Frame {
    /// The tokenizer's own post-processor.
    PostProcessor,
    Fixed {
        before: Vec<u32>,
        after: Vec<u32>,
    },
}

pub struct BridgeTokenizer {
    tokenizer: Tokenizer,
    raw_tokens: AddedTokens,        // looked for in the text as it came
    normalized_tokens: AddedTokens, // looked for in the normalized text
    frame: Frame,
    cuts_at_words: bool,
    bytes: Vec<u8>, // of all tokens, end to end
    ends: Vec<u32>, // of token i in `bytes`
    special: Vec<bool>,
    strips_leading_space: bool,
}

impl BridgeTokenizer {
    pub fn from_json(json: &[u8]) -> Outcome<Self> {
        check_tokenizer_json(json)?;
        // The crate may panic on files that it does not expect; that is the file's fault, not ours.
        let tokenizer = catch(|| {
            Tokenizer::from_bytes(json)
                .map_err(|error| Failure::corrupt(format!("tokenizer.json is not what it must be: {error}")))
        })
        .map_err(|failure| Failure::corrupt(failure.message))?;
        Self::new(tokenizer, Frame::PostProcessor, None)
    }

    /// `strings`: the vocabulary in order of ids, where the file has one; else it is asked of the tokenizer.
    pub fn new(tokenizer: Tokenizer, frame: Frame, strings: Option<Vec<String>>) -> Outcome<Self> {
        let vocab = match &strings {
            Some(strings) => strings.len(),
            None => tokenizer.get_vocab(true).values().max().map_or(0, |&largest| largest as usize + 1),
        };
        if vocab == 0 || vocab > MAX_VOCABULARY {
            return Err(Failure::corrupt(format!("a vocabulary of {vocab} tokens; expected 1 to {MAX_VOCABULARY}")));
        }
        let decoder = serde_json::to_value(tokenizer.get_decoder()).unwrap_or_default();
        let rule = TokenBytes::new(&decoder);
        let (added_vocabulary, model) = (tokenizer.get_added_vocabulary(), tokenizer.get_model());
        let mut special = vec![false; vocab];
        // A control token is its spelling, whatever the decoder would make of it: callers' texts are searched for it.
        let mut control = AHashMap::new();
        let (mut raw, mut normalized) = (Vec::new(), Vec::new());
        let mut added: Vec<_> = tokenizer.get_added_tokens_decoder().into_iter().collect();
        added.sort_unstable_by_key(|(id, _)| *id);
        for (id, token) in added {
            if let Some(flag) = special.get_mut(id as usize) {
                *flag = token.special;
            }
            if token.special {
                control.insert(id, token.content.clone());
            }
            if token.normalized {
                let pattern = added_vocabulary.simple_id_to_token(id).unwrap_or_else(|| token.content.clone());
                normalized.push((pattern, id, token));
            } else {
                raw.push((token.content.clone(), id, token));
            }
        }
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(vocab);
        for id in 0..vocab as u32 {
            match control.get(&id) {
                Some(spelling) => bytes.extend(spelling.bytes()),
                None => {
                    let own = strings.as_ref().map(|strings| strings[id as usize].clone());
                    let token = own.or_else(|| added_vocabulary.simple_id_to_token(id)).or_else(|| model.id_to_token(id));
                    bytes.extend(token.map(|token| rule.of(&token)).unwrap_or_default());
                }
            }
            ends.push(u32::try_from(bytes.len()).map_err(|_| Failure::exhausted("a vocabulary of more than 4 GiB"))?);
        }
        let made = BridgeTokenizer {
            cuts_at_words: cuts_at_words(&tokenizer),
            raw_tokens: AddedTokens::new(raw)?,
            normalized_tokens: AddedTokens::new(normalized)?,
            strips_leading_space: rule.strips_leading_space,
            tokenizer,
            frame,
            bytes,
            ends,
            special,
        };
        // What the post-processor adds must lie in the vocabulary; encode() checks it again for every text.
        catch(|| made.encode("", true, true, &[], usize::MAX)).map_err(|failure| Failure::corrupt(failure.message))?;
        Ok(made)
    }

    pub fn vocab(&self) -> usize {
        self.ends.len()
    }

    pub fn token_bytes(&self, id: u32) -> &[u8] {
        let end = self.ends.get(id as usize).copied().unwrap_or(0) as usize;
        let begin = if id == 0 { 0 } else { self.ends.get(id as usize - 1).copied().unwrap_or(0) as usize };
        self.bytes.get(begin..end).unwrap_or_default()
    }

    pub fn is_special(&self, id: u32) -> bool {
        self.special.get(id as usize).copied().unwrap_or(false)
    }

    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token).filter(|&id| (id as usize) < self.vocab())
    }

    pub fn strips_leading_space(&self) -> bool {
        self.strips_leading_space
    }

    /// Stops soon after more than `most_ids` ids were found: who has no room for them need not pay for the rest.
    pub fn encode(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
        plain: Plain,
        most_ids: usize,
    ) -> Outcome<Vec<u32>> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Failure::exhausted(format!(
                "a text of {} bytes; at most {MAX_TEXT_BYTES} can be tokenized",
                text.len()
            )));
        }
        if longest_white_run(text) > MAX_WHITE_RUN {
            return Err(Failure::exhausted(format!("more than {MAX_WHITE_RUN} white-space characters in a row")));
        }
        let pieces = self.raw_tokens.split(text, parse_special, |range| touches(plain, range));
        let ids = if self.cuts_at_words {
            self.encode_in_pieces(text, pieces, parse_special, plain, most_ids)
        } else {
            self.encode_whole(text, pieces, parse_special, plain, most_ids)
        }
        .and_then(|ids| self.framed(ids, add_special))
        .map_err(|error| Failure::corrupt(format!("the tokenizer cannot encode this text: {error}")))?;
        match ids.iter().find(|&&id| id as usize >= self.vocab()) {
            Some(id) => Err(Failure::corrupt(format!("the tokenizer gives the id {id}, but has {} tokens", self.vocab()))),
            None => Ok(ids),
        }
    }

    /// Decodes as Hugging Face does; ids must be below vocab().
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Outcome<String> {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.vocab()) {
            return Err(Failure::invalid(format!("token id {id} is out of range; the vocabulary has {} tokens", self.vocab())));
        }
        self.tokenizer
            .decode(ids, skip_special)
            .map_err(|error| Failure::corrupt(format!("the tokenizer cannot decode these ids: {error}")))
    }

    fn encode_whole(
        &self,
        text: &str,
        pieces: Vec<Piece>,
        parse_special: bool,
        plain: Plain,
        most_ids: usize,
    ) -> tokenizers::Result<Vec<u32>> {
        let mut string = PreTokenizedString::from(text);
        string.split(|_, whole| cut(&whole, &pieces))?;
        self.run(string, 0, parse_special, plain, most_ids)
    }

    /// As encode_whole(), but with the memory of one piece.
    fn encode_in_pieces(
        &self,
        text: &str,
        pieces: Vec<Piece>,
        parse_special: bool,
        plain: Plain,
        most_ids: usize,
    ) -> tokenizers::Result<Vec<u32>> {
        let mut ids = Vec::new();
        for piece in pieces {
            if ids.len() > most_ids {
                break;
            }
            if let Some(id) = piece.token {
                ids.push(id);
                continue;
            }
            let mut begin = piece.range.start;
            while begin < piece.range.end && ids.len() <= most_ids {
                let end = begin + word_cut(&text[begin..piece.range.end]);
                let string = PreTokenizedString::from(&text[begin..end]);
                ids.extend(self.run(string, begin, parse_special, plain, most_ids - ids.len())?);
                begin = end;
            }
        }
        Ok(ids)
    }

    /// The steps of Hugging Face's encode(), from the normalizer to the model. `base`: where `string` begins in the text.
    fn run(
        &self,
        mut string: PreTokenizedString,
        base: usize,
        parse_special: bool,
        plain: Plain,
        most_ids: usize,
    ) -> tokenizers::Result<Vec<u32>> {
        string.split(|_, mut part| {
            if let Some(normalizer) = self.tokenizer.get_normalizer() {
                normalizer.normalize(&mut part)?;
            }
            let begin = base + part.offsets_original().0;
            let is_plain = |range: &Range<usize>| {
                let original = part.convert_offsets(NormalizedRange::Normalized(range.clone()));
                original.is_none_or(|found| touches(plain, &(begin + found.start..begin + found.end)))
            };
            let pieces = self.normalized_tokens.split(part.get(), parse_special, is_plain);
            cut(&part, &pieces)
        })?;
        if let Some(pre_tokenizer) = self.tokenizer.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut string)?;
        }
        // Word by word, so that only one word's tokens are held at a time.
        let model = self.tokenizer.get_model();
        let mut ids = Vec::new();
        for (word, _, tokens) in string.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            match tokens {
                Some(tokens) => ids.extend(tokens.iter().map(|token| token.id)),
                None => ids.extend(model.tokenize(word)?.iter().map(|token| token.id)),
            }
            if ids.len() > most_ids {
                break;
            }
        }
        Ok(ids)
    }

    fn framed(&self, ids: Vec<u32>, add_special: bool) -> tokenizers::Result<Vec<u32>> {
        if !add_special {
            return Ok(ids);
        }
        match &self.frame {
            Frame::Fixed { before, after } => Ok([before.as_slice(), &ids, after].concat()),
            Frame::PostProcessor => match self.tokenizer.get_post_processor() {
                None => Ok(ids),
                Some(processor) => {
                    let tokens = ids.into_iter().map(|id| Token::new(id, String::new(), (0, 0))).collect();
                    Ok(processor.process(Encoding::from_tokens(tokens, 0), None, true)?.get_ids().to_vec())
                }
            },
        }
    }
}

/// Cuts a string at `pieces` (byte ranges of its normalized form), giving added tokens their ids.
fn cut(string: &NormalizedString, pieces: &[Piece]) -> tokenizers::Result<Vec<(NormalizedString, Option<Vec<Token>>)>> {
    pieces
        .iter()
        .map(|piece| {
            let slice =
                string.slice(NormalizedRange::Normalized(piece.range.clone())).ok_or("an added token cuts a character")?;
            let token = piece.token.map(|id| vec![Token::new(id, String::new(), (0, piece.range.len()))]);
            Ok((slice, token))
        })
        .collect()
}

/// Whether a text may be cut between a letter and a space before a letter without changing its ids: no normalizer but a
/// Unicode one, and a pre-tokenizer that starts a new word there whatever came before.
fn cuts_at_words(tokenizer: &Tokenizer) -> bool {
    use tokenizers::{NormalizerWrapper, PreTokenizerWrapper};
    let normalizer_allows = matches!(tokenizer.get_normalizer(), None | Some(NormalizerWrapper::NFC(_)));
    let pre_tokenizer_allows = match tokenizer.get_pre_tokenizer() {
        Some(PreTokenizerWrapper::Sequence(sequence)) => match sequence.as_ref() {
            [PreTokenizerWrapper::Split(_), PreTokenizerWrapper::ByteLevel(bytes)] => {
                let split = serde_json::to_value(&sequence.as_ref()[0]).unwrap_or_default();
                let regex = split.pointer("/pattern/Regex").and_then(serde_json::Value::as_str);
                let isolated = split.get("behavior").and_then(serde_json::Value::as_str) == Some("Isolated");
                !bytes.add_prefix_space && isolated && regex.is_some_and(crate::gguf_vocabulary::is_known_split)
            }
            _ => false,
        },
        Some(PreTokenizerWrapper::ByteLevel(bytes)) => !bytes.add_prefix_space && bytes.use_regex,
        _ => false,
    };
    normalizer_allows && pre_tokenizer_allows
}

/// The length of the first piece of `text`: up to a space between ASCII letters at or after PIECE_BYTES, or all of it.
fn word_cut(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_cut = |i: &usize| bytes[*i] == b' ' && bytes[i - 1].is_ascii_alphabetic() && bytes[i + 1].is_ascii_alphabetic();
    (PIECE_BYTES..bytes.len().saturating_sub(1)).find(is_cut).unwrap_or(bytes.len())
}

fn longest_white_run(text: &str) -> usize {
    let (mut longest, mut run) = (0, 0);
    for c in text.chars() {
        run = if c.is_whitespace() { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}
