// lora/site: the adapted matrix, as all LoRA kernels use it.
//
// A linear layer may stack several projections whose outputs are adjacent: its parts. A part's
// factors are A (rank, inputs) and B^T (rank, outputs of the part), so both are a few long rows, called
// F below, and the kernels compute three products: h = x F^T, y += h F, dF += h^T x. The forward pass
// shrinks x by A and expands h by B^T; the backward pass shrinks d_y by B^T and expands d_h by A. The
// kernel that does both of the forward pass at once calls B^T F.
//
// Requires  params as the kernel declares it

struct Params {
    rank: u32,              // rows of F of one part
    factor_stride: u32,     // vec4s from one row of F to the next
    adapter_stride: u32,    // vec4s from one adapter to the next
    h_stride: u32,          // vec4s from one row of h to the next
    wide_stride: u32,       // elements from one row of x or y to the next
    scaled: u32,            // whether the tile's scale counts
    first_row: u32,         // rows over which a gradient sums
    end_row: u32,
    scale: f32,             // of a gradient
    end0: u32,              // first group of columns or outputs that is not part 0's
    end1: u32,
    col0: u32,              // first column of x or y of each part
    col1: u32,
    col2: u32,
    cols0: u32,             // and the number of columns
    cols1: u32,
    cols2: u32,
    factor0: u32,           // where F begins, in vec4s from the adapter's start
    factor1: u32,
    factor2: u32,
    inner: u32,             // lora/apply alone: where A begins, in vec4s from the adapter's start,
    inner_stride: u32,      // vec4s from one row of A to the next,
    inputs: u32,            // columns of A,
    x_stride: u32,          // vec4s from one row of x to the next,
    span: u32,              // and columns of y in a group of the grid, a multiple of 32
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

// Rows of the batch with the same adapter.
struct Tile {
    first_row: u32,
    rows: u32,
    adapter: u32,
    scale: f32,
}

struct Part {
    index: u32,
    group: u32,     // counted from the part's first
    col: u32,
    cols: u32,
    factor: u32,
}

// The part to which a group of the grid belongs.
fn part_of(group: u32) -> Part {
    if group < params.end0 {
        return Part(0u, group, params.col0, params.cols0, params.factor0);
    }
    if group < params.end1 {
        return Part(1u, group - params.end0, params.col1, params.cols1, params.factor1);
    }
    return Part(2u, group - params.end1, params.col2, params.cols2, params.factor2);
}
