// SPDX-License-Identifier: Apache-2.0
//! Constrained decoding: a JSON schema becomes a grammar over the bytes of a vocabulary's tokens (llguidance). A schema is a
//! stranger's text: it is bounded before it is compiled (schema_work), tried out on a few tokens before it is accepted, and what
//! it may cost at each token of an answer is bounded too.

use std::sync::Arc;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use serde_json::{json, Value};

use crate::forced;
use crate::guard::{catch, Code, Failure, Outcome};
use crate::schema_rewrite::wordings;
use crate::schema_work::{below, check_schema, work_of, MAX_WORK, OWN_OPTIONS};

/// The largest schemas in public collections have about 100 KiB; those of tools have under 10.
pub const MAX_SCHEMA_BYTES: usize = 256 << 10;
/// Where white space may stand, at most this: nothing, one space, or a new line with its indentation. A model that is free
/// to write more may never end.
const WHITE_SPACE: &str = r"( |\n[ \t]{0,32})";
/// A grammar is tried out on so many tokens, or until they have cost so much: one that fails on them would fail in an answer.
const TRIAL_TOKENS: usize = 32;
const TRIAL_FUEL: u64 = 1_000_000; // 25 ms

fn limits() -> ParserLimits {
    ParserLimits {
        initial_lexer_fuel: 300_000, // 300 properties with a format take 50,000
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        max_items_in_row: 2_000,
        max_lexer_states: 20_000, // 1 to 2 KiB each
        max_grammar_size: 20_000,
        precompute_large_lexemes: false, // it costs a walk over the whole vocabulary for each of them
        verbose_errors: false,
    }
}

/// The tokens of a vocabulary by their bytes.
pub struct Vocabulary {
    factory: ParserFactory,
}

struct Tokens {
    trie: TokTrie,
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }
    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        forced::spell(&self.trie, bytes)
    }
    fn tokenize_is_canonical(&self) -> bool {
        forced::is_asked()
    }
}

impl Vocabulary {
    /// Special tokens are known by their spelling behind a byte that no text has, so that text never means them.
    pub fn new(tokens: &[&[u8]], is_special: &[bool], eos: &[u32]) -> Outcome<Self> {
        let Some(&first) = eos.first() else {
            return Err(Failure::invalid("the tokenizer names no token that ends a text, which constrained decoding needs"));
        };
        if tokens.len() != is_special.len() || eos.iter().any(|&id| id as usize >= tokens.len()) {
            return Err(Failure::internal("the vocabulary's parts do not fit together"));
        }
        let words: Vec<Vec<u8>> = tokens
            .iter()
            .zip(is_special)
            .map(|(bytes, &special)| if special { [&[TokTrie::SPECIAL_TOKEN_MARKER], *bytes].concat() } else { bytes.to_vec() })
            .collect();
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, first), &words).with_eos_tokens(eos);
        let environment: TokEnv = Arc::new(Tokens { trie });
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &slices)
            .map_err(|error| Failure::internal(format!("the vocabulary cannot be prepared: {error}")))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Vocabulary { factory })
    }

    /// A matcher at the beginning of a text that the schema allows. Where the crate cannot compile it, other wordings of the
    /// same schema are tried; the failure is that of the first.
    fn compile(&self, schema: &Value) -> Outcome<Matcher> {
        catch(|| {
            let mut failure = Failure::internal("a schema without words");
            for (attempt, wording) in wordings(schema)?.into_iter().enumerate() {
                match catch(|| self.beginning_of_schema(wording)) {
                    Ok(matcher) => return Ok(matcher),
                    Err(other) if attempt == 0 => failure = other,
                    Err(_) => {}
                }
            }
            Err(failure)
        })
        .map_err(|failure| match failure.code {
            Code::Internal => Failure::invalid("the schema cannot be compiled"),
            _ => failure,
        })
    }

    /// Other words may be more words: what is compiled is bounded, and not what was asked for alone.
    fn beginning_of_schema(&self, wording: Value) -> Outcome<Matcher> {
        check_schema(&wording)?;
        self.beginning(TopLevelGrammar::from_json_schema(with_own_options(wording)))
    }

    pub fn beginning(&self, grammar: TopLevelGrammar) -> Outcome<Matcher> {
        let mut matcher = Matcher::new(self.factory.create_parser(grammar));
        match matcher.get_error() {
            Some(error) => Err(refused(&error)),
            // The first mask stays with the matcher, so that the engine finds it made.
            None => {
                matcher.compute_mask_or_eos().map_err(|error| refused(&error.to_string()))?;
                try_out(matcher.deep_clone()).map(|()| matcher)
            }
        }
    }
}

