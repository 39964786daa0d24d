//! Seccomp: a filter of system calls, made from lists.
#![expect(unsafe_code, reason = "no safe interface installs a filter of one's own")]

use std::io;

/// The system calls that the process may make.
///
/// For each call, the first matching rule decides:
///
/// 1. in `checked`, and one of its alternatives holds: allowed;
/// 2. in `deadly`: the kernel kills the process;
/// 3. in `checked`, and no alternative holds: `EPERM`;
/// 4. in `allowed`: allowed;
/// 5. otherwise: `ENOSYS`, for which C libraries try the older call.
///
/// Calls for a foreign architecture kill the process.
#[derive(Clone, Copy, Debug)]
pub struct Calls<'a> {
    /// Calls that are always allowed, as `libc::SYS_…`, in any number of lists.
    pub allowed: &'a [&'a [i64]],
    /// Calls that are allowed if all [`Test`]s of one of their alternatives hold.
    pub checked: &'a [(i64, &'a [&'a [Test]])],
    /// Calls that only an intruder makes.
    pub deadly: &'a [i64],
}

/// A test on one argument of a system call; `argument` counts from 0.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    /// The argument's lower 32 bits are `value`.
    Is {
        /// The argument's number.
        argument: u8,
        /// The required value.
        value: u32,
    },
    /// Of the argument's lower 32 bits, those in `mask` are `value`.
    Masked {
        /// The argument's number.
        argument: u8,
        /// The bits to compare.
        mask: u32,
        /// The required value.
        value: u32,
    },
    /// All 64 bits of the argument are zero, as in a null pointer.
    Null {
        /// The argument's number.
        argument: u8,
    },
}

// Constants from `include/uapi/linux/audit.h` and `seccomp.h`.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
const SECCOMP_SET_MODE_FILTER: libc::c_ulong = 1;
/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

// Instruction codes from `include/uapi/linux/bpf_common.h`, as sums of BPF_LD + BPF_W + BPF_ABS, and so on.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const IF_EQUAL: u16 = 0x15;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

fn error(errno: libc::c_int) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()
}

impl Calls<'_> {
    /// Installs the filter on the calling thread, without any other fence.
    ///
    /// # Errors
    /// The kernel's answer: `EACCES` unless the thread has `no_new_privs` or `CAP_SYS_ADMIN`, `EINVAL` if the list is
    /// too long for one filter.
    pub fn restrict(&self) -> io::Result<()> {
        let mut program = self.program()?;
        let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let filter = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
        // SAFETY: `filter` and the instructions it points to live until the call returns; the
        // kernel copies them and checks them before use.
        let done = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                SECCOMP_SET_MODE_FILTER,
                0 as libc::c_ulong,
                &raw const filter,
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn program(&self) -> io::Result<Vec<libc::sock_filter>> {
        let mut program = vec![
            instruction(LOAD, ARCH),
            skip_if(ARCHITECTURE, 1, 0),
            instruction(RETURN, KILL),
            instruction(LOAD, NUMBER),
        ];
        for (call, alternatives) in self.checked {
            let otherwise = if self.deadly.contains(call) { KILL } else { error(libc::EPERM) };
            let block = checked(alternatives, otherwise)?;
            program.push(skip_if(number(*call)?, 1, 0));
            // A conditional jump reaches only 255 instructions.
            program.push(instruction(JUMP, u32::try_from(block.len()).unwrap_or(u32::MAX)));
            program.extend(block);
        }
        let mut answer = |calls: &[i64], answer: u32| {
            for call in calls {
                program.push(skip_if(number(*call)?, 0, 1));
                program.push(instruction(RETURN, answer));
            }
            Ok::<_, io::Error>(())
        };
        answer(self.deadly, KILL)?;
        for calls in self.allowed {
            answer(calls, ALLOW)?;
        }
        program.push(instruction(RETURN, error(libc::ENOSYS)));
        Ok(program)
    }
}

/// The instructions that decide on one call in `checked`; the result is `otherwise` if no alternative holds.
fn checked(alternatives: &[&[Test]], otherwise: u32) -> io::Result<Vec<libc::sock_filter>> {
    let mut block = Vec::new();
    for tests in alternatives {
        // From last to first, because each alternative must know the distance to the next.
        let mut parts = vec![vec![instruction(RETURN, ALLOW)]];
        let mut rest = 1;
        for test in tests.iter().rev() {
            let part = compare(test, rest).ok_or(io::ErrorKind::InvalidInput)?;
            rest += part.len();
            parts.push(part);
        }
        block.extend(parts.into_iter().rev().flatten());
    }
    block.push(instruction(RETURN, otherwise));
    Ok(block)
}

/// Continues if `test` holds, otherwise skips `rest` instructions; `None` if they are too many.
fn compare(test: &Test, rest: usize) -> Option<Vec<libc::sock_filter>> {
    let rest = u8::try_from(rest).ok()?;
    // Both architectures are little-endian, so the lower half of an argument comes first.
    let lower = |argument: u8| instruction(LOAD, ARGUMENTS + 8 * u32::from(argument));
    let upper = |argument: u8| instruction(LOAD, ARGUMENTS + 8 * u32::from(argument) + 4);
    Some(match *test {
        Test::Is { argument, value } => vec![lower(argument), skip_if(value, 0, rest)],
        Test::Masked { argument, mask, value } => {
            vec![lower(argument), instruction(AND, mask), skip_if(value, 0, rest)]
        }
        Test::Null { argument } => vec![
            lower(argument),
            skip_if(0, 0, rest.checked_add(2)?),
            upper(argument),
            skip_if(0, 0, rest),
        ],
    })
}

fn number(call: i64) -> io::Result<u32> {
    u32::try_from(call).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn instruction(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

/// Skips `if_equal` instructions if the accumulator equals `value`, else `otherwise` instructions.
fn skip_if(value: u32, if_equal: u8, otherwise: u8) -> libc::sock_filter {
    libc::sock_filter { jt: if_equal, jf: otherwise, ..instruction(IF_EQUAL, value) }
}
