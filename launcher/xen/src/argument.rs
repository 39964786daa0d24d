//! The arguments of domctls and sysctls: a header and 128 bytes that depend on the operation.

use crate::call::Call;
use rustix::io::Errno;
use xen_sys::{domctl, hypercall, sysctl};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Carries out one sysctl and returns its argument as Xen left it.
///
/// # Safety
/// Each address in `payload` must be that of a buffer as large as this operation accesses it.
pub(crate) unsafe fn sysctl<P: FromBytes + IntoBytes + Immutable>(
    call: &Call,
    version: u32,
    cmd: u32,
    payload: &P,
) -> Result<P, Errno> {
    let payload = padded(payload);
    let mut sysctl = sysctl::Sysctl { cmd, interface_version: version, payload };
    // SAFETY: the caller ensures this function's contract.
    unsafe { call.invoke(hypercall::SYSCTL, &mut sysctl, |address| [address, 0, 0, 0, 0]) }?;
    first_of(&sysctl.payload)
}

/// The argument of a domctl or sysctl, padded with zeroes.
pub(crate) fn padded<P: FromBytes + IntoBytes + Immutable>(payload: &P) -> [u64; 16] {
    const { assert!(size_of::<P>() <= domctl::PAYLOAD_BYTES) };
    let mut padded = [0; domctl::PAYLOAD_BYTES / 8];
    padded.as_mut_bytes()[..size_of::<P>()].copy_from_slice(payload.as_bytes());
    padded
}

/// The argument of a domctl or sysctl, without its padding.
pub(crate) fn first_of<P: FromBytes>(payload: &[u64; 16]) -> Result<P, Errno> {
    P::read_from_prefix(payload.as_bytes()).map(|(argument, _)| argument).map_err(|_| Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_starts_the_payload_and_zeroes_fill_it_up() {
        let payload = padded(&domctl::MaxMem { max_memkb: 65536 });
        assert_eq!(payload[0], 65536);
        assert!(payload[1..].iter().all(|word| *word == 0));
    }
}
