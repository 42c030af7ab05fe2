// SPDX-License-Identifier: Apache-2.0
//! How much work a JSON schema can make of a value. The crate that validates has no limit of its own, and a schema of a
//! kilobyte can ask for 2^60 evaluations ($ref twice to the next of sixty definitions), or for ones without end. So the
//! schema is read into a graph first: from each subschema to those that it applies to the same value, and to those that it
//! applies to parts of it. A walk of the value over that graph counts evaluations before any of them is made.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use crate::guard::{Failure, Outcome};

const MAX_SUBSCHEMAS: usize = 20_000;
/// Evaluations of a subschema on a part of the value; about a microsecond each.
const MAX_EVALUATIONS: u64 = 2_000_000;
/// Steps of the counting walk itself.
const MAX_STEPS: u64 = 1_000_000;

#[derive(Default)]
struct Node {
    here: Vec<usize>,              // applied to the same value
    named: HashMap<String, usize>, // to the property of this name
    every_property: Vec<usize>,
    property_names: Vec<usize>,
    first_items: Vec<usize>, // to the item of this index
    every_item: Vec<usize>,
    asks_twice: bool, // unevaluated...: the subschemas beside it are evaluated again for each part
}

/// The subschemas of one schema, in an order in which `here` only leads forward.
pub struct Work {
    nodes: Vec<Node>,
    root: usize,
}

impl Work {
    /// Refuses references that leave the schema or never end.
    pub fn of(schema: &Value) -> Outcome<Self> {
        let mut reader = Reader { root: schema, nodes: Vec::new(), found: HashMap::new(), todo: Vec::new() };
        reader.node(schema, String::new())?;
        while let Some((index, value, place)) = reader.todo.pop() {
            reader.read(index, value, &place)?;
        }
        let order = forward_order(&reader.nodes)?;
        Ok(sorted(reader.nodes, &order))
    }

    /// Fails when validating `value` would take more than the bound.
    pub fn check(&self, value: &Value) -> Outcome<()> {
        let mut spent = Spent { evaluations: 0, steps: 0 };
        self.walk(value, BTreeMap::from([(self.root, 1)]), &mut spent)
    }

    /// `asked`: how often each subschema is evaluated on `value`. serde_json bounds the depth.
    fn walk(&self, value: &Value, mut asked: BTreeMap<usize, u64>, spent: &mut Spent) -> Outcome<()> {
        let parts = match value {
            Value::Array(items) => items.len(),
            Value::Object(fields) => fields.len(),
            _ => 0,
        };
        let mut done: Vec<(usize, u64)> = Vec::new();
        while let Some((index, times)) = asked.pop_first() {
            spent.take(times)?;
            let node = &self.nodes[index];
            let times_here = if node.asks_twice { times.saturating_mul(2 + parts as u64) } else { times };
            for &next in &node.here {
                add(&mut asked, next, times_here);
            }
            spent.take(times.saturating_mul(if value.is_object() { (node.property_names.len() * parts) as u64 } else { 0 }))?;
            done.push((index, times_here));
        }
        match value {
            Value::Array(items) => items.iter().enumerate().try_for_each(|(i, item)| {
                let mut below = BTreeMap::new();
                for &(index, times) in &done {
                    let node = &self.nodes[index];
                    for &next in node.every_item.iter().chain(node.first_items.get(i)) {
                        add(&mut below, next, times);
                    }
                }
                self.walk(item, below, spent)
            }),
            Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
                let mut below = BTreeMap::new();
                for &(index, times) in &done {
                    let node = &self.nodes[index];
                    for &next in node.every_property.iter().chain(node.named.get(name)) {
                        add(&mut below, next, times);
                    }
                }
                self.walk(field, below, spent)
            }),
            _ => Ok(()),
        }
    }
}

struct Spent {
    evaluations: u64,
    steps: u64,
}

impl Spent {
    fn take(&mut self, evaluations: u64) -> Outcome<()> {
        self.steps += 1;
        self.evaluations = self.evaluations.saturating_add(evaluations);
        if self.steps > MAX_STEPS || self.evaluations > MAX_EVALUATIONS {
            return Err(Failure::exhausted("checking the value against its schema would take too long"));
        }
        Ok(())
    }
}

