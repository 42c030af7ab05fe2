// SPDX-License-Identifier: Apache-2.0
//! What one rendering of a chat template may spend. minijinja counts instructions, but a few of them can double a string,
//! or nest a list, every time: so bytes made and containers made are counted too, for the rendering that runs on this
//! thread.

use std::cell::Cell;

use minijinja::{Error, ErrorKind, Value};

/// Bytes of all strings that one rendering may make, the ones thrown away too.
pub const MAX_BYTES: usize = 128 << 20;
/// Lists and maps that one rendering may make. It bounds how deep they can be nested, and so the stack that freeing them
/// takes.
pub const MAX_CONTAINERS: usize = 8192;
/// Values within lists and maps that one rendering may look through when it stores them.
const MAX_VISITS: usize = 16 << 20;

thread_local! {
    static VISITS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
    static CONTAINERS: Cell<usize> = const { Cell::new(0) };
}

pub fn begin() {
    VISITS.set(0);
    BYTES.with(|bytes| bytes.set(0));
    CONTAINERS.with(|containers| containers.set(0));
}

fn spent(what: &str) -> Error {
    Error::new(ErrorKind::OutOfFuel, format!("the template makes too many {what}"))
}

/// Takes `more` bytes before they are made.
pub fn take_bytes(more: usize) -> Result<(), Error> {
    BYTES.with(|bytes| {
        let total = bytes.get().saturating_add(more);
        bytes.set(total);
        if total > MAX_BYTES {
            Err(spent("bytes of text"))
        } else {
            Ok(())
        }
    })
}

pub fn take_visit() -> Result<(), Error> {
    VISITS.set(VISITS.get() + 1);
    if VISITS.get() > MAX_VISITS {
        Err(spent("assignments of long lists"))
    } else {
        Ok(())
    }
}

pub fn take_container() -> Result<(), Error> {
    CONTAINERS.with(|containers| {
        containers.set(containers.get() + 1);
        if containers.get() > MAX_CONTAINERS {
            Err(spent("lists and maps"))
        } else {
            Ok(())
        }
    })
}

/// Counts a value that a filter or method has made; a lazy one is made into a list here, so that it does not go on reading a
/// namespace that changes. Strings within a list are counted too, one level deep: deeper ones
/// existed before.
pub fn take_value(value: Value) -> Result<Value, Error> {
    let value = match value.kind() {
        minijinja::value::ValueKind::Iterable => Value::from(value.try_iter()?.collect::<Vec<_>>()),
        _ => value,
    };
    if let Some(text) = value.as_str() {
        take_bytes(text.len())?;
    } else if value.as_object().is_some() {
        take_container()?;
        take_bytes(value.len().unwrap_or(0).saturating_mul(std::mem::size_of::<Value>()))?;
        if value.kind() == minijinja::value::ValueKind::Seq {
            for item in value.try_iter()? {
                take_bytes(item.as_str().map_or(0, str::len))?;
            }
        }
    }
    Ok(value)
}
