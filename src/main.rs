//! The `parr` program: parse, run, report.

fn main() {}
