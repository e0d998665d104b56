//! Tables and lists of names and values. Everything that is put into them is escaped here, so that nobody can forget it.
//!
//! A table never wraps: on a narrow terminal the least important column gives way first. It is cut, then left out, and only then
//! does the next one give way. JSON has it all.

use crate::screen::{Charset, Palette, Screen};
use crate::text::{escape, shorten};
use comfy_table::{Attribute, Cell as Drawn, CellAlignment, Color, ContentArrangement, LineStyle};
use unicode_width::UnicodeWidthStr as _;

/// The room between two columns.
const GAP: usize = 2;

/// No column is cut to less while there is another to leave out: less of a name says nothing.
const FLOOR_COLUMNS: usize = 16;

/// Those that always stay are cut to no less than this.
const STUMP_COLUMNS: usize = 4;

/// One column: its title, and how much it matters.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub title: &'static str,
    /// What has to be seen whole: it is never cut, only left out.
    pub whole: bool,
    pub right: bool,
    /// Columns with the least give way first; `u8::MAX` stays.
    pub keep: u8,
    /// Nobody else gives way for more than so many columns of it: one endless name costs its neighbours nothing.
    pub wish: usize,
}

/// One value and its meaning.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    palette: Palette,
}

#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// Names and values, one pair a line, the values in one column.
#[derive(Debug)]
pub struct Pairs<'a> {
    screen: &'a Screen,
    text: String,
}

// === impl Column ===

impl Column {
    #[must_use]
    pub const fn cut(title: &'static str, keep: u8) -> Self {
        Self { title, whole: false, right: false, keep, wish: usize::MAX }
    }

    #[must_use]
    pub const fn whole(title: &'static str, keep: u8) -> Self {
        Self { title, whole: true, right: false, keep, wish: usize::MAX }
    }

    #[must_use]
    pub const fn right(title: &'static str, keep: u8) -> Self {
        Self { title, whole: true, right: true, keep, wish: usize::MAX }
    }

    #[must_use]
    pub const fn wishing(self, wish: usize) -> Self {
        Self { wish, ..self }
    }

    /// What it is cut to before it is left out.
    fn floor(&self, natural: usize) -> usize {
        let floor = if self.keep == u8::MAX { STUMP_COLUMNS } else { FLOOR_COLUMNS };
        if self.whole { natural } else { floor.max(self.title.width()).min(natural) }
    }
}

// === impl Cell ===

impl Cell {
    pub fn new(palette: Palette, text: impl Into<String>) -> Self {
        Self { text: text.into(), palette }
    }

    pub fn plain(text: impl Into<String>) -> Self {
        Self::new(Palette::Plain, text)
    }
}

// === impl Table ===

impl Table {
    #[must_use]
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// A row has a cell for each column; cells too many are not shown.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    #[must_use]
    pub fn render(&self, screen: &Screen) -> String {
        let widths = self.plan(screen);
        let mut table = comfy_table::Table::new();
        let rule = if screen.charset == Charset::Unicode { '─' } else { '-' };
        let rule = LineStyle::none().fill(rule).junction(rule);
        table.load_style(comfy_table::presets::NOTHING.header_separator(rule));
        table.set_content_arrangement(ContentArrangement::Disabled);
        if screen.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let shown = || self.columns.iter().zip(&widths).filter(|(_, width)| **width > 0);
        table.set_header(shown().map(|(column, width)| {
            let title = draw(&Cell::new(Palette::Title, column.title), *width, screen);
            if column.right { title.set_alignment(CellAlignment::Right) } else { title }
        }));
        for row in &self.rows {
            let cells = self.columns.iter().zip(row).zip(&widths).filter(|(_, width)| **width > 0);
            table.add_row(cells.map(|((column, cell), width)| {
                let cell = draw(cell, *width, screen);
                if column.right { cell.set_alignment(CellAlignment::Right) } else { cell }
            }));
        }
        let last = shown().count().saturating_sub(1);
        for (at, column) in table.column_iter_mut().enumerate() {
            // One column of the gap is drawn between the paddings, as the border that there is not.
            column.set_padding((0, if at == last { 0 } else { 1 }));
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        lines.concat()
    }

    /// How wide each column is; 0: left out.
    fn plan(&self, screen: &Screen) -> Vec<usize> {
        let room = usize::from(screen.columns);
        let natural: Vec<usize> = (0..self.columns.len()).map(|at| self.natural(at, screen)).collect();
        let wishes =
            self.columns.iter().zip(&natural).map(|(column, natural)| column.wish.max(column.title.width()).min(*natural));
        let mut widths: Vec<usize> = wishes.collect();
        self.give_way(&mut widths, room);
        self.cut_the_rest(&mut widths, room);
        self.deal_out(&mut widths, &natural, room);
        widths
    }

    /// From the least important column on: cut as far as needed, left out where that is not enough.
    fn give_way(&self, widths: &mut [usize], room: usize) {
        let mut order: Vec<(usize, &Column)> =
            self.columns.iter().enumerate().filter(|(_, column)| column.keep < u8::MAX).collect();
        order.sort_by_key(|(_, column)| column.keep);
        for (at, column) in order {
            let excess = taken(widths).saturating_sub(room);
            if let Some(width) = widths.get_mut(at) {
                let spare = width.saturating_sub(column.floor(*width));
                *width = if excess <= spare { *width - excess } else { 0 };
            }
        }
    }

    /// Of those that stay, the widest gives way first.
    fn cut_the_rest(&self, widths: &mut [usize], room: usize) {
        while taken(widths) > room {
            let shown = self.columns.iter().zip(widths.iter_mut()).filter(|(column, width)| **width > column.floor(**width));
            let Some((_, width)) = shown.max_by_key(|(_, width)| **width) else { return };
            *width -= 1;
        }
    }

    /// Room that is left goes to whoever was cut or left out, the most important first.
    fn deal_out(&self, widths: &mut [usize], natural: &[usize], room: usize) {
        let mut order: Vec<(usize, &Column)> = self.columns.iter().enumerate().collect();
        order.sort_by_key(|(_, column)| std::cmp::Reverse(column.keep));
        for (at, column) in order {
            let left = room.saturating_sub(taken(widths));
            let (Some(width), Some(natural)) = (widths.get_mut(at), natural.get(at)) else { continue };
            if *width > 0 {
                *width += left.min(natural.saturating_sub(*width));
            } else if column.floor(*natural) + GAP <= left {
                *width = (left - GAP).min(*natural);
            }
        }
    }

    /// How wide a column would like to be.
    fn natural(&self, at: usize, screen: &Screen) -> usize {
        let title = self.columns.get(at).map_or(0, |column| column.title.width());
        let cells = self.rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| escape(&cell.text, screen.charset).width()).fold(title, usize::max)
    }
}