/// Without escapes by number no key can be spelled in two ways, one of which would pass for another key. A schema that names
/// control characters needs them.
pub fn with_own_options(schema: Value) -> Value {
    let escapes = if schema.to_string().contains(r"\u00") { r#"nrbtf\"u"# } else { r#"nrbtf\""# };
    let mut schema = if schema.is_object() { schema } else { json!({"allOf": [schema]}) };
    schema[OWN_OPTIONS] = json!({"whitespace_pattern": WHITE_SPACE, "json_allowed_escapes": escapes});
    schema
}

/// Goes the first steps of an answer. Its tokens come from all over the vocabulary: a path of one kind, such as of single
/// letters, passes many grammars by that fail on ordinary text.
fn try_out(mut matcher: Matcher) -> Outcome<()> {
    let mut fuel = 0;
    for step in 0..TRIAL_TOKENS {
        let mask = matcher.compute_mask_or_eos().map_err(|error| refused(&error.to_string()))?;
        fuel += matcher.last_step_stats().map_or(0, |stats| stats.lexer_cost);
        let Some(token) = trial_token(&matcher, &mask, step) else { return Ok(()) };
        if fuel > TRIAL_FUEL {
            return Ok(());
        }
        matcher.consume_token(token).map_err(|error| refused(&error.to_string()))?;
        if matcher.is_stopped() {
            return Ok(());
        }
    }
    Ok(())
}

/// The first allowed token, but the end, from a place on that depends on the step: the beginning, then spread evenly.
fn trial_token(matcher: &Matcher, mask: &SimpleVob, step: usize) -> Option<TokenId> {
    let environment = matcher.tok_env().ok()?;
    let tokens = environment.tok_trie();
    let count = tokens.vocab_size();
    // Multiples of the golden ratio, Knuth, TAOCP 3, section 6.4.
    let start = (step as f64 * 0.618_033_988_749_895).fract() * count as f64;
    let is_text = |&token: &TokenId| mask.is_allowed(token) && !tokens.eos_tokens().contains(&token);
    (0..count).map(|at| ((start as usize + at) % count) as TokenId).find(is_text)
}

/// llguidance tells its limits only in words.
fn is_limit(error: &str) -> bool {
    ["too large", "too complex", "too big", "too many", "max is", "exhausted", "exceeded", "limit"]
        .iter()
        .any(|word| error.contains(word))
}

/// One line of an error: its first, and where that only announces a picture of a pattern, the reason under it.
fn line_of(error: &str) -> String {
    let first = error.lines().next().unwrap_or_default();
    if first.starts_with("NoExtensionBias") {
        return "no text keeps to it, as when it refers to nothing but itself".to_string();
    }
    match error.lines().rev().find_map(|line| line.strip_prefix("error: ")) {
        Some(reason) => format!("{first} {reason}"),
        None => first.to_string(),
    }
}

fn refused(error: &str) -> Failure {
    let line = line_of(error);
    let message = format!("the schema cannot be honoured: {line}");
    if is_limit(&line) {
        Failure::exhausted(message)
    } else {
        Failure::invalid(message)
    }
}

pub struct Grammar {
    beginning: Matcher,
}

impl Grammar {
    pub fn new(beginning: Matcher) -> Self {
        Grammar { beginning }
    }

    /// A schema within its bounds.
    pub fn read_schema(text: &[u8]) -> Outcome<Value> {
        if text.len() > MAX_SCHEMA_BYTES {
            return Err(Failure::exhausted(format!("a schema of {} bytes; at most {MAX_SCHEMA_BYTES}", text.len())));
        }
        let schema: Value =
            serde_json::from_slice(text).map_err(|error| Failure::invalid(format!("the schema is not JSON: {error}")))?;
        check_schema(&schema)?;
        Ok(schema)
    }

    /// A failure's place is a JSON pointer into the schema.
    pub fn from_json_schema(vocabulary: &Vocabulary, text: &[u8]) -> Outcome<Self> {
        let schema = Self::read_schema(text)?;
        match vocabulary.compile(&schema) {
            Ok(beginning) => Ok(Grammar { beginning }),
            Err(failure) => {
                let place = Search { vocabulary, root: &schema, work_left: 2 * MAX_WORK }.place_of(&failure.message);
                Err(failure.at(place))
            }
        }
    }

    pub fn start(&self) -> GrammarMatcher {
        GrammarMatcher { matcher: self.beginning.clone() }
    }
}

/// Finds the part of a schema that cannot be compiled, by compiling parts: llguidance rarely says where it stopped.
struct Search<'a> {
    vocabulary: &'a Vocabulary,
    root: &'a Value,
    work_left: usize,
}

