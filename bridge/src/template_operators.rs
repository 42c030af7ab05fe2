// SPDX-License-Identifier: Apache-2.0
//! Operators and filters of chat templates that count what they make. minijinja's own know no bound but instructions, so the
//! compiled template is rewritten to call these instead, one instruction for one.

use minijinja::machinery::{Instruction, Instructions};
use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{filters, functions, Environment, Error, ErrorKind, State, Value};

use crate::template_cycles::{changed, check_stores, namespace, storable};
use crate::template_python::{text_of, tojson};
use crate::template_spending::{take_bytes, take_container, take_value};

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// Replaces what can grow a value by what counts it. The places of instructions, and so all jumps, stay.
pub fn rewrite(instructions: &mut Instructions<'_>) {
    // Beyond the slots in which the engine remembers filters, so that two of ours never share one.
    const NO_SLOT: u8 = u8::MAX;
    check_stores(instructions, "__storable");
    for index in 0..instructions.len() as u32 {
        let Some(instruction) = instructions.get_mut(index) else { continue };
        let counted = match instruction {
            Instruction::Add => Instruction::ApplyFilter("__add", Some(2), NO_SLOT),
            Instruction::Mul => Instruction::ApplyFilter("__multiply", Some(2), NO_SLOT),
            Instruction::StringConcat => Instruction::ApplyFilter("__concatenate", Some(2), NO_SLOT),
            Instruction::Slice => Instruction::ApplyFilter("__slice", Some(4), NO_SLOT),
            Instruction::BuildList(Some(count)) => match u16::try_from(*count) {
                Ok(count) if count > 0 => Instruction::ApplyFilter("__list", Some(count), NO_SLOT),
                _ => continue,
            },
            Instruction::BuildMap(pairs) => match u16::try_from(*pairs * 2) {
                Ok(count) if count > 0 => Instruction::ApplyFilter("__map", Some(count), NO_SLOT),
                _ => continue,
            },
            Instruction::CallMethod("changed", count) => Instruction::ApplyFilter("__changed", *count, NO_SLOT),
            _ => continue,
        };
        *instruction = counted;
    }
}

/// Registers the counting operators, and counts around every built-in filter.
pub fn install(environment: &mut Environment<'_>) {
    environment.add_filter("__add", add);
    environment.add_filter("__multiply", multiply);
    environment.add_filter("__concatenate", |left: &Value, right: &Value| concatenate(&text_of(left)?, &text_of(right)?));
    environment.add_filter("__slice", slice);
    environment.add_filter("__list", |items: Rest<Value>| -> Result<Value, Error> { list(items.0) });
    environment.add_filter("__map", map);
    environment.add_filter("__changed", changed);
    environment.add_filter("__storable", storable);
    environment.add_filter("tojson", tojson);
    environment.add_filter("string", |value: &Value| text_of(value).map(Value::from));
    environment.add_filter("format", |state: &State, arguments: Rest<Value>| -> Result<Value, Error> {
        let (Some(pattern), rest) = (arguments.first().and_then(Value::as_str), arguments.get(1..).unwrap_or_default()) else {
            return Err(invalid("format takes a string"));
        };
        bound_format(pattern, rest)?;
        take_value(Value::from_function(filters::format).call(state, &arguments)?)
    });
    for name in ["pprint", "urlencode", "batch", "slice", "chain"] {
        environment.remove_filter(name);
    }
    environment.add_filter("replace", |text: &Value, from: &Value, to: &Value| {
        replace(&text_of(text)?, &text_of(from)?, &text_of(to)?)
    });
    environment.add_filter("join", |items: &Value, separator: Option<&Value>, options: Kwargs| -> Result<Value, Error> {
        let attribute: Option<&str> = options.get("attribute")?;
        options.assert_all_used()?;
        join(items, &separator.map_or(Ok(String::new()), text_of)?, attribute)
    });
    environment.add_filter("indent", indent);
    for (name, filter) in counted_filters() {
        environment.add_filter(name, move |state: &State, arguments: Rest<Value>| take_value(filter.call(state, &arguments)?));
    }
    // Python's protocols are wider than the engine's: a string is a sequence, and a bool is a number.
    environment
        .add_test("sequence", |value: &Value| matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map));
    environment.add_test("iterable", |value: &Value| {
        matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable | ValueKind::Undefined)
    });
    environment.add_test("number", |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    environment.remove_global("debug");
    environment.add_function("dict", |value: Option<Value>, more: Kwargs| -> Result<Value, Error> {
        take_container()?;
        functions::dict(value, more)
    });
    environment.add_function("namespace", namespace);
}

