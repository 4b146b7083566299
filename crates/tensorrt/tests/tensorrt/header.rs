//! `src/sys.rs` says what `cumo_trt.h` says.

use std::collections::BTreeMap;

const HEADER: &str = include_str!("../../../../native/shim/include/cumo_trt.h");
const RUST: &str = include_str!("../../src/sys.rs");

/// Text without comments, in one line.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        code.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    code.push_str(rest);
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A C type, as the bindings write it.
fn rust_type(c: &str) -> String {
    let c = c.replace("const ", "").trim().to_owned();
    let (base, stars) = (c.trim_end_matches('*').trim(), c.matches('*').count());
    let base = match base {
        "int32_t" => "i32",
        "int64_t" => "i64",
        "uint64_t" => "u64",
        "uint32_t" => "u32",
        "uint8_t" => "u8",
        "size_t" => "usize",
        "float" => "f32",
        "char" => "c_char",
        "void" => "c_void",
        other => other,
    };
    let base = match base.strip_prefix("cumo_trt_") {
        Some(name) => name.split('_').map(|part| part[..1].to_uppercase() + &part[1..]).collect(),
        None => base.to_owned(),
    };
    base + &"*".repeat(stars)
}

/// A Rust type, with `*` behind as in C.
fn c_order(rust: &str) -> String {
    let rust = rust.trim();
    let stars = rust.matches('*').count();
    rust.replace("*const ", "").replace("*mut ", "") + &"*".repeat(stars)
}

#[test]
fn every_function_is_bound_with_its_types() {
    let header = code(HEADER);
    let mut declared = BTreeMap::new();
    for function in header.split("CUMO_TRT_API ").skip(1) {
        let function = function.split(';').next().unwrap();
        let (head, parameters) = function.split_once('(').unwrap_or((function, ""));
        let Some((result, name)) = head.split_once("cumo_trt_").map(|_| {
            let at = head.rfind("cumo_trt_").unwrap();
            (&head[..at], &head[at..])
        }) else {
            continue;
        };
        let types = parameters.trim_end_matches(')').split(',').map(|parameter| {
            let at = parameter.rfind([' ', '*']).map_or(0, |at| at + 1);
            rust_type(&parameter[..at])
        });
        let types = types.filter(|text| !text.is_empty()).collect::<Vec<_>>();
        declared.insert(name.replace("cumo_trt_", ""), (types, rust_type(result)));
    }
    let mut bound = BTreeMap::new();
    let bindings = code(RUST);
    let bindings = bindings.rsplit_once("api! {").unwrap().1;
    for function in bindings.split("fn ").skip(1) {
        let function = function.split(';').next().unwrap();
        let (name, rest) = function.split_once('(').unwrap();
        let (parameters, result) = rest.split_once(')').unwrap();
        let types = parameters.split(',').map(c_order).filter(|text| !text.is_empty());
        let result = result.trim().trim_start_matches("->");
        let result = if result.is_empty() { "c_void".into() } else { c_order(result) };
        bound.insert(name.to_owned(), (types.collect::<Vec<_>>(), result));
    }
    assert!(declared.len() > 50, "{} functions", declared.len());
    assert_eq!(bound, declared);
}

#[test]
fn every_struct_has_the_headers_fields() {
    let (header, rust) = (code(HEADER), code(RUST));
    let mut compared = 0;
    for definition in header.split("typedef struct { ").skip(1) {
        let (fields, name) = definition.split_once('}').unwrap();
        let name = rust_type(name.split(';').next().unwrap().trim());
        let declared = fields.split(';').map(str::trim).filter(|field| !field.is_empty());
        let declared = declared.map(|field| {
            let at = field.rfind([' ', '*']).unwrap() + 1;
            (field[at..].split('[').next().unwrap().to_owned(), rust_type(&field[..at]))
        });
        let start = format!("pub(crate) struct {name} {{ ");
        let (_, bound) = rust.split_once(&start).unwrap_or_else(|| panic!("no struct {name}"));
        let bound = bound.split_once('}').unwrap().0;
        let bound = bound.split(", ").map(|field| field.trim().trim_end_matches(','));
        let bound = bound.filter(|field| !field.is_empty()).map(|field| {
            let (name, kind) = field.trim_start_matches("pub(crate) ").split_once(": ").unwrap();
            // Arrays by their elements, callbacks by the name of their type.
            let kind = kind.trim_start_matches('[').split(';').next().unwrap();
            let kind = match kind {
                "Option<LogFn>" => "LogFn",
                "Option<ProgressFn>" => "ProgressFn",
                other => other,
            };
            (name.to_owned(), c_order(kind))
        });
        assert_eq!(bound.collect::<Vec<_>>(), declared.collect::<Vec<_>>(), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 10);
}

#[test]
fn codes_are_the_headers() {
    let (header, rust) = (code(HEADER), code(RUST));
    assert!(rust.contains("const ABI_VERSION: u32 = 2;"));
    assert!(header.contains("#define CUMO_TRT_ABI_VERSION 2u"));
    let mut compared = 0;
    for constant in header.split("CUMO_TRT_CODE_").skip(1) {
        let Some((name, value)) = constant.split_once(" = ") else { continue };
        let value = value.split([',', ' ']).next().unwrap();
        // These two have no variant of their own.
        if ["INVALID_ARGUMENT", "INTERNAL"].contains(&name) {
            continue;
        }
        assert!(rust.contains(&format!("const {name}: i32 = {value};")), "{name} = {value}");
        compared += 1;
    }
    assert_eq!(compared, 13);
}
