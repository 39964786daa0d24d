//! The two sides: domains of `launch`, and containers of crun, as many as wanted.

use crate::compare::container::{Container, READY};
use crate::compare::ground::{Ground, LAUNCH_READY, remove_apps};
use anyhow::Result;
use std::net::Ipv4Addr;

/// Most on one side: a Linux bridge has 1024 ports.
pub const MOST: u16 = 1000;
/// What all names of ours begin with.
const PREFIX: &str = "density";

/// What is started again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// Domains.
    Launch {
        /// `pv` or `pvh`.
        kind: String,
        /// Memory of each.
        memory_mib: u32,
    },
    /// Containers.
    Crun,
}

impl Side {
    /// As it is called in the figures.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Launch { kind, .. } => format!("launch-{kind}"),
            Self::Crun => "crun".into(),
        }
    }

    /// What is ready before each start.
    #[must_use]
    pub fn ready(&self) -> Vec<String> {
        match self {
            Self::Launch { .. } => LAUNCH_READY.map(Into::into).to_vec(),
            Self::Crun => READY.map(str::to_owned).into(),
        }
    }

    /// The one with this number, from 1 on.
    #[must_use]
    pub fn one(&self, number: u16, image: &str) -> One {
        let [high, low] = number.to_be_bytes();
        match self {
            Self::Launch { kind, memory_mib } => {
                let address = Ipv4Addr::new(10, 107, 128 + high, low);
                let (name, ip) = (format!("{PREFIX}-{number}"), address.to_string());
                let memory = format!("{memory_mib}m");
                let command = [
                    "launch", "run", "-d", "--name", &name, "--ip", &ip, "--type", kind,
                    "--memory", &memory, image,
                ];
                let command = command.map(str::to_owned).into();
                One { name, address, command, container: None }
            }
            Self::Crun => {
                let container = Container {
                    program: "crun".into(),
                    name: format!("{PREFIX}-{number}"),
                    address: Ipv4Addr::new(10, 112, 128 + high, low),
                    veth: format!("v-{number}"),
                };
                let (name, address) = (container.name.clone(), container.address);
                One { name, address, command: container.command(), container: Some(container) }
            }
        }
    }

    /// A shell script that takes the first `count` down.
    #[must_use]
    pub fn take_down(&self, count: u16) -> String {
        match self {
            Self::Launch { .. } => remove_apps(&format!("^{PREFIX}-[0-9]+$")) + " >/dev/null",
            Self::Crun => {
                let numbers = 1..=count;
                numbers.map(|number| self.one(number, "").take_down() + "\n").collect()
            }
        }
    }
}

/// One domain or container that can be started.
#[derive(Debug, Clone)]
pub struct One {
    /// Its name.
    pub name: String,
    /// Where its app will answer.
    pub address: Ipv4Addr,
    /// What starts it.
    pub command: Vec<String>,
    container: Option<Container>,
}

impl One {
    /// Makes ready what an engine would have made ready.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn prepare(&self, ground: &Ground) -> Result<()> {
        if let Some(container) = &self.container {
            container.write_bundle(ground, &ground.image.config)?;
            ground.place.sh(&container.mount())?;
        }
        Ok(())
    }

    /// A shell script that tells more about a start that went wrong.
    #[must_use]
    pub fn explain(&self) -> String {
        let name = &self.name;
        match &self.container {
            Some(_) => format!("crun state {name}"),
            None => format!(
                "launch ps -a | grep -w {name}; launch logs {name} 2>&1 | tail -n 60 | \
                 grep -aE 'launch-init|BUG|RIP|Comm|nginx' | head -n 8"
            ),
        }
    }

    /// A shell script that takes it down.
    #[must_use]
    pub fn take_down(&self) -> String {
        match &self.container {
            Some(container) => container.take_down(),
            None => format!("launch rm -f {} >/dev/null", self.name),
        }
    }
}

/// A shell script that takes down whatever is left of both sides.
#[must_use]
pub fn take_down_all() -> String {
    format!(
        "{}
for name in $(crun list -q 2>/dev/null | grep '^{PREFIX}-'); do crun delete -f $name; done",
        remove_apps(&format!("^{PREFIX}-[0-9]+$"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_an_address_and_a_name_of_its_own() {
        let side = Side::Launch { kind: "pv".into(), memory_mib: 64 };
        let mut addresses: Vec<Ipv4Addr> =
            (1..=MOST).map(|number| side.one(number, "nginx").address).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), usize::from(MOST));
        let one = side.one(300, "nginx");
        assert_eq!(one.address, Ipv4Addr::new(10, 107, 129, 44));
        assert!(one.command.contains(&"density-300".into()));
        let veth = Side::Crun.one(MOST, "nginx").container.unwrap().veth;
        assert!(veth.len() <= 15, "{veth} is too long for an interface");
    }
}
