//! What is shared out by number, as the configuration says it: pools of names, quotas, a range of ports.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::config::kind::{Kind, quoted};
use crate::model::{Amount, MemberName, PoolName};

/// The most members that a pool may have: above it a number is meant, not a list.
const MEMBERS_MAX: usize = 4096;

/// A pool or a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooled {
    /// What there is.
    pub stock: Stocked,
    /// Words of the user's own, for whoever looks at it.
    pub tags: Vec<String>,
}

/// What there is to be shared out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stocked {
    /// Names that are as good as each other, the most welcome first.
    Members(Vec<MemberName>),
    /// A total.
    Total(Amount),
}

/// Ports from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// Pools and quotas by name.
#[derive(Debug)]
pub struct Pools;

/// Two ports, the first and the last.
#[derive(Debug)]
pub struct Ports;

impl Kind for Pools {
    type Read = BTreeMap<PoolName, Pooled>;
    const HAS_ENTRIES: bool = true;

    fn read(value: &Value) -> Result<Self::Read, String> {
        let entries = value
            .as_object()
            .ok_or_else(|| format!("expected pools by name, and not {}", quoted(value)))?;
        let mut pools = BTreeMap::new();
        for (name, value) in entries {
            let name = PoolName::new(name.as_str()).map_err(|error| error.to_string())?;
            let pool = entry(value).map_err(|wrong| format!("{name}: {wrong}"))?;
            pools.insert(name, pool);
        }
        match ambiguous(&pools) {
            Some((one, other)) => Err(format!(
                "{one} and {other} both make the name of the variable {}",
                one.in_variable()
            )),
            None => Ok(pools),
        }
    }

    fn schema() -> Value {
        let tags = json!({"type": "array", "items": {"type": "string"}});
        let member = json!({"type": ["string", "integer"]});
        let members = json!({"type": "array", "items": member, "minItems": 1, "maxItems": MEMBERS_MAX, "uniqueItems": true});
        let total = json!({"type": ["integer", "string"], "minimum": 1});
        let form = |what: &str, of: &Value| {
            json!({
                "type": "object",
                "additionalProperties": false,
                "required": [what],
                "properties": {what: of, "tags": tags},
            })
        };
        json!({
            "type": "object",
            "additionalProperties": {"anyOf": [members, form("members", &members), form("total", &total)]},
            "examples": [{"db": ["db-1", "db-2"], "memory": {"total": "16GiB"}}],
        })
    }
}

impl Kind for Ports {
    type Read = PortRange;

    fn read(value: &Value) -> Result<PortRange, String> {
        let ports: Option<[u16; 2]> = serde_json::from_value(value.clone()).ok();
        match ports {
            Some([first, last]) if first > 0 && first <= last => Ok(PortRange { first, last }),
            _ => Err(format!(
                "expected two ports, the first and the last, as in [5000, 6000], and not {}",
                quoted(value)
            )),
        }
    }

    fn schema() -> Value {
        let port = json!({"type": "integer", "minimum": 1, "maximum": u16::MAX});
        json!({"type": "array", "items": port, "minItems": 2, "maxItems": 2, "examples": [[7000, 7009]]})
    }
}

/// Reads `[db-1, db-2]`, `{members: [..], tags: [..]}` or `{total: 16GiB, tags: [..]}`.
fn entry(value: &Value) -> Result<Pooled, String> {
    let expected = format!(
        "expected a list of members or {{total: N}}, and not {}",
        quoted(value)
    );
    let fields = match value {
        Value::Array(list) => {
            return Ok(Pooled {
                stock: members(list)?,
                tags: Vec::new(),
            });
        }
        Value::Object(fields) => fields,
        _ => return Err(expected),
    };
    let known = ["members", "total", "tags"];
    if let Some(unknown) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!(
            "unknown key {unknown:?}, expected one of {}",
            known.join(", ")
        ));
    }
    let tags = match fields.get("tags") {
        None | Some(Value::Null) => Vec::new(),
        Some(tags) => serde_json::from_value(tags.clone())
            .map_err(|_| format!("tags: expected a list of texts, and not {}", quoted(tags)))?,
    };
    let stock = match (fields.get("members"), fields.get("total")) {
        (Some(Value::Array(list)), None) => members(list)?,
        (None, Some(total)) => Stocked::Total(amount(total).map_err(|wrong| format!("total: {wrong}"))?),
        _ => return Err(expected),
    };
    Ok(Pooled { stock, tags })
}

fn members(list: &[Value]) -> Result<Stocked, String> {
    if list.is_empty() {
        return Err("a pool needs at least one member".to_owned());
    }
    if list.len() > MEMBERS_MAX {
        return Err(format!("a pool has at most {MEMBERS_MAX} members"));
    }
    let mut seen = BTreeSet::new();
    let mut members = Vec::with_capacity(list.len());
    for value in list {
        let name = match value {
            Value::String(name) => name.clone(),
            // As in `gpu: [0, 1]`.
            Value::Number(number) if number.is_u64() => number.to_string(),
            other => {
                return Err(format!(
                    "expected the name of a member, and not {}",
                    quoted(other)
                ));
            }
        };
        let member = MemberName::new(name).map_err(|error| error.to_string())?;
        if !seen.insert(member.clone()) {
            return Err(format!("the member {member} is named twice"));
        }
        members.push(member);
    }
    Ok(Stocked::Members(members))
}