fn counted_filters() -> Vec<(&'static str, Value)> {
    vec![
        ("lower", Value::from_function(filters::lower)),
        ("upper", Value::from_function(filters::upper)),
        ("title", Value::from_function(filters::title)),
        ("capitalize", Value::from_function(filters::capitalize)),
        ("trim", Value::from_function(filters::trim)),
        ("reverse", Value::from_function(filters::reverse)),
        ("split", Value::from_function(filters::split)),
        ("lines", Value::from_function(filters::lines)),
        ("items", Value::from_function(filters::items)),
        ("dictsort", Value::from_function(filters::dictsort)),
        ("sort", Value::from_function(filters::sort)),
        ("list", Value::from_function(filters::list)),
        ("sum", Value::from_function(filters::sum)),
        ("select", Value::from_function(filters::select)),
        ("reject", Value::from_function(filters::reject)),
        ("selectattr", Value::from_function(filters::selectattr)),
        ("rejectattr", Value::from_function(filters::rejectattr)),
        ("map", Value::from_function(filters::map)),
        ("groupby", Value::from_function(filters::groupby)),
        ("unique", Value::from_function(filters::unique)),
        ("zip", Value::from_function(filters::zip)),
        ("escape", Value::from_function(filters::escape)),
        ("e", Value::from_function(filters::escape)),
    ]
}

fn list(items: Vec<Value>) -> Result<Value, Error> {
    take_container()?;
    take_bytes(items.len() * std::mem::size_of::<Value>())?;
    Ok(Value::from(items))
}

fn map(pairs: Rest<Value>) -> Result<Value, Error> {
    take_container()?;
    let mut pairs = pairs.0.into_iter();
    let mut fields = Vec::new();
    while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
        fields.push((key, value));
    }
    take_bytes(fields.len() * 2 * std::mem::size_of::<Value>())?;
    Ok(fields.into_iter().collect())
}

fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

fn concatenate(left: &str, right: &str) -> Result<Value, Error> {
    take_bytes(left.len() + right.len())?;
    Ok(Value::from([left, right].concat()))
}

fn number(integer: Option<i128>, float: impl Fn(f64, f64) -> f64, left: &Value, right: &Value) -> Result<Value, Error> {
    let as_float = |value: &Value| f64::try_from(value.clone()).map_err(|_| invalid("an operand is not a number"));
    match integer {
        Some(number) => Ok(i64::try_from(number).map_or_else(|_| Value::from(number), Value::from)),
        None => Ok(Value::from(float(as_float(left)?, as_float(right)?))),
    }
}

/// The integers of both sides, bools counting as 0 and 1 as in Python.
fn integers(left: &Value, right: &Value) -> Option<(i128, i128)> {
    let integer = |value: &Value| match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    };
    Some((integer(left)?, integer(right)?))
}

fn add(left: &Value, right: &Value) -> Result<Value, Error> {
    if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
        return concatenate(left, right);
    }
    if is_sequence(left) && is_sequence(right) {
        return list(left.try_iter()?.chain(right.try_iter()?).collect());
    }
    if left.kind() == ValueKind::Undefined || right.kind() == ValueKind::Undefined {
        return Err(Error::new(ErrorKind::UndefinedError, "an operand of + is undefined"));
    }
    let is_numeric = |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool);
    if !is_numeric(left) || !is_numeric(right) {
        return Err(invalid(format!("cannot add {} and {}", left.kind(), right.kind())));
    }
    number(integers(left, right).and_then(|(a, b)| a.checked_add(b)), |a, b| a + b, left, right)
}

fn multiply(left: &Value, right: &Value) -> Result<Value, Error> {
    for (value, times) in [(left, right), (right, left)] {
        if value.as_str().is_none() && !is_sequence(value) {
            continue;
        }
        let times = i64::try_from(times.clone()).map_err(|_| invalid("only an integer can repeat a value"))?;
        let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
        if let Some(text) = value.as_str() {
            take_bytes(text.len().saturating_mul(times))?;
            return Ok(Value::from(text.repeat(times)));
        }
        let items: Vec<Value> = value.try_iter()?.collect();
        take_bytes(items.len().saturating_mul(times).saturating_mul(std::mem::size_of::<Value>()))?;
        return list((0..times).flat_map(|_| items.iter().cloned()).collect());
    }
    number(integers(left, right).and_then(|(a, b)| a.checked_mul(b)), |a, b| a * b, left, right)
}

