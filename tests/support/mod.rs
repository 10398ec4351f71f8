//! What several tests share.

use proptest::test_runner::Config;

pub mod gpu;
pub mod harness;
pub mod http;
pub mod kill;
pub mod model;
pub mod synthetic;

/// Settings of a property test with `cases` cases. A case that fails is printed and not kept in a file: proptest
/// looks for a place beside `lib.rs`, and these tests have none.
pub fn cases(cases: u32) -> Config {
    Config { failure_persistence: None, ..Config::with_cases(cases) }
}