impl Search<'_> {
    fn place_of(mut self, message: &str) -> String {
        let (mut place, mut part) = (String::new(), self.root);
        while let Some((key, child)) = self.failing_child(part) {
            place = format!("{place}{key}");
            part = child;
        }
        let Some(fields) = part.as_object() else { return place };
        // The keyword without which the rest would compile; "type" last, as most others mean nothing without it.
        let mut keys: Vec<&String> = fields.keys().collect();
        keys.sort_by_key(|key| *key == "type");
        let culprit = keys.iter().find(|key| {
            let mut rest = fields.clone();
            rest.shift_remove(key.as_str());
            !self.fails(&Value::Object(rest))
        });
        // Where several are wrong, none is alone to blame: then the one that the message names.
        let culprit = culprit.or_else(|| keys.iter().find(|key| message.contains(&format!("'{key}'"))));
        culprit.map_or(place.clone(), |key| below(&place, key))
    }

    fn failing_child<'b>(&mut self, part: &'b Value) -> Option<(String, &'b Value)> {
        children(part).into_iter().find(|(_, child)| self.fails(child))
    }

    /// Whether `part` fails by itself, with the root's definitions to refer to. False where no work is left to find out.
    fn fails(&mut self, part: &Value) -> bool {
        if !(part.is_object() || part.is_boolean()) {
            return false;
        }
        let mut part = part.clone();
        let definitions: &[&str] = if refers(&part) { &["$defs", "definitions"] } else { &[] };
        for key in definitions {
            if let Some(value) = self.root.get(key) {
                part[*key] = value.clone();
            }
        }
        let Some(work_left) = self.work_left.checked_sub(work_of(&part)) else { return false };
        self.work_left = work_left;
        let Err(failure) = self.vocabulary.compile(&part) else { return false };
        if failure.code == Code::Exhausted {
            self.work_left = self.work_left.saturating_sub(MAX_WORK / 4);
        }
        true
    }
}

fn refers(part: &Value) -> bool {
    match part {
        Value::Array(items) => items.iter().any(refers),
        Value::Object(fields) => fields.iter().any(|(key, item)| key == "$ref" || refers(item)),
        _ => false,
    }
}

/// The schemas directly inside a schema, with the pointers from it to them.
fn children(schema: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        let place = below("", keyword);
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(schemas)) => {
                found.extend(schemas.iter().map(|(key, schema)| (below(&place, key), schema)));
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Value::Array(schemas)) => {
                found.extend(schemas.iter().enumerate().map(|(index, schema)| (format!("{place}/{index}"), schema)));
            }
            ("items" | "additionalItems" | "additionalProperties", Value::Object(_)) => found.push((place, value)),
            _ => {}
        }
    }
    found
}

/// One sequence's place in a grammar.
pub struct GrammarMatcher {
    pub(crate) matcher: Matcher,
}

