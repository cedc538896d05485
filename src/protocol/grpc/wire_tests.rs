use super::*;
use bytes::Bytes;
use proptest::prelude::*;

fn cut(bytes: &[u8], step: usize) -> Data {
    let mut data = Data::new();
    bytes.chunks(step).for_each(|piece| data.push(Bytes::copy_from_slice(piece)));
    data
}

fn walk(data: &Data) -> Result<Vec<Field>, InferError> {
    Fields::new(data, "Test").collect()
}

#[test]
fn fields_of_every_wire_type_are_read() {
    let bytes = b"\x08\x96\x01\x11\x01\0\0\0\0\0\0\0\x1a\x02hi\x25\x02\0\0\0\x2b\x08\x01\x2c\x30\0";
    let fields = walk(&cut(bytes, 3)).unwrap();
    let found: Vec<_> = fields.iter().map(|f| (f.number, f.value.clone())).collect();
    let text = Value::Data(Data::from(Bytes::from_static(b"hi")));
    let expected = [
        (1, Value::Varint(150)),
        (2, Value::Fixed64(1)),
        (3, text),
        (4, Value::Fixed32(2)),
        // 5 is a group.
        (6, Value::Varint(0)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn bytes_share_the_pieces_they_came_in() {
    let data = cut(&[b"\x0a\x0c", &[7; 12][..]].concat(), 7);
    let field = walk(&data).unwrap().remove(0).data().unwrap();
    let places = |data: &Data| data.pieces().iter().map(|p| p.as_ptr()).collect::<Vec<_>>();
    assert_eq!(field.pieces()[0].as_ptr(), data.pieces()[0][2..].as_ptr());
    assert_eq!(places(&field)[1..], places(&data)[1..]);
}

#[test]
fn what_is_malformed_is_told() {
    let said = |bytes: &'static [u8]| {
        let data = Data::from(Bytes::from_static(bytes));
        let mut fields = Fields::new(&data, "Test");
        let error = fields.find_map(Result::err).map(|e| e.to_string());
        assert!(fields.next().is_none(), "a walk ends with its first error");
        error.unwrap_or_default()
    };
    assert_eq!(said(b"\x80"), "the message is no Test: it ends within a number");
    assert_eq!(said(b"\x02"), "the message is no Test: 2 is no field's key");
    assert_eq!(said(b"\x09\0\0"), "the message is no Test: field 1 ends early");
    assert_eq!(said(b"\x0f"), "the message is no Test: field 1 has the wire type 7");
    assert_eq!(said(b"\x0c"), "the message is no Test: field 1 has the wire type 4");
    assert!(said(b"\x0a\xff\xff\xff\xff\x0fx").contains("field 1 has 4294967295 bytes"));
    assert!(said(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02").contains("more than 64 bits"));
}

#[test]
fn a_field_of_another_kind_is_told() {
    let fields = walk(&cut(b"\x08\x01\x12\x01\xff", 9)).unwrap();
    let error = fields[0].clone().data().unwrap_err().to_string();
    assert_eq!(error, "the message is no Test: field 1 should hold bytes, and holds a varint");
    assert!(fields[1].varint().unwrap_err().to_string().ends_with("holds bytes"));
    assert!(fields[1].clone().text().unwrap_err().to_string().ends_with("field 2 is not UTF-8"));
    let packed = fields[1].each_varint(|_| Ok(())).unwrap_err().to_string();
    assert!(packed.ends_with("field 2 ends within a number"), "{packed}");
}

/// Bytes that often are fields, so that the walk gets far.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u64>().prop_map(|value| value.encode_to_vec()),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|value| value.encode_to_vec()),
        any::<f32>().prop_map(|value| value.encode_to_vec()),
        any::<f64>().prop_map(|value| value.encode_to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
        prop::sample::select(vec![vec![0x0b], vec![0x0c], vec![0x13], vec![0x14]]),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_message_is_read_as_prost_reads_it_however_it_is_cut(
        bytes in bytes(),
        step in 1usize..9,
    ) {
        let whole = walk(&Data::from(Bytes::from(bytes.clone())));
        // `()` is a message without a field of its own: it passes over all it is given.
        prop_assert_eq!(whole.is_ok(), <()>::decode(&bytes[..]).is_ok(), "{:?}", whole);
        match (whole, walk(&cut(&bytes, step))) {
            (Ok(whole), Ok(cut)) => prop_assert_eq!(whole, cut),
            (Err(whole), Err(cut)) => prop_assert_eq!(whole.to_string(), cut.to_string()),
            (whole, cut) => prop_assert!(false, "{:?} and {:?}", whole, cut),
        }
    }

    #[test]
    fn numbers_are_the_same_packed_and_one_by_one(
        numbers in prop::collection::vec(any::<u64>(), 0..20),
        step in 1usize..9,
    ) {
        let mut packed = Vec::new();
        let mut single = Vec::new();
        prost::encoding::uint64::encode_packed(7, &numbers, &mut packed);
        prost::encoding::uint64::encode_repeated(7, &numbers, &mut single);
        for bytes in [packed, single] {
            let mut read = Vec::new();
            for field in walk(&cut(&bytes, step)).unwrap() {
                field.each_varint(|n| { read.push(n); Ok(()) }).unwrap();
            }
            prop_assert_eq!(&read, &numbers);
        }
    }
}
