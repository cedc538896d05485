use super::*;
use proptest::prelude::*;
use smallvec::smallvec;

fn example() -> PredictionId {
    let unique = Uuid::from_u128(0x0193f0c2_a7b8_7c3e_9d1f_0a2b3c4d5e6f);
    PredictionId::new(unique, "mnist", 3, smallvec![9, 2, 7]).unwrap()
}

/// A text with a checksum that fits, whatever is in it.
fn signed(rest: &str) -> String {
    format!("{rest}.{}", as_text(&checksum(rest)))
}

const UNIQUE: &str = "0193f0c2a7b87c3e9d1f0a2b3c4d5e6f";

#[test]
fn reads_well_and_stays_the_same_across_releases() {
    // Replicas of two releases meet during an update of the servers: this text must not change.
    let text = "0193f0c2a7b87c3e9d1f0a2b3c4d5e6f.mnist.3.9+2+7.8e2334f9";
    assert_eq!(example().to_string(), text);
    assert_eq!(text.parse(), Ok(example()));
}

#[test]
fn an_arm_tells_its_revision() {
    let id = example().under(12).unwrap();
    let text = id.to_string();
    assert!(text.contains(".mnist.3r12.9+2+7."), "{text}");
    assert_eq!(text.parse::<PredictionId>().unwrap().revision(), Some(12));
    assert_eq!(example().revision(), None);
    for version in ["3r", "r1", "3r1r2", "3rx"] {
        let text = signed(&format!("{UNIQUE}.m.{version}.-"));
        assert_eq!(text.parse::<PredictionId>(), Err(IdError::Version(version.into())));
    }
}

#[test]
fn no_classes_and_odd_names() {
    let id = PredictionId::issue("a.b/ü%", u64::MAX, smallvec![]).unwrap();
    let text = id.to_string();
    assert!(text.contains(".a%2Eb%2F%C3%BC%25.18446744073709551615.-."), "{text}");
    assert_eq!(text.parse(), Ok(id.clone()));
    assert_eq!(id.unique().get_version_num(), 7);
    assert_ne!(id, PredictionId::issue("a.b/ü%", u64::MAX, smallvec![]).unwrap());
}

#[test]
fn says_what_is_wrong() {
    let read = |text: &str| text.parse::<PredictionId>().unwrap_err();
    assert_eq!(read(""), IdError::Parts(1));
    assert_eq!(read("abc.d"), IdError::Parts(2));
    assert_eq!(read(&".".repeat(513)), IdError::TooLong(513));
    assert_eq!(read(&".".repeat(512)), IdError::Parts(513));
    let good = example().to_string();
    assert_eq!(read(&good.replace("mnist", "mnisu")), IdError::Checksum);
    assert_eq!(read(&good[..good.len() - 1]), IdError::Checksum);
    assert_eq!(read(&good.to_uppercase()), IdError::Checksum);
    let signed = |rest: &str| read(&signed(rest));
    assert_eq!(signed("x.m.1.-"), IdError::Unique("x".into()));
    assert_eq!(signed(&format!("{UNIQUE}.%ff.1.-")), IdError::Model("%ff".into()));
    assert_eq!(signed(&format!("{UNIQUE}.m.x.-")), IdError::Version("x".into()));
    assert_eq!(signed(&format!("{UNIQUE}.m.1.")), IdError::Classes("".into()));
    assert_eq!(signed(&format!("{UNIQUE}.m.1.1+")), IdError::Classes("1+".into()));
    let many = vec!["1"; 33].join("+");
    assert_eq!(signed(&format!("{UNIQUE}.m.1.{many}")), IdError::TooManyClasses(33));
    assert!(IdError::Checksum.to_string().contains("checksum"));
}

#[test]
fn one_id_has_one_spelling() {
    for rest in ["m.01.-", "m.+1.-", "m.1.01", "%6d.1.-", "m%.1.-", "m%2e.1.-"] {
        let text = signed(&format!("{UNIQUE}.{rest}"));
        assert_eq!(text.parse::<PredictionId>(), Err(IdError::Spelling), "{text}");
    }
    let text = signed(&format!("{}.m.1.-", UNIQUE.to_uppercase()));
    assert_eq!(text.parse::<PredictionId>(), Err(IdError::Spelling));
}

#[test]
fn what_could_not_be_read_back_is_not_made() {
    let new = |model: &str, classes: usize| {
        PredictionId::issue(model, u64::MAX, smallvec![u32::MAX; classes])
    };
    assert_eq!(new("m", 33), Err(IdError::TooManyClasses(33)));
    let most = new(&"m".repeat(97), 32).unwrap().to_string();
    assert_eq!(most.len(), MAX_LEN);
    assert!(most.parse::<PredictionId>().is_ok());
    assert_eq!(new(&"m".repeat(98), 32), Err(IdError::TooLong(513)));
    assert!(new(&"ü".repeat(70), 0).is_ok());
}

/// What the choice of the checksum rests on.
#[test]
fn every_single_wrong_character_and_every_swap_of_neighbours_is_found() {
    let text = example().to_string().into_bytes();
    for i in 0..text.len() {
        for byte in 0..128 {
            let mut wrong = text.clone();
            wrong[i] = byte;
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(wrong.parse::<PredictionId>().is_ok(), byte == text[i], "{wrong}");
        }
        if i > 0 && text[i] != text[i - 1] {
            let mut wrong = text.clone();
            wrong.swap(i - 1, i);
            let wrong = String::from_utf8(wrong).unwrap();
            assert!(wrong.parse::<PredictionId>().is_err(), "{wrong}");
        }
    }
}

fn ids() -> impl Strategy<Value = PredictionId> {
    let classes = prop::collection::vec(any::<u32>(), 0..=MAX_CLASSES);
    (any::<u128>(), "\\PC{0,10}", any::<u64>(), classes).prop_map(|(u, model, version, classes)| {
        PredictionId::new(Uuid::from_u128(u), &model, version, classes.into()).unwrap()
    })
}

proptest! {
    #[test]
    fn comes_back_as_it_was(id in ids()) {
        let text = id.to_string();
        prop_assert!(text.len() <= MAX_LEN);
        prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
        prop_assert_eq!(text.parse::<PredictionId>(), Ok(id));
    }

    #[test]
    fn a_changed_id_is_found(
        id in ids(),
        at in prop::collection::vec((any::<prop::sample::Index>(), 0x20u8..0x7f), 1..6),
    ) {
        let mut wrong = id.to_string().into_bytes();
        for (i, byte) in at {
            let i = i.index(wrong.len());
            wrong[i] = byte;
        }
        let wrong = String::from_utf8(wrong).unwrap();
        prop_assert_eq!(wrong.parse::<PredictionId>().is_ok(), wrong == id.to_string());
    }

    #[test]
    fn a_piece_of_an_id_is_no_id(id in ids(), cut in any::<prop::sample::Index>()) {
        let text = id.to_string();
        let piece = &text[..cut.index(text.len())];
        prop_assert!(piece.parse::<PredictionId>().is_err());
    }

    #[test]
    fn junk_is_refused_and_never_a_panic(junk in "\\PC{0,600}", rest in "[0-9a-f.+%ü-]{0,80}") {
        prop_assert!(junk.parse::<PredictionId>().is_err());
        // With a checksum that fits, it gets to the parts.
        if let Ok(id) = signed(&rest).parse::<PredictionId>() {
            prop_assert_eq!(id.to_string(), signed(&rest));
        }
    }
}
