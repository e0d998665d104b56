//! Moments on a clock that never goes back. Nothing here reads one: `host` does, and passes it on.

/// Microseconds since some moment before this VM began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

// === impl Moment ===

impl Moment {
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
    }

    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.micros_since(earlier).wrapping_div(1_000)
    }
}
