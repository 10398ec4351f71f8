//! Written principles: programs that can tell whether a reply keeps one.

mod check;

pub use check::{Check, Language, contains_phrase, language};
