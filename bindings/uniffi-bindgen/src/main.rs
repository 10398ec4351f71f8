//! Writes the Swift, Kotlin and Python sides of `parr-ffi`, from what its library says of itself.

fn main() {
    uniffi::uniffi_bindgen_main()
}