/// value[start:stop:step] as in Python.
fn slice(value: &Value, start: &Value, stop: &Value, step: &Value) -> Result<Value, Error> {
    let bound = |value: &Value| -> Result<Option<i64>, Error> {
        if value.is_none() || value.is_undefined() {
            Ok(None)
        } else {
            i64::try_from(value.clone()).map(Some)
        }
    };
    let (start, stop, step) = (bound(start)?, bound(stop)?, bound(step)?.unwrap_or(1));
    if let Some(text) = value.as_str() {
        take_bytes(text.len())?;
        let chars: Vec<char> = text.chars().collect();
        return Ok(Value::from(chosen(chars.len(), start, stop, step)?.map(|index| chars[index]).collect::<String>()));
    }
    if !is_sequence(value) {
        return Err(invalid(format!("a value of type {} cannot be sliced", value.kind())));
    }
    let items: Vec<Value> = value.try_iter()?.collect();
    list(chosen(items.len(), start, stop, step)?.map(|index| items[index].clone()).collect())
}

/// The indices that a slice takes. Source: Python reference, slice.indices().
fn chosen(len: usize, start: Option<i64>, stop: Option<i64>, step: i64) -> Result<impl Iterator<Item = usize>, Error> {
    if step == 0 {
        return Err(invalid("a slice cannot have a step of 0"));
    }
    let len = len as i64;
    let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let clamp = |index: i64| if index < 0 { index.saturating_add(len).max(low) } else { index.min(high) };
    let (first, last) = if step > 0 { (0, len) } else { (len - 1, -1) };
    let start = start.map_or(first, clamp);
    let stop = stop.map_or(last, clamp);
    let reach = if step > 0 { stop - start } else { start - stop };
    let stride = step.unsigned_abs().min(i64::MAX as u64) as i64;
    let count = if reach > 0 { (reach - 1) / stride + 1 } else { 0 };
    Ok((0..count).map(move |i| (start + i * step) as usize))
}

/// Counts the most that str.format() or % can make of `pattern`: every place takes the longest value, or four digits of width.
pub fn bound_format(pattern: &str, values: &[Value]) -> Result<(), Error> {
    const MAX_WIDTH_DIGITS: usize = 4;
    if pattern.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > MAX_WIDTH_DIGITS) {
        return Err(invalid("a width in a format has at most four digits"));
    }
    let mut longest = 10_000;
    for value in values {
        longest = longest.max(text_of(value)?.len());
    }
    let places = pattern.matches(['{', '%']).count();
    take_bytes(pattern.len().saturating_add(places.saturating_mul(longest)))
}

pub fn replace(text: &str, from: &str, to: &str) -> Result<Value, Error> {
    let found = if from.is_empty() { text.len() + 1 } else { text.matches(from).count() };
    take_bytes(text.len().saturating_add(found.saturating_mul(to.len())))?;
    Ok(Value::from(text.replace(from, to)))
}

pub fn join(items: &Value, separator: &str, attribute: Option<&str>) -> Result<Value, Error> {
    let mut joined = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        let item = match attribute {
            Some(name) => item.get_attr(name)?,
            None => item,
        };
        let separator = if index > 0 { separator } else { "" };
        let text = match item.as_str() {
            Some(text) => text.to_string(),
            None => text_of(&item)?,
        };
        take_bytes(separator.len() + text.len())?;
        joined.push_str(separator);
        joined.push_str(&text);
    }
    Ok(Value::from(joined))
}

fn indent(
    text: &Value,
    width: Option<&Value>,
    first: Option<bool>,
    blank: Option<bool>,
    options: Kwargs,
) -> Result<Value, Error> {
    let text = text_of(text)?;
    let width = match width.cloned().or(options.get("width")?) {
        None => 4,
        Some(width) => {
            width.as_usize().filter(|&width| width <= 1024).ok_or_else(|| invalid("indent takes a width of 0 to 1024"))?
        }
    };
    let first = first.or(options.get("first")?).unwrap_or(false);
    let blank = blank.or(options.get("blank")?).unwrap_or(false);
    options.assert_all_used()?;
    let lines: Vec<&str> = text.split('\n').collect();
    take_bytes(text.len() + lines.len().saturating_mul(width))?;
    let margin = " ".repeat(width);
    let indented = lines.iter().enumerate().map(|(index, line)| {
        let wanted = if index == 0 { first } else { blank || !line.is_empty() };
        format!("{}{line}", if wanted { margin.as_str() } else { "" })
    });
    Ok(Value::from(indented.collect::<Vec<_>>().join("\n")))
}
