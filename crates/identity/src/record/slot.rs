//! Room in a connection for one value of somebody else's: found again by each of its calls, without a table.

use std::any::Any;
use std::sync::{Arc, OnceLock};

/// One value, of the type that the first one to put something in chose.
#[derive(Clone, Debug, Default)]
pub struct Slot(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Slot {
    /// What is in it, if it is a `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.get()?.downcast_ref()
    }

    /// What is in it, or else what `make` makes, which stays.
    pub fn get_or_put<T: Any + Send + Sync>(
        &self,
        make: impl FnOnce() -> Arc<T>,
    ) -> &Arc<dyn Any + Send + Sync> {
        self.0.get_or_init(|| make())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_first_stays_and_nobody_gets_it_as_something_else() {
        let slot = Slot::default();
        assert_eq!(slot.get::<u32>(), None);
        assert_eq!(slot.get_or_put(|| Arc::new(1_u32)).downcast_ref(), Some(&1_u32));
        assert_eq!(slot.get_or_put(|| Arc::new(2_u32)).downcast_ref(), Some(&1_u32));
        assert_eq!(slot.get::<u32>(), Some(&1));
        assert_eq!(slot.get_or_put(|| Arc::new("other")).downcast_ref::<&str>(), None);
    }
}