fn taken(widths: &[usize]) -> usize {
    let shown = widths.iter().filter(|width| **width > 0);
    shown.map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
}

fn draw(cell: &Cell, width: usize, screen: &Screen) -> Drawn {
    let drawn = Drawn::new(shorten(&cell.text, width, screen.charset));
    if !screen.color {
        return drawn;
    }
    match cell.palette {
        Palette::Plain => drawn,
        Palette::Good => drawn.fg(Color::DarkGreen),
        Palette::Waiting => drawn.fg(Color::DarkYellow),
        Palette::Bad => drawn.fg(Color::DarkRed),
        Palette::Title => drawn.add_attribute(Attribute::Bold),
        Palette::Dim => drawn.add_attribute(Attribute::Dim),
    }
}

// === impl Pairs ===

impl<'a> Pairs<'a> {
    #[must_use]
    pub const fn new(screen: &'a Screen) -> Self {
        Self { screen, text: String::new() }
    }

    /// A heading, with an empty line before it unless it is the first.
    pub fn heading(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&self.screen.paint(Palette::Title, title));
        self.text.push('\n');
    }

    /// One pair. A value that is empty is left out: what is absent has no line.
    pub fn pair(&mut self, name: &str, palette: Palette, value: &str) {
        if value.is_empty() {
            return;
        }
        let name = self.screen.paint(Palette::Dim, &format!("{name:<12}"));
        let value = self.screen.paint(palette, &escape(value, self.screen.charset));
        self.text.push_str(&format!("  {name} {value}\n"));
    }

    /// A block that is escaped already, indented.
    pub fn block(&mut self, block: &str) {
        for line in block.lines() {
            self.text.push_str("  ");
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Column, Palette, Screen, Table};
    use crate::screen::Charset;
    use unicode_width::UnicodeWidthStr as _;

    const COLUMNS: [Column; 4] = [Column::right("SEQ", 9), Column::whole("VERDICT", u8::MAX), TOOL, Column::cut("WHY", 3)];
    const TOOL: Column = Column::cut("TOOL", u8::MAX).wishing(16);

    fn check(columns: u16, charset: Charset, wanted: &str) {
        let screen = Screen { color: false, charset, columns, terminal: false };
        let mut table = Table::new(&COLUMNS);
        table.row(vec![Cell::plain("7"), Cell::plain("allow"), Cell::plain("read_note"), Cell::plain("it is only read")]);
        table.row(vec![Cell::plain("12"), Cell::plain("deny"), Cell::plain("größe\u{1b}[2J"), Cell::plain("")]);
        let text = table.render(&screen);
        assert_eq!(text, wanted.trim_start_matches('\n'), "\n{text}");
        assert!(text.lines().all(|line| line.width() <= usize::from(columns)));
    }

    #[test]
    fn a_wide_terminal_shows_everything() {
        check(
            80,
            Charset::Unicode,
            "
SEQ  VERDICT  TOOL            WHY
─────────────────────────────────────────────
  7  allow    read_note       it is only read
 12  deny     größe\\u{1b}[2J
",
        );
    }

    #[test]
    fn a_narrower_one_grants_no_more_than_is_wished() {
        check(
            47,
            Charset::Ascii,
            "
SEQ  VERDICT  TOOL              WHY
-----------------------------------------------
  7  allow    read_note         it is only read
 12  deny     gr\\u{f6}\\u{df}e~
",
        );
    }

    #[test]
    fn a_very_narrow_one_leaves_columns_out() {
        check(
            30,
            Charset::Unicode,
            "
SEQ  VERDICT  TOOL
────────────────────────────
  7  allow    read_note
 12  deny     größe\\u{1b}[2J
",
        );
        check(
            24,
            Charset::Unicode,
            "
VERDICT  TOOL
───────────────────────
allow    read_note
deny     größe\\u{1b}[2J
",
        );
    }

    #[test]
    fn colours_change_no_width() {
        let mut screen = Screen { color: true, charset: Charset::Unicode, columns: 80, terminal: true };
        let mut table = Table::new(&COLUMNS);
        table.row(vec![Cell::plain("7"), Cell::new(Palette::Bad, "deny"), Cell::plain("漢字"), Cell::plain("x")]);
        let colored = table.render(&screen);
        assert!(colored.contains("\x1b["), "{colored:?}");
        let mut plain = String::new();
        let mut rest = colored.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            plain.push_str(before);
            rest = after.split_once('m').map_or("", |(_, rest)| rest);
        }
        plain.push_str(rest);
        screen.color = false;
        let trimmed: Vec<&str> = plain.lines().map(str::trim_end).collect();
        assert_eq!(trimmed.join("\n") + "\n", table.render(&screen));
    }
}
