//! Paper: text in lines that fit, tables over several pages, boxes. It knows nothing of evidence, has no clock, and no text
//! breaks it: what the font has not is drawn as a box, what is too long for its place is cut with a word about it.

use super::shown;
use krilla::Document;
use krilla::color::rgb;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::metadata::Metadata;
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::Fill;
use krilla::surface::Surface;
use krilla::text::{Font, GlyphId, KrillaGlyph};
use skrifa::MetadataProvider as _;
use skrifa::charmap::Charmap;
use skrifa::instance::{LocationRef, Size};
use skrifa::metrics::GlyphMetrics;
use thiserror::Error;

/// A4, in points, and the room around what is written.
const PAGE_WIDTH: f32 = 595.0;
const PAGE_HEIGHT: f32 = 842.0;
const MARGIN: f32 = 44.0;
/// For the number of the page.
const FOOT: f32 = 30.0;

pub(super) const WIDTH: f32 = PAGE_WIDTH - 2.0 * MARGIN;

/// From one line to the next, as a part of the letters' size.
const LEADING: f32 = 1.35;

/// Between what stands in neighbouring cells.
const CELL_GAP: f32 = 6.0;

/// Lines that one cell takes; who wants more reads `pack.json`.
const CELL_LINES_MAX: usize = 12;

/// Lines below a row, and the letters of them, as a part of the row's.
const BELOW_LINES_MAX: usize = 5;
const BELOW_SIZE: f32 = 0.93;

/// A line may end behind these.
const BREAKS: &str = " /-:,;|";

/// Letters of one cell that are looked at: far more than fit.
const CELL_CHARS_MAX: usize = 4_000;

static REGULAR: &[u8] = include_bytes!("../../../fonts/Roboto-Regular.ttf");
static BOLD: &[u8] = include_bytes!("../../../fonts/Roboto-Bold.ttf");

#[derive(Debug, Error)]
pub(super) enum PaperError {
    #[error("the font for reports cannot be read")]
    Font,
    #[error("the report cannot be put on paper: {0}")]
    Write(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Text,
    Soft,
    Line,
    Shade,
    Allow,
    Pending,
    Deny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    Regular,
    Bold,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) size: f32,
    pub(super) weight: Weight,
    pub(super) ink: Ink,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Of the paper's width; those of a table make 1.
    pub(super) part: f32,
    pub(super) right: bool,
}

/// What stands in a row's cell.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) ink: Ink,
}

/// A row of a table, and what stands below it over the whole width; empty: nothing does.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    pub(super) below: String,
}

/// Something on a page, from its top left.
enum Mark {
    Text { x: f32, base: f32, style: Style, text: String },
    Box { x: f32, y: f32, width: f32, height: f32, ink: Ink },
}

/// One weight of the font: how wide its letters are, and which it has.
struct Face {
    font: Font,
    letters: Charmap<'static>,
    widths: GlyphMetrics<'static>,
    em: f32,
}

pub(super) struct Paper {
    regular: Face,
    bold: Face,
    pages: Vec<Vec<Mark>>,
    /// How far the page is written.
    y: f32,
    /// A letter was met that the font has not.
    boxed: bool,
    /// Where on the page a heading or titles begin that nothing follows yet: how many marks stand above, and how far it was written.
    title: Option<(usize, f32)>,
}

// === impl Mark ===

impl Mark {
    /// So much further down.
    fn moved(self, by: f32) -> Self {
        match self {
            Self::Text { x, base, style, text } => Self::Text { x, base: base + by, style, text },
            Self::Box { x, y, width, height, ink } => Self::Box { x, y: y + by, width, height, ink },
        }
    }

    #[cfg(test)]
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } => Some(text.as_str()),
            Self::Box { .. } => None,
        }
    }
}

// === impl Face ===

impl Face {
    fn open(bytes: &'static [u8]) -> Result<Self, PaperError> {
        let known = skrifa::FontRef::new(bytes).map_err(|_| PaperError::Font)?;
        let font = Font::new(bytes.to_vec().into(), 0).ok_or(PaperError::Font)?;
        let widths = known.glyph_metrics(Size::unscaled(), LocationRef::default());
        Ok(Self { em: font.units_per_em(), letters: known.charmap(), widths, font })
    }

    /// The letter's number in the font; 0 is the box.
    fn letter(&self, c: char) -> skrifa::GlyphId {
        self.letters.map(c).unwrap_or_default()
    }

