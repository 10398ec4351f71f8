//! What reports are made of: plain statistics, plots as SVG, pages that need nothing beside them.

mod numbers;
mod page;
mod plot;

pub use numbers::{Bin, Calibration, Rate};
pub(crate) use numbers::{correlation, moments};
pub(crate) use page::{PAGE_END, figure, page_of};
pub(crate) use plot::{Bar, bars, curve, escaped, histogram, labelled, reliability, scatter};
