//! The `#[test]` attribute of Parr's integration tests.
//!
//! The test binary has its own `main` (`tests/support/harness.rs`), because Rust's harness cannot report a test as
//! ignored while it runs. Without Rust's harness the compiler drops functions with the built-in `#[test]`, so this
//! attribute takes its name and its place: `#[macro_use] extern crate` in `tests/tests.rs` puts it in scope of
//! every module.

use proc_macro::{TokenStream, TokenTree};

/// Keeps the function as it is and registers it with the harness under its module path and name.
///
/// A function with a parameter of type `KernelFamily` is two tests, `name::lane8` and `name::tiled`.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, function: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return refuse("`#[test]` takes no arguments");
    }
    let mut tokens = function.clone().into_iter();
    let mut name = None;
    let mut parameters = None;
    while let Some(token) = tokens.next() {
        match token {
            // An attribute below `#[test]`.
            TokenTree::Group(group) => {
                let first = group.stream().into_iter().next().map(|token| token.to_string());
                if let Some(other) = first.filter(|first| first == "ignore" || first == "should_panic") {
                    return refuse(&format!("the harness of these tests does not know `#[{other}]`"));
                }
            }
            TokenTree::Ident(ident) if ident.to_string() == "fn" => {
                name = tokens.next().map(|name| name.to_string());
                parameters = tokens.next().map(|parameters| parameters.to_string());
                break;
            }
            _ => {}
        }
    }
    let Some(name) = name else { return refuse("`#[test]` belongs on a function") };
    let plain = name.trim_start_matches("r#");
    let registrations = if parameters.is_some_and(|parameters| parameters == "()") {
        register(plain, &name)
    } else {
        let of = |family: &str, variant: &str| {
            register(
                &format!("{plain}::{family}"),
                &format!("|| {name}(::parr::gpu::KernelFamily::{variant})"),
            )
        };
        of("lane8", "Lane8") + &of("tiled", "Tiled")
    };
    match registrations.parse::<TokenStream>() {
        Ok(registrations) => function.into_iter().chain(registrations).collect(),
        Err(error) => refuse(&error.to_string()),
    }
}

/// Code that registers `run` under `name`.
fn register(name: &str, run: &str) -> String {
    format!(
        "::inventory::submit! {{
            crate::support::harness::Test {{ module: ::core::module_path!(), name: {name:?}, run: {run} }}
        }}"
    )
}

/// A compiler error with this message.
fn refuse(message: &str) -> TokenStream {
    format!("::core::compile_error!({message:?});").parse().unwrap_or_default()
}
