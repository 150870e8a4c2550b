//! Git hooks: they stand beside what is there, they refuse what others hold, and they never pass in silence.

mod answers;
mod install;
mod layouts;
