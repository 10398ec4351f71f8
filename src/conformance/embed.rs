//! `embed`: exact, except for the one rounding of `scale * value + offset`.

use super::Case;
use super::linear::{cols_of, weights_of};
use crate::ops::{Weight, embed};
use crate::quant::Quant;
use crate::reference;

pub(super) fn cases() -> Vec<Case> {
    Quant::ALL.iter().map(|&quant| case(quant)).collect()
}

fn case(quant: Quant) -> Case {
    Case::new("embed", quant.name(), 1e-13, move |check| {
        for (cols, rows) in cols_of(quant).into_iter().zip([1, 5, 70]) {
            check.shape(format!("{rows} ids of 97, width {cols}"));
            let (part, table) = weights_of(check, quant, 97, cols);
            let weight = Weight::upload(check.device(), "conformance", &[part.part()], cols)?;
            let mut ids = check.integers(rows, 97);
            ids[0] = 96;
            let ids_buffer = check.device().upload("conformance", &ids)?;
            for factor in [1.0, 12.5] {
                let y = check.output(rows, cols)?;
                check.run(|rec| embed(rec, &weight, factor, &ids_buffer, &y, rows))?;
                check.compare("y", &y, &reference::embed(&table, cols, factor, &ids))?;
            }
        }
        Ok(())
    })
}
