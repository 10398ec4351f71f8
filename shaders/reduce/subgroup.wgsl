// reduce/subgroup: sums and maxima over aligned groups of GROUP_LANES lanes, by shuffles.
//
// Requires  subgroups of GROUP_LANES lanes or more, filled in the order of the local index
//
//# provides reduce

fn group_sum(value: f32, local: u32) -> f32 {
    var sum = value;
    for (var step = GROUP_LANES / 2u; step > 0u; step /= 2u) {
        sum += subgroupShuffleXor(sum, step);
    }
    return sum;
}

fn group_max(value: f32, local: u32) -> f32 {
    var largest = value;
    for (var step = GROUP_LANES / 2u; step > 0u; step /= 2u) {
        largest = max(largest, subgroupShuffleXor(largest, step));
    }
    return largest;
}
