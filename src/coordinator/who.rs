//! `who`: who holds what a path stands for.

use std::ffi::OsString;

use crate::coordinator::{Coordinator, Error, resolve};
use crate::store::Holders;

impl Coordinator {
    /// Tells who holds each of the typed paths, directories, patterns or services, in their order.
    pub fn who(&mut self, typed: &[OsString]) -> Result<Vec<Holders>, Error> {
        let mut resources = Vec::new();
        for typed in typed {
            resources.extend(resolve::resources(self, typed)?);
        }
        Ok(self.store.holders(&resources)?)
    }
}
