//! Makes each contender ready.

use super::contender::Contender;
use super::plan::{Here, Plan, own_address};
use super::{engine, launch, xl};
use crate::side::{App, Side};
use crate::testbed::{Testbed, remove_apps};
use anyhow::Result;

/// Makes a contender ready.
///
/// # Errors
/// When it is here and cannot be made ready.
pub(crate) fn prepare(contender: Contender, testbed: &Testbed) -> Result<Here> {
    let name = contender.to_string();
    match contender {
        Contender::Launch { toolstack, kind } => launch::prepare(&name, toolstack, kind, testbed),
        Contender::LaunchPool => launch::prepare_pool(&name, None, testbed),
        Contender::LaunchPoolImage => {
            launch::prepare_pool(&name, Some(&testbed.image.name), testbed)
        }
        Contender::XlStock => xl::prepare_stock(testbed),
        Contender::Runtime(runtime) => prepare_runtime(runtime, testbed),
        Contender::Engine(program) => engine::prepare(program, testbed),
    }
}

fn prepare_runtime(runtime: &str, testbed: &Testbed) -> Result<Here> {
    if !testbed.dom0.has(runtime)? {
        return Ok(Err(format!("{runtime} is not installed")));
    }
    let app = App {
        side: Side::Container { runtime: runtime.into() },
        name: runtime.into(),
        address: own_address(runtime),
        veth: format!("v-{runtime}"),
    };
    app.write_bundle(testbed, &testbed.image.config)?;
    let (command, explain) = (app.command("", &[], true), format!("{runtime} list"));
    let mut plan = Plan::new(&[], app.address, command, app.take_down(), explain);
    plan.ready = app.side.ready();
    plan.before = app.mount();
    Ok(Ok(plan))
}

/// A shell script that takes down whatever of the contenders is left.
pub(crate) fn take_down() -> String {
    format!(
        "for name in xl-stock xl-same xl-boot; do xl destroy $name 2>/dev/null; done
for name in crun runc; do $name delete -f $name 2>/dev/null; done
{}",
        remove_apps("^launch-(native|xl|pool)")
    )
}
