//! Matrices that some files join into one tensor, as views of its rows: Phi-3 stores queries, keys and values together,
//! and gates with ups. The rest of the library sees single matrices everywhere.

use super::{Header, TensorInfo};

/// The views of joined tensors among `tensors`. A joined tensor whose rows do not fit the header has none.
pub(super) fn views(header: &Header, tensors: &[TensorInfo]) -> Vec<TensorInfo> {
    let mut views = Vec::new();
    for tensor in tensors {
        let parts = |joined: &str| tensor.name.split_once(joined);
        let (layer, rest, attention) = match (parts(".self_attn.qkv_proj."), parts(".mlp.gate_up_proj.")) {
            (Some((layer, rest)), _) => (layer, rest, true),
            (None, Some((layer, rest))) => (layer, rest, false),
            (None, None) => continue,
        };
        let names: &[&str] = if attention {
            &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]
        } else {
            &["mlp.gate_proj", "mlp.up_proj"]
        };
        let rows = tensor.shape.first().copied().unwrap_or(0);
        let shares = if attention { attention_shares(header) } else { Some(vec![1, 1]) };
        let Some(shares) = shares else { continue };
        let total: usize = shares.iter().fold(0, |sum, share| usize::saturating_add(sum, *share));
        if total == 0 || rows == 0 || !rows.is_multiple_of(total) || !tensor.len.is_multiple_of(rows) {
            continue;
        }
        let (unit, row_bytes) = (rows / total, tensor.len / rows);
        let mut first = 0;
        for (name, share) in names.iter().zip(shares) {
            let rows = share * unit;
            let mut shape = tensor.shape.clone();
            shape[0] = rows;
            views.push(TensorInfo {
                name: format!("{layer}.{name}.{rest}"),
                shape,
                start: tensor.start + first * row_bytes,
                len: rows * row_bytes,
                ..tensor.clone()
            });
            first += rows;
        }
    }
    views
}

/// The relative numbers of rows of queries, keys and values.
fn attention_shares(header: &Header) -> Option<Vec<usize>> {
    let (heads, kv_heads) = match header {
        Header::Gguf(gguf) => {
            let architecture = gguf.architecture().ok()??;
            let count = |name: &str| gguf.count(&format!("{architecture}.attention.{name}")).ok().flatten();
            let heads = count("head_count")?;
            (heads, count("head_count_kv").unwrap_or(heads))
        }
        Header::Config(config) => {
            let count = |key: &str| config[key].as_u64().and_then(|count| usize::try_from(count).ok());
            let heads = count("num_attention_heads")?;
            (heads, count("num_key_value_heads").unwrap_or(heads))
        }
        Header::None => return None,
    };
    Some(vec![heads, kv_heads, kv_heads])
}
