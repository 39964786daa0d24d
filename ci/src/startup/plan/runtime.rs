//! `crun` and `runc`: a bundle of the same root, and an interface as an engine gives it.

use super::{Here, Plan, words};
use crate::startup::bundle::render_config;
use crate::startup::ground::{BRIDGE, CLIENT, FOLDER, GATEWAY, Ground, LOWER, own_address};
use anyhow::Result;

/// Writes the bundle.
pub(super) fn prepare(program: &str, ground: &Ground) -> Result<Here> {
    if !ground.place.has(program)? {
        return Ok(Err(format!("{program} is not installed")));
    }
    let own = format!("{FOLDER}/{program}");
    let address = own_address(program);
    let veth = format!("v-{program}");
    let (own_ip, gateway) = (address.to_string(), GATEWAY.to_string());
    let hook = [CLIENT, "attach", BRIDGE, &veth, &own_ip, "24", &gateway];
    let config = render_config(
        &ground.image.config,
        &format!("{own}/root"),
        program,
        &hook,
        ground.image.ids,
    );
    ground.place.write(&format!("{own}/config.json"), 0o644, config.to_string().as_bytes())?;
    Ok(Ok(Plan {
        ready: words(&[
            "bundle with config.json",
            "root: a fresh overlayfs over launch's EROFS, mounted",
            "bridge",
        ]),
        address,
        settle: String::new(),
        before: format!(
            "mkdir -p {own}/upper {own}/work {own}/root
mount -t overlay -o lowerdir={LOWER},upperdir={own}/upper,workdir={own}/work overlay {own}/root"
        ),
        command: words(&[program, "run", "-d", "--bundle", &own, program]),
        after: format!(
            "{program} delete -f {program} || true
ip link del {veth} 2>/dev/null || true
umount {own}/root
rm -rf {own}/upper {own}/work"
        ),
        at_end: String::new(),
        explain: format!("{program} list"),
    }))
}