    fn width(&self, c: char) -> f32 {
        self.widths.advance_width(self.letter(c)).unwrap_or_default() / self.em
    }

    fn glyphs(&self, text: &str) -> Vec<KrillaGlyph> {
        let glyph = |(at, c): (usize, char)| KrillaGlyph {
            glyph_id: GlyphId::new(self.letter(c).to_u32()),
            text_range: at..at + c.len_utf8(),
            x_advance: self.width(c),
            x_offset: 0.0,
            y_offset: 0.0,
            y_advance: 0.0,
            location: None,
        };
        text.char_indices().map(glyph).collect()
    }
}

// === impl Ink ===

impl Ink {
    /// The ink of a verdict.
    pub(super) fn of(verdict: &str) -> Self {
        match verdict {
            "allow" => Self::Allow,
            "pending" => Self::Pending,
            "deny" => Self::Deny,
            _ => Self::Text,
        }
    }

    fn color(self) -> rgb::Color {
        match self {
            Self::Text => rgb::Color::new(0x1b, 0x1f, 0x24),
            Self::Soft => rgb::Color::new(0x5b, 0x64, 0x70),
            Self::Line => rgb::Color::new(0xd8, 0xdd, 0xe3),
            Self::Shade => rgb::Color::new(0xf3, 0xf5, 0xf7),
            Self::Allow => rgb::Color::new(0x2d, 0x7d, 0x46),
            Self::Pending => rgb::Color::new(0x9a, 0x67, 0x00),
            Self::Deny => rgb::Color::new(0xb3, 0x26, 0x1e),
        }
    }
}

// === impl Cell ===

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ink: Ink::Text }
    }

    pub(super) fn inked(text: impl Into<String>, ink: Ink) -> Self {
        Self { text: text.into(), ink }
    }
}

// === impl Paper ===

impl Paper {
    pub(super) fn new() -> Result<Self, PaperError> {
        let (regular, bold) = (Face::open(REGULAR)?, Face::open(BOLD)?);
        Ok(Self { regular, bold, pages: vec![Vec::new()], y: MARGIN, boxed: false, title: None })
    }

    /// All that stands on each page.
    #[cfg(test)]
    pub(super) fn texts(&self) -> Vec<Vec<&str>> {
        self.pages.iter().map(|marks| marks.iter().filter_map(Mark::text).collect()).collect()
    }

    /// Whether something was drawn as a box.
    pub(super) fn has_boxes(&self) -> bool {
        self.boxed
    }

    /// A new page, unless there is so much room on this one. A heading and titles that would be left alone go with what they are of.
    /// Whether it is a new page without them.
    pub(super) fn need(&mut self, height: f32) -> bool {
        let title = self.title.take();
        if self.y + height <= PAGE_HEIGHT - MARGIN - FOOT || self.y <= MARGIN {
            return false;
        }
        let (marks, top) = title.unwrap_or((usize::MAX, self.y));
        // What stands at the top of a page has no more room on another one.
        if marks == 0 {
            return false;
        }
        let last = self.pages.last_mut();
        let along = last.map(|page| page.split_off(marks.min(page.len()))).unwrap_or_default();
        self.pages.push(along.into_iter().map(|mark| mark.moved(MARGIN - top)).collect());
        self.y += MARGIN - top;
        title.is_none()
    }

    /// How many marks the page has, and how far it is written.
    fn here(&self) -> (usize, f32) {
        (self.pages.last().map_or(0, Vec::len), self.y)
    }

    pub(super) fn space(&mut self, height: f32) {
        self.y += height;
    }

    /// A heading, with something of what follows on the same page.
    pub(super) fn heading(&mut self, text: &str) {
        self.need(90.0);
        let title = self.here();
        self.space(16.0);
        self.paragraph(text, Style { size: 13.0, weight: Weight::Bold, ink: Ink::Text });
        self.fill(0.0, 1.0, WIDTH, 0.7, Ink::Line);
        self.space(7.0);
        self.title = Some(title);
    }

    /// Text over the whole width, in as many lines as it takes.
    pub(super) fn paragraph(&mut self, text: &str, style: Style) {
        for line in text.split('\n') {
            for line in self.wrapped(&shown(line), style, WIDTH, usize::MAX) {
                self.need(style.size * LEADING);
                self.y += style.size * LEADING;
                self.write(0.0, self.y - style.size * (LEADING - 1.0), line, style);
            }
        }
    }

