//! Parts of reports: plain statistics, plots as SVG, self-contained HTML pages.

mod numbers;
mod page;
mod plot;

pub use numbers::{Bin, Calibration, Rate};
pub(crate) use numbers::{correlation, moments};
pub(crate) use page::{PAGE_END, figure, page_of};
pub(crate) use plot::{Bar, bars, curve, escaped, histogram, labelled, reliability, scatter};
