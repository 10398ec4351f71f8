//! Parts of reports: plain statistics, plots as SVG, self-contained HTML pages.

mod numbers;
#[cfg(feature = "html")]
mod page;
#[cfg(feature = "html")]
mod plot;

pub use numbers::{Bin, Calibration, Rate};
pub(crate) use numbers::{correlation, moments};
#[cfg(feature = "html")]
pub(crate) use page::{PAGE_END, figure, page_of};
#[cfg(feature = "html")]
pub(crate) use plot::{Bar, bars, curve, escaped, histogram, labelled, reliability, scatter};
