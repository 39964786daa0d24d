//! The clock and the entropy that come with the orders.

use crate::failure::{Failure, OrFail};
use rustix::fs::{Mode, OFlags, open};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use std::os::fd::AsRawFd;

/// The most seed bytes that the kernel is given; its pool holds 32.
const MAX_SEED: usize = 256;

/// Sets the real-time clock to `unix_time` if it is behind.
///
/// The orders were written before now, so a clock behind them is wrong. One ahead of them need
/// not be: a domain may have waited long, and Xen's own clock, which the kernel starts with, has
/// finer steps than whole seconds.
///
/// # Errors
/// The kernel refuses.
pub fn set_forward(unix_time: u64) -> Result<(), Failure> {
    let Ok(wanted) = i64::try_from(unix_time) else {
        return Err(Failure::set_up(format!("cannot set the clock to {unix_time}: out of range")));
    };
    if clock_gettime(ClockId::Realtime).tv_sec >= wanted {
        return Ok(());
    }
    clock_settime(ClockId::Realtime, Timespec { tv_sec: wanted, tv_nsec: 0 })
        .or_fail(|| format!("set the clock to {unix_time}"))
}

/// `struct rand_pool_info` of `linux/random.h`, with room for the largest seed.
#[repr(C)]
struct PoolInfo {
    entropy_bits: libc::c_int,
    bytes: libc::c_int,
    buffer: [u8; MAX_SEED],
}

/// `RNDADDENTROPY`, `_IOW('R', 0x03, int[2])` of `linux/random.h`.
const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;

/// Credits the seed `hex` to the kernel, so that the first `getrandom` does not wait.
///
/// # Errors
/// Not hex, or the kernel refuses.
pub fn credit_entropy(hex: &str) -> Result<(), Failure> {
    let seed =
        hex::decode(hex).map_err(|_| Failure::set_up("the orders' seed is not hexadecimal"))?;
    let seed = seed.get(..MAX_SEED).unwrap_or(&seed);
    if seed.is_empty() {
        return Ok(());
    }
    let bytes = libc::c_int::try_from(seed.len()).unwrap_or(0);
    let mut info = PoolInfo { entropy_bits: bytes * 8, bytes, buffer: [0; MAX_SEED] };
    info.buffer[..seed.len()].copy_from_slice(seed);
    let random = open("/dev/random", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .or_fail(|| "open /dev/random".into())?;
    // SAFETY: the kernel reads two ints and `bytes` bytes behind them; `info` holds that many
    // (bytes <= MAX_SEED) and outlives the call.
    let done = unsafe { libc::ioctl(random.as_raw_fd(), RNDADDENTROPY, &raw const info) };
    if done == 0 {
        return Ok(());
    }
    Err(std::io::Error::last_os_error()).or_fail(|| "credit entropy to /dev/random".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_takes_a_seed() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root may credit entropy");
            return;
        }
        credit_entropy(&"a5".repeat(32)).unwrap();
        credit_entropy("").unwrap();
    }

    #[test]
    fn hex_of_odd_length_or_with_other_letters_is_refused() {
        for bad in ["00f", "0g", "+1"] {
            let failure = credit_entropy(bad).unwrap_err();
            assert_eq!(failure.message, "the orders' seed is not hexadecimal");
        }
    }

    #[test]
    fn a_clock_that_is_ahead_of_the_orders_is_left_alone() {
        let before = clock_gettime(ClockId::Realtime).tv_sec;
        set_forward(1).unwrap();
        assert!(clock_gettime(ClockId::Realtime).tv_sec >= before);
        let failure = set_forward(u64::MAX).unwrap_err();
        assert!(failure.message.contains("clock"), "{failure}");
    }
}
