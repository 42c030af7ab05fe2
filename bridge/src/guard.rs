// SPDX-License-Identifier: Apache-2.0
//! What every entry of the bridge shares: the C types of its header, the failures it can tell, and the guard that keeps
//! a panic from crossing into C++.

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes {
    pub data: *const u8,
    pub size: usize,
}

impl Bytes {
    pub const EMPTY: Bytes = Bytes { data: std::ptr::null(), size: 0 };

    pub fn of(bytes: &[u8]) -> Self {
        Bytes { data: bytes.as_ptr(), size: bytes.len() }
    }

    /// # Safety
    /// The caller of the bridge promises that `data` holds `size` bytes for the length of the call.
    pub unsafe fn as_slice<'a>(self) -> &'a [u8] {
        slice(self.data, self.size)
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sink {
    pub context: *mut c_void,
    pub write: Option<unsafe extern "C" fn(*mut c_void, *const u8, usize)>,
}

impl Sink {
    pub fn write(self, bytes: &[u8]) {
        if let Some(write) = self.write {
            // SAFETY: the sink belongs to the caller, who is inside the call that gave it to us.
            unsafe { write(self.context, bytes.as_ptr(), bytes.len()) }
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Strings {
    pub data: Bytes,
    pub ends: *const u64,
    pub count: usize,
}

impl Strings {
    /// The strings, or a failure where their ends do not rise within the data.
    ///
    /// # Safety
    /// `data` and `ends` hold what they say for the length of the call.
    pub unsafe fn read<'a>(self) -> Outcome<Vec<&'a [u8]>> {
        let data = self.data.as_slice();
        let mut begin = 0usize;
        let mut strings = Vec::with_capacity(self.count);
        for &end in slice(self.ends, self.count) {
            let end = end as usize;
            strings.push(data.get(begin..end).ok_or_else(|| Failure::internal("string ends do not rise"))?);
            begin = end;
        }
        Ok(strings)
    }
}

/// # Safety
/// `data` holds `size` values, or is null with `size` 0.
pub unsafe fn slice<'a, T>(data: *const T, size: usize) -> &'a [T] {
    if size == 0 || data.is_null() {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    Ok = 0,
    Invalid = 1,
    Exhausted = 2,
    Corrupt = 3,
    Internal = 4,
}

#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
    /// JSON pointer into the input, where there is one.
    pub place: String,
}

pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Failure { code, message: message.into(), place: String::new() }
    }
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, message)
    }
    pub fn exhausted(message: impl Into<String>) -> Self {
        Self::new(Code::Exhausted, message)
    }
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(Code::Corrupt, message)
    }
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = place.into();
        self
    }
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Panics inside the bridge become errors, so their message must not go to stderr; those of other Rust code still do.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let outer = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !INSIDE.with(Cell::get) {
                outer(panic);
            }
        }));
    });
}

/// Runs `work`; a panic becomes Code::Internal.
pub fn catch<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    silence_panics();
    let was_inside = INSIDE.with(|inside| inside.replace(true));
    let outcome = catch_unwind(AssertUnwindSafe(work));
    INSIDE.with(|inside| inside.set(was_inside));
    outcome.unwrap_or_else(|_| Err(Failure::internal("the bridge panicked")))
}

/// Runs `work` behind the guard and gives its failure to `error`.
pub fn enter(error: Sink, work: impl FnOnce() -> Outcome<()>) -> i32 {
    match catch(work) {
        Ok(()) => Code::Ok as i32,
        Err(failure) => {
            error.write(failure.message.as_bytes());
            failure.code as i32
        }
    }
}

/// # Safety
/// `bytes` holds what it says for the length of the call.
pub unsafe fn utf8<'a>(bytes: Bytes, what: &str) -> Outcome<&'a str> {
    std::str::from_utf8(bytes.as_slice())
        .map_err(|error| Failure::invalid(format!("{what} is not UTF-8 at byte {}", error.valid_up_to())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_internal_failure() {
        let silent = Sink { context: std::ptr::null_mut(), write: None };
        assert_eq!(enter(silent, || panic!("boom")), Code::Internal as i32);
        assert_eq!(enter(silent, || Err(Failure::exhausted("x"))), Code::Exhausted as i32);
        assert_eq!(enter(silent, || Ok(())), Code::Ok as i32);
    }

    #[test]
    fn string_tables_are_checked() {
        let ends = [2u64, 1];
        let table = Strings { data: Bytes::of(b"abc"), ends: ends.as_ptr(), count: 2 };
        assert!(unsafe { table.read() }.is_err());
        let ends = [2u64, 2, 3];
        let table = Strings { data: Bytes::of(b"abc"), ends: ends.as_ptr(), count: 3 };
        assert_eq!(unsafe { table.read() }.unwrap(), vec![b"ab".as_slice(), b"", b"c"]);
    }
}