impl GrammarMatcher {
    /// Bits of the tokens that may come next; words beyond the vocabulary stay empty.
    pub fn mask(&mut self, words: &mut [u32]) -> Outcome<()> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|error| self.failed(&error.to_string()))?;
        words.fill(0);
        let count = mask.as_slice().len().min(words.len());
        words[..count].copy_from_slice(&mask.as_slice()[..count]);
        Ok(())
    }

    pub fn accept(&mut self, token: u32) -> Outcome<()> {
        // The matcher would take an unknown token for a failure of its own, and stay broken.
        if self.matcher.tok_env().is_ok_and(|tokens| token as usize >= tokens.tok_trie().vocab_size()) {
            return Err(Failure::invalid(format!("token {token} is not in the vocabulary")));
        }
        if self.is_finished() {
            let is_end = self.matcher.tok_env().is_ok_and(|tokens| tokens.tok_trie().eos_tokens().contains(&token));
            return if is_end {
                Ok(())
            } else {
                Err(Failure::invalid(format!("the grammar allows only the end, not token {token}")))
            };
        }
        match self.matcher.try_consume_tokens(&[token]) {
            Ok(1) => Ok(()),
            Ok(_) => Err(Failure::invalid(format!("the grammar forbids token {token}"))),
            Err(error) => Err(self.failed(&error.to_string())),
        }
    }

    pub fn is_finished(&self) -> bool {
        !self.matcher.is_error() && self.matcher.is_stopped()
    }

    pub(crate) fn failed(&self, error: &str) -> Failure {
        let line = error.lines().next().unwrap_or_default();
        if is_limit(line) {
            Failure::exhausted(format!("the schema costs too much at this place of the answer: {line}"))
        } else {
            Failure::internal(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u32 = 256;

    /// A token for each byte, and an end.
    fn bytes() -> Vocabulary {
        let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        tokens.push(b"<end>".to_vec());
        let words: Vec<&[u8]> = tokens.iter().map(Vec::as_slice).collect();
        let special: Vec<bool> = (0..words.len()).map(|id| id as u32 == END).collect();
        Vocabulary::new(&words, &special, &[END]).unwrap()
    }

    fn compile(schema: &Value) -> Outcome<Grammar> {
        Grammar::from_json_schema(&bytes(), schema.to_string().as_bytes())
    }

    /// Says `text` as often as it takes, until the grammar fails.
    fn failure_of(grammar: &Grammar, text: &[u8]) -> Option<Failure> {
        let mut matcher = grammar.start();
        let mut mask = [0; 9];
        text.iter().find_map(|&byte| matcher.mask(&mut mask).and_then(|()| matcher.accept(byte.into())).err())
    }

    #[test]
    fn what_is_costly_from_the_start_is_refused() {
        let optional = |n: usize| -> Value {
            (0..n).map(|i| (format!("p{i}"), json!({"type": "null"}))).collect::<serde_json::Map<_, _>>().into()
        };
        let object = |n: usize| json!({"type": "object", "properties": optional(n), "additionalProperties": false});
        assert!(compile(&object(490)).is_ok());
        let failure = compile(&object(510)).err().unwrap();
        assert_eq!((failure.code, failure.place.as_str()), (Code::Exhausted, "/properties"));
    }

    #[test]
    fn the_trial_sees_tokens_from_all_over_the_vocabulary() {
        let vocabulary = bytes();
        let grammar = Grammar::from_json_schema(&vocabulary, b"true").unwrap();
        let all = SimpleVob::alloc_ones(257);
        let seen: Vec<TokenId> = (0..TRIAL_TOKENS).filter_map(|step| trial_token(&grammar.beginning, &all, step)).collect();
        assert_eq!(seen[0], 0);
        for quarter in 0..4u32 {
            let part = quarter * 64..(quarter + 1) * 64;
            assert!(seen.iter().filter(|&token| part.contains(token)).count() >= TRIAL_TOKENS / 5, "{seen:?}");
        }
        assert!(!seen.contains(&END));
        let only_end = {
            let mut mask = SimpleVob::alloc(257);
            mask.allow_token(END);
            mask
        };
        assert_eq!(trial_token(&grammar.beginning, &only_end, 3), None);
    }

    #[test]
    fn what_gets_costly_later_ends_in_exhaustion() {
        let grammar = compile(&json!({"type": "string", "pattern": r"^x{40}(\p{L}{1,100}){1,100}$"})).unwrap();
        let text = [b"\"", "x".repeat(40).as_bytes(), "a".repeat(100).as_bytes()].concat();
        assert_eq!(failure_of(&grammar, &text[..41]).map(|failure| failure.code), None);
        assert_eq!(failure_of(&grammar, &text).map(|failure| failure.code), Some(Code::Exhausted));
    }

    #[test]
    fn states_are_bounded() {
        let grammar = compile(&json!({"type": "string", "maxLength": 1_000_000})).unwrap();
        // A character needs at least one state, those for escapes not counted.
        let long = |n: usize| [b"\"".as_slice(), &vec![b'x'; n]].concat();
        assert_eq!(failure_of(&grammar, &long(1_000)).map(|failure| failure.code), None);
        let failure = failure_of(&grammar, &long(limits().max_lexer_states)).unwrap();
        assert_eq!(failure.code, Code::Exhausted, "{}", failure.message);
    }

    #[test]
    fn refusals_say_why_and_where() {
        let refusal = |schema: Value| compile(&schema).err().map(|failure| (failure.message, failure.place)).unwrap();
        let (message, place) = refusal(json!({"type": "string", "pattern": "(?=a)b"}));
        assert!(message.contains("look-ahead"), "{message}");
        assert_eq!(place, "/pattern");
        let (message, place) = refusal(json!({"$ref": "#"}));
        assert!(message.contains("no text keeps to it") && !message.contains("NoExtensionBias"), "{message}");
        assert_eq!(place, "/$ref");
        // Each alone is enough to fail, so that the rest never compiles.
        let (message, place) = refusal(json!({"type": "number", "minimum": "5", "maximum": "7"}));
        assert!(message.contains("'minimum'"), "{message}");
        assert_eq!(place, "/minimum");
    }

    #[test]
    fn the_search_for_the_place_is_bounded() {
        // Each of many parts is dear, and so is finding out that it is not the culprit.
        let part = json!({"type": "string", "pattern": r"^\p{L}{1,64}( \p{L}{1,64}){0,9}$"});
        let mut parts: Vec<Value> = vec![part; 60];
        parts.push(json!({"uniqueItems": true}));
        let failure = compile(&json!({"anyOf": parts})).err().unwrap();
        assert_eq!(failure.code, Code::Invalid);
        let mut search = Search { vocabulary: &bytes(), root: &json!({}), work_left: 10 };
        assert!(!search.fails(&json!({"uniqueItems": true, "items": {"enum": [1, 2, 3, 4, 5, 6, 7, 8]}})), "no work is left");
        assert!(search.fails(&json!({"uniqueItems": true})), "but some is");
        assert_eq!(search.work_left, 8);
    }
}
