// SPDX-License-Identifier: Apache-2.0
//! Keeps the values of a chat template from holding themselves. Comparing a namespace that was stored into itself would
//! recurse without end, so a compiled template is made to refuse to store one. And minijinja's values are counted references:
//! namespaces, and loops given to their own changed(), are noted for the rendering that runs on this thread and emptied when
//! it is over, however it ended.

use std::cell::RefCell;
use std::collections::BTreeMap;

use minijinja::machinery::{make_string_output, Instruction, Instructions, Vm};
use minijinja::value::{Rest, ValueKind};
use minijinja::{functions, AutoEscape, Environment, Error, ErrorKind, State, Value};

use crate::template_python::{too_deep, MAX_DEPTH};
use crate::template_spending::{take_bytes, take_container, take_visit};

thread_local! {
    static NAMESPACES: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
    static LOOPS: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
}

/// Puts the filter `check` before every assignment to an attribute. The places of instructions, and so all jumps, stay: the
/// check is appended, with a jump there and one back.
pub fn check_stores(instructions: &mut Instructions<'_>, check: &'static str) {
    let end = instructions.len() as u32;
    let stores: Vec<u32> = (0..end).filter(|&at| matches!(instructions.get(at), Some(Instruction::SetAttr(_)))).collect();
    if stores.is_empty() {
        return;
    }
    // A template ends where its instructions end.
    let over = end + 1 + 3 * stores.len() as u32;
    instructions.add(Instruction::Jump(over));
    for store in stores {
        // The value is on the stack when the target's name is looked up: a.b.c = value is Lookup a, GetAttr b, SetAttr c.
        let mut lookup = store - 1;
        while matches!(instructions.get(lookup), Some(Instruction::GetAttr(_))) {
            lookup -= 1;
        }
        let line = instructions.get_line(store).map_or(0, |line| line as u16);
        let check_at = instructions.len() as u32;
        let Some(place) = instructions.get_mut(lookup) else { continue };
        let load = std::mem::replace(place, Instruction::Jump(check_at));
        for instruction in [Instruction::ApplyFilter(check, Some(1), u8::MAX), load, Instruction::Jump(lookup + 1)] {
            instructions.add_with_line(instruction, line);
        }
    }
}

/// Gives the value back if a namespace may hold it.
pub fn storable(value: Value) -> Result<Value, Error> {
    visit(&value, 0)?;
    Ok(value)
}

fn visit(value: &Value, depth: usize) -> Result<(), Error> {
    let Some(object) = value.as_object() else { return Ok(()) };
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    if ["::Namespace", "::Loop"].iter().any(|kind| object.type_name().ends_with(kind)) {
        return Err(Error::new(ErrorKind::InvalidOperation, "a namespace cannot hold a namespace or a loop"));
    }
    // Something lazy is the numbers of a range: filters and methods make lists.
    match value.kind() {
        ValueKind::Seq => value.try_iter()?.try_for_each(|item| take_visit().and_then(|()| visit(&item, depth + 1))),
        ValueKind::Map => value.try_iter()?.try_for_each(|key| {
            take_visit()?;
            visit(&key, depth + 1)?;
            visit(&value.get_item(&key)?, depth + 1)
        }),
        _ => Ok(()),
    }
}

/// namespace(...)
pub fn namespace(defaults: Option<Value>) -> Result<Value, Error> {
    take_container()?;
    let made = functions::namespace(defaults)?;
    NAMESPACES.with_borrow_mut(|namespaces| namespaces.push(made.clone()));
    Ok(made)
}

/// loop.changed(...): the loop is the first argument. It keeps the others until it is asked again.
pub fn changed(state: &State, arguments: Rest<Value>) -> Result<Value, Error> {
    let Some((asked, values)) = arguments.split_first() else {
        return Err(Error::new(ErrorKind::MissingArgument, "changed() without a loop"));
    };
    if values.iter().any(|value| value.as_object().is_some()) {
        take_bytes(std::mem::size_of::<Value>())?;
        LOOPS.with_borrow_mut(|loops| loops.push(asked.clone()));
    }
    asked.call_method(state, "changed", values)
}

/// Empties what was noted since the last call.
pub fn break_cycles() {
    let (loops, namespaces) = (LOOPS.take(), NAMESPACES.take());
    if loops.is_empty() && namespaces.is_empty() {
        return;
    }
    let environment = Environment::empty();
    for asked in loops {
        // The answer does not matter, nor does a value that is not a loop and has no such method.
        let _ = asked.call_method(&environment.empty_state(), "changed", &[]);
    }
    for namespace in namespaces {
        clear(&namespace);
    }
}

/// Only the engine's own instruction can change a namespace: so a few of them set every key to none.
fn clear(namespace: &Value) {
    let Ok(keys) = namespace.try_iter() else { return };
    let keys: Vec<Value> = keys.collect();
    let blocks = BTreeMap::new();
    let environment = Environment::empty();
    let mut instructions = Instructions::new("clear", "");
    for key in keys.iter().filter_map(Value::as_str) {
        instructions.add(Instruction::LoadConst(Value::from(())));
        instructions.add(Instruction::LoadConst(namespace.clone()));
        instructions.add(Instruction::SetAttr(key));
    }
    let mut nothing = String::new();
    let cleared = Vm::new(&environment).eval(
        &instructions,
        Value::from(()),
        &blocks,
        &mut make_string_output(&mut nothing),
        AutoEscape::None,
    );
    debug_assert!(cleared.is_ok());
}
