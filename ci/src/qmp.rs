//! QEMU's control socket (QMP), with one JSON object on each line, in both directions.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A connection to one QEMU, which serves one at a time.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Qmp {
    /// Connects and negotiates; `None` if no QEMU listens at `socket`.
    ///
    /// # Errors
    /// QEMU listens but does not answer.
    pub fn connect(socket: &Path) -> Result<Option<Self>> {
        let Ok(stream) = UnixStream::connect(socket) else { return Ok(None) };
        // Long enough for a busy machine, short enough to detect a hanging one.
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let writer = stream.try_clone()?;
        let mut qmp = Self { reader: BufReader::new(stream), writer };
        qmp.read_message()?;
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(Some(qmp))
    }

    /// Runs one command and returns its result.
    ///
    /// # Errors
    /// QEMU refuses the command, or has ended.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.writer, "{request}").context("cannot write to QEMU")?;
        loop {
            let mut answer = self.read_message()?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {command}: {}", error["desc"].as_str().unwrap_or("no reason"));
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            // All other messages are events.
        }
    }

    /// Runs a command of the human monitor, which answers with text for people.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn execute_human(&mut self, line: &str) -> Result<String> {
        let answer = self.execute("human-monitor-command", &json!({ "command-line": line }))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    fn read_message(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).context("cannot read from QEMU")? == 0 {
            bail!("QEMU has closed its control socket");
        }
        serde_json::from_str(&line).context("QEMU sent something that is not JSON")
    }
}
