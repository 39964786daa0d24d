//! Serves dom0 while the app runs, over vchans that dom0 connects to, one for each request.
//!
//! A thread serves each vchan, one client after the other. One vchan is always free; those made for many
//! clients at once are removed when the clients have disconnected.

mod attach;
mod connection;
mod exec;
mod guest;
mod input;
mod output;
mod stats;

use crate::bulk_output::BulkOutput;
use crate::children::Children;
use crate::console::Console;
use crate::failure::Failure;
use crate::streams::Target;
use connection::{Connection, Disconnected};
use contract::talk::{Answer, Ask, FOLDER, MAX_VCHANS, RING_ORDERS, Request};
use guest::Guest;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use xen::DomId;
use xen::store::Store;
use xen::vchan::{Peer, Server, VchanError};

/// How long the app starts undisturbed before the first vchan is made.
const STARTUP_DELAY: Duration = Duration::from_millis(300);
/// The stack of a thread that serves a vchan: its calls are shallow, and its JSON is not nested.
const STACK_BYTES: usize = 256 << 10;
/// How many vchans without a client are kept.
const MAX_FREE: u32 = 2;

/// Serves dom0's clients.
#[derive(Debug)]
pub struct GuestServer {
    guest: Guest,
    /// Where the app's output can be taken.
    bulk_output: Arc<BulkOutput>,
    places: Mutex<Places>,
}

/// Which numbers of vchans are taken, and how many have no client.
#[derive(Debug)]
struct Places {
    taken: u32,
    free: u32,
}

impl GuestServer {
    /// Starts serving, a moment after the app was started.
    pub fn begin(
        hostname: String,
        children: Arc<Children>,
        input: Option<Target>,
        bulk_output: Arc<BulkOutput>,
    ) {
        // A user who is to type to the app waits for this.
        let delay = if input.is_some() { Duration::ZERO } else { STARTUP_DELAY };
        let places = Mutex::new(Places { taken: 0, free: 1 });
        let guest = Guest::new(hostname, children, input);
        let guest_server = Arc::new(Self { guest, bulk_output, places });
        guest_server.serve_one_more(delay);
    }

    fn serve_one_more(self: &Arc<Self>, delay: Duration) {
        let guest_server = Arc::clone(self);
        let serve = move || {
            thread::sleep(delay);
            if let Err(error) = guest_server.serve() {
                // Goes to the app's log, where a user whose `exec` fails will look.
                if let Ok(console) = Console::open() {
                    console.say(&Failure::from_error(&error).message);
                }
            }
        };
        // Without memory for a thread dom0 cannot talk to the guest.
        let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(serve);
    }

    /// Serves clients on a new vchan until there are enough others. It starts out free.
    fn serve(self: &Arc<Self>) -> Result<(), VchanError> {
        let Some(place) = self.take_place() else { return Ok(()) };
        let path = format!("{FOLDER}/{place}");
        let mut server = Server::listen(DomId::DOM0, RING_ORDERS.0, RING_ORDERS.1)?;
        server.publish(&Store::connect()?, &path)?;
        loop {
            server.wait_for_client(None)?;
            if self.is_last_free() {
                self.serve_one_more(Duration::ZERO);
            }
            // Whatever the result: this client disconnects, and the next one connects.
            let _ = self.serve_client(&mut server);
            while server.peer() == Peer::Connected {
                server.wait(None)?;
            }
            if !self.is_wanted(place) {
                return Ok(Store::connect()?.remove(&path)?);
            }
            server.renew()?;
        }
    }

    fn take_place(&self) -> Option<u32> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.taken.trailing_ones();
        if place >= MAX_VCHANS {
            places.free -= 1;
            return None;
        }
        places.taken |= 1 << place;
        Some(place)
    }

    /// Notes that a client has connected. Returns whether one more vchan is to be made; it counts at once.
    fn is_last_free(&self) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.free -= 1;
        let last = places.free == 0 && places.taken.trailing_ones() < MAX_VCHANS;
        places.free += u32::from(last);
        last
    }

    /// Notes that a client has disconnected. Returns whether its vchan is still needed.
    fn is_wanted(&self, place: u32) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = places.free < MAX_FREE;
        if wanted {
            places.free += 1;
        } else {
            places.taken &= !(1 << place);
        }
        wanted
    }

    /// Does what one client wants.
    fn serve_client(&self, server: &mut Server) -> Result<(), Disconnected> {
        let mut connection = Connection::new(server);
        let Ask::Hello(hello) = connection.wait()? else { return Err(Disconnected) };
        // While the domain was paused, the client may have given up.
        if !connection.vchan.is_open() {
            return Err(Disconnected);
        }
        if hello.version != contract::VERSION {
            let why = format!(
                "the launcher has contract version {}, the domain's init has {}; restart the app",
                hello.version,
                contract::VERSION
            );
            connection.send(&Answer::Refused(why.into()));
            return connection.finish();
        }
        match hello.request {
            Request::Exec(exec) => return exec::run(&self.guest, &mut connection, exec),
            Request::Stats => connection.send(&Answer::Stats(stats::read())),
            Request::Attach => return attach::run(&self.guest, &mut connection),
            Request::Output => return output::run(&self.bulk_output, &mut connection),
        }
        connection.finish()
    }
}
