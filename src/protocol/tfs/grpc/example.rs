//! `tensorflow.serving.Input`, a list of `tensorflow.Example`s, into inputs (apis/input.proto,
//! tensorflow/core/example). Each example is a row, each feature that is called as an input gives
//! that input's values for the row; other features are passed over, as TensorFlow's parsing ops do.

use super::column::{Column, Room};
use super::compute::Inputs;
use crate::engine::TensorSpec;
use crate::error::InferError;
use crate::protocol::grpc::wire::{Field, Fields};
use crate::tensor::Data;

/// Examples, as they came.
#[derive(Debug)]
pub struct Examples {
    /// An `ExampleList` or an `ExampleListWithContext`: their examples have the same number.
    list: Data,
    /// The example whose features are those of all others.
    context: Data,
    rows: usize,
}

/// Reads an `Input` apart from what is in its examples.
pub fn read(input: &Data) -> Result<Examples, InferError> {
    let Some((kind, list)) = choice(input, "Input")? else {
        return Err(InferError::Invalid("Input is empty.".to_owned()));
    };
    let (mut rows, mut context) = (0, None);
    for field in Fields::new(&list, "ExampleList") {
        let field = field?;
        match (kind, field.number) {
            (_, 1) => rows += 1,
            (2, 2) => once(field, &mut context)?,
            _ => {}
        }
    }
    if rows == 0 {
        return Err(InferError::Invalid("Input is empty.".to_owned()));
    }
    Ok(Examples { list, context: context.unwrap_or_default(), rows })
}

impl Examples {
    /// What the inputs take beyond the bytes that came: the context stands for many.
    pub fn growth(&self, limit: usize) -> usize {
        self.rows.saturating_mul(self.context.len()).min(limit)
    }

    /// A value for each of `specs`, of no more than `limit` bytes together. Bytes for the input
    /// called `image` are encoded images.
    pub fn inputs(
        &self,
        specs: &[TensorSpec],
        image: Option<&str>,
        limit: usize,
    ) -> Result<Inputs, InferError> {
        let mut room = Room(limit);
        let column = |spec| Column::new(spec, image == Some(&spec.name), self.rows);
        let mut columns: Vec<Column<'_>> = specs.iter().map(column).collect();
        let context = features(&self.context, specs)?;
        let mut row = 0;
        for field in Fields::new(&self.list, "ExampleList") {
            let field = field?;
            if field.number != 1 {
                continue;
            }
            let own = features(&field.data()?, specs)?;
            for ((column, own), common) in columns.iter_mut().zip(own).zip(&context) {
                let name = &column.spec.name;
                let blame = |what: &str| {
                    InferError::Invalid(format!("examples[{row}]: input `{name}`{what}"))
                };
                let feature = own.as_ref().or(common.as_ref());
                let feature = feature.ok_or_else(|| blame(" is missing"))?;
                column.row(feature, &mut room).map_err(|e| blame(&format!(": {e}")))?;
            }
            row += 1;
        }
        let named = |column: Column<'_>| {
            let name = column.spec.name.clone();
            match column.finish() {
                Ok(value) => Ok((name, value)),
                Err(e) => Err(InferError::Invalid(format!("input `{name}`: {e}"))),
            }
        };
        columns.into_iter().map(named).collect()
    }
}

/// The features of an `Example` that are called as an input, each in its place.
fn features(example: &Data, specs: &[TensorSpec]) -> Result<Vec<Option<Data>>, InferError> {
    let mut found = vec![None; specs.len()];
    for features in Fields::new(example, "Example").filter(|f| is(f, 1)) {
        for entry in Fields::new(&features?.data()?, "Features").filter(|f| is(f, 1)) {
            let (mut name, mut feature) = (String::new(), Data::new());
            for field in Fields::new(&entry?.data()?, "Features.FeatureEntry") {
                let field = field?;
                match field.number {
                    1 => name = field.text()?,
                    2 => feature = field.data()?,
                    _ => {}
                }
            }
            if let Some(at) = specs.iter().position(|spec| spec.name == name) {
                found[at] = Some(feature);
            }
        }
    }
    Ok(found)
}

/// Keeps errors, and the fields of a number.
fn is(field: &Result<Field, InferError>, number: u32) -> bool {
    field.as_ref().map_or(true, |field| field.number == number)
}

/// The message that a `oneof` of messages holds, and its number: the last one that came.
pub(super) fn choice(
    data: &Data,
    message: &'static str,
) -> Result<Option<(u32, Data)>, InferError> {
    let mut chosen = None;
    for field in Fields::new(data, message) {
        let field = field?;
        let number = field.number;
        if (1..=3).contains(&number) {
            chosen = Some((number, field.data()?));
        }
    }
    Ok(chosen)
}

/// Takes a message that may come once. Protobuf would have two of them merged; no encoder writes two.
pub(super) fn once(field: Field, into: &mut Option<Data>) -> Result<(), InferError> {
    match into {
        Some(_) => Err(field.wrong("comes twice")),
        None => {
            *into = Some(field.data()?);
            Ok(())
        }
    }
}

#[cfg(test)]
#[path = "example_tests.rs"]
mod tests;
