// SPDX-License-Identifier: Apache-2.0
//! `unevaluatedProperties` and `unevaluatedItems`: a schema with one of them is taken apart into the ways in which it can be
//! satisfied. Within one way it is known which properties and items are looked at, so the rest can be closed.

use serde_json::{json, Map, Value};

use crate::guard::{Failure, Outcome};
use crate::schema_rewrite::{all_of, any_of, array_of, object_of, size_of, with, without, At, Rewriter};

const MAX_WAYS: usize = 64;
const MAX_OPTIONS: usize = 5;
/// Keywords that apply other schemas to the same value, and thereby may look at its parts.
const APPLICATORS: [&str; 10] =
    ["allOf", "anyOf", "oneOf", "$ref", "$dynamicRef", "if", "then", "else", "dependentSchemas", "not"];
const CLOSING: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];

#[derive(Clone, Default)]
struct Seen {
    names: Vec<String>,
    patterns: Vec<String>,
    all_names: bool,
    items: usize,
    all_items: bool,
}

/// One way to satisfy a schema: all of `parts`, which look at `seen`.
#[derive(Clone, Default)]
struct Way {
    parts: Vec<Value>,
    seen: Seen,
}

impl Way {
    fn of(part: Value) -> Self {
        Way { parts: vec![part], seen: Seen::default() }
    }

    fn size(&self) -> usize {
        1 + self.parts.iter().map(size_of).sum::<usize>() + self.seen.names.len() + self.seen.patterns.len()
    }

    fn and(&self, other: &Way) -> Way {
        let mut both = self.clone();
        both.parts.extend(other.parts.iter().cloned());
        both.seen.names.extend(other.seen.names.iter().cloned());
        both.seen.patterns.extend(other.seen.patterns.iter().cloned());
        both.seen.all_names |= other.seen.all_names;
        both.seen.items = both.seen.items.max(other.seen.items);
        both.seen.all_items |= other.seen.all_items;
        both
    }
}

