// reduce/workgroup: sums and maxima over aligned groups of GROUP_LANES lanes, through workgroup
// memory. Needs no subgroups. Every lane of the workgroup must call.
//
// Memory    4 WG bytes of workgroup memory
//
//# provides reduce

const_assert GROUP_LANES <= WG && (GROUP_LANES & (GROUP_LANES - 1u)) == 0u;

var<workgroup> reduce_scratch: array<f32, WG>;

fn group_sum(value: f32, local: u32) -> f32 {
    reduce_scratch[local] = value;
    workgroupBarrier();
    for (var step = GROUP_LANES / 2u; step > 0u; step /= 2u) {
        if local % GROUP_LANES < step {
            reduce_scratch[local] += reduce_scratch[local + step];
        }
        workgroupBarrier();
    }
    let sum = reduce_scratch[local - local % GROUP_LANES];
    workgroupBarrier();
    return sum;
}

fn group_max(value: f32, local: u32) -> f32 {
    reduce_scratch[local] = value;
    workgroupBarrier();
    for (var step = GROUP_LANES / 2u; step > 0u; step /= 2u) {
        if local % GROUP_LANES < step {
            reduce_scratch[local] = max(reduce_scratch[local], reduce_scratch[local + step]);
        }
        workgroupBarrier();
    }
    let largest = reduce_scratch[local - local % GROUP_LANES];
    workgroupBarrier();
    return largest;
}
