// SPDX-License-Identifier: Apache-2.0
//! Chat templates: minijinja with the settings and functions that transformers gives Jinja, within bounds. A template comes
//! with a model file and is not trusted: it has no I/O, and instructions, nesting, text and output are limited.

use std::collections::BTreeMap;

use minijinja::machinery::{ast, make_string_output, parse, CodeGenerator, Instructions, Vm, WhitespaceConfig};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};

use crate::guard::{Failure, Outcome};
use crate::template_cycles::break_cycles;
use crate::template_operators::{bound_format, install, join, replace, rewrite};
use crate::template_python::{strftime, text_of};
use crate::template_spending::{begin, take_bytes, take_value};

/// The longest template in use has under 40 KiB.
const MAX_SOURCE_BYTES: usize = 256 << 10;
/// Nested macro calls and loops.
const MAX_RECURSION: usize = 64;
/// Literal text is written without being counted, so instructions are fewer where a template has a very long literal.
const MAX_LITERAL_BYTES: u64 = 2 << 30;

/// What the formatter and functions read while a template runs, without a way to name it in a template.
const NOW: &str = "__now";

pub struct ChatTemplate {
    // Dropped in this order: both borrow `source`.
    instructions: Instructions<'static>,
    blocks: BTreeMap<&'static str, Instructions<'static>>,
    environment: Box<Environment<'static>>,
    _source: Box<str>,
}

/// `{% import 'x' as 0 %}`: the code generator panics at what the parser lets through. No deeper than the parser goes.
fn has_nameless_import(statement: &ast::Stmt) -> bool {
    let any = |body: &[ast::Stmt]| body.iter().any(has_nameless_import);
    match statement {
        ast::Stmt::Import(import) => !matches!(import.name, ast::Expr::Var(_)),
        ast::Stmt::Template(inner) => any(&inner.children),
        ast::Stmt::ForLoop(inner) => any(&inner.body) || any(&inner.else_body),
        ast::Stmt::IfCond(inner) => any(&inner.true_body) || any(&inner.false_body),
        ast::Stmt::WithBlock(inner) => any(&inner.body),
        ast::Stmt::SetBlock(inner) => any(&inner.body),
        ast::Stmt::AutoEscape(inner) => any(&inner.body),
        ast::Stmt::FilterBlock(inner) => any(&inner.body),
        ast::Stmt::Block(inner) => any(&inner.body),
        ast::Stmt::Macro(inner) => any(&inner.body),
        ast::Stmt::CallBlock(inner) => any(&inner.macro_decl.body),
        _ => false,
    }
}

impl ChatTemplate {
    pub fn parse(source: &str, fuel: u64) -> Outcome<Self> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(Failure::exhausted(format!("a chat template of {} bytes; at most {MAX_SOURCE_BYTES}", source.len())));
        }
        let owned: Box<str> = without_generation_tags(source).into();
        // SAFETY: the box is never changed or moved out of, and outlives what borrows it (see the order of fields).
        let borrowed: &'static str = unsafe { &*std::ptr::from_ref::<str>(&owned) };
        let whitespace = WhitespaceConfig { keep_trailing_newline: false, lstrip_blocks: true, trim_blocks: true };
        let tree = parse(borrowed, "chat_template", Default::default(), whitespace).map_err(|error| failure(&error))?;
        if has_nameless_import(&tree) {
            return Err(Failure::invalid("the chat template imports under something that is no name"));
        }
        let mut generator = CodeGenerator::new("chat_template", borrowed);
        generator.compile_stmt(&tree);
        let (mut instructions, mut blocks) = generator.finish();
        rewrite(&mut instructions);
        blocks.values_mut().for_each(rewrite);
        let environment = Box::new(environment(fuel.min(MAX_LITERAL_BYTES / longest_literal(borrowed))));
        Ok(ChatTemplate { instructions, blocks, environment, _source: owned })
    }

    /// `context` is a JSON object. `now_seconds`: what strftime_now() formats.
    pub fn render(&self, context: &[u8], max_output: usize, now_seconds: i64) -> Outcome<String> {
        let mut fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(context).map_err(|error| Failure::invalid(format!("the template's variables: {error}")))?;
        fields.insert(NOW.to_string(), now_seconds.into());
        begin();
        // SAFETY: the environment lives in a box that outlives this call, and nothing of it leaves the call.
        let environment: &'static Environment<'static> = unsafe { &*std::ptr::from_ref(self.environment.as_ref()) };
        let mut text = String::new();
        let ended = Vm::new(environment)
            .eval(
                &self.instructions,
                Value::from_serialize(&fields),
                &self.blocks,
                &mut make_string_output(&mut text),
                AutoEscape::None,
            )
            .map(|_| ());
        break_cycles();
        ended.map_err(|error| failure(&error))?;
        if text.len() > max_output {
            return Err(Failure::exhausted(format!("the template writes {} bytes; at most {max_output}", text.len())));
        }
        Ok(text)
    }
}

