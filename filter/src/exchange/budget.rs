//! What all exchanges of one VM hold together, bounded: a VM's memory never shrinks, and a full one is killed.

use std::cell::Cell;
use std::rc::Rc;

#[derive(Debug)]
pub struct Budget {
    max: Cell<usize>,
    held: Cell<usize>,
}

/// One exchange's part of it, given back when the exchange ends.
#[derive(Debug)]
pub struct Hold {
    budget: Rc<Budget>,
    bytes: usize,
}

// === impl Budget ===

impl Budget {
    #[must_use]
    pub fn new(max: usize) -> Rc<Self> {
        Rc::new(Self { max: Cell::new(max), held: Cell::new(0) })
    }

    /// For what is taken from now on.
    pub fn set_max(&self, max: usize) {
        self.max.set(max);
    }

    #[must_use]
    pub fn held(&self) -> usize {
        self.held.get()
    }

    #[must_use]
    pub fn hold(self: &Rc<Self>) -> Hold {
        Hold { budget: Rc::clone(self), bytes: 0 }
    }
}

// === impl Hold ===

impl Hold {
    /// Holds `bytes` from now on instead of what was held; false, and as before, when there is no room.
    #[must_use]
    pub fn set(&mut self, bytes: usize) -> bool {
        let others = self.budget.held.get().saturating_sub(self.bytes);
        let held = others.saturating_add(bytes);
        if bytes > self.bytes && held > self.budget.max.get() {
            return false;
        }
        self.budget.held.set(held);
        self.bytes = bytes;
        true
    }

    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn release(&mut self) {
        self.budget.held.set(self.budget.held.get().saturating_sub(self.bytes));
        self.bytes = 0;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn what_one_exchange_holds_another_cannot() {
        let budget = Budget::new(10);
        let (mut one, mut two) = (budget.hold(), budget.hold());
        assert!(one.set(10));
        assert!(!two.set(1));
        assert!(one.set(9));
        assert!(two.set(1));
        assert!(!one.set(10), "one byte too many");
        drop(two);
        assert!(one.set(10));
        drop(one);
        assert_eq!(budget.held(), 0);
    }
}
