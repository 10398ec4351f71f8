//! Safetensors files that we write, read by the package that everybody uses.

use parr::format::Checkpoint;
use parr::format::safetensors::{Dtype, SafetensorsWriter};
use safetensors::SafeTensors;

fn writer() -> SafetensorsWriter {
    let mut writer = SafetensorsWriter::new();
    writer.set("format", "np");
    writer.set("format", "pt");
    writer.declare("long.name \"quoted\"", Dtype::I64, &[2]).unwrap();
    writer.declare("b", Dtype::F32, &[1, 2]).unwrap();
    writer.declare("a", Dtype::Bf16, &[3]).unwrap();
    writer.declare("empty", Dtype::F16, &[0, 4]).unwrap();
    writer
}

#[test]
fn what_is_written_in_pieces_is_read_whole() {
    let data: Vec<u8> = (0..16 + 8 + 6).collect();
    let mut body = writer().start(Vec::new()).unwrap();
    // Pieces need not end where tensors do.
    data.chunks(7).for_each(|piece| body.data(piece).unwrap());
    let file = body.finish().unwrap();
    let (header, metadata) = SafeTensors::read_metadata(&file).unwrap();
    assert_eq!((header + 8) % 8, 0);
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    let read = SafeTensors::deserialize(&file).unwrap();
    for (name, dtype, shape, bytes) in [
        ("long.name \"quoted\"", safetensors::Dtype::I64, &[2][..], &data[..16]),
        ("b", safetensors::Dtype::F32, &[1, 2], &data[16..24]),
        ("a", safetensors::Dtype::BF16, &[3], &data[24..]),
        ("empty", safetensors::Dtype::F16, &[0, 4], &[]),
    ] {
        let tensor = read.tensor(name).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape(), tensor.data()), (dtype, shape, bytes), "{name}");
    }
}

#[test]
fn what_was_not_declared_is_not_written() {
    let mut twice = writer();
    let error = |result: std::io::Result<()>| result.unwrap_err().to_string();
    assert!(error(twice.declare("a", Dtype::F32, &[1])).contains("`a` is declared twice"));
    assert!(error(twice.declare("", Dtype::F32, &[1])).contains("is declared twice, or its name is empty"));
    assert!(error(twice.declare("huge", Dtype::F32, &[usize::MAX, 2])).contains("`huge` is too large"));
    let mut body = writer().start(Vec::new()).unwrap();
    assert!(error(body.data(&[0; 31])).contains("more data"));
    body.data(&[0; 29]).unwrap();
    assert!(error(body.finish().map(drop)).contains("1 bytes were declared but not written"));
}

#[test]
fn a_file_opens_by_itself_as_tensors_but_not_as_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tensors.safetensors");
    let mut writer = SafetensorsWriter::new();
    writer.declare("a", Dtype::F32, &[2]).unwrap();
    let mut body = writer.start(Vec::new()).unwrap();
    body.data(bytemuck::cast_slice(&[1.0f32, 2.0])).unwrap();
    std::fs::write(&path, body.finish().unwrap()).unwrap();
    std::fs::write(folder.path().join("notes.json"), "{\"a\": 1}").unwrap();

    assert!(Checkpoint::open(&path).is_err());
    let file = Checkpoint::open_tensors(&path).unwrap();
    assert_eq!(
        file.bytes(file.need_tensor("a", &[2]).unwrap()),
        bytemuck::cast_slice::<f32, u8>(&[1.0, 2.0])
    );
    assert!(file.gguf().is_none() && file.config_json().is_none());
    assert_eq!(file.json_beside("notes.json").unwrap().unwrap()["a"], 1);
    assert_eq!(file.content_hash().unwrap().len(), 64);
}
