//! Watch what happens in a repository while it happens, whoever does it.
//!
//! ```text
//! $ cargo run --example events
//! agent-1: resource.locked file:notes.md
//! agent-1: task.began
//! agent-1: change.staged
//! agent-1: task.decided
//! agent-1: task.committed
//! agent-1: resource.unlocked file:notes.md
//! agent-2: resource.locked file:notes.md
//! agent-2: task.began
//! agent-2: task.rolled_back
//! agent-2: resource.unlocked file:notes.md
//! the counting thread heard of 10 events, too
//! ```
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mirror::git::ScratchRepository;
use mirror::{Declaration, Event, EventKind, Mirror, Since};

fn main() -> Result<(), Box<dyn Error>> {
    // A git repository to play in, which goes with `directory`.
    let directory = tempfile::tempdir()?;
    ScratchRepository::create(directory.path())?;
    let mirror = Mirror::init(directory.path())?;

    // A closure hears of every event by a thread of its own, until the subscription is stopped or dropped.
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let subscription = mirror.subscribe(Since::Now, move |_event| {
        counter.fetch_add(1, Ordering::Relaxed);
    })?;
    // Or they are taken one by one, as from a channel.
    let mut events = mirror.events(Since::Now)?;

    // Somebody works. It could as well be another process, or `mirror` on the command line.
    let mut task = mirror.begin(&Declaration::new("agent-1")?.write("notes.md"))?;
    task.stage("notes.md", "remember the milk\n")?;
    task.commit("notes")?;

    // The iterator waits for what comes next; this takes what agent-1 did.
    for event in &mut events {
        tell(&event);
        if event.kind == EventKind::TaskCommitted {
            break;
        }
    }

    mirror
        .begin(&Declaration::new("agent-2")?.write("notes.md"))?
        .rollback()?;

    // Stopping gives what happened until now and was not taken yet: no event is missed, none comes twice.
    for event in events.stop()? {
        tell(&event);
    }
    subscription.stop()?;
    println!(
        "the counting thread heard of {} events, too",
        count.load(Ordering::Relaxed)
    );
    Ok(())
}

fn tell(event: &Event) {
    let task = event.task.as_ref().map_or("", |task| task.as_str());
    match &event.resource {
        Some(resource) => println!("{task}: {} {resource}", event.kind),
        None => println!("{task}: {}", event.kind),
    }
}
