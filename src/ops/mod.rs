//! Host side of every kernel: shapes checked, dispatches recorded.
