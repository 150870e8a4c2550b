//! A program adds a provider of its own: it is asked, it looks at what was granted, and it hears of the end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mirror::config::Settings;
use mirror::coordinator::provider::{Fitness, Provider, Stock, Which, Wish, variables};
use mirror::coordinator::{BeginRequest, CleanupRequest, Coordinator, Error, Silent, Wanted, WantedKind};
use mirror::host::System;
use mirror::model::{Candidates, LockSet, MemberName, Mode, Pool, PoolName, Resource, Share, TaskId};

use crate::support::Sandbox;

/// Graphics cards. What is in a directory of files is broken or was left running.
struct Gpus {
    directory: PathBuf,
}

impl Gpus {
    fn pool() -> PoolName {
        PoolName::new("gpu").unwrap()
    }

    fn file(&self, what: &str, resource: &Resource) -> PathBuf {
        let Resource::Member { member, .. } = resource else {
            panic!("{resource} is no card")
        };
        self.directory.join(format!("{what}-{member}"))
    }
}

impl Provider for Gpus {
    fn kind(&self) -> &'static str {
        "gpu"
    }

    fn allocate(&self, wishes: &[Wish], wants: &mut LockSet) -> Result<(), Error> {
        if wishes.iter().any(|wish| wish.which != Which::Any) {
            return Err(Error::Usage("Any card is as good as another".to_owned()));
        }
        let members = ["0", "1", "2"].map(|name| MemberName::new(name).unwrap());
        wants.share(Share::any(Candidates::Members {
            pool: Self::pool(),
            members: members.to_vec(),
        }));
        Ok(())
    }

    fn owns(&self, resource: &Resource) -> bool {
        resource.pool() == Some(Pool::Members(Self::pool()))
    }

    fn validate(&self, resource: &Resource, _held: &BTreeSet<Resource>) -> Result<Fitness, Error> {
        if self.file("broken", resource).exists() {
            return Ok(Fitness::Bad {
                reason: "it is broken".to_owned(),
                also: BTreeSet::new(),
            });
        }
        std::fs::write(self.file("running", resource), "").unwrap();
        Ok(Fitness::Good)
    }

    fn release(&self, resource: &Resource) -> Result<(), Error> {
        std::fs::remove_file(self.file("running", resource)).map_err(|error| Error::Provider {
            kind: "gpu".to_owned(),
            reason: error.to_string(),
        })
    }

    fn clean_up(&self, held: &BTreeSet<Resource>) -> Result<(), Error> {
        for member in ["0", "1", "2"] {
            let resource = Resource::Member {
                pool: Self::pool(),
                member: MemberName::new(member).unwrap(),
            };
            if !held.contains(&resource) {
                std::fs::remove_file(self.file("running", &resource)).ok();
            }
        }
        Ok(())
    }

    fn stock(&self) -> Vec<Stock> {
        vec![Stock {
            name: "cards".to_owned(),
            pool: Pool::Members(Self::pool()),
            total: 3,
            tags: vec!["cuda".to_owned()],
        }]
    }
}

fn open(sandbox: &Sandbox, directory: &Path) -> Coordinator {
    let host = Arc::new(System::new().unwrap());
    let mut coordinator =
        Coordinator::open(&sandbox.root(), &Settings::default(), host, &mut Silent).unwrap();
    coordinator.register(Box::new(Gpus {
        directory: directory.to_owned(),
    }));
    coordinator
}

fn wish(kind: &str) -> Wanted {
    Wanted {
        what: WantedKind::Share(Wish {
            kind: kind.to_owned(),
            name: String::new(),
            which: Which::Any,
            mode: Mode::Write,
        }),
        mode: Mode::Write,
    }
}

#[test]
fn a_registered_provider_is_asked_looks_and_hears_of_the_end() {
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    let cards = sandbox.beside("cards");
    std::fs::create_dir_all(&cards).unwrap();
    std::fs::write(cards.join("broken-0"), "").unwrap();
    let mut coordinator = open(&sandbox, &cards);
    let begin = |coordinator: &mut Coordinator, name: &str| {
        let mut request = BeginRequest::writing(TaskId::new(name).unwrap(), [format!("file-{name}")]);
        request.wants.push(wish("gpu"));
        coordinator.begin(&request, &mut Silent)
    };
    let first = begin(&mut coordinator, "one").unwrap();
    let variable = |value: &str| vec![("MIRROR_POOL_GPU".to_owned(), value.to_owned())];
    assert_eq!(variables(&first.task), variable("1"), "number 0 is broken");
    let second = begin(&mut coordinator, "two").unwrap();
    assert_eq!(variables(&second.task), variable("2"));
    let refused = begin(&mut coordinator, "three").unwrap_err();
    assert!(matches!(refused, Error::Held { .. }), "{refused}");
    assert!(cards.join("running-1").exists() && !cards.join("running-0").exists());

    let status = coordinator.status().unwrap();
    let used = status.resources.iter().find(|used| used.kind == "gpu").unwrap();
    assert_eq!(
        (used.name.as_str(), used.total, used.used, used.free()),
        ("cards", 3, 2, 1)
    );
    assert_eq!(used.tags, ["cuda"]);
    assert_eq!(used.holders[0].task, first.task.id);

    coordinator.rollback(&first.task.id).unwrap();
    assert!(!cards.join("running-1").exists(), "it heard of the end");
    // A program without the provider ends the other one: the next cleaning finds out.
    sandbox.mirror(["rollback", "-t", "two"]).succeeded();
    assert!(cards.join("running-2").exists());
    coordinator.cleanup(&CleanupRequest::default()).unwrap();
    assert!(!cards.join("running-2").exists());

    for number in 1..3 {
        std::fs::write(cards.join(format!("broken-{number}")), "").unwrap();
    }
    let refused = begin(&mut coordinator, "three").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "any of pool:gpu cannot be used: it is broken"
    );
    assert_eq!(
        coordinator.status().unwrap().tasks.len(),
        0,
        "nothing is left of it"
    );
}

#[test]
fn a_kind_that_nobody_provides_is_refused_with_those_that_are() {
    let sandbox = Sandbox::repository();
    sandbox.mirror(["init"]).succeeded();
    let mut coordinator = open(&sandbox, &sandbox.beside("cards"));
    let mut request = BeginRequest::writing(TaskId::new("one").unwrap(), ["a"]);
    request.wants.push(wish("tape"));
    let refused = coordinator.begin(&request, &mut Silent).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "There is no tape, only gpu, service, port, pool, quota"
    );
}
