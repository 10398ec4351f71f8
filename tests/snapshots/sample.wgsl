// sample/sample: draws the next token of each row of logits.
//
// The algorithm, its filters and their treatment of ties are defined in `reference::sample`:
// repetition penalty, temperature, top-k, top-p, min-p, then the largest s + Gumbel noise. Each
// filter keeps the tokens whose penalised logit z is at least some threshold, which is found by
// bisection on the bits of z. To save passes over the row, tokens above a floor, known to be
// several hundred of the largest, are first gathered into a short list per lane; when the list
// cannot answer, because it overflowed or a filter reaches below the floor, the whole row is
// searched instead. Both give the same sums bit for bit: a lane meets its tokens in one order.
//
// Shapes    logits (rows, stride vec4), of which the first vocab values count; rows (rows); recent
//           (rows, window); tokens (rows); logprobs (rows, 2): under the plain softmax, and as drawn
// Types     f32, u32
// Grid      rows workgroups of 256 lanes; a row is one workgroup's, so results do not depend on
//           the batch
// Memory    6.5 KiB of workgroup memory, 128 bytes of private memory a lane
// Requires  1 <= vocab <= 4 stride and vocab < 2^24, so that counts are exact in f32
// Faults    a NaN or infinite logit makes both log-probabilities of its row NaN
// Changes   logits of recent tokens are replaced by their penalised values; the drawn token joins
//           `recent` and the row's position advances, so that steps can be chained without a
//           read-back
// Error     the token is exact where its lead over the runner-up exceeds 1e-4; log-probabilities
//           to 1e-4
// Gradient  none
//
// lib/random: the counter-based generator, Philox4x32-10 (Salmon et al., SC 2011).
//
// The same function as `src/random.rs`, bit for bit: a draw is named by its counter (index, step,
// purpose, draw) under the run's seed, so it does not depend on the batch or on the device.

const PURPOSE_SAMPLE: u32 = 1u;

// High and low word of the 64-bit product; WGSL has no widening multiply.
fn multiply_wide(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    // At most (2^16 - 1) + (2^16 - 1)^2, so it does not overflow.
    let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return vec2<u32>((a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u), a * b);
}

fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        let p0 = multiply_wide(0xD2511F53u, c.x);
        let p1 = multiply_wide(0xCD9E8D57u, c.z);
        c = vec4<u32>(p1.x ^ c.y ^ k.x, p1.y, p0.x ^ c.w ^ k.y, p0.y);
        k += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

// A uniform value strictly inside (0, 1): one of 2^23 bin centres, exact in f32.
fn uniform01(bits: u32) -> f32 {
    return f32(bits >> 9u) * 0x1p-23 + 0x1p-24;
}

// A standard Gumbel value, -ln(-ln(1 - v)) with v the bits as a fraction in (0, 1).
//
// Small v is the upper tail, which decides the result, and there ln(1 - v) from a rounded 1 - v
// would lose all precision: below 1/64 the series -ln(1 - v) = v + v^2/2 + v^3/3 + v^4/4 is used,
// wrong by less than 2^-32 relative.
fn gumbel(bits: u32) -> f32 {
    let v = min(f32(bits) * 0x1p-32 + 0x1p-33, 1.0 - 0x1p-24);
    let series = v * (1.0 + v * (0.5 + v * (1.0 / 3.0 + v * 0.25)));
    let exponential = select(-log(1.0 - v), series, v < 0.015625);
    return -log(exponential);
}

struct Params {
    rows: u32,
    vocab: u32,
    stride: u32,
    window: u32,
}

