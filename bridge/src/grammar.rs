// SPDX-License-Identifier: Apache-2.0
//! Constrained decoding: a JSON schema becomes a grammar over the bytes of a vocabulary's tokens (llguidance). A schema is a
//! stranger's text: it is bounded before it is compiled, and what the compiled grammar may cost at each token is bounded too.

use std::sync::Arc;

use llguidance::api::{ParserLimits, StopReason, TopLevelGrammar};
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use serde_json::{json, Value};

use crate::forced;
use crate::guard::{catch, Failure, Outcome};
use crate::schema_rewrite::wordings;

/// The largest schemas in public collections have about 100 KiB; those of tools have under 10.
pub const MAX_SCHEMA_BYTES: usize = 256 << 10;
const MAX_SCHEMA_NODES: usize = 20_000;
const MAX_SCHEMA_DEPTH: usize = 64;
/// Where white space may stand, at most this: nothing, one space, or a new line with its indentation. A model that is free
/// to write more may never end.
const WHITE_SPACE: &str = r"( |\n[ \t]{0,32})";
/// llguidance's own options inside a schema; a caller could switch the constraint off with them.
const OWN_OPTIONS: &str = "x-guidance";

fn limits() -> ParserLimits {
    ParserLimits {
        initial_lexer_fuel: 1_000_000, // about 20 ms
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        max_items_in_row: 2_000,
        max_lexer_states: 20_000, // 1 to 2 KiB each
        max_grammar_size: 100_000,
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

    /// A matcher at the beginning of a text that the schema allows.
    fn compile(&self, schema: &Value) -> Outcome<Matcher> {
        catch(|| {
            let mut failure = Failure::internal("a schema without words");
            for (attempt, wording) in wordings(schema)?.into_iter().enumerate() {
                match catch(|| self.beginning(TopLevelGrammar::from_json_schema(with_own_options(wording)))) {
                    Ok(matcher) => return Ok(matcher),
                    Err(other) if attempt == 0 => failure = other,
                    Err(_) => {}
                }
            }
            Err(failure)
        })
        .map_err(|failure| match failure.code {
            crate::guard::Code::Internal => Failure::invalid("the schema cannot be compiled"),
            _ => failure,
        })
    }

    pub fn beginning(&self, grammar: TopLevelGrammar) -> Outcome<Matcher> {
        let mut matcher = Matcher::new(self.factory.create_parser(grammar));
        match matcher.get_error() {
            Some(error) => Err(refused(&error)),
            // The first mask proves that the beginning is within the limits of a step.
            None => matcher.compute_mask_or_eos().map(|_| matcher).map_err(|error| refused(&error.to_string())),
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

/// llguidance tells its limits only in words.
fn refused(error: &str) -> Failure {
    let line = error.lines().next().unwrap_or_default();
    let is_limit = ["too large", "too complex", "exhausted", "exceeded", "limit"].iter().any(|word| line.contains(word));
    let message = format!("the schema cannot be honoured: {line}");
    if is_limit {
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
        let mut nodes = 0;
        check(&schema, "", 0, &mut nodes)?;
        Ok(schema)
    }

    /// A failure's place is a JSON pointer into the schema.
    pub fn from_json_schema(vocabulary: &Vocabulary, text: &[u8]) -> Outcome<Self> {
        let schema = Self::read_schema(text)?;
        match vocabulary.compile(&schema) {
            Ok(beginning) => Ok(Grammar { beginning }),
            Err(failure) => {
                let place = Search { vocabulary, root: &schema, tries_left: 200 }.place_of_failure();
                Err(failure.at(place))
            }
        }
    }

    pub fn start(&self) -> GrammarMatcher {
        GrammarMatcher { matcher: self.beginning.clone() }
    }
}

/// Bounds size and depth, and refuses what would change the meaning of the schema. Recursion is bounded by the depth.
fn check(value: &Value, place: &str, depth: usize, nodes: &mut usize) -> Outcome<()> {
    *nodes += 1;
    if depth > MAX_SCHEMA_DEPTH || *nodes > MAX_SCHEMA_NODES {
        return Err(Failure::exhausted("the schema is too large or nested too deep").at(place));
    }
    match value {
        Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(index, item)| check(item, &format!("{place}/{index}"), depth + 1, nodes))
        }
        Value::Object(fields) => fields.iter().try_for_each(|(key, item)| {
            let place = below(place, key);
            if key == OWN_OPTIONS {
                return Err(Failure::invalid("the schema may not set x-guidance").at(place));
            }
            check(item, &place, depth + 1, nodes)
        }),
        _ => Ok(()),
    }
}

/// RFC 6901.
fn below(place: &str, key: &str) -> String {
    format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Finds the part of a schema that cannot be compiled, by compiling parts: llguidance rarely says where it stopped.
struct Search<'a> {
    vocabulary: &'a Vocabulary,
    root: &'a Value,
    tries_left: usize,
}

impl Search<'_> {
    fn place_of_failure(mut self) -> String {
        let (mut place, mut part) = (String::new(), self.root);
        while let Some((key, child)) = self.failing_child(part) {
            place = format!("{place}{key}");
            part = child;
        }
        let Some(fields) = part.as_object() else { return place };
        // The keyword without which the rest would compile.
        let culprit = fields.keys().find(|key| {
            let mut rest = fields.clone();
            rest.shift_remove(key.as_str());
            !self.fails(&Value::Object(rest))
        });
        culprit.map_or(place.clone(), |key| below(&place, key))
    }

    fn failing_child<'b>(&mut self, part: &'b Value) -> Option<(String, &'b Value)> {
        children(part).into_iter().find(|(_, child)| self.fails(child))
    }

    /// Whether `part` fails by itself, with the root's definitions to refer to.
    fn fails(&mut self, part: &Value) -> bool {
        if self.tries_left == 0 || !(part.is_object() || part.is_boolean()) {
            return false;
        }
        self.tries_left -= 1;
        let mut part = part.clone();
        if let Some(fields) = part.as_object_mut() {
            for key in ["$defs", "definitions", "$schema"] {
                if let Some(definitions) = self.root.get(key) {
                    fields.entry(key).or_insert_with(|| definitions.clone());
                }
            }
        }
        self.vocabulary.compile(&part).is_err()
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
        match self.matcher.stop_reason() {
            StopReason::LexerTooComplex | StopReason::ParserTooComplex => {
                Failure::exhausted(format!("the grammar costs too much here: {line}"))
            }
            _ => match refused(line).code {
                crate::guard::Code::Exhausted => Failure::exhausted(line),
                _ => Failure::internal(line),
            },
        }
    }
}
