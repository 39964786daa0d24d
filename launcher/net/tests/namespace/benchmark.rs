//! How long each step of a launch takes.

use crate::publish;
use crate::sandbox::{in_own_network, run};
use std::net::IpAddr;
use std::time::Instant;

#[test]
#[ignore = "a benchmark: run with --release -- --ignored --nocapture"]
fn what_each_step_of_a_launch_takes() {
    in_own_network("benchmark::what_each_step_of_a_launch_takes", |dom0| {
        let measure = |what: &str, rounds: u32, work: &mut dyn FnMut(u32)| {
            let started = Instant::now();
            (0..rounds).for_each(&mut *work);
            println!(
                "{what:>44}: {:7.1} us",
                started.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
            );
        };
        let network = dom0.network();
        measure("ensure_up, nothing there", 1, &mut |_| network.ensure_up().unwrap());
        measure("ensure_up, all there", 1000, &mut |_| network.ensure_up().unwrap());
        run("nft flush ruleset");
        measure("ensure_up, rules lost", 1, &mut |_| network.ensure_up().unwrap());
        for owners in [0, 1000] {
            println!("with {owners} other owners");
            (0..owners).for_each(|n| _ = network.lease(&format!("other{n}"), None, None).unwrap());
            let mut lease = |n| _ = network.lease(&format!("owner{n}"), None, None).unwrap();
            measure("lease, new", 100, &mut lease);
            measure("lease, held", 100, &mut lease);
            let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a6b_0002 + n));
            measure("publish 1", 100, &mut |n| {
                let port = publish(&[&format!("{}:80", 8000 + n)]);
                network.publish(&format!("owner{n}"), address(n), &port).unwrap();
            });
            measure("unpublish", 100, &mut |n| network.unpublish(&format!("owner{n}")).unwrap());
            measure("unpublish, nothing published", 100, &mut |n| {
                network.unpublish(&format!("owner{n}")).unwrap();
            });
            measure("release", 100, &mut |n| network.release(&format!("owner{n}")).unwrap());
        }
        run("ip link add vif1.0 type veth");
        measure("attach_to_bridge", 100, &mut |_| {
            net::attach_to_bridge("vif1.0", network.bridge(), None).unwrap();
        });
    });
}
