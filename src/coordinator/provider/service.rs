//! Services: whatever has a name, alone or with a port, shared or exclusive.

use crate::coordinator::Error;
use crate::coordinator::provider::{Provider, Wish};
use crate::model::{Lock, LockSet, Resource, ServiceName};

/// Gives out services. Any name is one.
#[derive(Debug, Clone, Copy)]
pub struct Services;

impl Provider for Services {
    fn kind(&self) -> &'static str {
        "service"
    }

    fn allocate(&self, wishes: &[Wish], wants: &mut LockSet) -> Result<(), Error> {
        for wish in wishes {
            wants.insert(Lock {
                resource: Resource::Service(ServiceName::new(wish.name.as_str())?),
                mode: wish.mode,
            });
        }
        Ok(())
    }

    fn owns(&self, resource: &Resource) -> bool {
        matches!(resource, Resource::Service(_))
    }
}
