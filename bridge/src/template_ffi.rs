// SPDX-License-Identifier: Apache-2.0
//! The chat template's part of the C header.

use crate::guard::{enter, utf8, Bytes, Sink};
use crate::template::ChatTemplate;

/// # Safety
/// Pointers are valid for the call, as the header says.
#[no_mangle]
pub unsafe extern "C" fn bridge_template_parse(source: Bytes, fuel: u64, error: Sink, compiled: *mut *mut ChatTemplate) -> i32 {
    enter(error, || {
        *compiled = Box::into_raw(Box::new(ChatTemplate::parse(utf8(source, "the chat template")?, fuel)?));
        Ok(())
    })
}

/// # Safety
/// `compiled` came from here and is not used again.
#[no_mangle]
pub unsafe extern "C" fn bridge_template_free(compiled: *mut ChatTemplate) {
    if !compiled.is_null() {
        drop(Box::from_raw(compiled));
    }
}

/// # Safety
/// Pointers are valid for the call, as the header says.
#[no_mangle]
pub unsafe extern "C" fn bridge_template_render(
    compiled: *const ChatTemplate,
    context: Bytes,
    max_output: usize,
    now_seconds: i64,
    text: Sink,
    error: Sink,
) -> i32 {
    enter(error, || {
        text.write((*compiled).render(context.as_slice(), max_output, now_seconds)?.as_bytes());
        Ok(())
    })
}
