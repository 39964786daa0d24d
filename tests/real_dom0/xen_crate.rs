//! The tests of the crate `xen` that need a dom0: built here, run there.

use lab::host::project_root;
use serde_json::Value;
use std::process::Command;
use tests::Dom0;

/// Builds one of the crate's test programs and returns its path.
fn build(name: &str) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(project_root())
        .args(["test", "--quiet", "--package", "xen", "--test", name, "--no-run"])
        .arg("--message-format=json-render-diagnostics")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
        .unwrap_or_else(|| panic!("cargo did not say where {name} is"))
}

/// Runs the program in dom0; none of its tests may skip there.
fn passes_in_dom0(name: &str) {
    let dom0 = Dom0::shared();
    let shared = dom0.share(&build(name), name);
    let output = dom0.run(&[&shared, "--test-threads=1", "--nocapture"]);
    assert!(output.code == 0 && !output.stdout.contains("skipped:"), "{output:?}");
}

#[test]
fn xenstore_keeps_its_promises() {
    passes_in_dom0("xenstore");
}

#[test]
fn event_channels_and_grants_work() {
    passes_in_dom0("channels");
}

#[test]
fn vchans_carry_bytes_and_xens_own_peer_agrees() {
    passes_in_dom0("vchan");
}

#[test]
fn domains_are_built_without_libxl() {
    passes_in_dom0("domains");
}
