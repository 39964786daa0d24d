//! The contenders, and how each is prepared.

use super::plan::{Here, Plan, own_address};
use super::{engine, launch, xl};
use crate::side::{App, Side};
use crate::testbed::{Testbed, remove_apps};
use anyhow::Result;

/// One way to start an app.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Contender {
    /// `launch`: a domain of a type, built at the start by a toolstack.
    Launch(&'static str, &'static str),
    /// `launch` with pooled domains, for any image or for this one.
    LaunchPool { of_image: bool },
    /// `xl create` with stock scripts and Debian's kernel.
    XlStock,
    /// `xl create` of a cold launch's domain with stock scripts; only its return is measured.
    XlSame,
    /// A container of an OCI runtime.
    Runtime,
    /// A container of an engine.
    Engine,
}

/// All contenders by name, in the order of the results.
pub(crate) const CONTENDERS: [(&str, Contender); 12] = [
    ("launch-native-pvh", Contender::Launch("native", "pvh")),
    ("launch-native-pv", Contender::Launch("native", "pv")),
    ("launch-xl-pvh", Contender::Launch("xl", "pvh")),
    ("launch-xl-pv", Contender::Launch("xl", "pv")),
    ("launch-pool", Contender::LaunchPool { of_image: false }),
    ("launch-pool-image", Contender::LaunchPool { of_image: true }),
    ("xl-stock", Contender::XlStock),
    ("crun", Contender::Runtime),
    ("runc", Contender::Runtime),
    ("podman", Contender::Engine),
    ("docker", Contender::Engine),
    ("xl-create", Contender::XlSame),
];

/// Prepares a contender; fails if it is available and cannot be prepared.
pub(crate) fn prepare(name: &str, contender: Contender, testbed: &Testbed<'_>) -> Result<Here> {
    match contender {
        Contender::Launch(toolstack, kind) => {
            launch::prepare(name, ["--toolstack", toolstack, "--type", kind], testbed)
        }
        Contender::LaunchPool { of_image } => launch::prepare_pool(name, of_image, testbed),
        Contender::XlStock => xl::prepare_stock(name, testbed),
        Contender::XlSame => xl::prepare_same_domain(testbed).map(Ok),
        Contender::Runtime => prepare_runtime(name, testbed),
        Contender::Engine => engine::prepare(name, testbed),
    }
}

fn prepare_runtime(runtime: &str, testbed: &Testbed<'_>) -> Result<Here> {
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

/// A shell script that removes what is left of the contenders.
pub(crate) fn take_down() -> String {
    format!(
        "for name in xl-stock xl-same xl-boot; do xl destroy $name 2>/dev/null; done
for name in crun runc; do $name delete -f $name 2>/dev/null; done
{}",
        remove_apps("^launch-(native|xl|pool)")
    )
}