impl<'r> Rewriter<'r, '_> {
    fn product(&mut self, ways: &[Way], others: &[Way]) -> Outcome<Vec<Way>> {
        if ways.len() * others.len() > MAX_WAYS {
            return Err(Failure::exhausted("unevaluated properties or items over too many alternatives"));
        }
        let size = |ways: &[Way]| ways.iter().map(Way::size).sum::<usize>();
        self.spend(size(ways) * others.len() + size(others) * ways.len())?;
        Ok(ways.iter().flat_map(|way| others.iter().map(|other| way.and(other))).collect())
    }

    /// `at` is inside of `schema`.
    pub fn closed(&mut self, schema: &'r Value, at: &At<'r>) -> Outcome<Value> {
        self.narrow();
        let ways = self.ways_inside(schema, at)?;
        Ok(any_of(ways.into_iter().map(|way| all_of(way.parts)).collect()))
    }

    fn ways(&mut self, schema: &'r Value, at: &At<'r>) -> Outcome<Vec<Way>> {
        let at = self.inside(at, schema)?;
        if !schema.is_object() {
            return Ok(vec![Way::of(schema.clone())]);
        }
        self.ways_inside(schema, &at)
    }

    fn ways_inside(&mut self, schema: &'r Value, at: &At<'r>) -> Outcome<Vec<Way>> {
        let fields = object_of(schema)?;
        let own = fields.iter().filter(|(key, _)| !APPLICATORS.contains(&key.as_str()) && !CLOSING.contains(&key.as_str()));
        let mut ways = vec![Way { parts: vec![self.keywords(own.collect(), at)?], seen: seen_by(fields) }];
        for (key, value) in fields {
            for factor in self.factors(fields, key, value, at)? {
                ways = self.product(&ways, &factor)?;
            }
        }
        self.close(fields, ways, at)
    }

    /// The ways of each schema that a keyword applies to the same value.
    fn factors(&mut self, fields: &'r Map<String, Value>, key: &str, value: &'r Value, at: &At<'r>) -> Outcome<Vec<Vec<Way>>> {
        Ok(match key {
            "allOf" => array_of(value)?.iter().map(|part| self.ways(part, at)).collect::<Outcome<_>>()?,
            "$ref" | "$dynamicRef" => {
                let (target, inside) = self.look_up(value, at)?;
                vec![self.ways(target, &inside)?]
            }
            "anyOf" => vec![self.some_of(value, at)?],
            "oneOf" => vec![self.one_of_ways(value, at)?],
            "if" => vec![self.condition_ways(fields, value, at)?],
            "not" => vec![vec![Way::of(self.contrary(value, at)?)]],
            "dependentSchemas" => {
                let mut factors = Vec::new();
                for (name, needed) in object_of(value)? {
                    let needed = self.ways(needed, at)?;
                    let mut options = self.product(&[Way::of(with(&[name]))], &needed)?;
                    options.push(Way::of(without(name)));
                    factors.push(options);
                }
                factors
            }
            _ => vec![],
        })
    }

    /// Every choice of options: the more of them hold, the more is looked at.
    fn some_of(&mut self, options: &'r Value, at: &At<'r>) -> Outcome<Vec<Way>> {
        let options = array_of(options)?;
        if options.len() > MAX_OPTIONS {
            return Err(Failure::invalid("unevaluated properties or items over too many alternatives"));
        }
        let each: Vec<Vec<Way>> = options.iter().map(|option| self.ways(option, at)).collect::<Outcome<_>>()?;
        let mut all = Vec::new();
        for choice in 1u32..1 << each.len() {
            let mut ways = vec![Way::default()];
            for (index, option) in each.iter().enumerate() {
                if choice >> index & 1 == 1 {
                    ways = self.product(&ways, option)?;
                }
            }
            all.extend(ways);
        }
        Ok(all)
    }

    fn one_of_ways(&mut self, options: &'r Value, at: &At<'r>) -> Outcome<Vec<Way>> {
        let exclusive = self.exclusive(options, at)?;
        let mut all = Vec::new();
        for (option, only) in array_of(options)?.iter().zip(exclusive) {
            let ways = self.ways(option, at)?;
            all.extend(self.product(&[Way::of(only)], &ways)?);
        }
        Ok(all)
    }

    fn condition_ways(&mut self, fields: &'r Map<String, Value>, test: &'r Value, at: &At<'r>) -> Outcome<Vec<Way>> {
        let mut yes = self.ways(test, at)?;
        if let Some(then) = fields.get("then") {
            let then = self.ways(then, at)?;
            yes = self.product(&yes, &then)?;
        }
        let mut no = vec![Way::of(self.contrary(test, at)?)];
        if let Some(or_else) = fields.get("else") {
            let or_else = self.ways(or_else, at)?;
            no = self.product(&no, &or_else)?;
        }
        yes.append(&mut no);
        Ok(yes)
    }

    fn close(&mut self, fields: &'r Map<String, Value>, mut ways: Vec<Way>, at: &At<'r>) -> Outcome<Vec<Way>> {
        if let Some(rest) = fields.get("unevaluatedProperties") {
            let rest = self.schema(rest, at)?;
            for way in ways.iter_mut().filter(|way| !way.seen.all_names) {
                let names: Map<String, Value> = way.seen.names.iter().map(|name| (name.clone(), json!(true))).collect();
                let patterns: Map<String, Value> = way.seen.patterns.iter().map(|name| (name.clone(), json!(true))).collect();
                way.parts.push(json!({"properties": names, "patternProperties": patterns, "additionalProperties": rest}));
                way.seen.all_names = true;
            }
        }
        if let Some(rest) = fields.get("unevaluatedItems") {
            let rest = self.schema(rest, at)?;
            for way in ways.iter_mut().filter(|way| !way.seen.all_items) {
                way.parts.push(json!({"prefixItems": vec![true; way.seen.items], "items": rest}));
                way.seen.all_items = true;
            }
        }
        Ok(ways)
    }
}

fn seen_by(fields: &Map<String, Value>) -> Seen {
    let keys = |key: &str| fields.get(key).and_then(Value::as_object).map_or(vec![], |named| named.keys().cloned().collect());
    let length = |key: &str| fields.get(key).and_then(Value::as_array).map_or(0, Vec::len);
    let is_list = fields.get("items").is_some_and(Value::is_array);
    Seen {
        names: keys("properties"),
        patterns: keys("patternProperties"),
        all_names: fields.contains_key("additionalProperties"),
        items: length("prefixItems").max(length("items")),
        all_items: fields.contains_key("items") && !is_list || is_list && fields.contains_key("additionalItems"),
    }
}
