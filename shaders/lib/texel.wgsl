// lib/texel: the place of a vec4 in a texture that holds a buffer, row by row.

// Texels per row; the host's `gpu::Texture` has the same number.
const TEXELS: u32 = 1024u;

fn texel(index: u32) -> vec2u {
    return vec2u(index % TEXELS, index / TEXELS);
}
