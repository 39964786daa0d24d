//! Containers of `crun` and `runc`: a bundle of the image's root, and an interface as an engine gives it.

use super::bundle::render_config;
use super::ground::{BRIDGE, CLIENT, FOLDER, GATEWAY, Ground, LOWER, PREFIX_BITS};
use anyhow::Result;
use serde_json::Value;
use std::net::Ipv4Addr;

/// What is ready before such a container starts.
pub const READY: [&str; 3] =
    ["bundle with config.json", "root: a fresh overlayfs over launch's EROFS, mounted", "bridge"];

/// A container that can be started.
#[derive(Debug, Clone)]
pub struct Container {
    /// `crun` or `runc`.
    pub program: String,
    /// What the runtime calls it; also its folder's name.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// dom0's end of its interface: 15 characters at most.
    pub veth: String,
}

impl Container {
    /// Writes its bundle; `image` is the `config` of what it runs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_bundle(&self, ground: &Ground, image: &Value) -> Result<()> {
        let own = self.folder();
        let (address, bits, gateway) =
            (self.address.to_string(), PREFIX_BITS.to_string(), GATEWAY.to_string());
        let hook = [CLIENT, "attach", BRIDGE, &self.veth, &address, &bits, &gateway];
        let root = format!("{own}/root");
        let config = render_config(image, &root, &self.name, &hook, ground.image.ids);
        let path = format!("{own}/config.json");
        ground.place.write(&path, 0o644, config.to_string().as_bytes())
    }

    /// A shell script that mounts its root.
    #[must_use]
    pub fn mount(&self) -> String {
        let own = self.folder();
        format!(
            "mkdir -p {own}/upper {own}/work {own}/root
mount -t overlay -o lowerdir={LOWER},upperdir={own}/upper,workdir={own}/work overlay {own}/root"
        )
    }

    /// What starts it.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        let own = self.folder();
        [&self.program, "run", "-d", "--bundle", &own, &self.name].map(str::to_owned).into()
    }

    /// A shell script that takes it down, its writes too.
    #[must_use]
    pub fn take_down(&self) -> String {
        let (own, Self { program, name, veth, .. }) = (self.folder(), self);
        format!(
            "{program} delete -f {name} || true
ip link del {veth} 2>/dev/null || true
umount {own}/root
rm -rf {own}/upper {own}/work"
        )
    }

    fn folder(&self) -> String {
        format!("{FOLDER}/{}", self.name)
    }
}
