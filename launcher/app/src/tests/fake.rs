//! A toolstack without Xen: it keeps domains in a map, and fails or dies on demand.

use super::PATIENCE;
use super::monitors::Monitors;
use std::collections::BTreeMap;
use std::fs::File;
use std::panic::resume_unwind;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use toolstack::{
    AppDomain, Booted, Built, Devices, Disk, DomId, DomainSpec, DomainState, GuestNodes, Kind,
    Schedule, Shape, ShutdownReason, Toolstack, ToolstackError, ToolstackKind, Usage, Uuid,
};

/// A domain in the map.
#[derive(Clone, Debug)]
pub(crate) struct FakeDomain {
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    pub(crate) complete: bool,
    pub(crate) paused: bool,
    pub(crate) state: DomainState,
    pub(crate) schedule: Schedule,
}

/// The fault to inject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// The call with this number fails, and does nothing.
    Fail(usize),
    /// All calls with this name fail, and so does the call with this number.
    FailAnd(&'static str, usize),
    /// The process dies in the call with this number, before or after it has done its work.
    Die { at: usize, done: bool },
}

#[derive(Debug, Default)]
struct Inner {
    domains: BTreeMap<u16, FakeDomain>,
    next_domid: u16,
    calls: Vec<&'static str>,
    fault: Fault,
    held: Option<&'static str>,
}

/// A toolstack without Xen.
#[derive(Debug)]
pub(crate) struct Fake {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// The monitor of each domain; it ends when the domain does.
    pub(crate) monitors: Monitors,
}

impl Fake {
    /// A toolstack without domains.
    pub(crate) fn new(monitors: Monitors) -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new(), monitors }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the fault, and counts calls from here on.
    pub(crate) fn order(&self, fault: Fault) {
        let mut inner = self.lock();
        inner.calls.clear();
        inner.fault = fault;
    }

    /// The names of the calls since the last [`Fake::order`].
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.lock().calls.clone()
    }

    pub(crate) fn domains(&self) -> BTreeMap<u16, FakeDomain> {
        self.lock().domains.clone()
    }

    /// Ends a domain and its monitor.
    pub(crate) fn end_domain(&self, domid: u16) {
        self.lock().domains.remove(&domid);
        self.monitors.end_domain(domid);
    }

    pub(crate) fn crash(&self, domid: u16) {
        self.lock().domains.get_mut(&domid).unwrap().state = CRASHED;
    }

    /// Makes calls with this name wait until [`Fake::release`].
    pub(crate) fn hold(&self, name: &'static str) {
        self.lock().held = Some(name);
    }

    pub(crate) fn release(&self) {
        self.lock().held = None;
        self.changed.notify_all();
    }

    /// Waits until a call with this name was made.
    pub(crate) fn wait_for(&self, name: &str) {
        let mut inner = self.lock();
        while !inner.calls.contains(&name) {
            inner = self.wait(inner);
        }
    }

    fn wait<'a>(&self, inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        let waited = self.changed.wait_timeout(inner, PATIENCE);
        let (inner, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "waited for too long: {:?}", inner.calls);
        inner
    }

    /// Records one call, and holds, fails or kills it as ordered.
    fn call<T>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut Inner) -> T,
    ) -> Result<T, ToolstackError> {
        let mut inner = self.lock();
        let number = inner.calls.len();
        inner.calls.push(name);
        self.changed.notify_all();
        while inner.held == Some(name) {
            inner = self.wait(inner);
        }
        let fails = match inner.fault {
            Fault::Fail(at) => at == number,
            Fault::FailAnd(which, at) => which == name || at == number,
            Fault::Die { at, done: false } if at == number => {
                drop(inner);
                resume_unwind(Box::new("killed"))
            }
            Fault::None | Fault::Die { .. } => false,
        };
        if fails {
            let cause = format!("call {number} fails");
            return Err(ToolstackError::Xl { action: name, domain: "x".into(), cause });
        }
        let result = work(&mut inner);
        if inner.fault == (Fault::Die { at: number, done: true }) {
            drop(inner);
            resume_unwind(Box::new("killed"));
        }
        Ok(result)
    }

    fn change(
        &self,
        name: &'static str,
        domain: AppDomain,
        change: impl FnOnce(&mut FakeDomain),
    ) -> Result<(), ToolstackError> {
        self.call(name, |inner| inner.domains.get_mut(&domain.domid().0).map(change))?;
        Ok(())
    }
}

impl Inner {
    fn add(&mut self, name: &str, uuid: Uuid) -> DomId {
        self.next_domid += 1;
        let domain = FakeDomain {
            uuid,
            name: name.to_owned(),
            complete: false,
            paused: false,
            state: DomainState::Alive,
            schedule: Schedule::default(),
        };
        self.domains.insert(self.next_domid, domain);
        DomId(self.next_domid)
    }
}

impl Toolstack for Fake {
    fn check(&self) -> Result<(), ToolstackError> {
        self.call("check", |_| ())
    }

    fn is_xen_known(&self) -> Result<bool, ToolstackError> {
        Ok(true)
    }

