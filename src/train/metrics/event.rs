//! TensorBoard's records, byte by byte: the protobuf of an `Event` in a TFRecord.
//!
//! Only five fields of `tensorboard/compat/proto/{event,summary}.proto` are needed, so they are written by
//! hand.

use super::crc32c;

/// Content of an event, in addition to its time and step.
pub(super) enum What<'a> {
    /// The first record of every file.
    FileVersion,
    /// The run was resumed at this step. Records of earlier files from this step on are not valid.
    SessionStart,
    /// Values by name.
    Scalars(&'a [(&'a str, f64)]),
}

/// Wire types of protobuf.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// Returns a whole record. `wall_time` is in seconds since 1970.
pub(super) fn record(wall_time: f64, step: u64, what: What) -> Vec<u8> {
    let event = event(wall_time, step, what);
    let length = (event.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(event.len() + 16);
    record.extend(length);
    record.extend(crc32c::masked(&length).to_le_bytes());
    record.extend(&event);
    record.extend(crc32c::masked(&event).to_le_bytes());
    record
}

fn event(wall_time: f64, step: u64, what: What) -> Vec<u8> {
    let mut event = Vec::new();
    key(&mut event, 1, FIXED64);
    event.extend(wall_time.to_le_bytes());
    // proto3 leaves out values that are zero.
    if step > 0 {
        key(&mut event, 2, VARINT);
        varint(&mut event, step);
    }
    match what {
        What::FileVersion => bytes(&mut event, 3, b"brain.Event:2"),
        What::SessionStart => {
            let mut session = Vec::new();
            // status = START
            key(&mut session, 1, VARINT);
            varint(&mut session, 1);
            bytes(&mut event, 7, &session);
        }
        What::Scalars(scalars) => {
            let mut summary = Vec::new();
            for (tag, value) in scalars {
                let mut scalar = Vec::new();
                bytes(&mut scalar, 1, tag.as_bytes());
                key(&mut scalar, 2, FIXED32);
                scalar.extend((*value as f32).to_le_bytes());
                bytes(&mut summary, 1, &scalar);
            }
            bytes(&mut event, 5, &summary);
        }
    }
    event
}

fn key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(out, field << 3 | wire_type);
}

fn bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    key(out, field, LENGTH);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::hex;

    /// Records that TensorBoard 2.21 wrote (`RecordWriter` and the `Event` class of its own protobuf).
    #[test]
    fn records_are_tensorboards_to_the_byte() {
        assert_eq!(
            hex(record(1.5e9, 0, What::FileVersion)),
            "1800000000000000a37f4b2209000000c00b5ad6411a0d627261696e2e4576656e743a324ca9a464"
        );
        assert_eq!(
            hex(record(1.5e9, 41, What::SessionStart)),
            "0f000000000000006d532b0909000000c00b5ad64110293a0208017afa845c"
        );
        let scalars = [("train/loss", 2.25), ("train/num_tokens", 123_456.0)];
        assert_eq!(
            hex(record(1_500_000_000.25, 300, What::Scalars(&scalars))),
            "3a000000000000001295eae209000010c00b5ad64110ac022a2c0a110a0a747261696e2f6c6f737315000010400a170a10747261696e2f6e756d5f746f6b656e73150020f147155796f8"
        );
    }
}