fn environment(fuel: u64) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_fuel(Some(fuel));
    environment.set_unknown_method_callback(method);
    environment.set_formatter(print);
    install(&mut environment);
    environment.add_function("raise_exception", |message: &Value| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, text_of(message)?))
    });
    environment.add_function("strftime_now", |state: &State, format: &str| -> Result<Value, Error> {
        take_bytes(format.len().saturating_mul(10))?;
        let now = state.lookup(NOW).and_then(|now| i64::try_from(now).ok()).unwrap_or(0);
        Ok(Value::from(strftime(format, now)))
    });
    environment
}

/// {{ value }} as Python prints it.
fn print(out: &mut Output, _: &State, value: &Value) -> Result<(), Error> {
    let written = match value.as_str() {
        Some(text) => {
            take_bytes(text.len())?;
            out.write_str(text)
        }
        None => out.write_str(&text_of(value)?),
    };
    written.map_err(|_| Error::new(ErrorKind::WriteFailure, "the output cannot be written"))
}

/// Methods of Python's str, dict and list.
fn method(state: &State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    match (value.as_str(), name, arguments) {
        // These can make much more than they are given, so they count before.
        (Some(text), "replace", [from, to]) => return replace(text, &text_of(from)?, &text_of(to)?),
        (Some(separator), "join", [items]) => return join(items, separator, None),
        (Some(pattern), "format", values) => bound_format(pattern, values)?,
        _ => {}
    }
    take_value(minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments)?)
}

fn failure(error: &Error) -> Failure {
    // A failure inside a macro or block comes wrapped in one for each level; the innermost says what happened.
    let mut inner = error;
    while let Some(cause) = std::error::Error::source(inner).and_then(|cause| cause.downcast_ref::<Error>()) {
        inner = cause;
    }
    let mut message = inner.detail().map_or_else(|| inner.kind().to_string(), str::to_string);
    let is_too_deep = message.contains("recursion limit");
    if let Some(line) = inner.line() {
        message = format!("line {line} of the chat template: {message}");
    }
    match inner.kind() {
        ErrorKind::OutOfFuel => Failure::exhausted(message),
        _ if is_too_deep => Failure::exhausted(message),
        _ => Failure::invalid(message),
    }
}

/// The longest stretch between tags, at least one byte.
fn longest_literal(source: &str) -> u64 {
    source.split(['{', '}']).map(str::len).max().unwrap_or(0).max(1) as u64
}

