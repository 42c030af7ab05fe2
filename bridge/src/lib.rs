// SPDX-License-Identifier: Apache-2.0
//! The bridge: tokenizers, chat templates, constrained decoding and JSON Schema behind the C header include/bridge.h. A thin
//! skin over four crates; what it adds are bounds on what untrusted input may cost, and errors in place of panics.

mod added_tokens;
mod forced;
mod gguf_vocabulary;
mod grammar;
pub mod grammar_ffi;
mod guard;
mod lark;
mod limits;
mod schema;
mod schema_closed;
mod schema_contrary;
pub mod schema_ffi;
mod schema_rewrite;
mod schema_work;
mod template;
mod template_cycles;
pub mod template_ffi;
mod template_operators;
mod template_python;
mod template_spending;
mod token_bytes;
mod tokenizer;
pub mod tokenizer_ffi;
mod validation_work;