struct Row {
    temperature: f32,
    top_p: f32,
    min_p: f32,
    repetition_penalty: f32,
    top_k: u32,
    position: u32,
    seed_low: u32,
    seed_high: u32,
    recent_count: u32,  // tokens ever added to the ring
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> logits: array<vec4f>;   // (rows, stride)
@group(0) @binding(2) var<storage, read_write> rows: array<Row>;       // (rows)
@group(0) @binding(3) var<storage, read_write> recent: array<u32>;     // (rows, window), a ring
@group(0) @binding(4) var<storage, read_write> tokens: array<u32>;     // (rows)
@group(0) @binding(5) var<storage, read_write> logprobs: array<vec2<u32>>; // (rows), bits

const LANES: u32 = 256u;
const LEADERS: u32 = 16u;       // each adds up or compares 16 lanes
const SLOTS: u32 = 16u;         // tokens a lane can list
const LOWEST: f32 = -3.4028234e38;
const GREEDY_BELOW: f32 = 1e-5;

var<workgroup> lane_sums: array<vec3f, 256>;
var<workgroup> leader_sums: array<vec3f, 16>;
var<workgroup> result_sums: vec3f;
var<workgroup> lane_value: array<f32, 256>;
var<workgroup> lane_token: array<u32, 256>;
var<workgroup> leader_value: array<f32, 16>;
var<workgroup> leader_token: array<u32, 16>;
var<workgroup> result_value: f32;
var<workgroup> result_token: u32;
var<workgroup> row_settings: Row;

var<private> lane: u32;
var<private> base: u32;         // first quad of the row's logits
var<private> top: f32;          // largest penalised logit
var<private> sharpness: f32;    // 1 / temperature
var<private> listed: array<f32, 16>;
var<private> listed_token: array<u32, 16>;
var<private> n_listed: u32;

// Whether tokens 4 chunk .. 4 chunk + 4 are in the vocabulary.
fn in_vocab(chunk: u32) -> vec4<bool> {
    return vec4<u32>(4u * chunk) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.vocab);
}

// The logits of tokens 4 chunk .. 4 chunk + 4; NaN and tokens past the vocabulary are LOWEST,
// which no comparison prefers and whose exponential is 0.
fn load(chunk: u32) -> vec4f {
    let bits = bitcast<vec4<u32>>(logits[base + chunk]);
    // By the bits, because a compiler may assume that there are no NaN.
    let valid = ((bits & vec4<u32>(0x7fffffffu)) <= vec4<u32>(0x7f800000u)) & in_vocab(chunk);
    return max(select(vec4f(LOWEST), bitcast<vec4f>(bits), valid), vec4f(LOWEST));
}

// The bits of four logits without their signs, 0 past the vocabulary: 0x7f800000 or more is not finite.
fn magnitudes(chunk: u32) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(logits[base + chunk]) & vec4<u32>(0x7fffffffu);
    return select(vec4<u32>(0u), bits, in_vocab(chunk));
}

fn weight(z: f32) -> f32 {
    // The bound keeps exp above its underflow, where drivers differ; e^-88 adds nothing to 1.
    return select(0.0, exp((z - top) * sharpness), (z - top) * sharpness > -87.0);
}

// Sums over all lanes, the same in every lane.
fn sum_lanes3(value: vec3f) -> vec3f {
    lane_sums[lane] = value;
    workgroupBarrier();
    if lane < LEADERS {
        var sum = vec3f(0.0);
        for (var i = 0u; i < 16u; i++) {
            sum += lane_sums[lane * 16u + i];
        }
        leader_sums[lane] = sum;
    }
    workgroupBarrier();
    if lane == 0u {
        var sum = vec3f(0.0);
        for (var i = 0u; i < LEADERS; i++) {
            sum += leader_sums[i];
        }
        result_sums = sum;
    }
    return workgroupUniformLoad(&result_sums);
}

fn sum_lanes(value: f32) -> f32 {
    return sum_lanes3(vec3f(value)).x;
}

// Largest value over all lanes and its token, the lowest among equals; into result_*.
fn best_of_lanes(value: f32, token: u32) {
    lane_value[lane] = value;
    lane_token[lane] = token;
    workgroupBarrier();
    if lane < LEADERS {
        var best = lane_value[lane * 16u];
        var best_token = lane_token[lane * 16u];
        for (var i = 1u; i < 16u; i++) {
            let v = lane_value[lane * 16u + i];
            let t = lane_token[lane * 16u + i];
            if v > best || (v == best && t < best_token) {
                best = v;
                best_token = t;
            }
        }
        leader_value[lane] = best;
        leader_token[lane] = best_token;
    }
    workgroupBarrier();
    if lane == 0u {
        var best = leader_value[0];
        var best_token = leader_token[0];
        for (var i = 1u; i < LEADERS; i++) {
            let v = leader_value[i];
            let t = leader_token[i];
            if v > best || (v == best && t < best_token) {
                best = v;
                best_token = t;
            }
        }
        result_value = best;
        result_token = best_token;
    }
}

// A value that at least 208 tokens reach, if the row has 208: in each group of 16 lanes, the
// fourth smallest of the lanes' maxima; of the groups, the least.
fn floor_of_lanes(lane_best: f32) -> f32 {
    lane_value[lane] = lane_best;
    workgroupBarrier();
    if lane < LEADERS {
        var least = vec4f(-LOWEST);  // ascending
        for (var i = 0u; i < 16u; i++) {
            let v = lane_value[lane * 16u + i];
            least = min(least, vec4f(v, max(least.xyz, vec3f(v))));
        }
        leader_value[lane] = least.w;
    }
    workgroupBarrier();
    if lane == 0u {
        var least = leader_value[0];
        for (var i = 1u; i < LEADERS; i++) {
            least = min(least, leader_value[i]);
        }
        result_value = least;
    }
    return workgroupUniformLoad(&result_value);
}

