//! One tenant's account of one day, in numbers: what all replicas set aside as the slot says, and what of it is left here.
//! It waits for nobody and reads no clock.

use bytes::Bytes;

const DAY_US: u64 = 86_400_000_000;

/// Of the limit, one part in so many is set aside at a time: what a crash loses, or what lies unused at another replica, is
/// a few of these.
const SHARES: u64 = 64;

/// The least and the most that is set aside at a time, where the limit has as much: some dozens of calls, and some seconds of
/// the fastest.
const SHARE_BYTES: std::ops::RangeInclusive<u64> = (64 << 10)..=(64 << 20);

/// No call takes less of the journal. With less than this to spend, the day is over for its tenant.
const CALL_BYTES: u64 = 512;

const SLOT_BYTES: usize = 16;

/// What a slot holds: a day, and how much of it was set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reserved {
    /// Since 1970, UTC.
    pub(super) day: u64,
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct Account {
    pub(super) limit: u64,
    /// As the slot was last seen.
    reserved: Reserved,
    /// Of what was set aside here, what is not spent yet.
    left: u64,
    /// Written though nothing was left: it is set aside with the next share.
    owed: u64,
}

/// Whether a call's bytes may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spending {
    /// They are spent.
    Spent,
    /// So many bytes must be set aside first.
    Short(u64),
    /// There are not as many for today.
    Exceeded,
}

/// The day of a moment.
pub(super) const fn day_of(micros: u64) -> u64 {
    micros / DAY_US
}

/// When a day begins.
pub(super) const fn begin_of(day: u64) -> u64 {
    day.saturating_mul(DAY_US)
}

// === impl Reserved ===

impl Reserved {
    pub(super) fn encode(self) -> Bytes {
        [self.day.to_be_bytes(), self.bytes.to_be_bytes()].concat().into()
    }

    /// None: no quota wrote this.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let value: &[u8; SLOT_BYTES] = value.try_into().ok()?;
        let (day, bytes) = value.split_first_chunk()?;
        Some(Self { day: u64::from_be_bytes(*day), bytes: u64::from_be_bytes(bytes.try_into().ok()?) })
    }
}

// === impl Account ===

impl Account {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, reserved: Reserved::default(), left: 0, owed: 0 }
    }

    /// How much is set aside at a time.
    pub(super) fn share(&self) -> u64 {
        (self.limit / SHARES).clamp(*SHARE_BYTES.start(), *SHARE_BYTES.end()).min(self.limit)
    }

    /// A day begins anew. A day that is over does not come back: what is spent late is spent of the day after.
    fn turn(&mut self, day: u64) {
        if day > self.reserved.day {
            self.reserved = Reserved { day, bytes: 0 };
            self.left = 0;
        }
    }

    /// The slot holds this.
    pub(super) fn seen(&mut self, reserved: Reserved) {
        self.turn(reserved.day);
        if reserved.day == self.reserved.day {
            self.reserved.bytes = reserved.bytes;
        }
    }

    pub(super) fn spend(&mut self, bytes: u64, day: u64) -> Spending {
        self.turn(day);
        if let Some(left) = self.left.checked_sub(bytes) {
            self.left = left;
            return Spending::Spent;
        }
        if bytes > self.open() { Spending::Exceeded } else { Spending::Short(bytes - self.left) }
    }

    /// What is written whatever is left.
    pub(super) fn write_off(&mut self, bytes: u64, day: u64) {
        self.turn(day);
        self.owed = self.owed.saturating_add(bytes.saturating_sub(self.left));
        self.left = self.left.saturating_sub(bytes);
    }

    /// They were not written after all.
    pub(super) fn back(&mut self, bytes: u64, day: u64) {
        if day == self.reserved.day {
            self.left = self.left.saturating_add(bytes);
        }
    }

    /// What the slot is to hold next, with `want` bytes more or as many as there are, and how many that are. None: it holds
    /// that already.
    pub(super) fn next(&self, want: u64) -> Option<(Reserved, u64)> {
        let owing = self.reserved.bytes.saturating_add(self.owed);
        let granted = want.min(self.limit.saturating_sub(owing));
        let bytes = owing.saturating_add(granted);
        (bytes > self.reserved.bytes).then_some((Reserved { bytes, ..self.reserved }, granted))
    }

    /// The slot holds what `next` wanted: `granted`, and `owed` as it was.
    pub(super) fn set_aside(&mut self, reserved: Reserved, granted: u64, owed: u64) {
        self.owed = self.owed.saturating_sub(owed);
        let is_today = reserved.day == self.reserved.day;
        self.seen(reserved);
        if is_today {
            self.left = self.left.saturating_add(granted);
        }
    }

    /// What the slot is to hold when nothing more is spent here, and how much that gives back: nobody spends it from here on.
    pub(super) fn given_back(&mut self) -> Option<(Reserved, u64)> {
        let bytes = self.reserved.bytes.saturating_add(self.owed).saturating_sub(self.left);
        (bytes != self.reserved.bytes).then(|| (Reserved { bytes, ..self.reserved }, std::mem::take(&mut self.left)))
    }

    /// The slot holds what `given_back` wanted: `owed` as it was.
    pub(super) fn gave_back(&mut self, reserved: Reserved, owed: u64) {
        self.owed = self.owed.saturating_sub(owed);
        self.seen(reserved);
    }

    /// So many bytes are set aside here.
    pub(super) const fn has(&self, bytes: u64) -> bool {
        self.left >= bytes
    }

    pub(super) const fn owed(&self) -> u64 {
        self.owed
    }

    /// Half of a share is gone, and there is more.
    pub(super) fn is_low(&self) -> bool {
        self.owed > 0 || self.left < self.share() / 2 && self.reserved.bytes < self.limit
    }

    /// No call has room any longer today.
    pub(super) fn is_used_up(&mut self, day: u64) -> bool {
        self.turn(day);
        self.open() < CALL_BYTES
    }

    /// What may still be spent here, as far as is known.
    fn open(&self) -> u64 {
        self.left.saturating_add(self.limit.saturating_sub(self.reserved.bytes.saturating_add(self.owed)))
    }

    /// The day, and what of it is written, or set aside elsewhere. Whoever looks ends no day: their clock is not the journal's.
    pub(super) fn used(&self, day: u64) -> Reserved {
        if day > self.reserved.day {
            return Reserved { day, bytes: 0 };
        }
        let bytes = self.reserved.bytes.saturating_add(self.owed).saturating_sub(self.left);
        Reserved { bytes, ..self.reserved }
    }
}
