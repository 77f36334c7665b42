//! Where the demo shows itself while it runs: a terminal redrawn in place, plain lines, or nothing.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};
use crossterm::style::Print;
use crossterm::terminal::{Clear, ClearType, disable_raw_mode, enable_raw_mode, size};
use crossterm::{cursor, queue};
use tokio::sync::mpsc;

use super::table::{self, Row};
use crate::output;

/// What is shown while the demo runs.
#[derive(Debug)]
pub(crate) enum Screen {
    /// A block of lines, redrawn in place.
    Terminal(Terminal),
    /// One line at a time.
    Lines,
    /// Nothing: a program reads the end.
    Silent,
}

impl Screen {
    /// Looks at what standard output and input are.
    ///
    /// # Errors
    ///
    /// When the terminal cannot be set up.
    pub(crate) fn open(silent: bool) -> anyhow::Result<Self> {
        if silent {
            Ok(Self::Silent)
        } else if io::stdout().is_terminal() && io::stdin().is_terminal() {
            Terminal::open().map(Self::Terminal)
        } else {
            Ok(Self::Lines)
        }
    }

    /// Shows how far the clients are, `length` after their start.
    ///
    /// # Errors
    ///
    /// When standard output takes no more.
    pub(crate) fn show(&mut self, length: Duration, rows: &[Row]) -> anyhow::Result<()> {
        match self {
            Self::Terminal(terminal) => {
                let mut lines = table::lines(rows);
                lines.extend([String::new(), format!("  {} s   q ends", length.as_secs())]);
                terminal.draw(&lines).context("the terminal cannot be written to")
            }
            // Nothing has happened before the first second is over.
            Self::Lines if length < Duration::from_secs(1) => Ok(()),
            Self::Lines => output::print(&format!("{:>4} s  {}\n", length.as_secs(), table::brief(rows))),
            Self::Silent => Ok(()),
        }
    }

    /// How often to show something new.
    pub(crate) fn every(&self) -> Duration {
        match self {
            // Often enough to look alive, seldom enough to be read.
            Self::Terminal(_) => Duration::from_millis(250),
            Self::Lines | Self::Silent => Duration::from_secs(1),
        }
    }

    /// Waits for the user to end the demo by a key; for ever where there are no keys.
    pub(crate) async fn quit(&mut self) {
        if let Self::Terminal(terminal) = self {
            // `None` means that keys can no longer be read; signals still end the demo.
            if terminal.keys.recv().await.is_some() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// A terminal in raw mode; put back as it was when dropped.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// Lines of the block that is on the screen now.
    shown: u16,
    keys: mpsc::Receiver<()>,
    closing: Arc<AtomicBool>,
}

impl Terminal {
    fn open() -> anyhow::Result<Self> {
        enable_raw_mode().context("the terminal cannot be set up")?;
        let closing = Arc::new(AtomicBool::new(false));
        let (pressed, keys) = mpsc::channel(1);
        let terminal = Self {
            shown: 0,
            keys,
            closing: Arc::clone(&closing),
        };
        queue!(io::stdout(), cursor::Hide).context("the terminal cannot be written to")?;
        thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || watch_keys(&pressed, &closing))
            .context("no thread for the keys")?;
        Ok(terminal)
    }

    /// Draws `lines` over the block drawn before.
    ///
    /// # Errors
    ///
    /// When the terminal takes no more.
    pub(crate) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let (columns, rows) = size().unwrap_or((80, 24));
        let mut out = io::stdout().lock();
        if self.shown > 0 {
            queue!(out, cursor::MoveUp(self.shown))?;
        }
        queue!(out, cursor::MoveToColumn(0), Clear(ClearType::FromCursorDown))?;
        // A block higher than the screen, or a wrapped line, could not be taken back.
        let fitting = lines.iter().take(usize::from(rows.saturating_sub(1)));
        self.shown = 0;
        for line in fitting {
            let cut: String = line.chars().take(usize::from(columns)).collect();
            queue!(out, Print(cut), Print("\r\n"))?;
            self.shown += 1;
        }
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        // The terminal may be gone; nothing can be done about it here.
        let _ = queue!(io::stdout(), cursor::Show);
        let _ = io::stdout().flush();
        let _ = disable_raw_mode();
    }
}

/// Reports the first key that ends the demo. Ends soon after `closing` is set.
fn watch_keys(pressed: &mpsc::Sender<()>, closing: &AtomicBool) {
    // Relaxed: nothing else is read because of it.
    while !closing.load(Ordering::Relaxed) {
        match poll(LOOK_FOR_CLOSING_EVERY) {
            Ok(true) => match read() {
                Ok(event) if ends(&event) => {
                    // The demo may have ended by itself meanwhile.
                    let _ = pressed.try_send(());
                    return;
                }
                Ok(_) => {}
                Err(_) => return,
            },
            Ok(false) => {}
            Err(_) => return,
        }
    }
}

fn ends(event: &Event) -> bool {
    match event {
        Event::Key(KeyEvent {
            code,
            modifiers,
            kind: KeyEventKind::Press,
            ..
        }) => match code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
            // In raw mode Ctrl-C is a key and sends no signal.
            KeyCode::Char('c') => modifiers.contains(KeyModifiers::CONTROL),
            _ => false,
        },
        _ => false,
    }
}

/// How long the thread that reads keys may outlive the demo.
const LOOK_FOR_CLOSING_EVERY: Duration = Duration::from_millis(100);
