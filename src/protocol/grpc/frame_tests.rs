use super::*;
use futures_util::{StreamExt as _, stream};

const PATIENCE: Duration = Duration::from_secs(5);

fn body(frames: &[&[u8]]) -> Body {
    let frames: Vec<Result<Bytes, std::io::Error>> =
        frames.iter().map(|f| Ok(Bytes::copy_from_slice(f))).collect();
    Body::from_stream(stream::iter(frames))
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![flag];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

async fn all(frames: &[&[u8]]) -> Result<Vec<Vec<u8>>, InferError> {
    let bodies = Bodies::new(100, 1 << 20);
    let mut messages = Messages::new(body(frames), Some(Encoding::Gzip));
    let mut read = Vec::new();
    while let Some(message) = messages.next(&bodies, PATIENCE).await? {
        read.push(message.packed.unpack(100)?.to_bytes().to_vec());
    }
    Ok(read)
}

#[tokio::test]
async fn messages_are_read_however_they_are_cut() {
    let whole = [framed(0, b"hello"), framed(0, b""), framed(0, b"world")].concat();
    let expected = vec![b"hello".to_vec(), Vec::new(), b"world".to_vec()];
    for step in 1..whole.len() {
        let frames: Vec<&[u8]> = whole.chunks(step).collect();
        assert_eq!(all(&frames).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_message_stays_in_the_frames_it_came_in() {
    let bodies = Bodies::new(100, 1 << 20);
    let (head, tail) = (framed(0, b"abcdef")[..8].to_vec(), b"def".to_vec());
    let mut messages = Messages::new(body(&[&head, &tail]), None);
    let message = messages.only(&bodies, PATIENCE).await.unwrap();
    let pieces: Vec<_> = message.packed.data.pieces().iter().map(|p| p.to_vec()).collect();
    assert_eq!(pieces, [b"abc".to_vec(), b"def".to_vec()]);
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let said = async |frames: &[&[u8]]| all(frames).await.unwrap_err().to_string();
    assert!(said(&[b"\0\0\0"]).await.contains("ends within a message"));
    assert!(said(&[&framed(0, b"hello")[..7]]).await.contains("ends within a message"));
    // Refused by its prefix: the rest never comes.
    let huge = all(&[&[0, 0xff, 0xff, 0xff, 0xff]]).await.unwrap_err();
    assert!(matches!(huge, InferError::TooLarge { limit: 100 }));
    assert!(said(&[&framed(7, b"x")]).await.contains("7 is no compression flag"));
    assert!(said(&[&framed(1, b"no gzip")]).await.contains("can't be read as gzip"));
}

#[tokio::test]
async fn packs_and_unpacks_within_the_limit() {
    let bodies = Bodies::new(100, 1 << 20);
    for encoding in [Encoding::Deflate, Encoding::Gzip, Encoding::Zstd] {
        for (len, fits) in [(10, true), (90, true), (200, false)] {
            let message = prost_types::Any { value: vec![7; len], ..Default::default() };
            let frame = encode(&message, Some(encoding)).unwrap();
            let mut messages = Messages::new(body(&[&frame]), Some(encoding));
            let unpacked =
                messages.only(&bodies, PATIENCE).await.unwrap().packed.unpack(bodies.limit());
            match unpacked {
                Ok(data) if fits => {
                    assert_eq!(decode::<prost_types::Any>(data).unwrap(), message)
                }
                Err(InferError::TooLarge { limit: 100 }) if !fits => {}
                other => panic!("{len}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_answer_is_compressed_only_as_its_caller_reads() {
    let mut headers = HeaderMap::new();
    assert_eq!(Encoding::Gzip.of_answer(&headers), None);
    headers.insert("grpc-accept-encoding", "identity, gzip".parse().unwrap());
    assert_eq!(Encoding::Gzip.of_answer(&headers), Some(Encoding::Gzip));
    assert_eq!(Encoding::Zstd.of_answer(&headers), None);
    headers.insert("grpc-encoding", "snappy".parse().unwrap());
    assert!(matches!(Encoding::of_request(&headers), Err(InferError::Unimplemented(_))));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stalls_is_late_and_a_stream_that_rests_is_not() {
    let bodies = Bodies::new(100, 1 << 20);
    let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"\0\0"))]);
    let stalled = Body::from_stream(begun.chain(stream::pending()));
    let read = Messages::new(stalled, None).next(&bodies, PATIENCE).await;
    assert!(matches!(read, Err(InferError::Late(_))));
    let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let mut messages = Messages::new(silent, None);
    let waited = tokio::time::timeout(10 * PATIENCE, messages.next(&bodies, PATIENCE)).await;
    assert!(waited.is_err());
}