// For each of three bounds, the number, or mass, of the tokens with z > bound, or with z >= bound
// if inclusive; from the lists or from the whole row.
fn above(bounds: vec3f, inclusive: bool, weighted: bool, from_list: bool) -> vec3f {
    var sums = vec3f(0.0);
    let least = min(bounds.x, min(bounds.y, bounds.z));
    if from_list {
        for (var i = 0u; i < n_listed; i++) {
            sums += amount(listed[i], least, bounds, inclusive, weighted);
        }
    } else {
        for (var chunk = lane; 4u * chunk < params.vocab; chunk += LANES) {
            let z = load(chunk);
            if any(z >= vec4f(least)) {
{ const i: u32 = 0u;
                    sums += amount(z[i], least, bounds, inclusive, weighted);
}
{ const i: u32 = 1u;
                    sums += amount(z[i], least, bounds, inclusive, weighted);
}
{ const i: u32 = 2u;
                    sums += amount(z[i], least, bounds, inclusive, weighted);
}
{ const i: u32 = 3u;
                    sums += amount(z[i], least, bounds, inclusive, weighted);
}
            }
        }
    }
    return sum_lanes3(sums);
}

fn amount(z: f32, least: f32, bounds: vec3f, inclusive: bool, weighted: bool) -> vec3f {
    if z < least || z == LOWEST {
        return vec3f(0.0);
    }
    let one = vec3f(select(1.0, weight(z), weighted));
    let counts = (vec3f(z) > bounds) | (vec3<bool>(inclusive) & (vec3f(z) == bounds));
    return select(vec3f(0.0), one, counts);
}

// Floats as integers in the same order, and back.
fn key_of(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn value_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u));
}

// The smallest z from `least` to `most`, the largest, such that what is above it amounts to less than `limit`.
fn threshold(least: f32, most: f32, limit: f32, weighted: bool, from_list: bool) -> f32 {
    var low = key_of(least);
    var high = key_of(most);
    // Three probes cut the range in four, so 16 turns settle 32 bits; each costs a pass.
    for (var turn = 0u; turn < 20u; turn++) {
        if low >= high {
            break;
        }
        let quarter = (high - low) / 4u;
        let probes = vec3<u32>(low + quarter, low + (high - low) / 2u, high - 1u - quarter);
        let bounds = vec3f(value_of(probes.x), value_of(probes.y), value_of(probes.z));
        let less = above(bounds, false, weighted, from_list) < vec3f(limit);
        if less.x {
            high = probes.x;
        } else if less.y {
            low = probes.x + 1u;
            high = probes.y;
        } else if less.z {
            low = probes.y + 1u;
            high = probes.z;
        } else {
            low = probes.z + 1u;
        }
    }
    return value_of(low);
}

fn is_recent(row: u32, token: u32, n_recent: u32) -> bool {
    for (var i = 0u; i < n_recent; i++) {
        if recent[row * params.window + i] == token {
            return true;
        }
    }
    return false;
}

