//! Chance, from a seed: the same seed throws the same dice on every machine.

/// splitmix64: a counter through a good mixer.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

// === impl Dice ===

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of 0, 1, … below `sides`; 0 where there is no side.
    pub(crate) fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let sides = sides.max(1) as u64;
        usize::try_from(mixed % sides).unwrap_or_default()
    }

    pub(crate) fn one_of(&mut self, many: usize) -> Option<usize> {
        let chosen = self.below(many);
        (many > 0).then_some(chosen)
    }
}
