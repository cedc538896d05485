//! The protobuf wire format, field by field (protobuf.dev/programming-guides/encoding).
//!
//! prost joins a `bytes` field that came in several frames. Messages that hold tensors are walked
//! here instead, so that what is large in them stays where it came, and is shared.

use bytes::Buf;
use prost::Message;

use crate::error::InferError;
use crate::tensor::{Data, Reader};

/// Groups within groups at most, as prost has it.
const MAX_DEPTH: usize = 100;

/// Walks the fields of a message, in the order they came. Ends after the first error; groups, which
/// no message here has, are passed over.
pub struct Fields<'a> {
    reader: Reader<'a>,
    message: &'static str,
}

/// A field as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its number in the message.
    pub number: u32,
    /// What it holds.
    pub value: Value,
    message: &'static str,
}

/// What a field holds, by its wire type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Integers, booleans and enums.
    Varint(u64),
    /// `double`, `fixed64`.
    Fixed64(u64),
    /// Strings, bytes, messages and packed numbers, sharing the message's pieces.
    Data(Data),
    /// `float`, `fixed32`.
    Fixed32(u32),
}

impl<'a> Fields<'a> {
    /// The fields of `data`; `message` is its type's name, for errors.
    pub fn new(data: &'a Data, message: &'static str) -> Fields<'a> {
        Fields { reader: data.reader(), message }
    }

    fn field(&mut self) -> Result<Option<Field>, InferError> {
        while self.reader.has_remaining() {
            let (number, kind) = self.key()?;
            if kind == 3 {
                self.skip_group(number)?;
                continue;
            }
            let value = self.value(number, kind)?;
            return Ok(Some(Field { number, value, message: self.message }));
        }
        Ok(None)
    }

    /// Field number and wire type.
    fn key(&mut self) -> Result<(u32, u32), InferError> {
        let key = self.varint()?;
        match u32::try_from(key) {
            Ok(key) if key >= 8 => Ok((key >> 3, key & 7)),
            _ => Err(invalid(self.message, format!("{key} is no field's key"))),
        }
    }

    fn value(&mut self, number: u32, kind: u32) -> Result<Value, InferError> {
        let (message, left) = (self.message, self.reader.remaining());
        let cut = || invalid(message, format!("field {number} ends early"));
        match kind {
            0 => Ok(Value::Varint(self.varint()?)),
            1 => self.reader.try_get_u64_le().map(Value::Fixed64).map_err(|_| cut()),
            2 => match self.varint()? {
                len if len <= self.reader.remaining() as u64 => {
                    Ok(Value::Data(self.reader.take_data(len as usize)))
                }
                len => Err(invalid(
                    message,
                    format!("field {number} has {len} bytes, of which at most {left} came"),
                )),
            },
            5 => self.reader.try_get_u32_le().map(Value::Fixed32).map_err(|_| cut()),
            _ => Err(invalid(message, format!("field {number} has the wire type {kind}"))),
        }
    }

    fn varint(&mut self) -> Result<u64, InferError> {
        varint(&mut self.reader, self.message)
    }

    fn skip_group(&mut self, number: u32) -> Result<(), InferError> {
        let mut open = vec![number];
        while let Some(innermost) = open.last() {
            match self.key()? {
                (number, 3) if open.len() <= MAX_DEPTH => open.push(number),
                (number, 4) if number == *innermost => drop(open.pop()),
                // An end that fits no start is an error there, and so is a start too deep.
                (number, kind) => drop(self.value(number, kind)?),
            }
        }
        Ok(())
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<Field, InferError>;

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.field();
        if field.is_err() {
            self.reader.advance(self.reader.remaining());
        }
        field.transpose()
    }
}

impl Field {
    /// The bytes of a `bytes` field, or of a message's.
    pub fn data(self) -> Result<Data, InferError> {
        match self.value {
            Value::Data(data) => Ok(data),
            ref other => Err(self.unlike("bytes", other)),
        }
    }

    /// A `string`.
    pub fn text(self) -> Result<String, InferError> {
        let (number, message) = (self.number, self.message);
        String::from_utf8(self.data()?.to_bytes().into())
            .map_err(|_| invalid(message, format!("field {number} is not UTF-8")))
    }

    /// An integer, a boolean or an enum.
    pub fn varint(&self) -> Result<u64, InferError> {
        match &self.value {
            Value::Varint(value) => Ok(*value),
            other => Err(self.unlike("a number", other)),
        }
    }

    /// The values of a `repeated` integer field, packed or one by one.
    pub fn each_varint(
        &self,
        mut each: impl FnMut(u64) -> Result<(), InferError>,
    ) -> Result<(), InferError> {
        let data = match &self.value {
            Value::Varint(value) => return each(*value),
            Value::Data(data) => data,
            other => return Err(self.unlike("numbers", other)),
        };
        let mut varint = Varint::default();
        for byte in data.pieces().iter().flat_map(|piece| piece.iter()) {
            if let Some(value) = varint.push(*byte, self.message)? {
                each(value)?;
            }
        }
        match varint.shift {
            0 => Ok(()),
            _ => Err(self.wrong("ends within a number")),
        }
    }

    /// Reads a message over what `into` holds, as a message field that comes twice is read.
    pub fn merge(self, into: &mut impl Message) -> Result<(), InferError> {
        let (number, message) = (self.number, self.message);
        into.merge(self.data()?.reader())
            .map_err(|e| invalid(message, format!("field {number}: {e}")))
    }

    /// The error of a field that does not hold what it should.
    pub fn wrong(&self, what: &str) -> InferError {
        invalid(self.message, format!("field {} {what}", self.number))
    }

    fn unlike(&self, expected: &str, got: &Value) -> InferError {
        let got = match got {
            Value::Varint(_) => "a varint",
            Value::Fixed64(_) => "64 bits",
            Value::Data(_) => "bytes",
            Value::Fixed32(_) => "32 bits",
        };
        self.wrong(&format!("should hold {expected}, and holds {got}"))
    }
}

/// Reads an integer; `message` is what it stands in, for errors.
pub fn varint(reader: &mut impl Buf, message: &'static str) -> Result<u64, InferError> {
    let mut varint = Varint::default();
    while reader.has_remaining() {
        if let Some(value) = varint.push(reader.get_u8(), message)? {
            return Ok(value);
        }
    }
    Err(invalid(message, "it ends within a number".to_owned()))
}

/// An integer on its way in, seven bits a byte.
#[derive(Default)]
struct Varint {
    value: u64,
    shift: u32,
}

impl Varint {
    /// The value, when `byte` was its last.
    #[inline]
    fn push(&mut self, byte: u8, message: &'static str) -> Result<Option<u64>, InferError> {
        // The tenth byte has room for one bit.
        if self.shift == 63 && byte > 1 {
            return Err(invalid(message, "a number has more than 64 bits".to_owned()));
        }
        self.value |= u64::from(byte & 0x7f) << self.shift;
        if byte < 0x80 {
            return Ok(Some(std::mem::take(self).value));
        }
        self.shift += 7;
        Ok(None)
    }
}

#[cold]
fn invalid(message: &'static str, what: String) -> InferError {
    InferError::Invalid(format!("the message is no {message}: {what}"))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
