// SPDX-License-Identifier: Apache-2.0
//! JSON Schema validation of what a model wrote. Schemas come from tools' authors and from MCP servers, values from models:
//! neither may make it slow or endless.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::guard::{catch, Failure, Outcome};
use crate::validation_work::Work;

const MAX_SCHEMA_BYTES: usize = 256 << 10;
const MAX_VALUE_BYTES: usize = 8 << 20;
/// Backtracking steps of one pattern on one string, where it needs backtracking at all.
const MAX_BACKTRACKS: usize = 20_000;
const MAX_PATTERN_BYTES: usize = 1 << 20; // compiled
/// Faults that one message names.
const MAX_FAULTS: usize = 4;
const MAX_FAULT_BYTES: usize = 300;

pub struct Schema {
    validator: Validator,
    work: Work,
}

impl Schema {
    /// The draft is the one that `$schema` names, else 2020-12. A failure's place is a JSON pointer into the schema.
    pub fn parse(text: &[u8]) -> Outcome<Self> {
        if text.len() > MAX_SCHEMA_BYTES {
            return Err(Failure::exhausted(format!("a schema of {} bytes; at most {MAX_SCHEMA_BYTES}", text.len())));
        }
        let schema: Value =
            serde_json::from_slice(text).map_err(|error| Failure::invalid(format!("the schema is not JSON: {error}")))?;
        let work = Work::of(&schema)?;
        let patterns = PatternOptions::fancy_regex()
            .backtrack_limit(MAX_BACKTRACKS)
            .size_limit(MAX_PATTERN_BYTES)
            .dfa_size_limit(MAX_PATTERN_BYTES);
        let built = catch(|| {
            jsonschema::options()
                .offline()
                .should_validate_formats(false)
                .with_pattern_options(patterns)
                .build(&schema)
                .map_err(|error| Failure::invalid(fault(&error)).at(error.instance_path().as_str()))
        });
        Ok(Schema { validator: built?, work })
    }

    /// A failure's place is a JSON pointer into the value: of its first fault.
    pub fn check(&self, text: &[u8]) -> Outcome<()> {
        if text.len() > MAX_VALUE_BYTES {
            return Err(Failure::exhausted(format!("a value of {} bytes; at most {MAX_VALUE_BYTES}", text.len())));
        }
        let value: Value =
            serde_json::from_slice(text).map_err(|error| Failure::invalid(format!("the value is not JSON: {error}")))?;
        self.work.check(&value)?;
        let mut place = None;
        let mut faults = Vec::new();
        for error in self.validator.iter_errors(&value).take(MAX_FAULTS) {
            let at = error.instance_path().as_str();
            faults.push(if at.is_empty() { fault(&error) } else { format!("{at}: {}", fault(&error)) });
            place.get_or_insert(at.to_string());
        }
        match place {
            Some(place) => Err(Failure::invalid(faults.join("; ")).at(place)),
            None => Ok(()),
        }
    }
}

/// What is wrong, with the value at fault where that is short.
fn fault(error: &jsonschema::ValidationError) -> String {
    let whole = error.to_string();
    if whole.len() <= MAX_FAULT_BYTES {
        return whole;
    }
    let mut masked = error.masked().to_string();
    let mut end = masked.len().min(MAX_FAULT_BYTES);
    while !masked.is_char_boundary(end) {
        end -= 1;
    }
    masked.truncate(end);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Code;
    use serde_json::json;

    fn failure(schema: Value, value: Value) -> Option<Failure> {
        let schema = Schema::parse(schema.to_string().as_bytes()).expect("a schema");
        schema.check(value.to_string().as_bytes()).err()
    }

    #[test]
    fn faults_are_named_with_their_place() {
        let schema = json!({
            "type": "object",
            "properties": {"path": {"type": "string"}, "lines": {"type": "array", "items": {"type": "integer"}}},
            "required": ["path"],
            "additionalProperties": false
        });
        assert!(failure(schema.clone(), json!({"path": "a", "lines": [1, 2.0]})).is_none());
        let fault = failure(schema.clone(), json!({"path": "a", "lines": [1, "two"]})).unwrap();
        assert_eq!((fault.code, fault.place.as_str()), (Code::Invalid, "/lines/1"));
        let fault = failure(schema.clone(), json!({"file": "a", "lines": {}})).unwrap();
        assert!(fault.message.contains("path") && fault.message.contains("file"), "{}", fault.message);
        let long = "x".repeat(100_000);
        let fault = failure(schema, json!({"path": [long], "lines": []})).unwrap();
        assert!(fault.message.len() < 2 * MAX_FAULT_BYTES && fault.message.contains("string"), "{}", fault.message);
    }

    #[test]
    fn drafts_and_references() {
        let old = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": {"name": {"type": "string"}},
            "properties": {"a": {"$ref": "#/definitions/name"}, "b": {"items": [{"type": "string"}, {"type": "integer"}]}}
        });
        assert!(failure(old.clone(), json!({"a": "x", "b": ["y", 1]})).is_none());
        assert!(failure(old.clone(), json!({"a": 1})).is_some());
        assert!(failure(old, json!({"b": ["y", "z"]})).is_some());
        let format = json!({"type": "string", "format": "date"});
        assert!(failure(format, json!("not a date")).is_none());
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for text in ["", "[", "3", "{\"type\": \"strin\"}", "{\"pattern\": \"(\"}", "{\"$ref\": \"http://localhost/x\"}"] {
            assert_eq!(Schema::parse(text.as_bytes()).err().map(|f| f.code), Some(Code::Invalid), "{text}");
        }
        let failure = Schema::parse(br#"{"properties": {"a": {"type": 7}}}"#).err().unwrap();
        assert_eq!(failure.place, "/properties/a/type");
        let large = format!("{{\"description\": \"{}\"}}", "x".repeat(MAX_SCHEMA_BYTES));
        assert_eq!(Schema::parse(large.as_bytes()).err().map(|f| f.code), Some(Code::Exhausted));
    }

    #[test]
    fn patterns_that_backtrack_are_bounded() {
        let slow = json!({"type": "string", "pattern": "^(a|a)*\\1?(?=b)$"});
        if let Ok(schema) = Schema::parse(slow.to_string().as_bytes()) {
            // 2^5000 ways: whoever tried them all would never say so.
            assert!(schema.check(json!("a".repeat(5_000)).to_string().as_bytes()).is_err());
        }
        let huge = json!({"pattern": "((a{1,1000}){1,1000}){1,1000}"});
        assert!(Schema::parse(huge.to_string().as_bytes()).is_err());
    }

    #[test]
    fn many_shared_references_compile_at_once() {
        let mut definitions = serde_json::Map::new();
        for i in 0..200 {
            let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
            definitions.insert(format!("d{i}"), json!({"allOf": [next, next]}));
        }
        definitions.insert("d200".into(), json!({"type": "object"}));
        let schema = json!({"$ref": "#/$defs/d0", "$defs": definitions});
        // 2^200 ways; what cannot be compiled into less is refused by the count of its steps.
        if let Ok(schema) = Schema::parse(schema.to_string().as_bytes()) {
            assert_eq!(schema.check(b"{}").err().map(|f| f.code), Some(Code::Exhausted));
        }
    }
}
