// SPDX-License-Identifier: Apache-2.0
//! What a schema does not allow, as a schema. A keyword whose contrary has no words adds nothing to it: the result allows
//! only what the schema forbids, but not always all of it.

use serde_json::{json, Map, Value};

use crate::guard::Outcome;
use crate::schema_rewrite::{
    all_of, any_of, array_at, array_of, count_of, object_of, size_of, types_but, with, without, At, Rewriter, MAX_EXCLUSIVE,
};

/// Longest strings, and most of them, that are told apart by a pattern.
const MAX_TOLD_APART: usize = 256;
/// Positions of an array at which an element may break a rule.
const MAX_POSITIONS: usize = 8;

impl<'r> Rewriter<'r, '_> {
    /// What `schema` forbids.
    pub fn contrary(&mut self, schema: &'r Value, at: &At<'r>) -> Outcome<Value> {
        self.narrow();
        let at = self.inside(at, schema)?;
        let Value::Object(fields) = schema else {
            return Ok(json!(!schema.as_bool().unwrap_or(true)));
        };
        let mut options = Vec::new();
        for (key, value) in fields {
            match key.as_str() {
                "$ref" | "$dynamicRef" => options.push(self.reference(value, &at, false)?),
                "not" => options.push(self.schema(value, &at)?),
                "allOf" => options.extend(self.contraries(value, &at)?),
                "anyOf" => options.push(all_of(self.contraries(value, &at)?)),
                "oneOf" => options.extend(self.none_or_two(value, &at)?),
                "if" => options.extend(self.broken_condition(fields, value, &at)?),
                "properties" => {
                    for (name, property) in object_of(value)? {
                        let broken = self.contrary(property, &at)?;
                        options.push(json!({"type": "object", "properties": {name: broken}, "required": [name]}));
                    }
                }
                "dependentRequired" => options.extend(broken_needs(value)?),
                "dependentSchemas" => {
                    for (name, needed) in object_of(value)? {
                        options.push(all_of(vec![with(&[name]), self.contrary(needed, &at)?]));
                    }
                }
                "prefixItems" => {
                    for (position, item) in array_of(value)?.iter().enumerate().take(MAX_POSITIONS) {
                        options.push(array_at(&[position], &self.contrary(item, &at)?, &json!(true)));
                    }
                }
                "items" if !value.is_array() => {
                    let first = fields.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
                    let broken = self.contrary(value, &at)?;
                    self.spend(MAX_POSITIONS * (first + size_of(&broken)))?;
                    options.extend((first..first + MAX_POSITIONS).map(|position| array_at(&[position], &broken, &json!(true))));
                }
                "contains" => options.extend(self.broken_contains(fields, value, &at)?),
                _ => options.extend(contrary_of_keyword(key, value)?),
            }
        }
        Ok(any_of(options.into_iter().filter(is_possible).collect()))
    }

    fn contraries(&mut self, schemas: &'r Value, at: &At<'r>) -> Outcome<Vec<Value>> {
        array_of(schemas)?.iter().map(|schema| self.contrary(schema, at)).collect()
    }

    /// What breaks `oneOf`: no option, or two of them.
    fn none_or_two(&mut self, schemas: &'r Value, at: &At<'r>) -> Outcome<Vec<Value>> {
        let mut options = vec![all_of(self.contraries(schemas, at)?)];
        let positive = self.schemas(schemas, at)?;
        if positive.len() <= MAX_EXCLUSIVE {
            self.spend(positive.iter().map(size_of).sum::<usize>() * positive.len())?;
            for (index, first) in positive.iter().enumerate() {
                for second in &positive[index + 1..] {
                    options.push(all_of(vec![first.clone(), second.clone()]));
                }
            }
        }
        Ok(options)
    }

    fn broken_condition(&mut self, fields: &'r Map<String, Value>, test: &'r Value, at: &At<'r>) -> Outcome<Vec<Value>> {
        let mut options = Vec::new();
        if let Some(then) = fields.get("then") {
            options.push(all_of(vec![self.schema(test, at)?, self.contrary(then, at)?]));
        }
        if let Some(or_else) = fields.get("else") {
            options.push(all_of(vec![self.contrary(test, at)?, self.contrary(or_else, at)?]));
        }
        Ok(options)
    }

    fn broken_contains(&mut self, fields: &Map<String, Value>, schema: &'r Value, at: &At<'r>) -> Outcome<Vec<Value>> {
        let least = fields.get("minContains").map(count_of).transpose()?.unwrap_or(1);
        let most = fields.get("maxContains").map(count_of).transpose()?;
        let mut options = Vec::new();
        if least > 0 {
            options.push(json!({"type": "array", "items": self.contrary(schema, at)?}));
        }
        if let Some(most) = most.filter(|most| *most < MAX_POSITIONS as u64) {
            options.extend(self.arrays_with(schema, most as usize + 1, false, at)?);
        }
        Ok(options)
    }
}

/// An object that must have a property which nothing satisfies cannot be.
fn is_possible(schema: &Value) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    let is_missing =
        |name: &Value| name.as_str().is_some_and(|name| properties.is_some_and(|all| all.get(name) == Some(&json!(false))));
    !schema.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(is_missing))
}

