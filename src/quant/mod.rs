//! How weights are stored: one file per format.
