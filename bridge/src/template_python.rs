// SPDX-License-Identifier: Apache-2.0
//! How Python prints: str(), repr() and json.dumps() of template values, and strftime. Chat templates are written against
//! these, and a space more or less changes the prompt.

use std::fmt::Write;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

use crate::template_spending::take_bytes;

/// Nesting that printing follows before it gives up; requests are bounded far below.
pub const MAX_DEPTH: usize = 128;

pub fn too_deep() -> Error {
    Error::new(ErrorKind::OutOfFuel, "a value is nested too deep")
}

/// A float as repr() has it: shortest digits, exponents from 1e16 on and below 1e-4.
fn float_repr(number: f64, json: bool) -> String {
    if number.is_nan() {
        return if json { "NaN" } else { "nan" }.to_string();
    }
    if number.is_infinite() {
        let name = if json { "Infinity" } else { "inf" };
        return if number < 0.0 { format!("-{name}") } else { name.to_string() };
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let full = format!("{number}");
    if full.contains('.') {
        full
    } else {
        full + ".0"
    }
}

fn number_text(value: &Value, json: bool) -> String {
    if value.is_integer() {
        value.to_string()
    } else {
        f64::try_from(value.clone()).map_or_else(|_| value.to_string(), |number| float_repr(number, json))
    }
}

/// str(value).
pub fn text_of(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(String::new()),
        ValueKind::String => Ok(value.as_str().unwrap_or_default().to_string()),
        _ => {
            let mut out = String::new();
            repr(value, 0, &mut out)?;
            Ok(out)
        }
    }
}

fn repr(value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    let before = out.len();
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => out.push_str(&number_text(value, false)),
        ValueKind::String => string_repr(value.as_str().unwrap_or_default(), out),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (index, item) in value.try_iter()?.enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                repr(&item, depth + 1, out)?;
            }
            out.push(']');
            return Ok(());
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                repr(&key, depth + 1, out)?;
                out.push_str(": ");
                repr(&value.get_item(&key)?, depth + 1, out)?;
            }
            out.push('}');
            return Ok(());
        }
        _ => out.push_str(&value.to_string()),
    }
    take_bytes(out.len() - before)
}

fn string_repr(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if (c as u32) < 0x20 || (0x7F..0xA1).contains(&(c as u32)) => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// The arguments of json.dumps() that templates use.
struct JsonStyle {
    ensure_ascii: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

/// The filter `tojson`, as transformers defines it: json.dumps with its own defaults, no HTML escapes, keys in order.
pub fn tojson(value: &Value, ensure_ascii: Option<bool>, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<Value> = options.get("indent")?;
    let indent = match indent.filter(|indent| !indent.is_none() && !indent.is_undefined()) {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(text) => text.chars().take(64).collect(),
            None => " ".repeat(indent.as_usize().unwrap_or(0).min(64)),
        }),
    };
    let separators: Option<Value> = options.get("separators")?;
    let part = |index: usize| -> Option<String> {
        let pair = separators.as_ref().filter(|pair| !pair.is_none())?;
        Some(pair.get_item_by_index(index).ok()?.as_str()?.chars().take(64).collect())
    };
    let style = JsonStyle {
        ensure_ascii: ensure_ascii.or(options.get("ensure_ascii")?).unwrap_or(false),
        item_separator: part(0).unwrap_or_else(|| if indent.is_some() { "," } else { ", " }.to_string()),
        key_separator: part(1).unwrap_or_else(|| ": ".to_string()),
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        indent,
    };
    options.assert_all_used()?;
    let mut out = String::new();
    style.write(value, 0, &mut out)?;
    Ok(Value::from(out))
}

