//! Lines for a terminal, coloured only when asked; nothing from outside can steer it.

use crate::report::table::Table;
use crate::report::units::plain;

/// How a line looks.
#[derive(Clone, Copy)]
pub(super) enum Style {
    /// Bold.
    Heading,
    /// As it is.
    Plain,
    /// Yellow.
    Warning,
    /// White on red.
    Bad,
}

impl Style {
    fn ansi(self) -> &'static str {
        match self {
            Style::Heading => "\u{1b}[1m",
            Style::Plain => "",
            Style::Warning => "\u{1b}[33m",
            Style::Bad => "\u{1b}[1;97;41m",
        }
    }
}

/// Text being put together.
pub(super) struct Page {
    text: String,
    colour: bool,
}

impl Page {
    pub(super) fn new(colour: bool) -> Page {
        Page {
            text: String::new(),
            colour,
        }
    }

    pub(super) fn text(self) -> String {
        self.text
    }

    /// One line.
    pub(super) fn line(&mut self, style: Style, text: &str) {
        let (text, ansi) = (plain(text), style.ansi());
        match self.colour && !ansi.is_empty() {
            true => self.text.push_str(&format!("{ansi}{text}\u{1b}[0m\n")),
            false => self.text.push_str(&format!("{text}\n")),
        }
    }

    /// A name and what there is to say, indented below a heading.
    pub(super) fn field(&mut self, name: &str, text: &str) {
        let style = if text.starts_with("FAILED") {
            Style::Bad
        } else {
            Style::Plain
        };
        self.line(style, &format!("  {name:10} {text}"));
    }

    /// All lines of a table, unless it is empty.
    pub(super) fn table(&mut self, table: &Table) {
        if !table.is_empty() {
            table
                .lines()
                .iter()
                .for_each(|line| self.line(Style::Plain, &format!("  {line}")));
        }
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.text.push('\n');
    }
}
