// sample/advance: feeds the drawn tokens to the next step and keeps them for the host.
//
// Shapes    tokens (rows), logprobs (rows); ids (rows); rows_at (rows): base, position;
//           drawn (steps, rows): token, bits of its two log-probabilities, 0
// Grid      one lane per row
// Error     exact

struct Params {
    rows: u32,
    step: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<u32>;                 // (rows)
@group(0) @binding(2) var<storage, read> logprobs: array<vec2<u32>>;         // (rows), bits: a NaN stays one
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;              // (rows)
@group(0) @binding(4) var<storage, read_write> rows_at: array<vec2<u32>>;    // (rows)
@group(0) @binding(5) var<storage, read_write> drawn: array<vec4<u32>>;      // (steps, rows)

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row < params.rows {
        ids[row] = tokens[row];
        rows_at[row].y += 1u;
        drawn[params.step * params.rows + row] = vec4<u32>(tokens[row], logprobs[row], 0u);
    }
}
