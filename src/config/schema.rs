//! The configuration in the words of JSON Schema, for editors and for whoever checks files elsewhere.

use serde_json::{Map, Value, json};

use crate::config::keys::{self, Key};

/// Returns the schema of a configuration file.
pub fn schema() -> Value {
    let mut schema = section("");
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Configuration of mirror".into();
    schema
}

fn section(name: &str) -> Value {
    let properties = keys::members(name).into_iter().map(|member| {
        let full = match name {
            "" => member.to_owned(),
            _ => format!("{name}.{member}"),
        };
        let inner = keys::key(&full).map_or_else(|| section(&full), leaf);
        (member.to_owned(), inner)
    });
    // A name with nothing behind it says nothing, and is legal.
    json!({
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties.collect::<Map<_, _>>(),
    })
}

fn leaf(key: &Key) -> Value {
    let mut leaf = (key.schema)();
    for (word, make_room) in [("type", Value::from("null")), ("enum", Value::Null)] {
        match leaf.get_mut(word) {
            Some(Value::Array(some)) => some.push(make_room),
            Some(one) => *one = json!([one.take(), make_room]),
            None => {}
        }
    }
    leaf["description"] = key.about.trim().into();
    leaf["default"] = (key.default)();
    leaf
}
