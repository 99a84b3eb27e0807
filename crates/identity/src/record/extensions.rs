//! Values of other crates that live as long as a connection: found again by each of its calls, without a table.
//!
//! There is one value of each type. The types are few and known when a program is written (the counters of its records,
//! the nonces of recoveries), so they are searched one after the other. The list grows at its end only, so no reader
//! waits for a lock.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Values of different types, one of each. Clones of a extensions that is in use share what is in it.
#[derive(Clone, Default)]
pub struct ConnectionExtensions(OnceLock<Arc<Kept>>);

struct Kept {
    value: Arc<dyn Any + Send + Sync>,
    next: ConnectionExtensions,
}

impl ConnectionExtensions {
    /// The value of type `T`, if there is one.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        let mut kept = self.0.get()?;
        loop {
            if let Some(value) = kept.value.downcast_ref() {
                return Some(value);
            }
            kept = kept.next.0.get()?;
        }
    }

    /// The value of type `T`, or else what `make` makes, which stays. Of several calls at once, one makes it.
    pub fn get_or_put<T: Any + Send + Sync>(&self, make: impl Fn() -> Arc<T>) -> &Arc<dyn Any + Send + Sync> {
        let mut extensions = self;
        loop {
            // At the end of the list another thread may come first with another type: then the end is one further.
            let kept = extensions.0.get_or_init(|| Arc::new(Kept { value: make(), next: Self::default() }));
            if kept.value.is::<T>() {
                return &kept.value;
            }
            extensions = &kept.next;
        }
    }
}

impl fmt::Debug for ConnectionExtensions {
    /// Shows whether there are values, and not the values: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionExtensions").field("in_use", &self.0.get().is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_each_type_stays_and_nobody_gets_it_as_another() {
        let extensions = ConnectionExtensions::default();
        assert_eq!(extensions.get::<u32>(), None);
        assert_eq!(extensions.get_or_put(|| Arc::new(1_u32)).downcast_ref(), Some(&1_u32));
        assert_eq!(extensions.get_or_put(|| Arc::new(2_u32)).downcast_ref(), Some(&1_u32));
        assert_eq!(extensions.get::<&str>(), None);
        assert_eq!(extensions.get_or_put(|| Arc::new("other")).downcast_ref(), Some(&"other"));
        assert_eq!((extensions.get(), extensions.get()), (Some(&1_u32), Some(&"other")));
    }

    #[test]
    fn threads_that_put_values_of_different_types_at_once_lose_none() {
        for _ in 0..100 {
            let extensions = ConnectionExtensions::default();
            let begin = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    begin.wait();
                    extensions.get_or_put(|| Arc::new(1_u32));
                });
                begin.wait();
                extensions.get_or_put(|| Arc::new(2_u64));
            });
            assert_eq!((extensions.get(), extensions.get()), (Some(&1_u32), Some(&2_u64)));
        }
    }

    #[test]
    fn what_is_kept_goes_with_the_last_clone() {
        let extensions = ConnectionExtensions::default();
        let value = Arc::new(7_u8);
        extensions.get_or_put(|| Arc::clone(&value));
        let clone = extensions.clone();
        drop(extensions);
        assert_eq!((clone.get(), Arc::strong_count(&value)), (Some(&7_u8), 2));
        drop(clone);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
