//! The signals of a run and of a commit: they are for the command of a run while that lives, and end the verb at any other time,
//! until its commit is decided.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Context as _;
use mirror::coordinator::{Error, Interrupter};
use mirror::model::Kind;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::Origin;

use super::command::guard::forwarded;
use super::error::Report;
use super::exit_code::ExitCode;
use super::output::Output;

/// Hands signals out.
#[derive(Clone)]
pub(crate) struct Signals {
    interrupter: Interrupter,
    state: Arc<Mutex<State>>,
    /// Whether a signal has come that ends the verb: set where the signal is taken, before anybody has read it.
    has_come: Arc<AtomicBool>,
    /// Told when one was read.
    heard: Arc<Condvar>,
}

#[derive(Default)]
struct State {
    /// Whom the signals are for, while there is a command.
    command: Option<Box<dyn Fn(Origin) + Send>>,
    /// Whether a second signal ends this process like the first ends the verb: not once a command has run, nor where the commit may be
    /// decided.
    is_patient: bool,
    /// The first signal that was to end the verb itself.
    ended_by: Option<i32>,
}

impl Signals {
    /// Begins to listen, for as long as this process lives. From now on no signal but `KILL` ends it by itself; but whoever insists before
    /// a command has run is heard at once: something may stand in the way of an orderly end.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let signals = SignalsInfo::<WithOrigin>::new(forwarded());
        let mut signals = signals.context("Failed listening for signals")?;
        let own = Self {
            interrupter: Interrupter::default(),
            state: Arc::default(),
            has_come: Arc::default(),
            heard: Arc::default(),
        };
        for signal in forwarded().filter(|signal| ends(*signal)) {
            flag::register(signal, Arc::clone(&own.has_come)).context("Failed listening for signals")?;
        }
        let handed = own.clone();
        thread::spawn(move || {
            for origin in &mut signals {
                handed.hand_out(origin);
            }
        });
        Ok(own)
    }

    /// Returns what signals interrupt.
    pub(crate) fn interrupter(&self) -> Interrupter {
        self.interrupter.clone()
    }

    /// Leaves it to the verb alone when to end: what it decides is carried out, however often it is told to end.
    pub(crate) fn be_patient(&self) {
        self.lock().is_patient = true;
    }

    /// Hands all signals to `command` until it has ended. Refuses where one has come before, and answers which.
    pub(crate) fn command_begins(&self, command: impl Fn(Origin) + Send + 'static) -> Result<(), i32> {
        let mut state = self.lock();
        // One that came before counts as such, however late it is read.
        while self.has_come.load(Ordering::SeqCst) && state.ended_by.is_none() {
            state = self.heard.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(signal) = state.ended_by {
            return Err(signal);
        }
        state.is_patient = true;
        state.command = Some(Box::new(command));
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
        } else if ends(origin.signal) {
            if state.ended_by.is_some() && !state.is_patient {
                drop(emulate_default_handler(origin.signal));
            }
            state.ended_by.get_or_insert(origin.signal);
            drop(state);
            self.heard.notify_all();
            self.interrupter.interrupt();
        }
    }

    /// Returns the signal that was to end the verb itself, if any was.
    pub(crate) fn ended_by(&self) -> Option<i32> {
        self.lock().ended_by
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether a signal ends the verb, where there is no command that it is for.
fn ends(signal: i32) -> bool {
    matches!(signal, SIGTERM | SIGHUP | SIGINT | SIGQUIT)
}

/// Answers a verb that was refused, and says what was `kept`, and where. Whoever was told to end by a signal ends by it: whoever started
/// us sees that it ended us.
pub(crate) fn refuse(
    output: Output,
    signal: Option<i32>,
    error: anyhow::Error,
    kept: Vec<String>,
) -> anyhow::Result<ExitCode> {
    let kind = error.downcast_ref::<Error>().map(Error::kind);
    // What is decided is not ended any more.
    let signal = signal.filter(|_| !matches!(kind, Some(Kind::Pending | Kind::Unknown)));
    if signal.is_none() && kept.is_empty() {
        return Err(error);
    }
    let Some(mut report) = Report::of(&error) else {
        return Err(error);
    };
    for kept in kept {
        report = report.hinting(kept);
    }
    let code = report.tell(output.json);
    if let Some(signal) = signal {
        emulate_default_handler(signal).context("Failed ending by the signal")?;
    }
    Ok(code)
}
