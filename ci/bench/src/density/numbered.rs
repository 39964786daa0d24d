//! One side in any number: domains or containers, each with its own name and address.

use crate::side::{App, Side};
use crate::testbed::{Testbed, remove_apps};
use anyhow::Result;
use lab_client::measure::{Measure, One, Several};
use std::net::{Ipv4Addr, SocketAddrV4};

/// The port on which each answers, and the longest time to the answer, in seconds.
const PORT: u16 = 80;
const PATIENCE_S: u32 = 45;
/// The most on one side, because a Linux bridge has 1024 ports.
pub(crate) const MOST: u16 = 1000;
/// The prefix of all names in this benchmark.
const PREFIX: &str = "density";

/// The app with this number; numbers start at 1.
pub(crate) fn app(side: &Side, number: u16) -> App {
    let [high, low] = number.to_be_bytes();
    let network = if let Side::Domain { .. } = side { 107 } else { 112 };
    App {
        side: side.clone(),
        name: format!("{PREFIX}-{number}"),
        address: Ipv4Addr::new(10, network, 128 + high, low),
        veth: format!("v-{number}"),
    }
}

/// Starts one app and waits for its answer.
pub(crate) fn start(testbed: &Testbed<'_>, app: &App) -> Result<Measure> {
    app.prepare(testbed, &testbed.image.config)?;
    let address = SocketAddrV4::new(app.address, PORT);
    let command = app.command(&testbed.image.name, &[], true);
    testbed.start("http", address, PATIENCE_S, &command)
}

/// Starts several apps with one client, `in-a-row` or `at-once`; or asks those that already run.
pub(crate) fn start_several(
    testbed: &Testbed<'_>,
    how: &str,
    all: &[App],
    run_already: bool,
) -> Result<Several> {
    let one = |app: &App| One {
        address: SocketAddrV4::new(app.address, PORT),
        command: match run_already {
            true => vec!["true".into()],
            false => app.command(&testbed.image.name, &[], true),
        },
    };
    let list = serde_json::to_vec(&all.iter().map(one).collect::<Vec<_>>())?;
    let args = ["several", how, "http", &PATIENCE_S.to_string()];
    testbed.ask_client(&args, &list)
}

/// A shell script that removes the first `count` apps.
pub(crate) fn take_down(side: &Side, count: u16) -> String {
    match side {
        Side::Domain { .. } => remove_apps(&format!("^{PREFIX}-[0-9]+$")) + " >/dev/null",
        Side::Container { .. } => {
            (1..=count).map(|number| app(side, number).take_down() + "\n").collect()
        }
    }
}

/// A shell script that prints details about a failed start.
pub(crate) fn explain(app: &App) -> String {
    let name = &app.name;
    match app.side {
        Side::Container { .. } => format!("crun state {name}"),
        Side::Domain { .. } => format!(
            "launch ps -a | grep -w {name}; launch logs {name} 2>&1 | tail -n 60 | \
             grep -aE 'launch-init|BUG|RIP|Comm|nginx' | head -n 8"
        ),
    }
}

/// A shell script that removes what is left of both sides.
pub(crate) fn take_down_all() -> String {
    format!(
        "{}
for name in $(crun list -q 2>/dev/null | grep '^{PREFIX}-'); do crun delete -f $name; done",
        remove_apps(&format!("^{PREFIX}-[0-9]+$"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_has_an_address_and_a_name_of_its_own() {
        for side in [Side::domain("pv", 64), Side::crun()] {
            let all: Vec<App> = (1..=MOST).map(|number| app(&side, number)).collect();
            let names: BTreeSet<&String> = all.iter().map(|app| &app.name).collect();
            let addresses: BTreeSet<Ipv4Addr> = all.iter().map(|app| app.address).collect();
            assert_eq!((names.len(), addresses.len()), (MOST.into(), MOST.into()));
            assert_eq!(all[299].address.octets()[2..], [129, 44]);
            assert!(all.iter().all(|app| app.veth.len() <= 15), "too long for an interface");
        }
    }
}