fn amount(value: &Value) -> Result<Amount, String> {
    let amount = match value {
        Value::String(text) => text.parse::<Amount>().map_err(|error| error.to_string())?,
        other => other.as_u64().map(Amount::new).ok_or_else(|| {
            format!(
                "expected a whole number of at least 1, or a text such as 16GiB, and not {}",
                quoted(other)
            )
        })?,
    };
    if amount.get() == 0 {
        return Err("there has to be at least 1".to_owned());
    }
    Ok(amount)
}

/// Finds two pools, or two quotas, whose names make one name of a variable.
fn ambiguous(pools: &BTreeMap<PoolName, Pooled>) -> Option<(PoolName, PoolName)> {
    let mut seen = BTreeMap::new();
    for (name, pool) in pools {
        let is_quota = matches!(pool.stock, Stocked::Total(_));
        if let Some(other) = seen.insert((is_quota, name.in_variable()), name) {
            return Some((other.clone(), name.clone()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Layer, Stocked};
    use crate::model::{MemberName, PoolName};

    fn message(text: &str) -> String {
        let layer = Layer::from_yaml("config.yaml", text);
        layer
            .and_then(|layer| Config::from_layers([layer]))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn pools_and_quotas_are_read_with_their_tags() {
        let text = "pools: {db: [b, a], gpu: {members: [0, 1], tags: [cuda]}, memory: {total: 16GiB}, seats: {total: 3}}";
        let layer = Layer::from_yaml("config.yaml", text).unwrap();
        let config = Config::from_layers([layer]).unwrap();
        let of = |name: &str| &config.pools[&PoolName::new(name).unwrap()];
        let Stocked::Members(members) = &of("db").stock else {
            panic!("{config:?}")
        };
        let names: Vec<&str> = members.iter().map(MemberName::as_str).collect();
        assert_eq!(names, ["b", "a"], "in the order of preference");
        assert_eq!(of("gpu").tags, ["cuda"]);
        let total = |name: &str| match of(name).stock {
            Stocked::Total(total) => total.get(),
            Stocked::Members(_) => 0,
        };
        assert_eq!((total("memory"), total("seats")), (16 << 30, 3));
    }

    #[test]
    fn a_pool_or_a_range_that_makes_no_sense_is_shown_with_its_line() {
        for (text, expected) in [
            ("[]", "at least one member"),
            ("[a, a]", "named twice"),
            ("[a b]", "Invalid member of a pool \"a b\""),
            ("[-1]", "expected the name of a member, and not -1"),
            ("3", "expected a list of members or {total: N}, and not 3"),
            (
                "{}",
                "expected a list of members or {total: N}, and not a section",
            ),
            (
                "{members: [a], total: 3}",
                "expected a list of members or {total: N}",
            ),
            ("{total: 0}", "total: there has to be at least 1"),
            ("{total: -3}", "and not -3"),
            ("{total: 1.5}", "and not 1.5"),
            ("{total: 16 GiB}", "the units are"),
            ("{total: 99999999999999999999GiB}", "larger than 64 bits"),
            (
                "{total: 3, size: 4}",
                "unknown key \"size\", expected one of members, total, tags",
            ),
            (
                "{total: 3, tags: loud}",
                "tags: expected a list of texts, and not \"loud\"",
            ),
        ] {
            let message = message(&format!("# first\npools:\n  ok: [a]\n  bad: {text}\n"));
            assert!(message.contains(expected), "{text}: {message}");
            assert!(message.contains("config.yaml:4:"), "{text}: {message}");
        }
        for name in ["'a/b'", "'a b'", "''", "-a", "a=b", "\u{e9}"] {
            let message = message(&format!("pools:\n  ok: [a]\n  {name}: [a]\n"));
            assert!(message.contains("Invalid pool name"), "{name}: {message}");
            assert!(message.contains("config.yaml:3:"), "{name}: {message}");
        }
        let twice = message("pools: {test-db: [a], test.db: [b]}");
        assert!(twice.contains("TEST_DB"), "{twice}");
        assert!(
            Layer::from_yaml("a", "pools: {db: [a], DB: {total: 3}}").is_ok(),
            "a pool and a quota"
        );
        for range in [
            "5000",
            "[5000]",
            "[2, 1]",
            "[0, 5]",
            "[1, 65536]",
            "[a, b]",
            "[1, 2, 3]",
        ] {
            let text = format!("resource_manager:\n  strategies:\n    services: {{port_range: {range}}}\n");
            let message = message(&text);
            assert!(message.contains("expected two ports"), "{range}: {message}");
            assert!(message.contains("config.yaml:3:"), "{range}: {message}");
        }
    }

    #[test]
    fn all_that_is_wrong_with_pools_is_found_at_once() {
        let message = message("pools:\n  one: []\n  two: [x]\n  three: {total: 0}\n");
        assert!(message.contains(":2:") && message.contains(":4:"), "{message}");
    }
}
