//! `openapi.json` describes what the service does: each answer that is documented is given, none is
//! given that is not documented, and schemathesis finds nothing to object to.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests may panic"
)]

#[path = "openapi/answers.rs"]
mod answers;
#[path = "openapi/reader.rs"]
mod reader;
#[cfg(feature = "axum")]
#[path = "openapi/schemathesis.rs"]
mod schemathesis;
#[path = "openapi/world.rs"]
mod world;

use std::collections::BTreeSet;

use password_reset_web::{OPENAPI, Paths};
use serde_json::Value;

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

/// What a `$ref` leads to, however far.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(to) => {
            let pointer = to.strip_prefix('#').unwrap();
            let found = document.pointer(pointer);
            resolve(
                document,
                found.unwrap_or_else(|| panic!("{to} leads nowhere")),
            )
        }
        None => value,
    }
}

#[test]
fn the_document_is_openapi_3_1_of_this_version() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn its_paths_are_the_default_ones() {
    let document = document();
    let documented: BTreeSet<_> = document["paths"].as_object().unwrap().keys().collect();
    let served: Vec<_> = Paths::under("").unwrap().arriving().collect();
    assert_eq!(documented, served.iter().collect());
}

#[test]
fn every_reference_leads_somewhere_and_nothing_lies_about() {
    fn walk<'a>(document: &'a Value, value: &'a Value, seen: &mut BTreeSet<&'a str>) {
        if let Some(to) = value.get("$ref").and_then(Value::as_str) {
            resolve(document, value);
            seen.insert(to);
        }
        match value {
            Value::Object(fields) => fields
                .values()
                .for_each(|value| walk(document, value, seen)),
            Value::Array(items) => items.iter().for_each(|value| walk(document, value, seen)),
            _ => {}
        }
    }
    let document = document();
    let mut used = BTreeSet::new();
    walk(&document, &document, &mut used);
    // OpenAPI has no place for the answers to what it does not name.
    used.insert("#/components/responses/MethodNotAllowed");
    used.insert("#/components/responses/NoPage");
    for (kind, components) in document["components"].as_object().unwrap() {
        for name in components.as_object().unwrap().keys() {
            let name = format!("#/components/{kind}/{name}");
            assert!(used.contains(name.as_str()), "{name}");
        }
    }
}
