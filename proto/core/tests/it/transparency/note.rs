//! Notes, keys and cosignatures: read whole, or refused by name.

use agentgate_core::transparency::key::{Algorithm, KEY_NAME_BYTES_MAX, KeyError, KeyName, SignerKey, VerifierKey};
use agentgate_core::transparency::note::{NOTE_BYTES_MAX, Note, NoteError, NoteSignature, SIGNATURES_MAX};

/// The example in the documentation of Go's `sumdb/note`.
const PUBLISHED_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PUBLISHED: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

pub(super) fn key(name: &str, algorithm: Algorithm) -> SignerKey {
    let seed = std::array::from_fn(|at| name.as_bytes()[at % name.len()]);
    SignerKey::from_seed(KeyName::try_from(name).unwrap(), algorithm, &seed)
}

pub(super) fn log(name: &str) -> SignerKey {
    key(name, Algorithm::Ed25519)
}

pub(super) fn witness(name: &str) -> SignerKey {
    key(name, Algorithm::Cosignature)
}

fn signed(text: &str, keys: &[&str]) -> Note {
    let mut note = Note::new(text).unwrap();
    keys.iter().for_each(|name| note.sign(&log(name)).unwrap());
    note
}

#[test]
fn the_published_note_is_read_and_holds() {
    let key = VerifierKey::parse(PUBLISHED_KEY).unwrap();
    assert_eq!((key.to_string(), key.id().to_string()), (PUBLISHED_KEY.into(), "PeterNeumann+c74f20a3".into()));
    let note = Note::parse(PUBLISHED.as_bytes()).unwrap();
    assert_eq!((note.signed_by(&key), note.to_string()), (Ok(true), PUBLISHED.into()));
    let other = note.text().replace("answer", "Answer");
    let forged = Note::parse(PUBLISHED.replace(note.text(), &other).as_bytes()).unwrap();
    assert_eq!(forged.signed_by(&key), Err(NoteError::Forged(key.id().clone())));
}

#[test]
fn a_key_is_read_as_it_is_written() {
    for key in [log("log.example/a"), witness("w.example"), log("é")] {
        let (public, secret) = (key.verifier().to_string(), key.secret_text());
        assert_eq!(VerifierKey::parse(&public).as_ref(), Ok(key.verifier()));
        assert_eq!(SignerKey::parse(&secret).unwrap().secret_text(), secret);
        assert_eq!(SignerKey::parse(&secret).unwrap().verifier(), key.verifier());
        let seed = secret.splitn(5, '+').nth(4).unwrap();
        assert!(!format!("{key:?}").contains(seed), "a key's debug form keeps its secret");
        let raw = format!("{:?}", key.verifier().id().name.as_str().as_bytes());
        assert!(!format!("{key:?}").contains(&raw));
    }
}

