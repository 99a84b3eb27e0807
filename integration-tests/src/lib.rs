//! The soak test: load, kills and clock jumps on the market for longer than a demo run. The programs of the container
//! scenarios are in `bin/`.

pub mod soak;
