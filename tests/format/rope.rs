//! Rotary frequencies against the published formulas.

use parr::model::config::RopeScaling;

#[test]
fn inverse_frequencies_follow_the_published_formulas() {
    let near = |found: f32, expected: f64| {
        assert!((f64::from(found) - expected).abs() <= 1e-6 * expected, "{found} {expected}");
    };
    let rope = |scaling| super::config::rope(500_000.0, 128, scaling).inverse_frequencies(4096);
    let plain = rope(RopeScaling::None);
    assert_eq!((plain.len(), plain[0]), (64, 1.0));
    near(plain[32], 500_000f64.powf(-0.5));
    for (a, b) in rope(RopeScaling::Linear { factor: 4.0 }).iter().zip(&plain) {
        near(*a, f64::from(*b) / 4.0);
    }
    for (a, b) in rope(RopeScaling::Explicit(vec![2.0; 64])).iter().zip(&plain) {
        near(*a, f64::from(*b) / 2.0);
    }
    // Llama 3.1, as transformers writes it: by wavelength.
    let (factor, low, high, original) = (8.0, 1.0, 4.0, 8192.0);
    let scaled = rope(RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192,
    });
    let mut kinds = [0; 3];
    for (i, found) in scaled.iter().enumerate() {
        let frequency = 500_000f64.powf(-(2.0 * i as f64) / 128.0);
        let wavelength = 2.0 * std::f64::consts::PI / frequency;
        if wavelength < original / high {
            kinds[0] += 1;
            near(*found, frequency);
        } else if wavelength > original / low {
            kinds[1] += 1;
            near(*found, frequency / factor);
        } else {
            kinds[2] += 1;
            let smooth = (original / wavelength - low) / (high - low);
            near(*found, (1.0 - smooth) * frequency / factor + smooth * frequency);
        }
    }
    assert_eq!(kinds, [29, 29, 6]);
}
