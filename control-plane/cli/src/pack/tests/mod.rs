//! Packs, made by hand.

pub(crate) mod made;
mod read;
