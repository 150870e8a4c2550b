//! The signals of a run: they are for its command while that lives, and end the run from then on, until its commit is decided.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use mirror::coordinator::Interrupter;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::Origin;

use super::command::guard::forwarded;

/// Hands signals out. Until it listens they do what they always do.
#[derive(Clone)]
pub(crate) struct Signals {
    interrupter: Interrupter,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Whom the signals are for, while there is a command.
    command: Option<Box<dyn Fn(Origin) + Send>>,
    /// The first signal that was to end the run after its command.
    ended_by: Option<i32>,
}

impl Signals {
    /// Interrupts by `interrupter`.
    pub(crate) fn new(interrupter: Interrupter) -> Self {
        let state = Arc::default();
        Self { interrupter, state }
    }

    /// Begins to listen, for as long as this process lives. From now on no signal but `KILL` ends it by itself; until the command has
    /// ended, all of them go to `command`.
    pub(crate) fn listen(&self, command: impl Fn(Origin) + Send + 'static) -> io::Result<()> {
        self.lock().command = Some(Box::new(command));
        let mut signals = SignalsInfo::<WithOrigin>::new(forwarded())?;
        let own = self.clone();
        thread::spawn(move || {
            for origin in &mut signals {
                own.hand_out(origin);
            }
        });
        Ok(())
    }

    /// Says that there is no command any more.
    pub(crate) fn command_ended(&self) {
        self.lock().command = None;
    }

    /// Gives a signal to whom it is for.
    pub(crate) fn hand_out(&self, origin: Origin) {
        let mut state = self.lock();
        if let Some(command) = &state.command {
            command(origin);
        } else if matches!(origin.signal, SIGTERM | SIGHUP | SIGINT | SIGQUIT) {
            state.ended_by.get_or_insert(origin.signal);
            drop(state);
            self.interrupter.interrupt();
        }
    }

    /// Returns the signal that was to end the run after its command, if any was.
    pub(crate) fn ended_by(&self) -> Option<i32> {
        self.lock().ended_by
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
