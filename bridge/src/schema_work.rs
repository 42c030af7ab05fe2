// SPDX-License-Identifier: Apache-2.0
//! What a JSON schema may ask for, counted before it is compiled: size, depth, and the things that a few bytes make dear.
//! The compiler has limits of its own, but not on everything: a single `multipleOf` may cost it seconds.

use regex_syntax::ast::ErrorKind;
use regex_syntax::hir::{Hir, HirKind};
use serde_json::{Map, Value};

use crate::guard::{Failure, Outcome};

/// In JSON values, each of which costs the compiler 5 to 10 microseconds: 0.1 s. Schemas of tools have a few hundred.
pub const MAX_WORK: usize = 12_000;
const MAX_DEPTH: usize = 64;
/// The longest real pattern is under 500 bytes.
const MAX_PATTERN_BYTES: usize = 8 << 10;
/// Counted repetitions inside each other: the product of their counts. Host names need 63 * 127. Every state of such a
/// pattern holds all ways to share the text out among them.
const MAX_NESTED_COUNTS: u64 = 10_000;
/// llguidance's own options inside a schema; a caller could switch the constraint off with them.
pub const OWN_OPTIONS: &str = "x-guidance";

/// Bounds the work of compiling `schema`, and refuses what would change its meaning. A failure's place is a JSON pointer.
pub fn check_schema(schema: &Value) -> Outcome<()> {
    let mut work = Work { limit: MAX_WORK, ..Work::default() };
    work.add_value(schema, "", 0)?;
    work.check_common_multiple()
}

/// The work of compiling `schema`, without a limit.
pub fn work_of(schema: &Value) -> usize {
    let mut work = Work { limit: usize::MAX, ..Work::default() };
    match work.add_value(schema, "", 0) {
        Ok(()) => work.spent,
        Err(_) => MAX_WORK,
    }
}

