//! A text that is looked at byte by byte. Tests count the looks: that is what a text costs.

#[cfg(test)]
use core::cell::Cell;

#[derive(Debug)]
pub(super) struct Text<'a> {
    text: &'a str,
    #[cfg(test)]
    looks: Cell<u64>,
}

// === impl Text ===

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            #[cfg(test)]
            looks: Cell::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn at(&self, at: usize) -> Option<u8> {
        self.look();
        self.text.as_bytes().get(at).copied()
    }

    pub(super) fn is(&self, at: usize, wanted: impl Fn(u8) -> bool) -> bool {
        self.at(at).is_some_and(wanted)
    }

    /// The first place from `from` on whose byte is not wanted.
    pub(super) fn end_of(&self, from: usize, wanted: impl Fn(u8) -> bool) -> usize {
        let mut end = from;
        while self.is(end, &wanted) {
            end += 1;
        }
        end
    }

    pub(super) fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// The character before `at`, if that is where one begins.
    pub(super) fn before(&self, at: usize) -> Option<char> {
        self.look();
        self.text.get(..at)?.chars().next_back()
    }

    /// The character at `at`.
    pub(super) fn char_at(&self, at: usize) -> Option<char> {
        self.look();
        self.text.get(at..)?.chars().next()
    }

    /// Whether nothing that a word is made of stands before `at`.
    pub(super) fn begins_word(&self, at: usize) -> bool {
        !self.before(at).is_some_and(is_of_word)
    }

    /// Whether nothing that a word is made of stands at `at`.
    pub(super) fn ends_word(&self, at: usize) -> bool {
        !self.char_at(at).is_some_and(is_of_word)
    }

    /// Where `words` stands, from `from` on.
    pub(super) fn find(&self, from: usize, words: &str) -> Option<usize> {
        let rest = self.text.get(from..)?;
        let found = rest.find(words);
        self.look_at(found.unwrap_or(rest.len()));
        found.map(|at| from + at)
    }

    #[cfg(test)]
    pub(super) fn looks(&self) -> u64 {
        self.looks.get()
    }

    #[cfg(test)]
    fn look_at(&self, bytes: usize) {
        self.looks.set(self.looks.get() + bytes as u64);
    }

    #[cfg(not(test))]
    #[inline]
    #[expect(clippy::unused_self, reason = "tests count here")]
    fn look_at(&self, _bytes: usize) {}

    #[inline]
    fn look(&self) {
        self.look_at(1);
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
