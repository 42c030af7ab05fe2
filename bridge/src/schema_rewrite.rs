// SPDX-License-Identifier: Apache-2.0
//! JSON schemas in other words: what the grammar compiler lacks (negation, conditions, dependencies, names of properties,
//! `contains`, `unevaluated...`, references by anchor or base) becomes what it has. The result allows what the schema allows,
//! or less where that cannot be said; never more. What cannot be said at all is refused.

use std::collections::HashMap;

use referencing::{Draft, Registry, Resolver};
use serde_json::{json, Map, Value};

use crate::guard::{Failure, Outcome};

/// Values that one rewriting may make beyond twice those of the schema; a chain of references is bounded by its depth.
const MAX_STEPS: usize = 20_000;
const MAX_DEPTH: usize = 96;
/// Elements of an array that one search for an element looks at, and combinations of them.
const MAX_POSITIONS: usize = 8;
const MAX_CHOICES: usize = 64;
pub const MAX_EXCLUSIVE: usize = 8;
const ROOT: &str = "json-schema:///";

/// Whether `oneOf` stays (the compiler has it where it sees that options exclude each other), or is put in other words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OneOf {
    Kept,
    Rewritten,
}

const TYPES: [&str; 6] = ["null", "boolean", "number", "string", "array", "object"];
const COPIED: [&str; 10] = [
    "type",
    "const",
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "pattern",
    "required",
];
const COUNTS: [&str; 6] = ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"];
/// Formats that the compiler asserts; the others say nothing that a grammar could follow.
const FORMATS: [&str; 10] = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];

/// What to compile for `schema`: the first of these that can be.
pub fn wordings(schema: &Value) -> Outcome<Vec<Value>> {
    let kept = rewritten(schema, OneOf::Kept)?;
    if !kept.has_one_of {
        return Ok(vec![kept.schema]);
    }
    let other = rewritten(schema, OneOf::Rewritten);
    if kept.is_narrowed {
        // That narrower options exclude each other does not say that the options do.
        return Ok(vec![other?.schema]);
    }
    Ok([kept.schema].into_iter().chain(other.ok().map(|wording| wording.schema)).collect())
}

struct Wording {
    schema: Value,
    has_one_of: bool,
    is_narrowed: bool,
}

fn rewritten(schema: &Value, one_of: OneOf) -> Outcome<Wording> {
    let mut names = Names::default();
    names.look_through(schema);
    if !names.has_references {
        return Rewriter::new(one_of, &names, schema).finish(schema, &At { resolver: None, depth: 0 });
    }
    let resource = Draft::default().create_resource(schema.clone());
    let base = resource.id().unwrap_or(ROOT).to_string();
    let unresolved = |error: referencing::Error| Failure::invalid(format!("a reference cannot be resolved: {error}"));
    let registry = Registry::try_from_resources([(base.as_str(), resource)]).map_err(unresolved)?;
    let root = registry.try_resolver(&base).and_then(|resolver| resolver.lookup("#")).map_err(unresolved)?;
    let at = At { resolver: Some(root.resolver().clone()), depth: 0 };
    Rewriter::new(one_of, &names, schema).finish(root.contents(), &at)
}

/// Whether a schema refers to anything, and how often each dynamic anchor is set.
#[derive(Default)]
pub struct Names {
    has_references: bool,
    dynamic: HashMap<String, usize>,
}

impl Names {
    fn look_through(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.look_through(item)),
            Value::Object(fields) => {
                for (key, item) in fields {
                    self.has_references |= key == "$ref" || key == "$dynamicRef";
                    if let ("$dynamicAnchor", Value::String(name)) = (key.as_str(), item) {
                        *self.dynamic.entry(name.clone()).or_default() += 1;
                    }
                    self.look_through(item);
                }
            }
            _ => {}
        }
    }
}

/// Where a part of a schema stands: what its references are relative to.
#[derive(Clone)]
pub struct At<'r> {
    resolver: Option<Resolver<'r>>,
    depth: usize,
}

pub struct Rewriter<'r, 'n> {
    one_of: OneOf,
    names: &'n Names,
    targets: HashMap<(*const Value, bool), String>,
    definitions: Map<String, Value>,
    steps_left: usize,
    has_one_of: bool,
    is_narrowed: bool,
    _documents: std::marker::PhantomData<&'r Value>,
}