/// RFC 6901.
pub fn below(place: &str, key: &str) -> String {
    format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[derive(Default)]
struct Work {
    limit: usize,
    spent: usize,
    has_merges: bool,                   // one value may have to keep to several schemas at once
    multiples: Vec<(Multiple, String)>, // and where each stands
}

impl Work {
    fn spend(&mut self, work: usize, place: &str) -> Outcome<()> {
        self.spent = self.spent.saturating_add(work);
        if self.spent > self.limit {
            return Err(Failure::exhausted("the schema is too large or costs too much to compile").at(place));
        }
        Ok(())
    }

    /// Recursion is bounded by the depth.
    fn add_value(&mut self, value: &Value, place: &str, depth: usize) -> Outcome<()> {
        self.spend(1, place)?;
        if depth > MAX_DEPTH {
            return Err(Failure::exhausted("the schema is nested too deep").at(place));
        }
        match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| self.add_value(item, &format!("{place}/{index}"), depth + 1)),
            Value::Object(fields) => fields.iter().try_for_each(|(key, item)| {
                let place = below(place, key);
                self.add_keyword(fields, key, item, &place)?;
                self.add_value(item, &place, depth + 1)
            }),
            _ => Ok(()),
        }
    }

    /// Whether `fields` is a schema or data in a `const` is not known here; data that looks dear is rare.
    fn add_keyword(&mut self, fields: &Map<String, Value>, key: &str, item: &Value, place: &str) -> Outcome<()> {
        match (key, item) {
            (OWN_OPTIONS, _) => Err(Failure::invalid("the schema may not set x-guidance").at(place)),
            ("pattern", Value::String(pattern)) => self.add_pattern(pattern, place),
            // No two of them may fit one name, which is looked into pair by pair.
            ("patternProperties", Value::Object(patterns)) => {
                self.spend(patterns.len().saturating_mul(patterns.len()), place)?;
                patterns.keys().try_for_each(|pattern| self.add_pattern(pattern, &below(place, pattern)))
            }
            ("format", Value::String(_)) => self.spend(40, place),
            ("minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum", Value::Number(_)) => self.spend(8, place),
            ("multipleOf", Value::Number(number)) => {
                let multiple = Multiple::parse(&number.to_string());
                self.multiples.push((multiple, place.to_string()));
                self.spend(multiple.remainders(0), place)
            }
            // Each optional property may follow each one before it.
            ("properties", Value::Object(properties)) => {
                let required = fields.get("required").and_then(Value::as_array).map_or(0, Vec::len);
                let optional = properties.len().saturating_sub(required);
                self.spend(optional.saturating_mul(optional) / 64, place)
            }
            ("allOf", _) => {
                self.has_merges = true;
                Ok(())
            }
            ("$ref", _) => {
                self.has_merges |= fields.len() > 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add_pattern(&mut self, pattern: &str, place: &str) -> Outcome<()> {
        if pattern.len() > MAX_PATTERN_BYTES {
            let message = format!("a pattern of {} bytes; at most {MAX_PATTERN_BYTES}", pattern.len());
            return Err(Failure::exhausted(message).at(place));
        }
        let unicode_classes = pattern.matches("\\p").count() + pattern.matches("\\P").count();
        self.spend(20 + pattern.len() + 30 * unicode_classes, place)?;
        let hir = match regex_syntax::parse(pattern) {
            Ok(hir) => hir,
            // The compiler puts groups around a pattern, which would make another one of these.
            Err(regex_syntax::Error::Parse(error))
                if matches!(error.kind(), ErrorKind::EscapeUnexpectedEof | ErrorKind::GroupUnopened) =>
            {
                return Err(Failure::invalid(format!("the pattern is no regular expression: {}", error.kind())).at(place));
            }
            // Whatever else is none is refused by the compiler, with its own reason.
            Err(_) => return Ok(()),
        };
        let counts = nested_counts(&hir).nested;
        if counts > MAX_NESTED_COUNTS {
            let message = format!("the pattern repeats repetitions, with {counts} ways to count; at most {MAX_NESTED_COUNTS}");
            return Err(Failure::exhausted(message).at(place));
        }
        Ok(())
    }

    /// A number that is a multiple of several is a multiple of their least common one, which is what gets compiled.
    fn check_common_multiple(&self) -> Outcome<()> {
        let decimals = self.multiples.iter().map(|(multiple, _)| multiple.decimals).max().unwrap_or(0);
        let mut common = 1;
        for (multiple, place) in self.multiples.iter().filter(|_| self.has_merges) {
            common = least_common_multiple(common, multiple.remainders(decimals));
            if common > MAX_WORK {
                return Err(Failure::exhausted("the schema's multipleOf have too large a common multiple").at(place));
            }
        }
        Ok(())
    }
}

/// A number as JSON writes it, as a whole number and how many of its digits are decimals: "0.25" is 25 with 2.
#[derive(Clone, Copy)]
struct Multiple {
    digits: usize,
    decimals: u32,
}

impl Multiple {
    fn parse(number: &str) -> Self {
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i64);
        let shift = exponent.parse::<i64>().unwrap_or(i64::from(i32::MAX)).saturating_sub(fraction);
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        let whole = Multiple { digits: digits.parse().unwrap_or(usize::MAX), decimals: 0 };
        match u32::try_from(shift) {
            Ok(zeros) => Multiple { digits: whole.remainders(zeros), decimals: 0 },
            Err(_) => Multiple { decimals: u32::try_from(-shift).unwrap_or(u32::MAX), ..whole },
        }
    }

    /// The states of a number's remainder where `decimals` digits after the point count.
    fn remainders(self, decimals: u32) -> usize {
        let zeros = decimals.saturating_sub(self.decimals);
        10usize.checked_pow(zeros).map_or(usize::MAX, |factor| self.digits.saturating_mul(factor))
    }
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x.max(1)).saturating_mul(b)
}

#[derive(Default)]
struct Counts {
    product: u64, // of the repetitions inside each other, on the worst way down
    nested: u64,  // the same, where there are at least two
    varies: bool, // in how often something is repeated
}

