//! `xen/include/public/event_channel.h`, and Linux's `/dev/xen/evtchn`.
#![expect(missing_docs, reason = "fields and constants are documented in the header")]

use crate::layout::{constants, layouts};
use zerocopy::{FromBytes, Immutable, IntoBytes};

constants!(CONSTANTS {
    ALLOC_UNBOUND: u64 = 6 => "EVTCHNOP_alloc_unbound";

    IOCTL_BIND_INTERDOMAIN: u64 = 0x0008_4501 => "IOCTL_EVTCHN_BIND_INTERDOMAIN";
    IOCTL_BIND_UNBOUND_PORT: u64 = 0x0004_4502 => "IOCTL_EVTCHN_BIND_UNBOUND_PORT";
    IOCTL_UNBIND: u64 = 0x0004_4503 => "IOCTL_EVTCHN_UNBIND";
    IOCTL_NOTIFY: u64 = 0x0004_4504 => "IOCTL_EVTCHN_NOTIFY";
});

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct AllocUnbound {
    pub dom: u16,
    pub remote_dom: u16,
    pub port: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct BindInterdomain {
    pub remote_domain: u32,
    pub remote_port: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct BindUnboundPort {
    pub remote_domain: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Unbind {
    pub port: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Notify {
    pub port: u32,
}

layouts!(LAYOUTS {
    AllocUnbound = "struct evtchn_alloc_unbound", 8, {
        dom @ 0, remote_dom @ 2, port @ 4,
    };
    BindInterdomain = "struct ioctl_evtchn_bind_interdomain", 8, {
        remote_domain @ 0, remote_port @ 4,
    };
    BindUnboundPort = "struct ioctl_evtchn_bind_unbound_port", 4, { remote_domain @ 0 };
    Unbind = "struct ioctl_evtchn_unbind", 4, { port @ 0 };
    Notify = "struct ioctl_evtchn_notify", 4, { port @ 0 };
});
