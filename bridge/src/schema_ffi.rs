// SPDX-License-Identifier: Apache-2.0
//! JSON Schema validation's part of the C header.

use crate::guard::{enter, Bytes, Failure, Sink};
use crate::schema::Schema;

fn tell(place: Sink, failure: Failure) -> Failure {
    place.write(failure.place.as_bytes());
    failure
}

/// # Safety
/// Pointers are valid for the call, as the header says.
#[no_mangle]
pub unsafe extern "C" fn bridge_schema_parse(text: Bytes, place: Sink, error: Sink, schema: *mut *mut Schema) -> i32 {
    enter(error, || {
        *schema = Box::into_raw(Box::new(Schema::parse(text.as_slice()).map_err(|failure| tell(place, failure))?));
        Ok(())
    })
}

/// # Safety
/// `schema` came from here and is not used again.
#[no_mangle]
pub unsafe extern "C" fn bridge_schema_free(schema: *mut Schema) {
    if !schema.is_null() {
        drop(Box::from_raw(schema));
    }
}

/// # Safety
/// Pointers are valid for the call, as the header says.
#[no_mangle]
pub unsafe extern "C" fn bridge_schema_check(schema: *const Schema, value: Bytes, place: Sink, error: Sink) -> i32 {
    enter(error, || (*schema).check(value.as_slice()).map_err(|failure| tell(place, failure)))
}
