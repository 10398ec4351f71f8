//! Generates the Swift, Kotlin and Python code for `parr-ffi` from the metadata in its library.

fn main() {
    uniffi::uniffi_bindgen_main()
}
