//! `crun` and `runc`.

use super::{Here, Plan, own_address, words};
use crate::compare::container::{Container, READY};
use crate::compare::ground::Ground;
use anyhow::Result;

/// Writes the bundle.
pub(super) fn prepare(program: &str, ground: &Ground) -> Result<Here> {
    if !ground.place.has(program)? {
        return Ok(Err(format!("{program} is not installed")));
    }
    let container = Container {
        program: program.into(),
        name: program.into(),
        address: own_address(program),
        veth: format!("v-{program}"),
    };
    container.write_bundle(ground, &ground.image.config)?;
    Ok(Ok(Plan {
        find_address: None,
        ready: words(&READY),
        address: container.address,
        settle: String::new(),
        before: container.mount(),
        command: container.command(),
        after: container.take_down(),
        at_end: String::new(),
        explain: format!("{program} list"),
    }))
}
