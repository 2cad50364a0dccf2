//! The terminal: a progress bar with the live rate where there is one, nothing where there is none; the interrupt; the `.hlog`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::flags::Output;
use crate::error::Error;
use crate::launch::kill_all;
use crate::load::tally::Tally;
use crate::load::thread::Live;
use crate::report::hlog::HistogramLog;
use crate::report::units::whole;
use crate::scenario::Console;

/// How often the line is drawn anew.
const DRAW: Duration = Duration::from_millis(200);

/// Standard error, and the files that are written while a run goes on.
pub struct Terminal {
    visible: bool,
    bar: Option<ProgressBar>,
    interrupted: Arc<AtomicBool>,
    hlog: Option<HistogramLog<BufWriter<File>>>,
    begun: Instant,
    /// What runs now, before the step's own label: `round 1 of 2, kafka: `.
    pub heading: String,
    /// What tells this side's and round's distributions from others' in the `.hlog`: `kafka.1.`.
    pub tag_prefix: String,
    load: Load,
}

/// The load on the screen now.
struct Load {
    begun: Instant,
    begun_at_s: Option<f64>,
    seconds: Option<f64>,
    drawn: Instant,
    records: u64,
}

impl Terminal {
    /// Takes over SIGINT and SIGTERM: the first ends the run early with a report, the second at once.
    ///
    /// # Errors
    /// The `.hlog` cannot be created, or signals cannot be had.
    pub fn open(output: &Output) -> Result<Terminal, Error> {
        let interrupted = Arc::new(AtomicBool::new(false));
        watch_signals(Arc::clone(&interrupted))?;
        let now = Instant::now();
        Ok(Terminal {
            visible: !output.quiet && std::io::stderr().is_terminal(),
            bar: None,
            interrupted,
            hlog: output.hlog.as_deref().map(open_hlog).transpose()?,
            begun: now,
            heading: String::new(),
            tag_prefix: String::new(),
            load: Load {
                begun: now,
                begun_at_s: None,
                seconds: None,
                drawn: now,
                records: 0,
            },
        })
    }

    /// Says something that takes a while and has no bar of its own.
    pub fn say(&self, what: &str) {
        if self.visible {
            eprintln!("{}{what}", self.heading);
        }
    }

    /// Ends the `.hlog`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(&mut self) -> Result<(), Error> {
        match self.hlog.take() {
            Some(log) => log.finish().map(|_| ()),
            None => Ok(()),
        }
    }
}

fn open_hlog(path: &Path) -> Result<HistogramLog<BufWriter<File>>, Error> {
    let file = File::create(path).map_err(|e| Error::failed(format!("{}: {e}", path.display())))?;
    HistogramLog::new(BufWriter::new(file), SystemTime::now())
}

fn watch_signals(interrupted: Arc<AtomicBool>) -> Result<(), Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|e| Error::failed(format!("signals: {e}")))?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if interrupted.swap(true, Ordering::Relaxed) {
                kill_all();
                std::process::exit(128 + signal);
            }
            eprintln!("ringlog-bench: ending early and writing the report; once more to stop at once");
        }
    });
    Ok(())
}

impl Console for Terminal {
    fn begin(&mut self, what: &str, seconds: Option<f64>, records: Option<u64>) {
        let now = Instant::now();
        self.load = Load {
            begun: now,
            begun_at_s: None,
            seconds,
            drawn: now,
            records: records.unwrap_or(0),
        };
        if !self.visible {
            return;
        }
        let length = seconds.map_or(self.load.records, |seconds| (seconds * 1e3) as u64);
        let bar = ProgressBar::new(length.max(1));
        // the template is a constant, so it parses
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:24} {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(format!("{}{what}", self.heading));
        self.bar = Some(bar);
    }

    fn progress(&mut self, at_s: f64, live: &Live) {
        let first_s = *self.load.begun_at_s.get_or_insert(at_s);
        let Some(bar) = self.bar.as_ref().filter(|_| self.load.drawn.elapsed() >= DRAW) else {
            return;
        };
        self.load.drawn = Instant::now();
        let produced = live.produced.load(Ordering::Relaxed);
        let consumed = live.consumed.load(Ordering::Relaxed);
        let failed = live.failed.load(Ordering::Relaxed);
        let elapsed_s = self.load.begun.elapsed().as_secs_f64().max(0.001);
        bar.set_position(match self.load.seconds {
            Some(_) => ((at_s - first_s) * 1e3) as u64,
            None => produced.max(consumed),
        });
        let rate = |records: u64| whole(records as f64 / elapsed_s);
        let mut line = format!("{elapsed_s:.0} s");
        if produced > 0 {
            line += &format!("  {} written/s", rate(produced));
        }
        if consumed > 0 {
            line += &format!("  {} read/s", rate(consumed));
        }
        if failed > 0 {
            line += &format!("  {} failed", whole(failed as f64));
        }
        bar.set_message(line);
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn keeps_seconds(&self) -> bool {
        self.hlog.is_some()
    }

    fn seconds(&mut self, label: &str, tally: &Tally) -> Result<(), Error> {
        let Some(log) = &mut self.hlog else { return Ok(()) };
        let prefix: String = format!("{}{label}", self.tag_prefix)
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        let longest = tally
            .seconds()
            .map(|(_, seconds)| seconds.len())
            .max()
            .unwrap_or(0);
        let from_s = (self.begun.elapsed().as_secs_f64() - longest as f64).max(0.0);
        for second in 0..longest {
            for (tag, seconds) in tally.seconds() {
                if let Some(histogram) = seconds.get(second).filter(|histogram| !histogram.is_empty()) {
                    log.interval(
                        &format!("{prefix}.{}", tag.name()),
                        from_s + second as f64,
                        1.0,
                        histogram,
                    )?;
                }
            }
        }
        Ok(())
    }
}