// Applies the penalty to every distinct recent token. Lane l owns the tokens of the chunks that it
// reads, so no two lanes write one vec4 and a lane needs no barrier to see its own.
fn penalise(row: u32, n_recent: u32, penalty: f32) {
    for (var i = 0u; i < n_recent; i++) {
        let token = recent[row * params.window + i];
        if token < params.vocab && (token / 4u) % LANES == lane && !is_recent(row, token, i) {
            let logit = logits[base + token / 4u][token % 4u];
            logits[base + token / 4u][token % 4u] = select(logit * penalty, logit / penalty, logit > 0.0);
        }
    }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let row = workgroup.x;
    lane = index;
    base = row * params.stride;
    // Through workgroup memory, so that it is uniform for the compiler.
    if lane == 0u {
        row_settings = rows[row];
    }
    let settings = workgroupUniformLoad(&row_settings);
    let n_recent = min(settings.recent_count, params.window);

    // The plain softmax's normaliser, online; and the lane's largest logit.
    var best = vec4f(LOWEST);
    var best_chunk = vec4<u32>(lane);
    var sum = vec4f(0.0);
    var most_bits = vec4<u32>(0u);
    for (var chunk = lane; 4u * chunk < params.vocab; chunk += LANES) {
        let z = load(chunk);
        most_bits = max(most_bits, magnitudes(chunk));
        let rise = z - best;
        let shrink = select(vec4f(0.0), exp(-abs(rise)), abs(rise) < vec4f(87.0));
        let greater = z > best;
        sum = select(sum + shrink, sum * shrink + 1.0, greater);
        best = select(best, z, greater);
        best_chunk = select(best_chunk, vec4<u32>(chunk), greater);
    }
    var lane_best = max(max(best.x, best.y), max(best.z, best.w));
    best_of_lanes(lane_best, 0u);
    let plain_top = workgroupUniformLoad(&result_value);
    let scaled = select(vec4f(0.0), sum * exp(best - plain_top), best - plain_top > vec4f(-87.0));
    let faults = select(0.0, 1.0, any(most_bits >= vec4<u32>(0x7f800000u)));
    let sums = sum_lanes3(vec3f(scaled.x + scaled.y + scaled.z + scaled.w, faults, 0.0));
    let log_sum = log(sums.x);
    let sound = sums.y == 0.0;

    let penalty = settings.repetition_penalty;
    let penalised = n_recent > 0u && penalty != 1.0;
    if penalised {
        penalise(row, n_recent, penalty);
        storageBarrier();
        best = vec4f(LOWEST);
        best_chunk = vec4<u32>(lane);
        for (var chunk = lane; 4u * chunk < params.vocab; chunk += LANES) {
            let z = load(chunk);
            let greater = z > best;
            best = select(best, z, greater);
            best_chunk = select(best_chunk, vec4<u32>(chunk), greater);
        }
        lane_best = max(max(best.x, best.y), max(best.z, best.w));
    }
    var first = 0xffffffffu;  // lowest token of the lane that has lane_best
{ const i: u32 = 0u;
        if best[i] == lane_best {
            first = min(first, 4u * best_chunk[i] + i);
        }
}
{ const i: u32 = 1u;
        if best[i] == lane_best {
            first = min(first, 4u * best_chunk[i] + i);
        }
}
{ const i: u32 = 2u;
        if best[i] == lane_best {
            first = min(first, 4u * best_chunk[i] + i);
        }
}
{ const i: u32 = 3u;
        if best[i] == lane_best {
            first = min(first, 4u * best_chunk[i] + i);
        }
}
    best_of_lanes(lane_best, first);
    let most = workgroupUniformLoad(&result_value);
    top = most;
    var token = workgroupUniformLoad(&result_token);
    var drawn_logprob = 0.0;

    if settings.temperature >= GREEDY_BELOW {
        sharpness = 1.0 / settings.temperature;
        let by_count = settings.top_k > 0u && settings.top_k < params.vocab;
        let by_mass = settings.top_p < 1.0;
        let by_ratio = settings.min_p > 0.0;
        var least = LOWEST;      // what the filters keep is z >= least
        var from_list = false;
        if by_count || by_mass || by_ratio {
            let list_floor = floor_of_lanes(lane_best);
            var mass = 0.0;
            n_listed = 0u;
            var fits = 1.0;
            for (var chunk = lane; 4u * chunk < params.vocab; chunk += LANES) {
                let z = load(chunk);
{ const i: u32 = 0u;
                    if by_mass && !by_count {
                        mass += weight(z[i]);
                    }
                    if z[i] >= list_floor && z[i] > LOWEST {
                        if n_listed < SLOTS {
                            listed[n_listed] = z[i];
                            listed_token[n_listed] = 4u * chunk + i;
                            n_listed++;
                        } else {
                            fits = 0.0;
                        }
                    }
}
{ const i: u32 = 1u;
                    if by_mass && !by_count {
                        mass += weight(z[i]);
                    }
                    if z[i] >= list_floor && z[i] > LOWEST {
                        if n_listed < SLOTS {
                            listed[n_listed] = z[i];
                            listed_token[n_listed] = 4u * chunk + i;
                            n_listed++;
                        } else {
                            fits = 0.0;
                        }
                    }
}
{ const i: u32 = 2u;
                    if by_mass && !by_count {
                        mass += weight(z[i]);
                    }
                    if z[i] >= list_floor && z[i] > LOWEST {
                        if n_listed < SLOTS {
                            listed[n_listed] = z[i];
                            listed_token[n_listed] = 4u * chunk + i;
                            n_listed++;
                        } else {
                            fits = 0.0;
                        }
                    }
}
{ const i: u32 = 3u;
                    if by_mass && !by_count {
                        mass += weight(z[i]);
                    }
                    if z[i] >= list_floor && z[i] > LOWEST {
                        if n_listed < SLOTS {
                            listed[n_listed] = z[i];
                            listed_token[n_listed] = 4u * chunk + i;
                            n_listed++;
                        } else {
                            fits = 0.0;
                        }
                    }
}
            }
            let list_fits = sum_lanes(fits) == f32(LANES);
            if by_count {
                let k = f32(settings.top_k);
                from_list = list_fits && sum_lanes(f32(n_listed)) >= k;
                least = threshold(select(LOWEST, list_floor, from_list), most, k, false, from_list);
            }
            if by_mass {
                var total = 0.0;
                if by_count {
                    total = above(vec3f(least), true, true, from_list).x;
                } else {
                    total = sum_lanes(mass);
                }
                let limit = settings.top_p * total;
                if !by_count && list_fits {
                    from_list = above(vec3f(LOWEST), false, true, true).x >= limit;
                }
                let lower = max(least, select(LOWEST, list_floor, from_list));
                least = threshold(lower, most, limit, true, from_list);
            }
            if by_ratio {
                least = max(least, top + settings.temperature * log(settings.min_p));
            }
            from_list = list_fits && least >= list_floor;
        }

        var mass = 0.0;
        var winner = LOWEST;
        var winner_token = 0xffffffffu;
        let key = vec2<u32>(settings.seed_low, settings.seed_high);
        if from_list {
            for (var i = 0u; i < n_listed; i++) {
                let z = listed[i];
                if z >= least {
                    let candidate = listed_token[i];
                    let counter = vec4<u32>(candidate / 4u, settings.position, PURPOSE_SAMPLE, 0u);
                    let score = (z - top) * sharpness + gumbel(philox(counter, key)[candidate % 4u]);
                    mass += weight(z);
                    if score > winner {
                        winner = score;
                        winner_token = candidate;
                    }
                }
            }
        } else {
            for (var chunk = lane; 4u * chunk < params.vocab; chunk += LANES) {
                let z = load(chunk);
                let kept = (z >= vec4f(least)) & (z > vec4f(LOWEST));
                if any(kept) {
                    let bits = philox(vec4<u32>(chunk, settings.position, PURPOSE_SAMPLE, 0u), key);
{ const i: u32 = 0u;
                        if kept[i] {
                            let score = (z[i] - top) * sharpness + gumbel(bits[i]);
                            mass += weight(z[i]);
                            if score > winner {
                                winner = score;
                                winner_token = 4u * chunk + i;
                            }
                        }
}
{ const i: u32 = 1u;
                        if kept[i] {
                            let score = (z[i] - top) * sharpness + gumbel(bits[i]);
                            mass += weight(z[i]);
                            if score > winner {
                                winner = score;
                                winner_token = 4u * chunk + i;
                            }
                        }
}
{ const i: u32 = 2u;
                        if kept[i] {
                            let score = (z[i] - top) * sharpness + gumbel(bits[i]);
                            mass += weight(z[i]);
                            if score > winner {
                                winner = score;
                                winner_token = 4u * chunk + i;
                            }
                        }
}
{ const i: u32 = 3u;
                        if kept[i] {
                            let score = (z[i] - top) * sharpness + gumbel(bits[i]);
                            mass += weight(z[i]);
                            if score > winner {
                                winner = score;
                                winner_token = 4u * chunk + i;
                            }
                        }
}
                }
            }
        }
        let log_mass = log(sum_lanes(mass));
        best_of_lanes(winner, winner_token);
        let drawn = workgroupUniformLoad(&result_token);
        if drawn < params.vocab {  // else the row has no token to draw
            token = drawn;
        }
        drawn_logprob = (logits[base + token / 4u][token % 4u] - top) * sharpness - log_mass;
    }

    if lane == 0u {
        var logit = logits[base + token / 4u][token % 4u];
        if penalised && is_recent(row, token, n_recent) {
            // The plain logit, to one rounding: the penalty keeps the sign.
            logit = select(logit / penalty, logit * penalty, logit > 0.0);
        }
        tokens[row] = token;
        let found = bitcast<vec2<u32>>(vec2f(logit - plain_top - log_sum, drawn_logprob));
        logprobs[row] = select(vec2<u32>(0x7fc00000u), found, sound);
        rows[row].position = settings.position + 1u;
        if params.window > 0u {
            recent[row * params.window + settings.recent_count % params.window] = token;
            rows[row].recent_count = settings.recent_count + 1u;
        }
    }
}
