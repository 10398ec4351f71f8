//! The `parr` program: parse, run, report.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
