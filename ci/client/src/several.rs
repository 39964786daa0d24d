//! Several starts by one client: one after the other, or all at once.

use crate::measure::{Measure, One, Several};
use crate::start::{Asking, Question, measure};
use anyhow::{Result, anyhow};
use std::time::{Duration, Instant};

/// Starts each one after the previous one has answered and returned.
///
/// # Errors
/// Those of [`measure`].
pub fn in_a_row(question: Question, patience: Duration, all: &[One]) -> Result<Several> {
    let begin = Instant::now();
    let asking = |one: &One| Asking { question, address: one.address, patience, rivals: 1 };
    let starts: Result<Vec<Measure>> =
        all.iter().map(|one| measure(&asking(one), &one.command)).collect();
    Ok(Several { wall_ms: begin.elapsed().as_secs_f64() * 1e3, starts: starts? })
}

/// Starts all at once, and returns when each has answered and returned.
///
/// # Errors
/// Those of [`measure`].
pub fn at_once(question: Question, patience: Duration, all: &[One]) -> Result<Several> {
    let begin = Instant::now();
    let rivals = u32::try_from(all.len())?;
    let starts: Result<Vec<Measure>> = std::thread::scope(|scope| {
        let start = |one: &One| {
            let asking = Asking { question, address: one.address, patience, rivals };
            let command = one.command.clone();
            scope.spawn(move || measure(&asking, &command))
        };
        let threads: Vec<_> = all.iter().map(start).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Measure>>| {
            thread.join().map_err(|_| anyhow!("a thread ended in a panic"))?
        };
        threads.into_iter().map(join).collect()
    });
    Ok(Several { wall_ms: begin.elapsed().as_secs_f64() * 1e3, starts: starts? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddrV4};

    #[test]
    fn at_once_takes_as_long_as_one_and_in_a_row_as_long_as_all() {
        let command: Vec<String> = ["sleep", "0.3"].map(str::to_owned).into();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        let all = vec![One { address, command }; 4];
        let patience = Duration::from_secs(60);
        let row = in_a_row(Question::Nothing, patience, &all).unwrap();
        assert!(row.wall_ms >= 1200.0, "{row:?}");
        let once = at_once(Question::Nothing, patience, &all).unwrap();
        assert!(once.wall_ms < row.wall_ms - 300.0, "{once:?}");
        assert!(once.starts.iter().all(|start| start.exit_code == Some(0)), "{once:?}");
    }
}
