//! The one error of the public API, over the typed errors of each layer.

/// Any failure of the library, by the layer that met it.
///
/// Every layer's own error is reachable as the variant's payload; [`Error::kind`] is the short
/// stable name that an app can branch on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {}
