//! The scalar head of a reward model, in a separate file beside the adapter.

use std::path::Path;

use super::AdapterFileError;
use super::stored::finite_values;
use crate::atomic;
use crate::format::safetensors::{Dtype, SafetensorsWriter};
use crate::format::{Checkpoint, LoadError};
use crate::model::lora::ScalarHead;

/// The file of a scalar head, beside its adapter: `weight` of shape `[hidden]` or `[1, hidden]`, and `bias`
/// of shape `[1]`, which is 0 if missing.
pub const FILE: &str = "reward_head.safetensors";

const WEIGHT: &str = "weight";
const BIAS: &str = "bias";

pub(super) fn read(path: &Path) -> Result<ScalarHead, AdapterFileError> {
    let file = Checkpoint::open_tensors(path)?;
    file.need_all_tensors()?;
    for tensor in file.tensors() {
        if tensor.name != WEIGHT && tensor.name != BIAS {
            let rule = format!("a scalar head has `{WEIGHT}` and `{BIAS}`, nothing else");
            return Err(LoadError::tensor(path, &tensor.name, 0, rule).into());
        }
    }
    let Some(weight) = file.tensor(WEIGHT) else {
        return Err(LoadError::MissingTensor { path: path.to_owned(), tensor: WEIGHT.into() }.into());
    };
    if weight.rows() != 1 {
        let expected = vec![1, weight.cols()];
        let (tensor, found) = (WEIGHT.to_owned(), weight.shape.clone());
        return Err(AdapterFileError::Shape { path: path.to_owned(), tensor, found, expected });
    }
    let bias = match file.tensor(BIAS) {
        Some(_) => finite_values(&file, file.need_tensor(BIAS, &[1])?)?[0],
        None => 0.0,
    };
    Ok(ScalarHead { weight: finite_values(&file, weight)?, bias })
}

pub(super) fn write(path: &Path, head: &ScalarHead) -> std::io::Result<()> {
    atomic::write(path, |file| {
        let mut writer = SafetensorsWriter::new();
        writer.declare(WEIGHT, Dtype::F32, &[1, head.weight.len()])?;
        writer.declare(BIAS, Dtype::F32, &[1])?;
        let mut body = writer.start(file)?;
        body.data(bytemuck::cast_slice(&head.weight))?;
        body.data(bytemuck::bytes_of(&head.bias))?;
        body.finish().map(drop)
    })
}
