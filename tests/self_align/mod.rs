//! Self-alignment: the prompt, the filters, a run and its resumption.

mod filter;
mod prompt;
mod run;

use parr::principles::{Exemplars, PrincipleSet};

/// The rules and exemplars that come with Parr.
fn shipped() -> (PrincipleSet, Exemplars) {
    let rules = PrincipleSet::open("self-align").expect("it comes with Parr");
    let exemplars = Exemplars::open("self-align", &rules).expect("they come with Parr");
    (rules, exemplars)
}
