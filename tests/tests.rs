//! The single integration binary; each `mod` line says what goes there.
