//! How bodies were given, against a digest that another program made of the lines.

use agentgate_core::transparency::given::{Given, How};

#[test]
fn how_bodies_were_given_is_one_digest_over_a_line_for_each() {
    let all = [
        (3, How::None),
        (5, How::Erased),
        (8, How::Sealed { address: &[7, 8] }),
        (9, How::Open { plain: b"plain" }),
        (12, How::Altered { pii: "redact", plain: b"p***n" }),
    ];
    let digest = |all: &[(u64, How<'_>)]| {
        let mut given = Given::default();
        all.iter().for_each(|(sequence, how)| given.push(*sequence, *how));
        given.digest()
    };
    let none = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(digest(&[]), none);
    let whole = "0da31bcdd4e19c5461a0516f0cd8210b7a1af7e47e464370e74962939338f325";
    assert_eq!(digest(&all), whole);
    for at in 0..all.len() {
        let mut other = all;
        other[at].0 += 1;
        assert_ne!(digest(&other), whole, "another record: {at}");
        other = all;
        other[at].1 = How::Open { plain: b"other" };
        assert_ne!(digest(&other), whole, "given otherwise: {at}");
    }
}