#[test]
fn what_is_no_key_is_refused_by_name() {
    let name = |text: &str| KeyName::try_from(text).unwrap();
    let public = log("a").verifier().to_string();
    let hash = public.split('+').nth(1).unwrap();
    let base64 = public.splitn(3, '+').nth(2).unwrap();
    for (text, wanted) in [
        (String::new(), KeyError::Form),
        ("a".into(), KeyError::Form),
        (format!("a+{hash}"), KeyError::Form),
        (format!("+{hash}+{base64}"), KeyError::Name(String::new())),
        (format!("a b+{hash}+{base64}"), KeyError::Name("a b".into())),
        (format!("a+{hash}+{}", &base64[..40]), KeyError::Form),
        (format!("a+{hash}+{base64}+"), KeyError::Form),
        (format!("a+{hash}+{base64} "), KeyError::Form),
        (format!("b+{hash}+{base64}"), KeyError::Hash(name("b"))),
        (format!("a+{}+{base64}", hash.to_uppercase()), KeyError::Hash(name("a"))),
        (format!("a+0{hash}+{base64}"), KeyError::Hash(name("a"))),
        (format!("a+{hash}+Ag{}", &base64[2..]), KeyError::Algorithm(name("a"))),
        // The neutral point: any message has a signature under it.
        (format!("a+{hash}+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), KeyError::Point(name("a"))),
        (format!("a+{hash}+AQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), KeyError::Point(name("a"))),
    ] {
        assert_eq!(VerifierKey::parse(&text), Err(wanted), "{text}");
    }
    let secret = log("a").secret_text();
    for (text, wanted) in [
        (public.clone(), KeyError::SecretForm),
        (secret.replace("PRIVATE", "private"), KeyError::SecretForm),
        (secret.replace("+a+", "+b+"), KeyError::Hash(name("b"))),
        (secret.replace("+a+", "+ +"), KeyError::SecretForm),
        (secret[..secret.len() - 1].to_owned(), KeyError::SecretForm),
    ] {
        assert_eq!(SignerKey::parse(&text).err(), Some(wanted), "{text}");
    }
    for (length, wanted) in [(0, false), (1, true), (KEY_NAME_BYTES_MAX, true), (KEY_NAME_BYTES_MAX + 1, false)] {
        assert_eq!(KeyName::try_from("a".repeat(length).as_str()).is_ok(), wanted);
    }
    for text in ["a b", "a+b", "a\u{a0}b", "a\u{2003}b", "a\nb", "a\u{1}"] {
        assert_eq!(KeyName::try_from(text), Err(KeyError::Name(text.into())));
    }
}

#[test]
fn who_signed_is_known_and_strangers_say_nothing() {
    let text = "a\n\n— not a signature\n\nb\n";
    let note = Note::parse(signed(text, &["one", "two"]).to_string().as_bytes()).unwrap();
    assert_eq!((note.text(), note.signatures().len()), (text, 2));
    for (name, wanted) in [("one", true), ("two", true), ("three", false)] {
        assert_eq!(note.signed_by(log(name).verifier()), Ok(wanted));
    }
    // The same name and another key is another signer.
    let other = SignerKey::from_seed(KeyName::try_from("one").unwrap(), Algorithm::Ed25519, &[1; 32]);
    assert_eq!(note.signed_by(other.verifier()), Ok(false));

    let mut again = note.clone();
    again.sign(&log("one")).unwrap();
    let by: Vec<_> = again.signatures().iter().map(|signature| signature.by.name.as_str()).collect();
    assert_eq!(by, ["two", "one"], "a signature takes the place of the earlier one");
}

#[test]
fn a_bit_flipped_anywhere_is_found() {
    let note = signed("text\n", &["one"]).to_string().into_bytes();
    let key = log("one");
    for bit in (0..note.len() * 8).step_by(5) {
        let mut flipped = note.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let holds = Note::parse(&flipped).is_ok_and(|note| note.signed_by(key.verifier()) == Ok(true));
        assert!(!holds, "{}", String::from_utf8_lossy(&flipped));
    }
}

#[test]
fn one_signature_of_a_known_key_that_does_not_hold_refuses_the_note() {
    let note = signed("text\n", &["one", "two"]);
    let mut forged = note.signatures()[0].clone();
    forged.bytes[5] ^= 1;
    for (lines, wanted) in [
        (vec![&note.signatures()[0], &forged], Err(NoteError::Forged(log("one").verifier().id().clone()))),
        (vec![&forged, &note.signatures()[0]], Err(NoteError::Forged(log("one").verifier().id().clone()))),
        (vec![&note.signatures()[0], &note.signatures()[0]], Ok(true)),
        (vec![&note.signatures()[1]], Ok(false)),
    ] {
        let text = lines.iter().fold("text\n\n".to_owned(), |text, line| format!("{text}{line}\n"));
        assert_eq!(Note::parse(text.as_bytes()).unwrap().signed_by(log("one").verifier()), wanted, "{text}");
    }
}

/// A note made of these lines, and what is said of it.
fn check(bytes: &[u8], wanted: &Result<(), NoteError>) {
    assert_eq!(&Note::parse(bytes).map(drop), wanted, "{}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]));
}

#[test]
fn what_is_no_note_is_refused_by_name() {
    let line = signed("a\n", &["one"]).signatures()[0].to_string();
    let at = |at| Err(NoteError::Signature { at });
    for (text, wanted) in [
        (format!("a\n\n{line}\n"), Ok(())),
        (format!("a\n{line}\n"), Err(NoteError::Separator)),
        (format!("a\n\n{line}"), Err(NoteError::Unsigned)),
        ("a\n\n".into(), Err(NoteError::Unsigned)),
        ("a\n".into(), Err(NoteError::Separator)),
        (String::new(), Err(NoteError::Separator)),
        ("a\n\n\n".into(), Err(NoteError::Unsigned)),
        (format!("a\n\n{line}\nb\n"), at(2)),
        (format!("a\n\n{}\n", line.replace('—', "-")), at(1)),
        (format!("a\n\n{}\n", line.replace("one ", "one  ")), at(1)),
        (
            format!("a\n\n{}\n", line.replace(" one", "  one")),
            Err(NoteError::Name { at: 1, source: KeyError::Name(String::new()) }),
        ),
        (format!("a\n\n{}\n", line.replace("one", "o+e")), Err(NoteError::Name { at: 1, source: KeyError::Name("o+e".into()) })),
        (format!("a\n\n{}\n", line.trim_end_matches('=')), at(1)),
        (format!("a\n\n{line} \n"), at(1)),
        ("a\n\n— one AAAAAA==\n".into(), at(1)),
        ("a\n\n— one AAAAAAA=\n".into(), Ok(())),
        ("a\n\n— one\n".into(), at(1)),
        ("a\n\n— one \n".into(), at(1)),
        (format!("a\r\n\n{line}\n"), Err(NoteError::Control(1))),
        (format!("a\nb\tc\n\n{line}\n"), Err(NoteError::Control(2))),
    ] {
        check(text.as_bytes(), &wanted);
    }
    check(b"a\xff\n\n", &Err(NoteError::Encoding));
    for (text, wanted) in
        [("", Err(NoteError::Text)), ("a", Err(NoteError::Text)), ("\n", Ok(())), ("a\u{7}\n", Err(NoteError::Control(1)))]
    {
        assert_eq!(Note::new(text).map(drop), wanted, "{text}");
    }
}

#[test]
fn a_note_is_bounded() {
    let line = signed("a\n", &["one"]).signatures()[0].to_string();
    for (count, wanted) in [(SIGNATURES_MAX, Ok(())), (SIGNATURES_MAX + 1, Err(NoteError::Signatures))] {
        check(format!("a\n\n{}", format!("{line}\n").repeat(count)).as_bytes(), &wanted);
    }
    let rest = format!("\n\n{line}\n");
    for (length, wanted) in [(NOTE_BYTES_MAX, Ok(())), (NOTE_BYTES_MAX + 1, Err(NoteError::Length(NOTE_BYTES_MAX + 1)))] {
        check(format!("{}{rest}", "a".repeat(length - rest.len())).as_bytes(), &wanted);
    }
    let mut note = Note::new("a\n").unwrap();
    for at in 0..SIGNATURES_MAX {
        note.sign(&log(&format!("key{at}"))).unwrap();
    }
    assert_eq!(note.sign(&log("one")), Err(NoteError::Signatures));
    assert_eq!((note.sign(&log("key7")), note.signatures().len()), (Ok(()), SIGNATURES_MAX));
}

#[test]
fn a_witness_signs_the_text_and_the_time() {
    let (log, witness) = (log("log"), witness("w.example"));
    let mut note = signed("text\n", &["log"]);
    note.cosign(&witness, 1_679_315_147).unwrap();
    let note = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!((note.cosigned_by(witness.verifier()), note.signed_by(log.verifier())), (Ok(Some(1_679_315_147)), Ok(true)));
    // A witness signs two lines before the text, with the key that another kind of signature would be checked by.
    let plain =
        VerifierKey::new(KeyName::try_from("w.example").unwrap(), Algorithm::Ed25519, witness.verifier().key_bytes()).unwrap();
    let as_note = Note::parse(
        format!("cosignature/v1\ntime 1679315147\ntext\n\n{}\n", {
            let NoteSignature { bytes, .. } = note.signatures()[1].clone();
            NoteSignature { by: plain.id().clone(), bytes: bytes[8..].to_vec() }
        })
        .as_bytes(),
    );
    assert_eq!(as_note.unwrap().signed_by(&plain), Ok(true));

    for bit in (0..72 * 8).filter(|bit| bit % 7 == 0) {
        let mut signature = note.signatures()[1].clone();
        signature.bytes[bit / 8] ^= 1 << (bit % 8);
        let mut forged = note.clone();
        forged.put(signature).unwrap();
        let found = forged.cosigned_by(witness.verifier());
        let time = matches!(found, Err(NoteError::Time(_)));
        assert!(
            time == (bit == 7) && (time || found == Err(NoteError::Forged(witness.verifier().id().clone()))),
            "{bit}: {found:?}"
        );
    }
    let mut timeless = note.clone();
    timeless.put(NoteSignature { by: witness.verifier().id().clone(), bytes: vec![0; 72] }).unwrap();
    assert_eq!(timeless.cosigned_by(witness.verifier()), Err(NoteError::Time(0)), "nobody saw it in 1970");
    for length in [0, 7, 8, 71, 73] {
        let mut forged = note.clone();
        forged.put(NoteSignature { by: witness.verifier().id().clone(), bytes: vec![0; length] }).unwrap();
        assert_eq!(forged.cosigned_by(witness.verifier()), Err(NoteError::Forged(witness.verifier().id().clone())));
    }
}

#[test]
fn keys_are_for_one_kind_of_signature() {
    let (log, witness) = (log("log"), witness("w"));
    let mut note = Note::new("text\n").unwrap();
    let wrong = |key: &SignerKey| NoteError::Algorithm(key.verifier().id().clone());
    assert_eq!(note.sign(&witness), Err(wrong(&witness)));
    assert_eq!(note.cosign(&log, 1), Err(wrong(&log)));
    assert_eq!(note.signed_by(witness.verifier()), Err(wrong(&witness)));
    assert_eq!(note.cosigned_by(log.verifier()), Err(wrong(&log)));
    for (at_s, wanted) in
        [(0, Err(NoteError::Time(0))), (1, Ok(())), ((1 << 63) - 1, Ok(())), (1 << 63, Err(NoteError::Time(1 << 63)))]
    {
        assert_eq!(note.cosign(&witness, at_s), wanted);
    }
    assert_eq!(note.cosigned_by(witness.verifier()), Ok(Some((1 << 63) - 1)));
}