    /// A box from where the page is written to.
    pub(super) fn fill(&mut self, x: f32, down: f32, width: f32, height: f32, ink: Ink) {
        let y = self.y + down;
        self.mark(Mark::Box { x: MARGIN + x, y, width, height, ink });
    }

    /// One line, which is cut at this width.
    pub(super) fn label(&mut self, x: f32, down: f32, width: f32, text: &str, style: Style) {
        let line = self.wrapped(&shown(text), style, width, 1).into_iter().next().unwrap_or_default();
        self.write(x, self.y + down, line, style);
    }

    pub(super) fn label_width(&self, text: &str, style: Style) -> f32 {
        text.chars().map(|c| self.face(style.weight).width(c)).sum::<f32>() * style.size
    }

    /// A table, with its titles on each page that it is on.
    pub(super) fn table(&mut self, columns: &[Column], size: f32, rows: impl Iterator<Item = Vec<Cell>>) {
        self.table_with(columns, size, rows.map(|cells| Row { cells, below: String::new() }));
    }

    /// As `table`, with something below each row that has it. A row and what is below it stand on one page.
    pub(super) fn table_with(&mut self, columns: &[Column], size: f32, rows: impl Iterator<Item = Row>) {
        let style = Style { size, weight: Weight::Regular, ink: Ink::Text };
        self.titles(columns, style);
        let (indent, small) = (
            columns.first().map_or(0.0, |column| column.part * WIDTH),
            Style { ink: Ink::Soft, size: size * BELOW_SIZE, ..style },
        );
        for Row { cells: row, below } in rows {
            let below = self.wrapped(&shown(&below), small, WIDTH - indent, BELOW_LINES_MAX);
            let fitted: Vec<(Vec<String>, Ink)> = columns
                .iter()
                .zip(row)
                .map(|(column, cell)| (self.wrapped(&shown(&cell.text), style, column.width(), CELL_LINES_MAX), cell.ink))
                .collect();
            let lines = fitted.iter().map(|(lines, _)| lines.len()).max().unwrap_or(1).max(1);
            let below_height = below.len() as f32 * small.size * LEADING;
            let height = lines as f32 * size * LEADING + 4.0 + below_height;
            if self.need(height) {
                self.titles(columns, style);
                self.title = None;
            }
            let mut x = 0.0;
            for (column, (lines, ink)) in columns.iter().zip(fitted) {
                self.cell(x, column, lines, Style { ink, ..style });
                x += column.part * WIDTH;
            }
            let mut base = self.y + lines as f32 * size * LEADING + small.size * 1.1;
            for line in below {
                self.write(indent, base, line, small);
                base += small.size * LEADING;
            }
            self.space(height);
            self.fill(0.0, -1.0, WIDTH, 0.4, Ink::Line);
        }
    }

    /// The whole, with a foot under each page.
    pub(super) fn finish(self, title: &str, foot: &str) -> Result<Vec<u8>, PaperError> {
        let mut document = Document::new();
        document.set_metadata(Metadata::new().title(title.into()).creator("agentgate".into()).language("en".into()));
        let settings = PageSettings::from_wh(PAGE_WIDTH, PAGE_HEIGHT).ok_or_else(|| PaperError::Write("its size".into()))?;
        let (all, style) = (self.pages.len(), Style { size: 7.5, weight: Weight::Regular, ink: Ink::Soft });
        for (marks, number) in self.pages.iter().zip(1_usize..) {
            let mut page = document.start_page_with(settings.clone());
            let mut surface = page.surface();
            marks.iter().for_each(|mark| self.draw(mark, &mut surface));
            let number = format!("{number} of {all}");
            let base = PAGE_HEIGHT - MARGIN + 4.0;
            let at = PAGE_WIDTH - MARGIN - self.label_width(&number, style);
            let foot = self.wrapped(&shown(foot), style, at - MARGIN - CELL_GAP, 1).concat();
            for (x, text) in [(MARGIN, foot), (at, number)] {
                self.draw(&Mark::Text { x, base, style, text }, &mut surface);
            }
            surface.finish();
            page.finish();
        }
        document.finish().map_err(|error| PaperError::Write(format!("{error:?}")))
    }