/// The parser bounds how deep expressions are nested, and with it this recursion.
fn nested_counts(hir: &Hir) -> Counts {
    let mut found = Counts { product: 1, ..Counts::default() };
    for part in hir.kind().subs() {
        let inner = nested_counts(part);
        found.product = found.product.max(inner.product);
        found.nested = found.nested.max(inner.nested);
        found.varies |= inner.varies;
    }
    let HirKind::Repetition(repetition) = hir.kind() else { return found };
    let (min, max) = (u64::from(repetition.min), repetition.max.map(u64::from));
    // How often it is repeated is open for itself, or because what is repeated may be long or short.
    let own = match max {
        Some(max) if found.varies => max.max(1),
        Some(max) => max - min + 1,
        None => min + 1,
    };
    let product = found.product.saturating_mul(own);
    if own > 1 && found.product > 1 {
        found.nested = found.nested.max(product);
    }
    Counts { product, nested: found.nested, varies: found.varies || max != Some(min) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Code;
    use serde_json::json;

    fn place_of(schema: Value) -> Option<String> {
        check_schema(&schema).err().map(|failure| failure.place)
    }

    fn counts_of(pattern: &str) -> u64 {
        nested_counts(&regex_syntax::parse(pattern).unwrap()).nested
    }

    #[test]
    fn counts_are_those_of_repetitions_inside_each_other() {
        for (pattern, counts) in [
            ("a{1,100000}", 0),
            ("a{1,99}b{1,99}c{1,99}", 0),
            ("(a{4}){0,100000}", 0),
            ("(a+b+)+", 4),
            ("([a-z]{1,63}[.]){1,127}", 63 * 127),
            ("(a{1,99}|b{1,7}){1,9}", 99 * 9),
            ("(a{1,99}){99}", 99 * 99),
            ("((a{1,999}){1,999}){1,999}", 999 * 999 * 999),
            ("(((a{1,4000000000}){1,4000000000}){1,4000000000}){1,4000000000}", u64::MAX),
        ] {
            assert_eq!(counts_of(pattern), counts, "{pattern}");
        }
    }

    #[test]
    fn nested_repetitions_are_bounded_exactly_wherever_patterns_stand() {
        let within = "^(a{1,100}){1,100}$";
        let beyond = "^(a{1,100}){1,101}$";
        assert_eq!(place_of(json!({"type": "string", "pattern": within})), None);
        assert_eq!(place_of(json!({"type": "string", "pattern": beyond})), Some("/pattern".into()));
        let inside = json!({"properties": {"a": {"items": {"anyOf": [true, {"pattern": beyond}]}}}});
        assert_eq!(place_of(inside), Some("/properties/a/items/anyOf/1/pattern".into()));
        assert_eq!(place_of(json!({"patternProperties": {beyond: {}}})), Some(format!("/patternProperties/{beyond}")));
    }

    #[test]
    fn patterns_that_only_groups_around_them_would_complete_are_none() {
        for pattern in ["\\", "a\\", "a)(b", ")", "a)|(b"] {
            assert_eq!(place_of(json!({"items": {"pattern": pattern}})), Some("/items/pattern".into()), "{pattern}");
        }
    }

    #[test]
    fn patterns_are_bounded_exactly() {
        let pattern = |n: usize| json!({"pattern": "a".repeat(n)});
        assert_eq!(place_of(pattern(MAX_PATTERN_BYTES)), None);
        assert_eq!(place_of(pattern(MAX_PATTERN_BYTES + 1)), Some("/pattern".into()));
    }

    #[test]
    fn work_is_bounded_exactly() {
        let list = |n: usize| json!({"enum": vec![0; n]});
        assert_eq!(work_of(&list(100)), 102);
        assert_eq!(place_of(list(MAX_WORK - 2)), None);
        assert_eq!(place_of(list(MAX_WORK - 1)), Some(format!("/enum/{}", MAX_WORK - 2)));
        let optional = |n: usize| json!({"properties": (0..n).map(|i| (i.to_string(), json!(true))).collect::<Map<_, _>>()});
        assert_eq!(place_of(optional(500)), None);
        assert_eq!(place_of(optional(900)), Some("/properties".into()));
        let nested = |n: usize| (0..n).fold(json!(true), |inner, _| json!({"items": inner}));
        assert_eq!(place_of(nested(MAX_DEPTH)), None);
        assert_eq!(place_of(nested(MAX_DEPTH + 1)), Some("/items".repeat(MAX_DEPTH + 1)));
    }

    #[test]
    fn multiples_are_bounded_by_their_remainders() {
        for good in [json!(1000), json!(0.01), json!(1e-9), json!(5), json!(3600), json!(0.25), json!(11000)] {
            assert_eq!(place_of(json!({"multipleOf": good})), None);
        }
        for bad in [
            json!(12001),
            json!(1000003),
            json!(1000000000),
            json!(12345.678),
            json!(4294967291u64),
            json!(1.2345678901234567e300),
        ] {
            assert_eq!(place_of(json!({"multipleOf": bad})), Some("/multipleOf".into()));
        }
        let both = |a: u64, b: u64| json!({"allOf": [{"multipleOf": a}, {"multipleOf": b}]});
        assert_eq!(place_of(both(100, 60)), None);
        assert_eq!(place_of(both(997, 991)), Some("/allOf/1/multipleOf".into()));
        assert_eq!(place_of(json!({"allOf": [{"multipleOf": 0.01}, {"multipleOf": 50}]})), None);
        assert_eq!(
            place_of(json!({"allOf": [{"multipleOf": 1e-9}, {"multipleOf": 5050}]})),
            Some("/allOf/1/multipleOf".into())
        );
        assert_eq!(
            place_of(json!({"$ref": "#/$defs/a", "multipleOf": 997, "$defs": {"a": {"multipleOf": 991}}})).is_some(),
            true
        );
        assert_eq!(place_of(json!({"properties": {"a": {"multipleOf": 997}, "b": {"multipleOf": 991}}})), None);
    }

    #[test]
    fn own_options_are_refused() {
        let failure = check_schema(&json!({"items": {"x-guidance": {}}})).unwrap_err();
        assert_eq!((failure.code, failure.place.as_str()), (Code::Invalid, "/items/x-guidance"));
    }
}