fn add(counts: &mut BTreeMap<usize, u64>, index: usize, times: u64) {
    let count = counts.entry(index).or_insert(0);
    *count = count.saturating_add(times);
}

struct Reader<'a> {
    root: &'a Value,
    nodes: Vec<Node>,
    found: HashMap<*const Value, usize>,
    todo: Vec<(usize, &'a Value, String)>,
}

fn below(place: &str, key: &str) -> String {
    format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"))
}

impl<'a> Reader<'a> {
    fn node(&mut self, value: &'a Value, place: String) -> Outcome<usize> {
        if let Some(&index) = self.found.get(&(value as *const Value)) {
            return Ok(index);
        }
        let index = self.nodes.len();
        if index == MAX_SUBSCHEMAS {
            return Err(Failure::exhausted("the schema has too many parts").at(place));
        }
        self.nodes.push(Node::default());
        self.found.insert(value, index);
        self.todo.push((index, value, place));
        Ok(index)
    }

    fn read(&mut self, index: usize, value: &'a Value, place: &str) -> Outcome<()> {
        let Value::Object(fields) = value else { return Ok(()) };
        if !place.is_empty() && fields.contains_key("$id") {
            return Err(Failure::invalid("a schema within a schema ($id) is not supported").at(place));
        }
        let here = self.here(fields, place)?;
        let node = Node {
            here,
            named: match fields.get("properties") {
                Some(Value::Object(named)) => {
                    let at = below(place, "properties");
                    let node_of =
                        |(name, schema): (&String, &'a Value)| Ok((name.clone(), self.node(schema, below(&at, name))?));
                    named.iter().map(node_of).collect::<Outcome<_>>()?
                }
                _ => HashMap::new(),
            },
            every_property: self.all(
                fields,
                place,
                &["additionalProperties", "unevaluatedProperties"],
                &["patternProperties"],
            )?,
            property_names: self.all(fields, place, &["propertyNames"], &[])?,
            first_items: self.all(fields, place, &[], &["prefixItems"])?,
            every_item: self.all(fields, place, &["additionalItems", "contains", "unevaluatedItems"], &["items"])?,
            asks_twice: fields.contains_key("unevaluatedProperties") || fields.contains_key("unevaluatedItems"),
        };
        self.nodes[index] = node;
        Ok(())
    }

    fn here(&mut self, fields: &'a Map<String, Value>, place: &str) -> Outcome<Vec<usize>> {
        let lists = ["allOf", "anyOf", "oneOf", "dependentSchemas", "dependencies"];
        let mut here = self.all(fields, place, &["not", "if", "then", "else"], &lists)?;
        for keyword in ["$dynamicRef", "$recursiveRef"] {
            if fields.contains_key(keyword) {
                return Err(Failure::invalid(format!("{keyword} is not supported")).at(below(place, keyword)));
            }
        }
        if let Some(Value::String(reference)) = fields.get("$ref") {
            let at = below(place, "$ref");
            let pointer = reference.strip_prefix('#').filter(|rest| rest.is_empty() || rest.starts_with('/'));
            let Some(pointer) = pointer.and_then(decoded) else {
                return Err(Failure::invalid("only references within the schema (\"#/...\") are supported").at(at));
            };
            let root = self.root;
            let Some(target) = root.pointer(&pointer) else {
                return Err(Failure::invalid("a reference to a part that is not there").at(at));
            };
            here.push(self.node(target, pointer)?);
        }
        Ok(here)
    }

    /// The subschemas under keywords that hold one, and under those that hold a list or a map of them (or one: `items`).
    fn all(&mut self, fields: &'a Map<String, Value>, place: &str, single: &[&str], many: &[&str]) -> Outcome<Vec<usize>> {
        let mut found = Vec::new();
        for &keyword in single.iter().chain(many) {
            let at = below(place, keyword);
            match fields.get(keyword) {
                Some(Value::Array(list)) => {
                    for (i, schema) in list.iter().enumerate() {
                        found.push(self.node(schema, below(&at, &i.to_string()))?);
                    }
                }
                Some(Value::Object(map)) if keyword != "items" && many.contains(&keyword) => {
                    for (name, schema) in map {
                        found.push(self.node(schema, below(&at, name))?);
                    }
                }
                Some(schema) => found.push(self.node(schema, at)?),
                None => {}
            }
        }
        Ok(found)
    }
}

/// Undoes %XX, which a pointer in a reference may have.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok())?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

/// The nodes in an order in which `here` leads forward only; a failure when it leads back.
fn forward_order(nodes: &[Node]) -> Outcome<Vec<usize>> {
    let mut incoming = vec![0usize; nodes.len()];
    for node in nodes {
        node.here.iter().for_each(|&next| incoming[next] += 1);
    }
    let mut order: Vec<usize> = (0..nodes.len()).filter(|&i| incoming[i] == 0).collect();
    let mut at = 0;
    while at < order.len() {
        for &next in &nodes[order[at]].here {
            incoming[next] -= 1;
            if incoming[next] == 0 {
                order.push(next);
            }
        }
        at += 1;
    }
    if order.len() < nodes.len() {
        return Err(Failure::invalid("the schema refers to itself without end"));
    }
    Ok(order)
}

fn sorted(nodes: Vec<Node>, order: &[usize]) -> Work {
    let mut rank = vec![0; nodes.len()];
    order.iter().enumerate().for_each(|(i, &old)| rank[old] = i);
    let mut placed: Vec<Node> = Vec::new();
    placed.resize_with(nodes.len(), Node::default);
    for (old, mut node) in nodes.into_iter().enumerate() {
        let lists =
            [&mut node.here, &mut node.every_property, &mut node.property_names, &mut node.first_items, &mut node.every_item];
        lists.into_iter().flatten().for_each(|index| *index = rank[*index]);
        node.named.values_mut().for_each(|index| *index = rank[*index]);
        placed[rank[old]] = node;
    }
    Work { nodes: placed, root: rank[0] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Code;
    use serde_json::json;

    fn code(schema: &Value, value: &Value) -> Option<Code> {
        Work::of(schema).and_then(|work| work.check(value)).err().map(|failure| failure.code)
    }

    #[test]
    fn usual_schemas_pass() {
        let tree = json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}});
        let mut value = json!({"children": []});
        for _ in 0..20 {
            value = json!({"children": [value, {"children": []}]});
        }
        assert_eq!(code(&tree, &value), None);
        assert_eq!(code(&json!(true), &json!([1, {"a": 2}])), None);
        assert_eq!(code(&json!({"$ref": "#/$defs/a%20b", "$defs": {"a b": {"type": "string"}}}), &json!("x")), None);
    }

    #[test]
    fn references_without_end_or_elsewhere_are_refused() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"not": {"$ref": "#"}}]}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
            json!({"$ref": "https://example.com/schema"}),
            json!({"$ref": "#anchor"}),
            json!({"$ref": "#/nowhere"}),
            json!({"$dynamicRef": "#x"}),
            json!({"properties": {"a": {"$id": "other", "type": "string"}}}),
        ] {
            assert_eq!(code(&schema, &json!({})), Some(Code::Invalid), "{schema}");
        }
    }

    fn doubling(levels: usize) -> Value {
        let mut definitions = Map::new();
        for i in 0..levels {
            let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
            definitions.insert(format!("d{i}"), json!({"allOf": [next, next]}));
        }
        definitions.insert(format!("d{levels}"), json!({"type": "object"}));
        json!({"$ref": "#/$defs/d0", "$defs": definitions})
    }

    #[test]
    fn evaluations_are_counted() {
        assert_eq!(code(&doubling(18), &json!({})), None);
        assert_eq!(code(&doubling(60), &json!({})), Some(Code::Exhausted));
        // Twice the work at each level of the value.
        let twice = json!({"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]});
        let mut value = json!({});
        for _ in 0..40 {
            value = json!({"a": value});
        }
        assert_eq!(code(&twice, &value), Some(Code::Exhausted));
        assert_eq!(code(&twice, &json!({"a": {"a": {}}})), None);
    }

    #[test]
    fn many_parts_are_refused() {
        let list: Vec<Value> = (0..MAX_SUBSCHEMAS).map(|_| json!({})).collect();
        assert_eq!(code(&json!({"anyOf": list}), &json!(1)), Some(Code::Exhausted));
    }
}
