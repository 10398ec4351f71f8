//! `parr doctor` with and without a GPU.

use super::{needs_gpu, parr, rows, stderr, stdout};

/// The Vulkan loader reads its drivers from here and finds none.
#[cfg(target_os = "linux")]
#[test]
fn without_a_gpu_it_fails_and_says_what_to_install() {
    for arguments in [&["doctor"][..], &["doctor", "--gpus"], &["doctor", "--json"]] {
        let mut command = parr();
        command.env("VK_ICD_FILENAMES", "/nonexistent").env("VK_DRIVER_FILES", "/nonexistent");
        let run = command.args(arguments).output().expect("the program starts");
        assert_eq!(run.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&run).starts_with("error: no GPU adapter found"), "{}", stderr(&run));
        assert!(stderr(&run).contains("mesa-vulkan-drivers"), "{}", stderr(&run));
        assert_eq!(stdout(&run), "");
    }
}

#[test]
fn an_unknown_kernel_family_is_wrong_usage() {
    let run = parr().args(["doctor", "--kernels", "fast"]).output().expect("the program starts");
    assert_eq!(run.status.code(), Some(2));
    assert!(stderr(&run).contains("expected lane8 or tiled"), "{}", stderr(&run));
}

#[test]
fn gpus_are_listed_by_the_index_that_chooses_them() {
    needs_gpu();
    let run = parr().args(["doctor", "--gpus", "--json"]).output().expect("the program starts");
    let listed = rows(&run).swap_remove(0);
    for (index, listed) in listed["gpus"].as_array().expect("an array").iter().enumerate() {
        assert_eq!(listed["index"], index);
        assert!(listed["name"].as_str().is_some_and(|name| !name.is_empty()), "{listed}");
    }
}
