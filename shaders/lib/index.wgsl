// lib/index: places in a grid.

// Row-major number of a workgroup in a grid that was folded into (x, y) because x was too long.
fn folded(workgroup: vec3<u32>, grid: vec3<u32>) -> u32 {
    return workgroup.y * grid.x + workgroup.x;
}