pub fn all_of(mut parts: Vec<Value>) -> Value {
    parts.retain(|part| *part != json!(true));
    match parts.len() {
        0 => json!(true),
        1 => parts.remove(0),
        _ if parts.contains(&json!(false)) => json!(false),
        _ => json!({"allOf": parts}),
    }
}

pub fn any_of(mut options: Vec<Value>) -> Value {
    options.retain(|option| *option != json!(false));
    match options.len() {
        0 => json!(false),
        1 => options.remove(0),
        _ if options.contains(&json!(true)) => json!(true),
        _ => json!({"anyOf": options}),
    }
}

pub fn types_but(left_out: &[&str]) -> Value {
    let types: Vec<&str> = TYPES.into_iter().filter(|name| !left_out.contains(name)).collect();
    if types.is_empty() {
        json!(false)
    } else {
        json!({"type": types})
    }
}

/// 2.0 is an integer in JSON Schema.
pub fn count_of(value: &Value) -> Outcome<u64> {
    let whole = value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0 && *number < 9e15);
    value.as_u64().or(whole.map(|number| number as u64)).ok_or_else(|| Failure::invalid(format!("{value} is no count")))
}

pub fn object_of(value: &Value) -> Outcome<&Map<String, Value>> {
    value.as_object().ok_or_else(|| Failure::invalid("a keyword of the schema must be an object"))
}

pub fn array_of(value: &Value) -> Outcome<&Vec<Value>> {
    value.as_array().ok_or_else(|| Failure::invalid("a keyword of the schema must be a list"))
}

fn strings_of(value: &Value) -> Outcome<Vec<&str>> {
    let strings: Option<Vec<&str>> = array_of(value)?.iter().map(Value::as_str).collect();
    strings.ok_or_else(|| Failure::invalid("a keyword of the schema must be a list of names"))
}

/// An object without the property, or whatever is no object.
pub fn without(key: &str) -> Value {
    json!({"properties": {key: false}})
}

pub fn with(keys: &[&str]) -> Value {
    json!({"type": "object", "required": keys})
}

/// The combinations of `count` of the first positions of an array, rising.
fn positions(count: usize) -> Vec<Vec<usize>> {
    let within = if count <= 1 { MAX_POSITIONS } else { MAX_POSITIONS.min(count + 3) };
    let mut all = vec![vec![]];
    for _ in 0..count {
        all = all
            .into_iter()
            .flat_map(|chosen: Vec<usize>| {
                let next = chosen.last().map_or(0, |last| last + 1);
                (next..within).map(move |position| [chosen.clone(), vec![position]].concat())
            })
            .take(MAX_CHOICES)
            .collect();
    }
    all
}

impl<'r, 'n> Rewriter<'r, 'n> {
    fn new(one_of: OneOf, names: &'n Names, schema: &Value) -> Self {
        Rewriter {
            one_of,
            names,
            targets: HashMap::new(),
            definitions: Map::new(),
            steps_left: 2 * size_of(schema) + MAX_STEPS,
            has_one_of: false,
            is_narrowed: false,
            _documents: std::marker::PhantomData,
        }
    }

    fn finish(mut self, schema: &'r Value, at: &At<'r>) -> Outcome<Wording> {
        let mut root = self.schema(schema, at)?;
        if !self.definitions.is_empty() {
            if !root.is_object() {
                root = json!({"allOf": [root]});
            }
            root["$defs"] = Value::Object(self.definitions);
        }
        Ok(Wording { schema: root, has_one_of: self.has_one_of, is_narrowed: self.is_narrowed })
    }

    pub fn spend(&mut self, steps: usize) -> Outcome<()> {
        let too_complex = || Failure::exhausted("the schema is too complex to be put in other words");
        self.steps_left = self.steps_left.checked_sub(steps).ok_or_else(too_complex)?;
        Ok(())
    }

    /// To be called by what may allow less than it should.
    pub fn narrow(&mut self) {
        self.is_narrowed = true;
    }

    fn copied(&mut self, value: &Value) -> Outcome<Value> {
        self.spend(size_of(value))?;
        Ok(value.clone())
    }

