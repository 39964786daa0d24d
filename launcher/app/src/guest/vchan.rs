//! Connects to one of a guest's vchans.

use crate::apps::{App, Apps};
use crate::domain::noted_domain;
use crate::error::AppsError;
use crate::guest::domain_watch::DomainWatch;
use crate::guest::error::{Deadline, TalkError};
use crate::guest::session::Session;
use contract::talk::{self, Ask, Hello, Request};
use std::time::{Duration, Instant};
use xen::store::Store;
use xen::vchan::{self, Client, VchanError};
use xen::{DomId, GrantRef, Port};

/// How long a guest may take to offer a free vchan and give its first answer, both together.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// How long a vchan may take to become free after its last client has disconnected.
const RENEWAL: Duration = Duration::from_millis(500);
/// How often all vchans are tried again while all are in use.
const RETRY: Duration = Duration::from_millis(20);
/// Tokens of the watches.
const VCHANS: &str = "vchans";
/// How many bytes of a first frame the slowest guest reads in a millisecond.
const BYTES_PER_MS: u64 = 128;

/// Opens a conversation with the guest of a running app, beginning with `request`.
///
/// # Errors
/// The app does not run, or its guest offers no free vchan in time.
pub(crate) fn talk(
    apps: &Apps,
    app: &App,
    request: Request,
    patience: Duration,
) -> Result<Session, TalkError> {
    let name = &app.record.name;
    let hello = hello(request)?;
    let patience = patience + time_to_take(&hello);
    let deadline = Deadline { at: Instant::now() + patience, patience };
    let domain = noted_domain(apps, app)?;
    let (domid, uuid) = domain.ok_or_else(|| AppsError::NotRunning(name.clone()))?;
    let store = Store::connect().map_err(AppsError::from)?;
    // From here on the domain is known to be the app's, and its end is reported.
    let watch = DomainWatch::new(store, apps.shared_toolstack(), domid, uuid);
    let watch = watch.map_err(AppsError::from)?;
    let watch = watch.ok_or_else(|| TalkError::Ended(name.clone()))?;
    let vchan = free_vchan(name, &watch, &deadline)?;
    Ok(Session::new(name.clone(), vchan, Some(watch), hello, deadline))
}

/// The bytes of a first frame.
fn hello(request: Request) -> Result<Vec<u8>, TalkError> {
    let mut hello = vec![];
    Ask::Hello(Hello::new(request)).render(&mut hello);
    match hello.len() {
        length if length > talk::MAX_HELLO_BYTES => Err(TalkError::TooLarge(length)),
        _ => Ok(hello),
    }
}

/// How long a guest may take to read a first frame: a long one passes through the ring in pieces.
fn time_to_take(hello: &[u8]) -> Duration {
    Duration::from_millis(hello.len() as u64 / BYTES_PER_MS)
}

/// Connects to a vchan of the guest that no other client uses.
fn free_vchan(name: &str, watch: &DomainWatch, deadline: &Deadline) -> Result<Client, TalkError> {
    let failed = |source| TalkError::Vchan { name: name.to_owned(), source };
    let (store, domid) = (watch.store(), watch.domid());
    let folder = format!("/local/domain/{domid}/{}", talk::FOLDER);
    // This one is nearly always free.
    if let Some(vchan) =
        connect_to(store, domid, &format!("{folder}/0"), deadline.left()).map_err(failed)?
    {
        return Ok(vchan);
    }
    let failed_store = |error: xen::store::StoreError| failed(error.into());
    store.watch(&folder, VCHANS).map_err(failed_store)?;
    loop {
        for place in 0..talk::MAX_VCHANS {
            // Each attempt may take its time.
            let left = deadline.left();
            if left.is_zero() {
                return Err(deadline.silent(name));
            }
            let path = format!("{folder}/{place}");
            if let Some(vchan) = connect_to(store, domid, &path, left).map_err(failed)? {
                // The guest can write to this folder without limit, so stop watching.
                store.unwatch(&folder, VCHANS).map_err(failed_store)?;
                return Ok(vchan);
            }
        }
        let event = store.wait_event(Some(deadline.left().min(RETRY))).map_err(failed_store)?;
        let told = event.is_some_and(|event| DomainWatch::is_told_by(&event));
        if told && watch.ask().map_err(AppsError::from)? {
            return Err(TalkError::Ended(name.to_owned()));
        }
    }
}

/// Asks for an app's output over a vchan instead of the console; `None` if the guest has no free vchan now. Does not
/// wait. The caller watches for the end of the domain, and has made sure that `domid` is the app's.
///
/// # Errors
/// As [`talk`].
pub(crate) fn output(name: &str, domid: DomId) -> Result<Option<Session>, TalkError> {
    let failed = |source| TalkError::Vchan { name: name.to_owned(), source };
    let store = Store::connect().map_err(|error| failed(error.into()))?;
    let path = format!("/local/domain/{domid}/{}/0", talk::FOLDER);
    let Some(vchan) = connect_to(&store, domid, &path, RENEWAL).map_err(failed)? else {
        return Ok(None);
    };
    let deadline = Deadline { at: Instant::now() + PATIENCE, patience: PATIENCE };
    let mut session = Session::new(name.to_owned(), vchan, None, hello(Request::Output)?, deadline);
    session.flush()?;
    Ok(Some(session))
}

/// Connects to the vchan at `path`; `None` if it does not exist or another client uses it. Waits for at most `left`
/// and [`RENEWAL`].
fn connect_to(
    store: &Store,
    domid: DomId,
    path: &str,
    left: Duration,
) -> Result<Option<Client>, VchanError> {
    let number = |node: &str| -> Result<Option<u32>, VchanError> {
        let text = store.read_untrusted(&format!("{path}/{node}"))?;
        match text.map(|text| text.parse()) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(VchanError::Invalid("a node that holds no number")),
        }
    };
    let Some(ring) = number(vchan::RING_REF)? else { return Ok(None) };
    let Some(port) = number(vchan::EVENT_CHANNEL)? else { return Ok(None) };
    match Client::connect(domid, GrantRef(ring), Port(port), left.min(RENEWAL)) {
        Ok(client) => Ok(Some(client)),
        Err(VchanError::Busy | VchanError::NotReady) => Ok(None),
        Err(error) => Err(error),
    }
}