    fn usual_kind(&self) -> Kind {
        Kind::Pvh
    }

    fn check_name(&self, _name: &str) -> Result<(), ToolstackError> {
        self.call("check_name", |_| ())
    }

    fn boot(&self, name: &str, uuid: Uuid, shape: &Shape) -> Result<Booted, ToolstackError> {
        if shape.toolstack == ToolstackKind::Xl {
            return Ok(Booted::NotYet);
        }
        let domid = self.call("boot", |inner| {
            let domid = inner.add(name, uuid);
            self.monitors.begin_domain(domid.0);
            domid
        })?;
        Ok(Booted::Domain { domid, devices: Devices::Nothing })
    }

    fn furnish(
        &self,
        booted: Booted,
        _spec: &DomainSpec,
        _nodes: &GuestNodes,
        _promised: Option<&Disk>,
    ) -> Result<Booted, ToolstackError> {
        self.call("furnish", |_| booted)
    }

    fn complete(
        &self,
        booted: Booted,
        spec: &DomainSpec,
        nodes: &GuestNodes,
        _lock: File,
    ) -> Result<DomId, ToolstackError> {
        assert!(nodes.texts.iter().any(|(_, text)| text.contains("\"hostname\"")), "no orders");
        self.call("complete", |inner| {
            let domid = booted.domid().unwrap_or_else(|| inner.add(&spec.name, spec.uuid));
            self.monitors.begin_domain(domid.0);
            let domain = inner.domains.get_mut(&domid.0).unwrap();
            assert_eq!(domain.uuid, spec.uuid);
            (domain.name, domain.complete) = (spec.name.clone(), true);
            domid
        })
    }

    fn destroy(
        &self,
        _kind: ToolstackKind,
        domid: DomId,
        uuid: Uuid,
    ) -> Result<(), ToolstackError> {
        let ours = self.call("destroy", |inner| {
            let domain = inner.domains.get(&domid.0).filter(|domain| domain.uuid == uuid);
            domain.is_some().then(|| inner.domains.remove(&domid.0)).is_some()
        })?;
        if ours {
            self.monitors.end_domain(domid.0);
        }
        Ok(())
    }

    fn write_config(
        &self,
        spec: &DomainSpec,
        _nodes: &GuestNodes,
    ) -> Result<String, ToolstackError> {
        self.call("write_config", |_| spec.name.clone())
    }

    fn detach_orphans(&self) -> Result<Vec<String>, ToolstackError> {
        Ok(vec![])
    }

    fn find(&self, uuid: Uuid) -> Result<Option<DomId>, ToolstackError> {
        self.call("find", |inner| {
            let found = inner.domains.iter().find(|(_, domain)| domain.uuid == uuid);
            found.map(|(domid, _)| DomId(*domid))
        })
    }

    fn state(&self, domid: DomId, uuid: Uuid) -> Result<DomainState, ToolstackError> {
        self.call("state", |inner| {
            let domain = inner.domains.get(&domid.0).filter(|domain| domain.uuid == uuid);
            domain.map_or(DomainState::Gone, |domain| domain.state)
        })
    }

    fn is_paused(&self, domain: AppDomain) -> Result<bool, ToolstackError> {
        self.call("is_paused", |inner| {
            inner.domains.get(&domain.domid().0).is_some_and(|domain| domain.paused)
        })
    }

    fn pause(&self, domain: AppDomain) -> Result<(), ToolstackError> {
        self.change("pause", domain, |domain| domain.paused = true)
    }

    fn unpause(&self, domain: AppDomain) -> Result<(), ToolstackError> {
        self.change("unpause", domain, |domain| domain.paused = false)
    }

    fn shut_down(
        &self,
        domain: AppDomain,
        _stop_time: Option<Duration>,
    ) -> Result<(), ToolstackError> {
        self.call("shut_down", |inner| {
            inner.domains.remove(&domain.domid().0);
        })?;
        self.monitors.end_domain(domain.domid().0);
        Ok(())
    }

    fn schedule(&self, domain: AppDomain, schedule: Schedule) -> Result<(), ToolstackError> {
        self.change("schedule", domain, |domain| domain.schedule = schedule)
    }

    fn resize(
        &self,
        _domain: AppDomain,
        memory_mib: Option<u32>,
        vcpus: Option<u32>,
    ) -> Result<Built, ToolstackError> {
        self.call("resize", |_| Built {
            memory_mib: memory_mib.map(|_| 64),
            vcpus: vcpus.map(|_| 1),
        })
    }

    fn rename(&self, domain: AppDomain, name: &str) -> Result<(), ToolstackError> {
        self.change("rename", domain, |domain| domain.name = name.to_owned())
    }

    fn usage(&self, _domain: AppDomain, _shape: &Shape) -> Result<Option<Usage>, ToolstackError> {
        self.call("usage", |_| None)
    }
}

/// A domain that crashed.
pub(crate) const CRASHED: DomainState = DomainState::ShutDown(ShutdownReason::Crash);
