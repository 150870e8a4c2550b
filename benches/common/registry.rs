//! The registry, without a repository around it.

use std::path::Path;
use std::sync::Arc;

use mirror::host::{Host, System};
use mirror::model::TaskId;
use mirror::store::{Asker, NewTask, Place, Store};

fn place(directory: &Path) -> Place {
    Place {
        registry: directory.join("registry.db"),
        door: directory.join("door.lock"),
        wake: directory.join("wake"),
    }
}

pub(crate) fn create(directory: &Path) -> Store {
    std::fs::create_dir_all(directory.join("wake")).unwrap();
    Store::create(&place(directory), Arc::new(System::new().unwrap())).unwrap()
}

pub(crate) fn open(directory: &Path) -> Store {
    Store::open(&place(directory), Arc::new(System::new().unwrap())).unwrap()
}

pub(crate) fn asker(name: &str) -> Asker {
    Asker::New(NewTask {
        id: TaskId::new(name).unwrap(),
        owner: System::new().unwrap().owner(None).unwrap(),
        ttl_ms: 3_600_000,
        max_hold_ms: 3_600_000,
        reason: None,
        metadata: serde_json::Map::new(),
    })
}
