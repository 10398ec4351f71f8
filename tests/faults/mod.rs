//! Programs under faults: of the driver, of the disk, of the system.

mod bench;
mod built;
mod driver;
mod server;
mod system;
