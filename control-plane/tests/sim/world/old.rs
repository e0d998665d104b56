//! How things get old in a world: days pass, clocks may be days from each other, and replicas sweep. It refuses to change anything
//! in worlds where everything is kept for ever.

use super::World;
use crate::age::Ages;
use crate::dice::Dice;
use crate::law::Broken;
use crate::port::Mutation;
use agentgate_core::time::Time;
use std::time::Duration;

/// Where nothing gets old, chance is what it would be without.
const OLD: u64 = 0x6f6c_6400;

/// How things get old in a world.
pub(super) struct Old {
    dice: Dice,
    /// As the replicas have it.
    pub(super) days: u32,
    /// Clocks may be days from each other.
    is_apart: bool,
    /// Somebody calls though all that there was is over.
    pub(super) is_called: bool,
    /// Nothing goes wrong any longer.
    pub(super) is_at_rest: bool,
}

// === impl World ===

impl World {
    /// In a world in which things get old: days pass, for everybody or for one, and somebody sweeps.
    pub(super) fn get_old(&mut self) {
        let Some(Old { dice, is_apart, .. }) = &mut self.old else { return };
        let (what, span, replica) = (dice.below(80), hours(dice), dice.below(self.replicas.len()));
        let (other, is_ahead) = (dice.below(self.replicas.len()), dice.below(2) == 0);
        match what {
            0..2 => self.pass(span),
            2 if *is_apart => self.set_clock(replica, span, is_ahead),
            3..6 => {
                self.sweep(replica);
                if other != replica {
                    self.sweep(other);
                }
            }
            _ => {}
        }
    }

    /// Nothing goes wrong any longer, and time passes in which the rest gets old, or some of it.
    pub(super) fn wait_until_old(&mut self) {
        let Some(old) = &mut self.old else { return };
        let span = hours(&mut old.dice);
        old.is_at_rest = true;
        self.agree_on_time();
        self.pass(span);
    }

    /// All clocks show the same from here on, and what is on record is past: a call's deadline comes by the clock.
    fn agree_on_time(&mut self) {
        let of_records = Time::from_micros(self.law.purges.newest_us);
        let newest = self.replicas.iter().map(|replica| replica.clock.now()).fold(of_records, Time::max);
        self.note(format!("all clocks are set to {}", newest.micros()));
        for replica in &mut self.replicas {
            replica.hands.set(newest);
            replica.look_at_clock();
        }
    }

    /// Of two that sweep at once one is told to look again.
    pub(super) async fn sweep_alone(&mut self) -> Result<(), Broken> {
        if self.old.is_some() {
            for replica in 0..self.replicas.len() {
                self.sweep(replica);
                self.pump().await?;
            }
        }
        Ok(())
    }
}

// === impl Old ===

impl Old {
    /// In one world of three.
    pub(super) fn drawn(seed: u64, mutation: Option<Mutation>, law: &mut Ages) -> Option<Self> {
        let mut dice = Dice::new(seed ^ OLD);
        if dice.below(3) > 0 {
            return None;
        }
        let days = 2 + u32::from(dice.below(2) == 0);
        let (is_apart, is_called) = (dice.below(2) == 0, dice.below(2) == 0);
        *law = Ages::of(days);
        let days = match mutation {
            Some(Mutation::DaysAreFewer) => days - 1,
            Some(Mutation::DaysAreMore) => days + 1,
            Some(_) | None => days,
        };
        Some(Self { dice, days, is_apart, is_called, is_at_rest: false })
    }
}

/// Less than four days.
fn hours(dice: &mut Dice) -> Duration {
    Duration::from_secs(3_600 * dice.below(96) as u64)
}
