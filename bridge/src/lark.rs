// SPDX-License-Identifier: Apache-2.0
//! Grammars in llguidance's Lark, of our own making, around the JSON schemas of strangers: schema number i is the rule `@si`.

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use llguidance::Matcher;
use serde_json::Value;

use crate::grammar::{with_own_options, Grammar, Vocabulary, MAX_SCHEMA_BYTES};
use crate::guard::{catch, Code, Failure, Outcome};
use crate::schema_rewrite::wordings;

/// 128 tools with long names take about 60 KiB.
const MAX_LARK_BYTES: usize = 512 << 10;

impl Grammar {
    /// A failure's place begins with the number of the schema that cannot be honoured: "/2/properties/a".
    pub fn from_lark(vocabulary: &Vocabulary, lark: &str, schemas: &[&[u8]]) -> Outcome<Self> {
        if lark.len() > MAX_LARK_BYTES {
            return Err(Failure::exhausted(format!("a grammar of {} bytes; at most {MAX_LARK_BYTES}", lark.len())));
        }
        let mut bytes_left = MAX_SCHEMA_BYTES;
        let mut parsed = Vec::new();
        for (index, text) in schemas.iter().enumerate() {
            let numbered = |failure: Failure| {
                let place = format!("/{index}{}", failure.place);
                failure.at(place)
            };
            bytes_left = bytes_left
                .checked_sub(text.len())
                .ok_or_else(|| numbered(Failure::exhausted(format!("schemas of more than {} bytes", MAX_SCHEMA_BYTES))))?;
            let schema = Grammar::read_schema(text).map_err(numbered)?;
            let worded = wordings(&schema).map_err(|_| numbered(Self::reason(vocabulary, text)))?;
            parsed.push(worded);
        }
        let attempt = |pick: fn(&[Value]) -> Option<&Value>| {
            let grammars = parsed.iter().filter_map(|worded| pick(worded)).cloned().collect();
            compile(vocabulary, lark, grammars)
        };
        let failure = match attempt(|worded| worded.first()) {
            Ok(beginning) => return Ok(Grammar::new(beginning)),
            Err(failure) => failure,
        };
        if parsed.iter().any(|worded| worded.len() > 1) {
            if let Ok(beginning) = attempt(|worded| worded.last()) {
                return Ok(Grammar::new(beginning));
            }
        }
        // Which of the schemas it was, each tells by itself.
        for (index, text) in schemas.iter().enumerate() {
            if let Err(alone) = Grammar::from_json_schema(vocabulary, text) {
                let place = format!("/{index}{}", alone.place);
                return Err(alone.at(place));
            }
        }
        Err(failure)
    }

    /// Why a schema is refused, with the place.
    fn reason(vocabulary: &Vocabulary, text: &[u8]) -> Failure {
        match Grammar::from_json_schema(vocabulary, text) {
            Err(failure) => failure,
            Ok(_) => Failure::internal("a schema has words alone and none in a grammar"),
        }
    }
}

fn compile(vocabulary: &Vocabulary, lark: &str, schemas: Vec<Value>) -> Outcome<Matcher> {
    let outcome = catch(|| {
        let mut grammars = vec![GrammarWithLexer::from_lark(lark.to_string())];
        for (index, schema) in schemas.into_iter().enumerate() {
            let mut grammar = GrammarWithLexer::from_json_schema(with_own_options(schema));
            grammar.name = Some(format!("s{index}"));
            grammars.push(grammar);
        }
        vocabulary.beginning(TopLevelGrammar { grammars, max_tokens: None })
    });
    outcome.map_err(|failure| match failure.code {
        Code::Internal => Failure::invalid("the grammar cannot be compiled"),
        _ => failure,
    })
}
