//! What the start-up comparison runs in dom0, as one static program:
//!
//! - `lab-startup-client measure QUESTION ADDRESS:PORT SECONDS COMMAND…` measures one start;
//! - `lab-startup-client attach BRIDGE OUTSIDE ADDRESS BITS GATEWAY` is the network hook of a bundle.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail};
use lab::startup::attach::{Interface, attach};
use lab::startup::client::measure;
use std::str::FromStr;
use std::time::Duration;

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-startup-client: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let words = &mut words;
    match next::<String>(words, "what to do")?.as_str() {
        "measure" => {
            let question = next(words, "question")?;
            let address = next(words, "address")?;
            let seconds = Duration::from_secs(next(words, "number of seconds")?);
            let command: Vec<String> = words.collect();
            let measured = measure(question, address, seconds, &command)?;
            println!("{}", serde_json::to_string(&measured)?);
            Ok(())
        }
        "attach" => {
            let interface = Interface {
                bridge: next(words, "bridge")?,
                outside: next(words, "name")?,
                address: next(words, "address")?,
                prefix_bits: next(words, "number of bits")?,
                gateway: next(words, "gateway")?,
            };
            attach(std::io::stdin(), &interface)
        }
        other => bail!("{other:?} is not measure or attach"),
    }
}

fn next<T: FromStr>(words: &mut impl Iterator<Item = String>, what: &str) -> Result<T> {
    let word = words.next().with_context(|| format!("no {what} was given"))?;
    word.parse().ok().with_context(|| format!("{word:?} is no {what}"))
}
