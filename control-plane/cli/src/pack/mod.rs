//! A pack: records as they were stored, their bodies, proofs to one checkpoint, and the policies that decided them. JSON, with
//! bytes in base64; docs/evidence.md says each field.

pub mod files;
mod form;
pub mod reading;
pub mod report;
#[cfg(test)]
pub(crate) mod tests;

use crate::file::Unreadable;
use crate::file::fields::{Fields, base64, parse};
use crate::text::hex;
use agentgate_core::transparency::leaf::Entry;
use agentgate_core::transparency::proof::Proof;
use agentgate_core::transparency::tree::Hash;
use agentgate_proto::v1;
use prost::Message as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

pub use files::{NOTE_FILE, Named, PACK_FILE, PDF_FILE, REPORT_FILE};
use reading::Reading;

const FORM: &str = "agentgate evidence pack";
/// What this program reads. It writes the first one that can say what a pack holds: 2 where bodies are sealed or altered.
const VERSION: u64 = 2;
const VERSION_OPEN: u64 = 1;

/// What this program is, as packs that it makes name it: what it makes of a pack for people to read, another one may make otherwise.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// What another program calls itself has no more characters.
const RELEASE_CHARS_MAX: usize = 64;

/// Records in one pack: a control plane gathers 10,000 at once, and an earlier or later one not many more.
pub(crate) const RECORDS_MAX: usize = 16_384;

/// Policies in one pack: as many as a control plane gathers.
pub(crate) const BUNDLES_MAX: usize = 64;

/// All that was gathered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pack {
    /// A signed note: what was asked for, and every record that was given.
    pub manifest: Vec<u8>,
    pub checkpoint: Vec<u8>,
    /// As the control plane named them; nobody is to believe them.
    pub keys: Vec<String>,
    pub records: Vec<Packed>,
    /// By the digest that decisions name.
    pub bundles: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    pub entry: Entry,
    pub proof: Proof,
    pub record: Vec<u8>,
    pub body: Body,
}

/// What is known of a record's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    None,
    Erased,
    Open {
        salt: Vec<u8>,
        plain: Vec<u8>,
    },
    /// What is personal was taken out of it for the pack, so that nothing compares it with what its record committed to.
    Altered {
        plain: Vec<u8>,
        pii: String,
    },
    /// Ciphertext, as the journal keeps it: its key is there or erased, for every copy alike.
    Sealed(Vec<u8>),
}

/// What stands in a pack's file beside what was gathered, as whoever wrote it says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    pub reading: Value,
    /// Which release wrote it; none where that one did not say it yet.
    pub release: Option<String>,
}

/// How bodies are asked for. What is none of its names is unspecified.
pub(crate) fn pii(name: &str) -> v1::Pii {
    let all = [v1::Pii::Off, v1::Pii::Redact, v1::Pii::Tokenise];
    all.into_iter().find(|pii| pii.word() == name).unwrap_or_default()
}

// === impl Packed ===

impl Packed {
    /// # Errors
    /// Where it is not what the contract says.
    pub fn of_wire(given: v1::EvidenceRecord) -> Result<Self, String> {
        let entry = Entry::decode(&given.entry).map_err(|error| error.to_string())?;
        let proof = Proof::decode(&given.hashes.concat()).map_err(|error| error.to_string())?;
        let body = given.body.map_or(Body::None, Body::of_wire);
        Ok(Self { entry, proof, record: given.record.to_vec(), body })
    }

    /// What the record says; none where this program cannot read it.
    #[must_use]
    pub fn what(&self) -> Option<(u64, v1::record::What)> {
        let record = v1::Record::decode(self.record.as_slice()).ok()?;
        Some((record.at_us, record.what?))
    }

    /// Its body, where it was not erased and is one.
    #[must_use]
    pub fn opened<M: prost::Message + Default>(&self) -> Option<M> {
        match &self.body {
            Body::Open { plain, .. } | Body::Altered { plain, .. } => M::decode(plain.as_slice()).ok(),
            Body::None | Body::Erased | Body::Sealed(_) => None,
        }
    }

    /// Where its body lies and what it must say; none where it has none.
    #[must_use]
    pub fn reference(&self) -> Option<v1::BodyRef> {
        self.what()?.1.body_ref().cloned()
    }

    fn to_json(&self) -> Value {
        let body = match &self.body {
            Body::None => Value::Null,
            Body::Erased => json!({ "erased": true }),
            Body::Open { salt, plain } => json!({ "erased": false, "salt": base64(salt), "plain": base64(plain) }),
            Body::Altered { plain, pii } => json!({ "erased": false, "altered": pii, "plain": base64(plain) }),
            Body::Sealed(sealed) => json!({ "erased": false, "sealed": base64(sealed) }),
        };
        json!({
            "sequence": self.entry.sequence,
            "entry": base64(&self.entry.encode()),
            "hashes": self.proof.hashes().iter().map(Hash::to_string).collect::<Vec<_>>(),
            "record": base64(&self.record),
            "body": body,
        })
    }