    fn titles(&mut self, columns: &[Column], style: Style) {
        if columns.iter().all(|column| column.title.is_empty()) {
            return;
        }
        let style = Style { weight: Weight::Bold, ink: Ink::Soft, ..style };
        let (title, pages) = (self.title, self.pages.len());
        self.need(style.size * LEADING * 4.0);
        let title = match title {
            Some(title) if self.pages.len() == pages => title,
            Some(_) => (0, MARGIN),
            None => self.here(),
        };
        let mut x = 0.0;
        for column in columns {
            self.cell(x, column, vec![column.title.to_owned()], style);
            x += column.part * WIDTH;
        }
        self.space(style.size * LEADING + 4.0);
        self.fill(0.0, -1.0, WIDTH, 0.7, Ink::Line);
        self.title = Some(title);
    }

    fn cell(&mut self, x: f32, column: &Column, lines: Vec<String>, style: Style) {
        let mut base = self.y + style.size * 1.1;
        for line in lines {
            let indent = if column.right { column.width() - self.label_width(&line, style) } else { 0.0 };
            self.write(x + indent, base, line, style);
            base += style.size * LEADING;
        }
    }

    fn write(&mut self, x: f32, base: f32, text: String, style: Style) {
        self.boxed |= text.chars().any(|c| self.face(style.weight).letter(c).to_u32() == 0);
        self.mark(Mark::Text { x: MARGIN + x, base, style, text });
    }

    fn mark(&mut self, mark: Mark) {
        if let Some(page) = self.pages.last_mut() {
            page.push(mark);
        }
    }

    fn face(&self, weight: Weight) -> &Face {
        match weight {
            Weight::Regular => &self.regular,
            Weight::Bold => &self.bold,
        }
    }

    /// In lines of this width: broken behind a blank or the like where there is one, else wherever the line is full.
    fn wrapped(&self, text: &str, style: Style, width: f32, lines_max: usize) -> Vec<String> {
        let face = self.face(style.weight);
        let chars_max = if lines_max == usize::MAX { usize::MAX } else { CELL_CHARS_MAX };
        let mut lines = Vec::new();
        let (mut line, mut wide, mut blank) = (String::new(), 0.0_f32, None::<usize>);
        let mut cut = text.chars().nth(chars_max.saturating_sub(1)).is_some() && chars_max != usize::MAX;
        for c in text.chars().take(chars_max) {
            let more = face.width(c) * style.size;
            if wide + more > width && !line.is_empty() {
                let rest = match blank.take() {
                    Some(at) if c != ' ' => line.split_off(at),
                    Some(_) | None => String::new(),
                };
                lines.push(std::mem::replace(&mut line, rest));
                wide = line.chars().map(|c| face.width(c) * style.size).sum();
                if lines.len() == lines_max {
                    cut = true;
                    line.clear();
                    break;
                }
            }
            line.push(c);
            wide += more;
            if BREAKS.contains(c) {
                blank = Some(line.len());
            }
        }
        if !line.is_empty() && lines.len() < lines_max {
            lines.push(line);
        }
        if cut && let Some(last) = lines.last_mut() {
            last.pop();
            last.push('…');
        }
        lines
    }

    fn draw(&self, mark: &Mark, surface: &mut Surface<'_>) {
        let paint = |ink: Ink| Fill { paint: ink.color().into(), opacity: NormalizedF32::ONE, ..Fill::default() };
        match mark {
            Mark::Text { x, base, style, text } => {
                let face = self.face(style.weight);
                surface.set_fill(Some(paint(style.ink)));
                surface.draw_glyphs(Point::from_xy(*x, *base), &face.glyphs(text), face.font.clone(), text, style.size, false);
            }
            Mark::Box { x, y, width, height, ink } => {
                let mut path = PathBuilder::new();
                let Some(area) = Rect::from_xywh(*x, *y, *width, *height) else { return };
                path.push_rect(area);
                let Some(path) = path.finish() else { return };
                surface.set_fill(Some(paint(*ink)));
                surface.draw_path(&path);
            }
        }
    }
}

// === impl Column ===

impl Column {
    pub(super) const fn new(title: &'static str, part: f32) -> Self {
        Self { title, part, right: false }
    }

    pub(super) const fn right(title: &'static str, part: f32) -> Self {
        Self { title, part, right: true }
    }

    /// What its cells may take.
    fn width(&self) -> f32 {
        self.part * WIDTH - CELL_GAP
    }
}