/// Hugging Face's {% generation %} ... {% endgeneration %} marks what an assistant wrote, for training; it prints its body.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(begin) = rest.find("{%") {
        let Some(length) = rest[begin + 2..].find("%}").map(|at| at + 2) else { break };
        let tag = &rest[begin + 2..begin + length];
        let left = tag.starts_with(['-', '+']).then(|| &tag[..1]).unwrap_or("");
        let right = tag[left.len()..].ends_with(['-', '+']).then(|| &tag[tag.len() - 1..]).unwrap_or("");
        out.push_str(&rest[..begin]);
        match tag[left.len()..tag.len() - right.len()].trim() {
            "generation" => out.push_str(&format!("{{%{left} if true {right}%}}")),
            "endgeneration" => out.push_str(&format!("{{%{left} endif {right}%}}")),
            _ => out.push_str(&rest[begin..begin + length + 2]),
        }
        rest = &rest[begin + length + 2..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Code;

    fn render(source: &str, context: serde_json::Value) -> Outcome<String> {
        ChatTemplate::parse(source, 1_000_000)?.render(context.to_string().as_bytes(), 1 << 20, 0)
    }

    fn text(source: &str) -> String {
        render(source, serde_json::json!({"messages": [{"role": "user", "content": "hi"}]})).unwrap()
    }

    fn code_of(source: &str) -> Code {
        render(source, serde_json::json!({})).expect_err(source).code
    }

    #[test]
    fn prints_as_python_does() {
        assert_eq!(
            text("{{ none }} {{ true }} {{ 1.0 }} {{ [1, 'a', none] }} {{ {'k': false} }} {{ nothing }}|"),
            "None True 1.0 [1, 'a', None] {'k': False} |"
        );
        assert_eq!(
            text("{{ 'a' ~ none ~ 1 ~ true }} {{ 'x' * 3 }} {{ [1] + [2] }} {{ 7 // 2 }} {{ 2 ** 3 }} {{ 1 + 0.5 }}"),
            "aNone1True xxx [1, 2] 3 8 1.5"
        );
        assert_eq!(text("{{ messages | tojson }}"), r#"[{"role": "user", "content": "hi"}]"#);
        assert_eq!(
            text("{{ {'a': [1, {}], 'b': '<é\"'} | tojson(indent=2) }}"),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": \"<é\\\"\"\n}"
        );
        assert_eq!(
            text("{{ 'é😀' | tojson(ensure_ascii=True) }}{{ [1,2] | tojson(separators=(',', ':')) }}"),
            "\"\\u00e9\\ud83d\\ude00\"[1,2]"
        );
        assert_eq!(text("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}"), r#"{"a": 2, "b": 1}"#);
    }

    #[test]
    fn slices_as_python_does() {
        assert_eq!(text("{{ 'hello'[1:] }} {{ 'hello'[::-1] }} {{ 'hello'[-3:-1] }} {{ [1,2,3][:-1] }} {{ [1,2,3][5:] }} {{ 'hello'[3:1:-1] }}"), "ello olleh ll [1, 2] [] ll");
    }

    #[test]
    fn tests_and_formats_as_python_does() {
        assert_eq!(
            text("{{ 'a' is sequence }}{{ [1] is sequence }}{{ 1 is sequence }}{{ 'a' is iterable }}{{ {} is mapping }}"),
            "TrueTrueFalseTrueTrue"
        );
        assert_eq!(text("{{ true is number }}{{ 1.5 is number }}{{ 'a' is string }}{{ nothing is defined }}{{ strftime_now is defined }}"), "TrueTrueTrueFalseTrue");
        assert_eq!(text("{{ '{}-{:03d}'.format('a', 7) }} {{ '%s=%d' | format('n', 3) }}"), "a-007 n=3");
    }

    #[test]
    fn blocks_are_trimmed() {
        assert_eq!(text("a\n  {% if true %}\n  b\n  {% endif %}\nc\n"), "a\n  b\nc");
        assert_eq!(text("{% generation %}x{%- endgeneration -%} y"), "xy");
        assert_eq!(text("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}"), "013");
    }

    #[test]
    fn functions_of_chat_templates() {
        assert_eq!(text("{{ strftime_now('%Y-%m-%d') }}"), "1970-01-01");
        assert_eq!(
            text("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}"),
            "1"
        );
        assert_eq!(
            text("{{ messages[0].content.startswith('h') }}{{ messages[-1]['role'].upper() }}{{ messages[0].get('x', 'd') }}"),
            "TrueUSERd"
        );
        let failure = render("{{ raise_exception('only ' ~ 2) }}", serde_json::json!({})).unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (Code::Invalid, "line 1 of the chat template: only 2"));
    }

    #[test]
    fn hostile_templates_are_stopped() {
        for source in [
            "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
            "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
            "{% set ns = namespace(s=['ab']) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
            "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s.replace('a', 'aaaaaaaaaa') %}{% endfor %}",
            "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s | replace('a', 'aaaaaaaaaa') %}{% endfor %}",
            "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}{% endfor %}",
            "{% set ns = namespace(l=[]) %}{% for i in range(90000) %}{% set ns.l = [ns.l] %}{% endfor %}",
            "{% set ns = namespace(l=[]) %}{% for i in range(90000) %}{% set ns.l = {'a': ns.l} %}{% endfor %}",
            "{% set ns = namespace(l=[]) %}{% for i in range(90000) %}{% set ns.l = dict(a=ns.l) %}{% endfor %}",
            "{% set ns = namespace(l=[1]) %}{% for i in range(90000) %}{% set ns.l = ns.l[0:] %}{% endfor %}",
            "{% set ns = namespace(l=[1]) %}{% for i in range(90000) %}{% set ns.l = ns.l | reverse %}{% endfor %}",
            "{{ 'a' * 10000000000 }}",
            "{% set b = 'a' * 100000 %}{{ ('{0}' * 100000).format(b) }}",
            "{% set b = 'a' * 100000 %}{{ ('%s' * 100000) | format(b) }}",
            "{% for i in range(100000) %}{{ '{:9999}'.format(1) }}{% endfor %}",
            "{{ (['a'] * 100000) | join('a' * 100000) }}",
            "{% set b = 'a' * 1000000 %}{% for i in range(100000) %}{{ b }}{% endfor %}",
            "{% set b = 'a' * 1000000 %}{% for i in range(1000) %}{% set c = b | upper %}{% endfor %}",
            "{% set b = 'a' * 1000000 %}{% for i in range(1000) %}{% set c = b[1:] %}{% endfor %}",
        ] {
            assert_eq!(code_of(source), Code::Exhausted, "{source}");
        }
    }

    #[test]
    fn wrong_templates_are_refused() {
        for source in [
            "{% if %}",
            "{{ unclosed",
            "{% for x in %}",
            "{{ 1 + 'a' }}",
            "{{ a.b.c }}",
            "{{ range(1000000000) }}",
            "{{ 'x' | nofilter }}",
            "{{ '{:99999}'.format(1) }}",
            "{{ open('/etc/passwd') }}",
            "{% import 'x' as 0 %}",
            "{% if 0 %}{% for x in [] %}{% macro m() %}{% import 'x' as [y, 0] %}{% endmacro %}{% endfor %}{% endif %}",
        ] {
            assert_eq!(code_of(source), Code::Invalid, "{source}");
        }
        for source in [
            "{% include 'x' %}",
            "{% import '/etc/passwd' as p %}",
            "{% extends 'y' %}",
            "{{ ''.__class__.__mro__ }}",
            "{{ debug() }}",
        ] {
            assert!(render(source, serde_json::json!({})).is_err(), "{source}");
        }
        let deep = format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(code_of(&deep), Code::Exhausted);
        let blocks = "{% if 1 %}".repeat(20_000);
        assert!(render(&blocks, serde_json::json!({})).is_err());
    }

    #[test]
    fn the_bounds_are_exact() {
        let template = |fuel| ChatTemplate::parse("{{ 'abc' }}", fuel).unwrap();
        assert_eq!(template(10).render(b"{}", 3, 0).unwrap(), "abc");
        assert_eq!(template(10).render(b"{}", 2, 0).unwrap_err().code, Code::Exhausted);
        assert_eq!(template(1).render(b"{}", 3, 0).unwrap_err().code, Code::Exhausted);
        assert_eq!(ChatTemplate::parse(&"a".repeat(MAX_SOURCE_BYTES + 1), 10).err().unwrap().code, Code::Exhausted);
        assert!(ChatTemplate::parse(&"a".repeat(MAX_SOURCE_BYTES), 10).is_ok());
    }

    #[test]
    fn one_template_serves_many_renderings() {
        let template = ChatTemplate::parse("{{ x }}", 1_000_000).unwrap();
        for i in 0..1000 {
            assert_eq!(template.render(format!("{{\"x\": {i}}}").as_bytes(), 10, 0).unwrap(), i.to_string());
        }
    }

    #[derive(Debug)]
    struct Witness(#[allow(dead_code, reason = "counted by its owners")] std::sync::Arc<()>);
    impl minijinja::value::Object for Witness {}

    #[test]
    fn what_holds_itself_is_freed() {
        for source in [
            "{% set n = namespace(s=witness()) %}{% for i in range(64) %}{% set n.s = n, n.s %}{% endfor %}",
            "{% set a = namespace(w=witness()) %}{% set b = namespace(a=a) %}{% set a.b = {'b': [b]} %}",
            "{% set n = namespace(w=witness()) %}{% set n.l = n | items | reverse %}{% set n.m = n.items() %}",
            "{% set n = namespace(w=witness()) %}{% set n.n = n %}{{ raise_exception('stop') }}",
            "{% set n = namespace(w=witness()) %}{% macro m() %}{{ n.m }}{% endmacro %}{% set n.m = m %}",
            "{% for w in [witness()] %}{{ loop.changed(loop, w) }}{% endfor %}",
            "{% set n = namespace(a=witness(), b=1) %}{% for p in n | items %}{% set n.b = loop %}{% endfor %}",
            "{% set n = namespace(a=witness(), b=1) %}{% for p in n.values() %}{% set n.b = loop %}{% endfor %}",
        ] {
            let owners = std::sync::Arc::new(());
            let mut template = ChatTemplate::parse(source, 1_000_000).unwrap();
            let given = owners.clone();
            template.environment.add_function("witness", move || Value::from_object(Witness(given.clone())));
            let before = std::sync::Arc::strong_count(&owners);
            for _ in 0..3 {
                let _ = template.render(b"{}", 1 << 20, 0);
                assert_eq!(std::sync::Arc::strong_count(&owners), before, "{source}");
            }
        }
    }

    #[test]
    fn namespaces_hold_no_namespaces() {
        for value in ["a", "[1, [a]]", "{'k': [a]}", "(a, 1)", "a.items()", "loop", "namespace()"] {
            let source = "{% set a = namespace(k=namespace()) %}{% for i in [1] %}{% set a.x = VALUE %}{% endfor %}";
            assert_eq!(code_of(&source.replace("VALUE", value)), Code::Invalid, "{value}");
        }
        assert_eq!(code_of("{% set a = namespace() %}{% set a.x %}{% endset %}{% set a.y, b = a, 1 %}"), Code::Invalid);
        assert_eq!(code_of("{% set a = namespace() %}{% set a.x | default(a, true) %}{% endset %}"), Code::Invalid);
        assert_eq!(
            text(
                "{% set a = namespace(b=namespace()) %}{% macro m(x) %}{% set a.m = x %}{{ a.m }}{% endmacro %}\
                 {% set a.b.c = 1 if a.q else [range(2), messages] %}{% set a.x, a.y = 1, {'k': 2} %}{{ m(3) }}\
                 {% for i in [4, 5] %}{% set a.i = i %}{{ a.i }}{% endfor %}{{ a.b.c[1][0].role }}{{ a.x }}{{ a.y.k }}"
            ),
            "345user12"
        );
    }
}