    fn read(path: &Path, fields: &Fields<'_>) -> Result<Self, Unreadable> {
        let entry = fields.bytes("entry")?;
        let entry = Entry::decode(&entry).map_err(|source| Unreadable::Entry { path: path.into(), source })?;
        if fields.number("sequence")? != entry.sequence {
            return Err(fields.wrong("sequence", "what its entry says"));
        }
        let body = match fields.object("body")? {
            None => Body::None,
            Some(body) if body.flag("erased")? => Body::Erased,
            Some(body) if body.has("altered") => Body::Altered { plain: body.bytes("plain")?, pii: body.text("altered")?.into() },
            Some(body) if body.has("sealed") => Body::Sealed(body.bytes("sealed")?),
            Some(body) => Body::Open { salt: body.bytes("salt")?, plain: body.bytes("plain")? },
        };
        let proof = fields.proof("hashes")?;
        Ok(Self { entry, proof, record: fields.bytes("record")?, body })
    }
}

// === impl Body ===

impl Body {
    #[must_use]
    pub fn of_wire(given: v1::EvidenceBody) -> Self {
        match given {
            given if given.erased => Self::Erased,
            given if !given.sealed.is_empty() => Self::Sealed(given.sealed.to_vec()),
            v1::EvidenceBody { altered: Some(altered), plain, .. } => {
                Self::Altered { plain: plain.to_vec(), pii: altered.pii().word().into() }
            }
            given => Self::Open { salt: given.salt.to_vec(), plain: given.plain.to_vec() },
        }
    }

    #[must_use]
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed(_))
    }
}

// === impl Pack ===

impl Pack {
    #[must_use]
    pub fn to_json(&self) -> Value {
        let bundle = |(digest, content): &(Vec<u8>, Vec<u8>)| json!({ "digest": hex(digest), "content": base64(content) });
        json!({
            "form": FORM,
            "version": if self.is_plain() { VERSION_OPEN } else { VERSION },
            "release": RELEASE,
            "manifest": String::from_utf8_lossy(&self.manifest),
            "checkpoint": String::from_utf8_lossy(&self.checkpoint),
            "keys": self.keys,
            "records": self.records.iter().map(Packed::to_json).collect::<Vec<_>>(),
            "bundles": self.bundles.iter().map(bundle).collect::<Vec<_>>(),
            "reading": Reading::of(self).to_json(),
        })
    }

    /// Whether it holds bodies that it cannot open.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.records.iter().any(|packed| packed.body.is_sealed())
    }

    /// The first record whose body says what it says without a key.
    #[must_use]
    pub fn open(&self) -> Option<u64> {
        let open = self.records.iter().find(|packed| match packed.body {
            Body::Open { .. } | Body::Altered { .. } => true,
            Body::None | Body::Erased | Body::Sealed(_) => false,
        });
        open.map(|packed| packed.entry.sequence)
    }

    fn is_plain(&self) -> bool {
        self.records.iter().all(|packed| match packed.body {
            Body::None | Body::Erased | Body::Open { .. } => true,
            Body::Altered { .. } | Body::Sealed(_) => false,
        })
    }

    /// Its file, byte for byte.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        format!("{:#}\n", self.to_json()).into_bytes()
    }

    /// The pack in these bytes, and what stands beside it.
    ///
    /// # Errors
    /// Where it is none, or one of a later version, has a field more than the form, or has its records in another order.
    pub fn read(path: &Path, bytes: &[u8]) -> Result<(Self, Beside), Unreadable> {
        let mut value = parse(path, bytes)?;
        let fields = Fields::of(path, &value, FORM, VERSION)?;
        form::is_kept(path, &value)?;
        let given = fields.objects("records")?;
        let bundles = fields.objects("bundles")?;
        for (what, found, max) in [("records", given.len(), RECORDS_MAX), ("bundles", bundles.len(), BUNDLES_MAX)] {
            if found > max {
                return Err(Unreadable::Many { path: path.into(), what, found, max });
            }
        }
        let records: Vec<Packed> = given.iter().map(|record| Packed::read(path, record)).collect::<Result<_, _>>()?;
        let mut before = BTreeSet::new();
        for (fields, packed) in given.iter().zip(&records) {
            // One that stands there twice is for the verifier, which says so.
            if before.insert(packed.entry.sequence) && before.last() != Some(&packed.entry.sequence) {
                return Err(fields.wrong("sequence", "in the order of the journal"));
            }
        }
        let bundle = |bundle: &Fields<'_>| Ok((bundle.hex("digest")?, bundle.bytes("content")?));
        let pack = Self {
            manifest: fields.text("manifest")?.as_bytes().to_vec(),
            checkpoint: fields.text("checkpoint")?.as_bytes().to_vec(),
            keys: fields.texts("keys")?,
            records,
            bundles: bundles.iter().map(bundle).collect::<Result<_, Unreadable>>()?,
        };
        let release = if fields.has("release") { Some(release(&fields)?) } else { None };
        Ok((pack, Beside { reading: value.get_mut("reading").map(Value::take).unwrap_or_default(), release }))
    }
}

fn release(fields: &Fields<'_>) -> Result<String, Unreadable> {
    let release = fields.text("release")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
    let is_one = (1..=RELEASE_CHARS_MAX).contains(&release.len()) && release.bytes().all(plain);
    if is_one { Ok(release.to_owned()) } else { Err(fields.wrong("release", "the name of a release")) }
}
