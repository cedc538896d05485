//! Bytes in the pieces they came in.
//!
//! A socket gives a large tensor frame by frame. Joining the frames would copy it once more than
//! the batch buffer needs, so the pieces travel together as they are.

use std::fmt;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;

/// Bytes in one piece or several, in order. Cloning and slicing share them.
#[derive(Clone, Default)]
pub struct Data {
    pieces: SmallVec<[Bytes; 1]>,
    len: usize,
}

impl Data {
    /// Nothing yet.
    pub const fn new() -> Data {
        Data { pieces: SmallVec::new_const(), len: 0 }
    }

    /// Puts a piece at the end.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    /// Puts all pieces of `other` at the end.
    pub fn append(&mut self, other: &Data) {
        self.len += other.len;
        self.pieces.extend(other.pieces.iter().cloned());
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, none of them empty.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Bytes `range`, sharing the pieces. Asks for bytes that exist.
    pub fn slice(&self, range: Range<usize>) -> Data {
        let mut reader = self.reader();
        reader.advance(range.start);
        reader.take_data(range.len())
    }

    /// All bytes in one piece; copies only what came in several.
    pub fn to_bytes(&self) -> Bytes {
        match &self.pieces[..] {
            [] => Bytes::new(),
            [only] => only.clone(),
            several => {
                let mut joined = BytesMut::with_capacity(self.len);
                several.iter().for_each(|piece| joined.extend_from_slice(piece));
                joined.freeze()
            }
        }
    }

    /// Reads from the front.
    pub fn reader(&self) -> Reader<'_> {
        Reader { pieces: &self.pieces, at: 0, left: self.len }
    }
}

impl From<Bytes> for Data {
    fn from(bytes: Bytes) -> Data {
        let mut data = Data::new();
        data.push(bytes);
        data
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Data) -> bool {
        self.len == other.len && self.to_bytes() == other.to_bytes()
    }
}

impl Eq for Data {}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes in {} pieces)", self.len, self.pieces.len())
    }
}

/// Reads [`Data`] from the front, handing out shared slices of it.
#[derive(Clone)]
pub struct Reader<'a> {
    pieces: &'a [Bytes],
    /// Bytes of the first piece that were read.
    at: usize,
    left: usize,
}

impl Reader<'_> {
    /// The next `len` bytes, sharing the pieces. Asks for no more than there are.
    pub fn take_data(&mut self, len: usize) -> Data {
        let mut taken = Data::new();
        while taken.len < len
            && let Some(piece) = self.pieces.first()
        {
            let n = (len - taken.len).min(piece.len() - self.at);
            taken.push(piece.slice(self.at..self.at + n));
            self.advance(n);
        }
        taken
    }
}

impl Buf for Reader<'_> {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.first().map_or(&[], |piece| &piece[self.at..])
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.left, "can't advance by {count}, {} are left", self.left);
        self.left -= count;
        while count > 0
            && let Some(piece) = self.pieces.first()
        {
            let n = count.min(piece.len() - self.at);
            self.at += n;
            count -= n;
            if self.at == piece.len() {
                (self.pieces, self.at) = (&self.pieces[1..], 0);
            }
        }
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.take_data(len).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn data(pieces: &[&'static [u8]]) -> Data {
        let mut data = Data::new();
        pieces.iter().for_each(|p| data.push(Bytes::from_static(p)));
        data
    }

    #[test]
    fn one_piece_is_never_copied() {
        let whole = Bytes::from_static(b"abcdef");
        let data = Data::from(whole.clone());
        assert_eq!(data.to_bytes().as_ptr(), whole.as_ptr());
        assert_eq!(data.slice(2..4).to_bytes().as_ptr(), whole[2..].as_ptr());
        let pieces = self::data(&[b"abc", b"", b"def"]);
        assert_eq!(pieces.pieces().len(), 2);
        assert_eq!(pieces.slice(1..3).pieces().len(), 1);
        assert_eq!(pieces, data);
    }

    proptest! {
        #[test]
        fn pieces_behave_as_the_whole(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..6),
            (a, b) in (0usize..40, 0usize..40),
        ) {
            let whole: Vec<u8> = pieces.concat();
            let mut data = Data::new();
            pieces.into_iter().for_each(|p| data.push(Bytes::from(p)));
            prop_assert_eq!(data.to_bytes(), &whole[..]);
            let (from, to) = (a.min(b).min(whole.len()), a.max(b).min(whole.len()));
            prop_assert_eq!(data.slice(from..to).to_bytes(), &whole[from..to]);
            let mut reader = data.reader();
            prop_assert_eq!(reader.copy_to_bytes(from), &whole[..from]);
            let mut rest = Vec::new();
            std::io::Read::read_to_end(&mut reader.reader(), &mut rest).unwrap();
            prop_assert_eq!(rest, &whole[from..]);
        }
    }
}
