//! The `parr` program: parse, run, report.

fn main() -> std::process::ExitCode {
    parr::cli::main()
}
