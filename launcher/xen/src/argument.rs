//! The arguments of domctls and sysctls: a header and 128 bytes that depend on the operation.

use crate::call::Call;
use rustix::io::Errno;
use xen_sys::{Plain, domctl, hypercall, sysctl};

/// Carries out one sysctl and returns its argument as Xen left it.
///
/// # Safety
/// Addresses in `payload` must be those of buffers that are as large as this operation accesses
/// them.
pub(crate) unsafe fn sysctl<P: Plain>(
    call: &Call,
    version: u32,
    cmd: u32,
    payload: &P,
) -> Result<P, Errno> {
    let payload = padded(payload);
    let mut sysctl = sysctl::Sysctl { cmd, interface_version: version, payload };
    // SAFETY: as the caller promises.
    unsafe { call.invoke(hypercall::SYSCTL, &mut sysctl, |address| [address, 0, 0, 0, 0]) }?;
    P::from_bytes(sysctl.payload.as_bytes()).ok_or(Errno::IO)
}

/// The argument of a domctl or sysctl, filled up with zeroes.
pub(crate) fn padded<P: Plain>(payload: &P) -> [u64; 16] {
    const { assert!(size_of::<P>() <= domctl::PAYLOAD_BYTES) };
    let mut bytes = [0u8; domctl::PAYLOAD_BYTES];
    bytes[..size_of::<P>()].copy_from_slice(payload.as_bytes());
    <[u64; 16]>::from_bytes(&bytes).unwrap_or_default()
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
