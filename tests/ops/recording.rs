use parr::gpu::{KernelFamily, Recording};
use parr::ops::{Activation, gather_rows};

use crate::support::gpu;

/// In the order of recording, as often as it is submitted, and no element more.
#[test]
fn a_clear_takes_its_turn_and_zeroes_its_elements_alone() {
    let _turn = gpu::turn();
    let device = gpu::device(KernelFamily::Tiled);
    let values: Vec<f32> = (1..=64).map(|v| v as f32).collect();
    let activation = |data: &[f32]| Activation {
        buffer: device.upload("rows", data).expect("64 values fit"),
        rows: 2,
        width: 32,
        stride: 32,
    };
    let (x, y) = (activation(&values), activation(&[7.0; 64]));
    let index = device.upload("index", &[1u32, 0]).expect("two indices fit");
    let copy = device.buffer::<f32>("copy", 64).expect("64 values fit");

    let mut rec = Recording::new(&device);
    gather_rows(&mut rec, &x, &index, 0, &y, 2).expect("shapes agree");
    rec.clear(&y.buffer, 3, 30);
    rec.clear(&y.buffer, 0, 0);
    rec.copy(&y.buffer, 0, &copy, 0, 64);
    rec.clear(&y.buffer, 0, 64);
    assert_eq!((rec.dispatches(), rec.specializations().count()), (1, 1));

    let mut expected = [&values[32..], &values[..32]].concat();
    expected[3..33].fill(0.0);
    for _ in 0..2 {
        rec.submit().expect("a sound recording");
        assert_eq!(device.read(&copy, 0, 64).expect("a read"), expected);
        assert_eq!(device.read(&y.buffer, 0, 64).expect("a read"), [0.0; 64]);
        device.write(&copy, 0, &[5.0; 64]).expect("a write");
    }
}