impl JsonStyle {
    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        let before = out.len();
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number_text(value, true)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), out),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                return self.nested('[', ']', items.len(), depth, out, |index, out| self.write(&items[index], depth + 1, out));
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                return self.nested('{', '}', keys.len(), depth, out, |index, out| {
                    let key = &keys[index];
                    match key.as_str() {
                        Some(text) => self.string(text, out),
                        None => {
                            let mut text = String::new();
                            self.write(key, depth + 1, &mut text)?;
                            self.string(&text, out);
                        }
                    }
                    out.push_str(&self.key_separator);
                    self.write(&value.get_item(key)?, depth + 1, out)
                });
            }
            kind => {
                return Err(Error::new(ErrorKind::InvalidOperation, format!("a value of type {kind} is not JSON serializable")))
            }
        }
        take_bytes(out.len() - before)
    }

    fn nested(
        &self,
        open: char,
        close: char,
        count: usize,
        depth: usize,
        out: &mut String,
        mut item: impl FnMut(usize, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let new_line = |depth: usize, out: &mut String| {
            if let Some(indent) = &self.indent {
                out.push('\n');
                (0..depth).for_each(|_| out.push_str(indent));
            }
        };
        let before = out.len();
        out.push(open);
        for index in 0..count {
            if index > 0 {
                out.push_str(&self.item_separator);
            }
            new_line(depth + 1, out);
            item(index, out)?;
        }
        if count > 0 {
            new_line(depth, out);
        }
        out.push(close);
        take_bytes(if self.indent.is_some() { out.len() - before } else { 2 })
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if (c as u32) < 0x20 => unicode_escape(c as u16, out),
                // Plane 15 is left alone: there the caller keeps marks that must be found again in the output.
                c if self.ensure_ascii && !(' '..='~').contains(&c) && (c as u32) >> 16 != 15 => {
                    c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| unicode_escape(*unit, out));
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

fn unicode_escape(unit: u16, out: &mut String) {
    let _ = write!(out, "\\u{unit:04x}"); // writing into a String cannot fail
}

/// strftime of Python for local `seconds` since 1970: the directives that chat templates use, in English.
pub fn strftime(format: &str, seconds: i64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"]; // 1970-01-01 first
    let days = seconds.div_euclid(86_400);
    let of_day = seconds.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let hour12 = (hour + 11) % 12 + 1;
    let month_name = MONTHS[month as usize - 1];
    let day_name = DAYS[days.rem_euclid(7) as usize];
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        let padded = directive != Some('-');
        if !padded {
            directive = chars.next();
        }
        let two = |number: i64| if padded { format!("{number:02}") } else { number.to_string() };
        let text = match directive {
            Some('Y') => year.to_string(),
            Some('y') => two(year.rem_euclid(100)),
            Some('m') => two(month),
            Some('d') => two(day),
            Some('e') => format!("{day:2}"),
            Some('H') => two(hour),
            Some('I') => two(hour12),
            Some('M') => two(minute),
            Some('S') => two(second),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_string(),
            Some('B') => month_name.to_string(),
            Some('b' | 'h') => month_name[..3].to_string(),
            Some('A') => day_name.to_string(),
            Some('a') => day_name[..3].to_string(),
            Some('j') => format!("{:03}", days - days_of(year) + 1),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('Z' | 'z') => String::new(), // a naive time has no zone
            Some('%') => "%".to_string(),
            Some(other) => format!("%{other}"),
            None => "%".to_string(),
        };
        out.push_str(&text);
    }
    out
}

/// Year, month and day of a day since 1970-01-01. Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted_month + 2) / 5 + 1)
}

/// The day on which `year` begins.
fn days_of(year: i64) -> i64 {
    let before = year - 1;
    before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_python() {
        let cases = [(0.1, "0.1"), (1.0, "1.0"), (1e16, "1e+16"), (123456789012345.0, "123456789012345.0"), (1e-5, "1e-05")];
        for (number, text) in
            cases.into_iter().chain([(0.0001, "0.0001"), (-0.0, "-0.0"), (1.5e300, "1.5e+300"), (2.5e-7, "2.5e-07")])
        {
            assert_eq!(float_repr(number, false), text);
        }
        assert_eq!(float_repr(f64::NEG_INFINITY, true), "-Infinity");
        assert_eq!(float_repr(f64::NAN, false), "nan");
    }

    #[test]
    fn values_print_as_in_python() {
        let value = Value::from_serialize(serde_json::json!({"a": [1, 2.5, null, true], "it's": "x\n\"", "q": "it's"}));
        assert_eq!(text_of(&value).unwrap(), "{'a': [1, 2.5, None, True], \"it's\": 'x\\n\"', 'q': \"it's\"}");
        assert_eq!(text_of(&Value::UNDEFINED).unwrap(), "");
    }

    #[test]
    fn dates() {
        let noon = 1_709_210_096; // 2024-02-29 12:34:56
        assert_eq!(strftime("%Y-%m-%d %H:%M:%S %j", noon), "2024-02-29 12:34:56 060");
        assert_eq!(strftime("%d %B %Y, %A %b %a %-d %I %p %%", noon), "29 February 2024, Thursday Feb Thu 29 12 PM %");
        assert_eq!(strftime("%F %e %j", -1), "1969-12-31 31 365");
        assert_eq!(strftime("%q%", 0), "%q%");
    }
}