    /// Where the parts of `fields` stand.
    pub fn inside(&mut self, at: &At<'r>, schema: &'r Value) -> Outcome<At<'r>> {
        self.spend(1)?;
        if at.depth > MAX_DEPTH {
            return Err(Failure::exhausted("the schema is nested too deep to be put in other words"));
        }
        let resolver = match &at.resolver {
            None => None,
            Some(resolver) => Some(
                resolver
                    .in_subresource(Draft::default().create_resource_ref(schema))
                    .map_err(|error| Failure::invalid(format!("$id: {error}")))?,
            ),
        };
        Ok(At { resolver, depth: at.depth + 1 })
    }

    /// What a reference means.
    pub fn look_up(&self, reference: &Value, at: &At<'r>) -> Outcome<(&'r Value, At<'r>)> {
        let reference = reference.as_str().ok_or_else(|| Failure::invalid("$ref must be a string"))?;
        let resolver = at.resolver.as_ref().ok_or_else(|| Failure::internal("a reference was overlooked"))?;
        let name = reference.rsplit_once('#').map_or("", |(_, fragment)| fragment);
        if self.names.dynamic.get(name).is_some_and(|count| *count > 1) {
            return Err(Failure::invalid(format!("{reference} depends on how it is reached, which is not supported")));
        }
        let found = resolver.lookup(reference).map_err(|error| Failure::invalid(format!("{reference}: {error}")))?;
        let (contents, resolver, _) = found.into_inner();
        Ok((contents, At { resolver: Some(resolver), depth: at.depth + 1 }))
    }

    /// A reference to what another reference means, or to the contrary of it.
    pub fn reference(&mut self, reference: &Value, at: &At<'r>, is_positive: bool) -> Outcome<Value> {
        let (target, inside) = self.look_up(reference, at)?;
        let next = self.targets.len();
        let key = (target as *const Value, is_positive);
        if let Some(name) = self.targets.get(&key) {
            return Ok(json!({"$ref": format!("#/$defs/{name}")}));
        }
        let name = format!("d{next}");
        self.targets.insert(key, name.clone());
        let made = if is_positive { self.schema(target, &inside)? } else { self.contrary(target, &inside)? };
        let found = json!({"$ref": format!("#/$defs/{name}")});
        self.definitions.insert(name, made);
        Ok(found)
    }

    pub fn schemas(&mut self, values: &'r Value, at: &At<'r>) -> Outcome<Vec<Value>> {
        array_of(values)?.iter().map(|value| self.schema(value, at)).collect()
    }

    fn schemas_by_name(&mut self, values: &'r Value, at: &At<'r>) -> Outcome<Value> {
        let named: Outcome<Map<String, Value>> =
            object_of(values)?.iter().map(|(key, value)| Ok((key.clone(), self.schema(value, at)?))).collect();
        Ok(Value::Object(named?))
    }

    /// `schema` in words that the compiler has.
    pub fn schema(&mut self, schema: &'r Value, at: &At<'r>) -> Outcome<Value> {
        let at = self.inside(at, schema)?;
        if schema.is_boolean() {
            return Ok(schema.clone());
        }
        let fields = schema.as_object().ok_or_else(|| Failure::invalid("a schema must be an object or a boolean"))?;
        if fields.contains_key("unevaluatedProperties") || fields.contains_key("unevaluatedItems") {
            return self.closed(schema, &at);
        }
        self.keywords(fields.iter().collect(), &at)
    }

    pub fn keywords(&mut self, fields: Vec<(&'r String, &'r Value)>, at: &At<'r>) -> Outcome<Value> {
        let find = |key: &str| fields.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let mut out = Map::new();
        let mut also = Vec::new();
        for (key, value) in &fields {
            match key.as_str() {
                key if COPIED.contains(&key) => drop(out.insert(key.to_string(), self.copied(value)?)),
                key if COUNTS.contains(&key) => drop(out.insert(key.to_string(), json!(count_of(value)?))),
                "format" if value.as_str().is_some_and(|name| FORMATS.contains(&name)) => {
                    out.insert(key.to_string(), (*value).clone());
                }
                "properties" | "patternProperties" => drop(out.insert(key.to_string(), self.schemas_by_name(value, at)?)),
                "additionalProperties" => drop(out.insert(key.to_string(), self.schema(value, at)?)),
                // Earlier drafts have a list of items, and another keyword for the rest.
                "items" if value.is_array() => {
                    drop(out.insert("prefixItems".to_string(), Value::Array(self.schemas(value, at)?)))
                }
                "items" => drop(out.insert(key.to_string(), self.schema(value, at)?)),
                "additionalItems" if find("items").is_some_and(Value::is_array) => {
                    out.insert("items".to_string(), self.schema(value, at)?);
                }
                "prefixItems" | "allOf" | "anyOf" => drop(out.insert(key.to_string(), Value::Array(self.schemas(value, at)?))),
                "oneOf" if self.one_of == OneOf::Kept => {
                    self.has_one_of = true;
                    out.insert(key.to_string(), Value::Array(self.schemas(value, at)?));
                }
                "oneOf" => also.push(any_of(self.exclusive(value, at)?)),
                "$ref" | "$dynamicRef" => also.push(self.reference(value, at, true)?),
                "not" => also.push(self.contrary(value, at)?),
                "if" => also.push(self.condition(value, find("then"), find("else"), at)?),
                "dependentRequired" | "dependentSchemas" | "dependencies" => self.dependencies(value, at, &mut also)?,
                "propertyNames" => also.push(self.property_names(value, at)?),
                "contains" => also.push(self.contains(value, find("minContains"), find("maxContains"), at)?),
                "uniqueItems"
                    if *value == &json!(true) && find("maxItems").is_none_or(|max| count_of(max).unwrap_or(2) > 1) =>
                {
                    return Err(Failure::invalid("uniqueItems cannot be held to while a text is written"));
                }
                _ => {}
            }
        }
        Ok(joined(out, also))
    }

    /// Each option, and none of the others.
    pub fn exclusive(&mut self, options: &'r Value, at: &At<'r>) -> Outcome<Vec<Value>> {
        let options = array_of(options)?;
        if options.len() > MAX_EXCLUSIVE {
            return Err(Failure::invalid(format!("oneOf of {} options that do not exclude each other", options.len())));
        }
        let mut all = Vec::new();
        for (chosen, option) in options.iter().enumerate() {
            let mut parts = vec![self.schema(option, at)?];
            for (other, contrary) in options.iter().enumerate() {
                if other != chosen {
                    parts.push(self.contrary(contrary, at)?);
                }
            }
            all.push(all_of(parts));
        }
        Ok(all)
    }

    fn condition(
        &mut self,
        test: &'r Value,
        then: Option<&'r Value>,
        or_else: Option<&'r Value>,
        at: &At<'r>,
    ) -> Outcome<Value> {
        Ok(match (then, or_else) {
            (None, None) => json!(true),
            (Some(then), None) => any_of(vec![self.schema(then, at)?, self.contrary(test, at)?]),
            (None, Some(or_else)) => any_of(vec![self.schema(test, at)?, self.schema(or_else, at)?]),
            (Some(then), Some(or_else)) => any_of(vec![
                all_of(vec![self.schema(test, at)?, self.schema(then, at)?]),
                all_of(vec![self.contrary(test, at)?, self.schema(or_else, at)?]),
            ]),
        })
    }

    fn dependencies(&mut self, dependencies: &'r Value, at: &At<'r>, also: &mut Vec<Value>) -> Outcome<()> {
        for (key, needed) in object_of(dependencies)? {
            let needed = match needed {
                Value::Array(_) => with(&[vec![key.as_str()], strings_of(needed)?].concat()),
                schema => all_of(vec![with(&[key]), self.schema(schema, at)?]),
            };
            also.push(any_of(vec![without(key), needed]));
        }
        Ok(())
    }

    /// An object whose keys all satisfy `names`, or whatever is no object.
    fn property_names(&mut self, names: &'r Value, at: &At<'r>) -> Outcome<Value> {
        let Value::Object(fields) = names else {
            return Ok(if *names == json!(false) { json!({"additionalProperties": false}) } else { json!(true) });
        };
        if let Some(reference) = fields.get("$ref") {
            let (target, inside) = self.look_up(reference, at)?;
            let inside = self.inside(&inside, target)?;
            return self.property_names(target, &inside);
        }
        let mut parts = Vec::new();
        let length = |key: &str| fields.get(key).map(count_of).transpose();
        if let (least, Some(most)) = (length("minLength")?, length("maxLength")?) {
            parts.push(format!(r"^[\s\S]{{{},{most}}}$", least.unwrap_or(0)));
        } else if let Some(least) = length("minLength")? {
            parts.push(format!(r"^[\s\S]{{{least},}}$"));
        }
        parts.extend(fields.get("pattern").and_then(Value::as_str).map(str::to_string));
        let listed =
            fields.get("enum").map(array_of).transpose()?.cloned().or(fields.get("const").map(|one| vec![one.clone()]));
        let known =
            ["minLength", "maxLength", "pattern", "enum", "const", "type", "format", "title", "description", "$comment"];
        let is_known = fields.keys().all(|key| known.contains(&key.as_str()));
        let is_string = fields.get("type").is_none_or(|name| *name == json!("string"));
        match (listed, parts.as_slice()) {
            (Some(listed), []) if is_known && is_string => {
                let allowed: Map<String, Value> =
                    listed.iter().filter_map(Value::as_str).map(|name| (name.to_string(), json!(true))).collect();
                Ok(json!({"properties": allowed, "additionalProperties": false}))
            }
            (None, []) if is_known && is_string => Ok(json!(true)),
            (None, [pattern]) if is_known && is_string => {
                Ok(json!({"patternProperties": {pattern: true}, "additionalProperties": false}))
            }
            _ => Err(Failure::invalid("propertyNames of this kind is not supported")),
        }
    }

    /// Arrays of which so many elements satisfy `schema`, and those only among the first; or whatever is no array.
    fn contains(&mut self, schema: &'r Value, least: Option<&Value>, most: Option<&Value>, at: &At<'r>) -> Outcome<Value> {
        let least = least.map(count_of).transpose()?.unwrap_or(1) as usize;
        let most = most.map(count_of).transpose()?.map(|count| count as usize);
        if least == 0 && most.is_none() {
            return Ok(json!(true));
        }
        if *schema == json!(true) {
            let bounds = json!({"minItems": least});
            return Ok(most.map_or(bounds.clone(), |most| json!({"allOf": [bounds, {"maxItems": most}]})));
        }
        let counts = least..=most.unwrap_or(least).min(MAX_POSITIONS);
        let mut options = vec![types_but(&["array"])];
        for count in counts {
            options.extend(self.arrays_with(schema, count, most.is_some(), at)?);
        }
        Ok(any_of(options))
    }

    /// Arrays in which `count` of the first elements satisfy `schema`; `is_exact`: and no others do.
    pub fn arrays_with(&mut self, schema: &'r Value, count: usize, is_exact: bool, at: &At<'r>) -> Outcome<Vec<Value>> {
        self.narrow();
        let wanted = self.schema(schema, at)?;
        let other = if is_exact { self.contrary(schema, at)? } else { json!(true) };
        let all = positions(count);
        self.spend(all.len() * MAX_POSITIONS * (size_of(&wanted) + size_of(&other)))?;
        Ok(all.iter().map(|chosen| array_at(chosen, &wanted, &other)).collect())
    }
}

/// Values in a value.
pub fn size_of(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size_of).sum(),
        Value::Object(fields) => fields.values().map(size_of).sum(),
        _ => 0,
    }
}

/// Arrays with `wanted` at the chosen positions, and `other` elsewhere.
pub fn array_at(chosen: &[usize], wanted: &Value, other: &Value) -> Value {
    let length = chosen.last().map_or(0, |last| last + 1);
    let first: Vec<&Value> = (0..length).map(|position| if chosen.contains(&position) { wanted } else { other }).collect();
    if length == 0 {
        json!({"type": "array", "items": other})
    } else {
        json!({"type": "array", "prefixItems": first, "items": other, "minItems": length})
    }
}

fn joined(mut out: Map<String, Value>, mut also: Vec<Value>) -> Value {
    also.retain(|part| *part != json!(true));
    if out.is_empty() {
        return all_of(also);
    }
    if !also.is_empty() {
        match out.get_mut("allOf").and_then(Value::as_array_mut) {
            Some(parts) => parts.append(&mut also),
            None => drop(out.insert("allOf".to_string(), Value::Array(also))),
        }
    }
    Value::Object(out)
}
