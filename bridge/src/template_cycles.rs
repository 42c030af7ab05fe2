// SPDX-License-Identifier: Apache-2.0
//! Frees what a rendering of a chat template ties into a ring. minijinja's values are counted references, and two kinds can
//! be made to hold themselves: a namespace stored into itself, and a loop given to its own changed(). Both are noted for the
//! rendering that runs on this thread, and emptied when it is over, however it ended.

use std::cell::RefCell;
use std::collections::BTreeMap;

use minijinja::machinery::{make_string_output, Instruction, Instructions, Vm};
use minijinja::value::Rest;
use minijinja::{functions, AutoEscape, Environment, Error, ErrorKind, State, Value};

use crate::template_spending::{take_bytes, take_container};

thread_local! {
    static NAMESPACES: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
    static LOOPS: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
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
