//! `mirror demo`: eight workers change one repository at once, some of them badly, and at the end it is proven whole.

mod play;
mod proof;
mod scene;
mod worker;

pub(crate) use play::play;
pub(crate) use scene::Scene;
pub(crate) use worker::work;
