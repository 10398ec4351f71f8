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

#[test]
fn reports_of_several_machines_are_compared_without_a_gpu() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let report = |name: &str, passed: bool| {
        let check = serde_json::json!({
            "op": "linear", "family": "tiled", "kernels": "linear/matvec_tiled", "variant": "q4_0", "shapes": 3,
            "worst_nmse": 2e-14, "bound": 1e-11, "passed": passed, "note": if passed { "" } else { "row 3" },
        });
        let device = serde_json::json!({
            "name": name, "backend": "vulkan", "driver": "x", "kind": "discrete", "subgroups": true,
            "subgroup_sizes": [32, 32], "f16": true, "timestamps": true, "immediate_bytes": 128,
            "max_binding_bytes": 1, "max_buffer_bytes": 1, "max_workgroup_bytes": 1, "max_workgroup_lanes": 1,
        });
        let text = serde_json::json!({
            "parr": "0.1.0", "gpus": [], "device": device, "kernels": "tiled", "loads": "buffers",
            "checks": [check], "failed": usize::from(!passed),
        });
        let path = folder.path().join(format!("{name}.json"));
        std::fs::write(&path, text.to_string()).expect("writable");
        path
    };
    let (one, two) = (report("one", true), report("two", false));
    let page = folder.path().join("page.html");
    let run =
        parr().args(["doctor", "--html"]).args([&page, &one, &two]).output().expect("the program starts");
    assert_eq!(run.status.code(), Some(1), "a check failed: {}", stderr(&run));
    assert!(stdout(&run).contains("1 of 1, 2.0e-14") && stdout(&run).contains("0 of 1"), "{}", stdout(&run));
    let text = std::fs::read_to_string(&page).expect("the page was written");
    assert!(text.contains("row 3"), "{text}");

    std::fs::write(&one, "{\"parr\": 3").expect("writable");
    let run = parr().arg("doctor").arg(&one).output().expect("the program starts");
    assert_eq!(run.status.code(), Some(1));
    assert!(
        stderr(&run).contains("one.json line 1: this is no report of `parr doctor --json`"),
        "{}",
        stderr(&run)
    );
}
