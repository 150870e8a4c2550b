//! What one source of configuration says, and how one is put over another: the one user of the YAML parser.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use serde_saphyr::{Spanned, UserMessageFormatter};

use crate::config::fault::{ConfigError, Fault, Origin, Place};
use crate::config::keys::{self, KEYS, Key};
use crate::config::variable;

/// What one source says; whatever it does not say is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer {
    pub(super) said: BTreeMap<&'static str, Said>,
}

/// A value, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

impl Layer {
    /// Reads the text of a file, which errors call `origin`. An empty file, or one of comments alone, says nothing.
    pub fn from_yaml(origin: &str, text: &str) -> Result<Self, ConfigError> {
        let mut reading = Reading {
            file: origin,
            text,
            layer: Self::default(),
            faults: Vec::new(),
        };
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        match serde_saphyr::from_str_with_options::<Option<Spanned<Node>>>(text, options) {
            Ok(root) => reading.take("", root),
            Err(error) => {
                let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
                reading.fault(
                    line,
                    column,
                    error
                        .without_snippet()
                        .render_with_formatter(&UserMessageFormatter),
                );
            }
        }
        if reading.faults.is_empty() {
            Ok(reading.layer)
        } else {
            Err(ConfigError {
                faults: reading.faults,
            })
        }
    }

    /// Asks `look_up` for the variable of every key. Its value is what one would write in YAML; an empty one counts
    /// as none.
    pub fn from_variables(look_up: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let (mut layer, mut faults) = (Self::default(), Vec::new());
        for key in KEYS {
            let name = variable(key.name);
            let Some(text) = look_up(&name).filter(|text| !text.is_empty()) else {
                continue;
            };
            match one_value(key, &text) {
                Ok(value) => layer.say(key, value, Origin::Variable(name)),
                Err(message) => faults.push(Fault {
                    origin: Origin::Variable(name),
                    message,
                }),
            }
        }
        if faults.is_empty() {
            Ok(layer)
        } else {
            Err(ConfigError { faults })
        }
    }

    /// A layer that names the store and nothing else, as the flag does.
    pub fn from_store(url: Option<String>) -> Result<Self, ConfigError> {
        let mut layer = Self::default();
        if let Some((key, url)) = keys::key("store.url").zip(url) {
            let (value, origin) = (Value::String(url), Origin::Flag("--store"));
            (key.check)(&value).map_err(|message| Fault {
                origin: origin.clone(),
                message,
            })?;
            layer.say(key, value, origin);
        }
        Ok(layer)
    }

    fn say(&mut self, key: &'static Key, value: Value, origin: Origin) {
        self.said.insert(key.name, Said { value, origin });
    }

    /// Puts this layer over `below`: what it says wins, what it does not say is taken from there.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        let mut said = below.said;
        said.extend(self.said);
        Self { said }
    }
}

fn one_value(key: &Key, text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let value: Value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| error.render_with_formatter(&UserMessageFormatter))?;
    (key.check)(&value).map(|()| value)
}

/// A file that is being read. Every fault is noted, none ends the reading.
struct Reading<'a> {
    file: &'a str,
    text: &'a str,
    layer: Layer,
    faults: Vec<Fault>,
}

impl Reading<'_> {
    fn place(&self, line: u64, column: u64) -> Origin {
        Origin::File(Place::new(self.file, self.text, line, column))
    }

    fn fault(&mut self, line: u64, column: u64, message: String) {
        let origin = self.place(line, column);
        self.faults.push(Fault { origin, message });
    }

    /// Takes in the entries of a section whose names are the user's own: each is judged where it stands.
    fn entries(&mut self, key: &Key, entries: Vec<(Spanned<String>, Spanned<Node>)>) -> Option<Value> {
        let before = self.faults.len();
        let mut all = Map::new();
        for (name, node) in entries {
            let (line, column) = (name.referenced.line(), name.referenced.column());
            let value = node.value.into_value();
            if let Err(message) = (key.check)(&json!({name.value.as_str(): value})) {
                self.fault(line, column, format!("{}: {message}", key.name));
            }
            all.insert(name.value, value);
        }
        (self.faults.len() == before).then_some(Value::Object(all))
    }

    /// Takes in what stands at `name`, a section or a key.
    fn take(&mut self, name: &str, node: Option<Spanned<Node>>) {
        // A name with nothing behind it says nothing.
        let Some(node) = node.filter(|node| !matches!(node.value, Node::Leaf(Value::Null))) else {
            return;
        };
        let (line, column) = (node.referenced.line(), node.referenced.column());
        if let Some(key) = keys::key(name) {
            let value = match node.value {
                Node::Section(entries) if key.has_entries => {
                    let Some(value) = self.entries(key, entries) else {
                        return;
                    };
                    value
                }
                other => other.into_value(),
            };
            match (key.check)(&value) {
                Ok(()) => {
                    let origin = self.place(line, column);
                    self.layer.say(key, value, origin);
                }
                Err(message) => self.fault(line, column, format!("{name}: {message}")),
            }
            return;
        }
        let Node::Section(members) = node.value else {
            let known = keys::members(name).join(", ");
            let what = if name.is_empty() { "the file" } else { name };
            self.fault(
                line,
                column,
                format!("{what}: expected a section with some of {known}"),
            );
            return;
        };
        for (member, node) in members {
            let full = match name {
                "" => member.value.clone(),
                _ => format!("{name}.{}", member.value),
            };
            // A dot in a name does not lead below.
            if !member.value.contains('.') && (keys::key(&full).is_some() || keys::is_section(&full)) {
                self.take(&full, Some(node));
            } else {
                let known = keys::members(name).join(", ");
                let (line, column) = (member.referenced.line(), member.referenced.column());
                self.fault(
                    line,
                    column,
                    format!("unknown key {full:?}, expected one of {known}"),
                );
            }
        }
    }
}

/// A piece of YAML: sections keep the places of what is in them.
enum Node {
    Section(Vec<(Spanned<String>, Spanned<Node>)>),
    Leaf(Value),
}

impl Node {
    fn into_value(self) -> Value {
        match self {
            Self::Leaf(value) => value,
            Self::Section(members) => {
                let members = members
                    .into_iter()
                    .map(|(name, node)| (name.value, node.value.into_value()));
                Value::Object(members.collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a section")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<Spanned<String>>()? {
            members.push((name, map.next_value()?));
        }
        Ok(Node::Section(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::Leaf(Value::Array(items)))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<Node, E> {
        Err(E::custom("the number is too large"))
    }

    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<Node, E> {
        Err(E::custom("the number is too large"))
    }
}