fn broken_needs(dependencies: &Value) -> Outcome<Vec<Value>> {
    let mut options = Vec::new();
    for (key, needed) in object_of(dependencies)? {
        for name in array_of(needed)?.iter().filter_map(Value::as_str) {
            options.push(all_of(vec![with(&[key]), without(name)]));
        }
    }
    Ok(options)
}

fn contrary_of_keyword(key: &str, value: &Value) -> Outcome<Vec<Value>> {
    let one = |schema: Value| Ok(vec![schema]);
    let number = |bound: &str| one(json!({"type": "number", bound: value}));
    let below = |key: &str, of: &str| {
        let count = count_of(value)?;
        Ok(if count == 0 { vec![] } else { vec![json!({"type": of, key: count - 1})] })
    };
    let above = |key: &str, of: &str| Ok(vec![json!({"type": of, key: count_of(value)? + 1})]);
    match key {
        "type" => one(contrary_of_types(value)),
        "const" => Ok(contrary_of_values(std::slice::from_ref(value))),
        "enum" => Ok(contrary_of_values(array_of(value)?)),
        "minimum" => number("exclusiveMaximum"),
        "maximum" => number("exclusiveMinimum"),
        "exclusiveMinimum" if value.is_number() => number("maximum"),
        "exclusiveMaximum" if value.is_number() => number("minimum"),
        "minLength" => below("maxLength", "string"),
        "maxLength" => above("minLength", "string"),
        "minItems" => below("maxItems", "array"),
        "maxItems" => above("minItems", "array"),
        "minProperties" => below("maxProperties", "object"),
        "maxProperties" => above("minProperties", "object"),
        "required" => {
            Ok(array_of(value)?.iter().filter_map(Value::as_str).map(|name| all_of(vec![with(&[]), without(name)])).collect())
        }
        "propertyNames" if *value == json!(false) => one(json!({"type": "object", "minProperties": 1})),
        _ => Ok(vec![]),
    }
}

/// Numbers are left out where only integers are named: which are none cannot be said.
fn contrary_of_types(value: &Value) -> Value {
    let names = value.as_array().map_or(vec![value], |names| names.iter().collect());
    let named: Vec<&str> =
        names.iter().filter_map(|name| name.as_str()).map(|name| if name == "integer" { "number" } else { name }).collect();
    types_but(&named)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A number that is the same as a double.
fn is_exact(value: &Value) -> bool {
    value.is_f64() || value.as_f64().is_none_or(|number| number.abs() <= (1u64 << 53) as f64)
}

fn contrary_of_values(values: &[Value]) -> Vec<Value> {
    let types: Vec<&str> = values.iter().map(type_of).collect();
    let mut options = vec![types_but(&types)];
    let booleans = [false, true].into_iter().filter(|one| types.contains(&"boolean") && !values.contains(&json!(one)));
    options.extend(booleans.map(|one| json!({"const": one})));
    let mut numbers: Vec<f64> = values.iter().filter_map(Value::as_f64).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.retain(|_| values.iter().all(is_exact));
    if let (Some(first), Some(last)) = (numbers.first(), numbers.last()) {
        options.push(json!({"type": "number", "exclusiveMaximum": first}));
        options.extend(
            numbers.windows(2).map(|pair| json!({"type": "number", "exclusiveMinimum": pair[0], "exclusiveMaximum": pair[1]})),
        );
        options.push(json!({"type": "number", "exclusiveMinimum": last}));
    }
    let strings: Vec<Vec<char>> = values.iter().filter_map(Value::as_str).map(|text| text.chars().collect()).collect();
    if !strings.is_empty() && strings.iter().map(Vec::len).sum::<usize>() <= MAX_TOLD_APART {
        options.push(json!({"type": "string", "pattern": format!("^{}$", other_than(&strings.iter().map(Vec::as_slice).collect::<Vec<_>>()))}));
    }
    options
}

/// A pattern of all strings but these: at each character of one, another character and anything behind it, or the end where
/// none of them ends.
fn other_than(strings: &[&[char]]) -> String {
    let is_end = strings.iter().any(|string| string.is_empty());
    let mut firsts: Vec<char> = strings.iter().filter_map(|string| string.first().copied()).collect();
    firsts.sort_unstable();
    firsts.dedup();
    if firsts.is_empty() {
        return r"[\s\S]+".to_string();
    }
    let escape = |c: &char| format!(r"\u{{{:x}}}", *c as u32);
    let mut options = vec![format!(r"[^{}][\s\S]*", firsts.iter().map(escape).collect::<String>())];
    for first in &firsts {
        let rest: Vec<&[char]> =
            strings.iter().filter(|string| string.first() == Some(first)).map(|string| &string[1..]).collect();
        options.push(format!("{}{}", escape(first), other_than(&rest)));
    }
    format!("(?:{}){}", options.join("|"), if is_end { "" } else { "?" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_told_apart() {
        let pattern = |strings: &[&str]| {
            let strings: Vec<Vec<char>> = strings.iter().map(|text| text.chars().collect()).collect();
            other_than(&strings.iter().map(Vec::as_slice).collect::<Vec<_>>())
        };
        assert_eq!(pattern(&[""]), r"[\s\S]+");
        assert_eq!(pattern(&["a"]), r"(?:[^\u{61}][\s\S]*|\u{61}[\s\S]+)?");
        assert_eq!(pattern(&["a", "ab"]), r"(?:[^\u{61}][\s\S]*|\u{61}(?:[^\u{62}][\s\S]*|\u{62}[\s\S]+))?");
    }
}
