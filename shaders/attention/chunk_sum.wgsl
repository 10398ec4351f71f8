// attention/chunk_sum: how 64 lanes share sums over keys or rows: lane = (chunk of 8 dimensions, every
// SPLIT-th term), added up at the end, always in the same order.
//
// Memory    workgroup: 2048 bytes
// Requires  CHUNKS by attention/keys; Chunk by the `kv_read` slot

const SPLIT: u32 = 64u / CHUNKS;

const_assert CHUNKS <= 64u;

var<workgroup> partial: array<Chunk, 64>;

// The whole sum of each chunk, in the first CHUNKS lanes.
fn chunk_sum(part: Chunk, lane: u32) -> Chunk {
    partial[lane] = part;
    workgroupBarrier();
    var sum = partial[lane % CHUNKS];
    for (var s = 1u; s < SPLIT; s++) {
        sum.lo += partial[s * CHUNKS + lane % CHUNKS].lo;
        sum.hi += partial[s * CHUNKS + lane % CHUNKS].hi;
    }
    workgroupBarrier();
    return sum;
}
