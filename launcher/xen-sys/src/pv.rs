//! `xen/include/public/xen.h` and `arch-x86/xen.h`: the state in which a PV guest starts.
#![expect(missing_docs, reason = "fields and constants are documented in the header")]

use crate::layout::{constants, layouts};
use zerocopy::{FromBytes, Immutable, IntoBytes};

constants!(CONSTANTS {
    MMUEXT_PIN_L4_TABLE: u32 = 3 => "MMUEXT_PIN_L4_TABLE";
    SIF_MOD_START_PFN: u32 = 1 << 3 => "SIF_MOD_START_PFN";
    MAX_GUEST_CMDLINE: usize = 1024 => "MAX_GUEST_CMDLINE";
    VGCF_IN_KERNEL: u64 = 1 << 2 => "VGCF_in_kernel";
    VGCF_ONLINE: u64 = 1 << 5 => "VGCF_online";
    FLAT_KERNEL_CS: u16 = 0xe033 => "FLAT_KERNEL_CS";
    FLAT_KERNEL_DS: u16 = 0 => "FLAT_KERNEL_DS";
    FLAT_KERNEL_SS: u16 = 0xe02b => "FLAT_KERNEL_SS";
    LEGACY_MAX_VCPUS: usize = 32 => "XEN_LEGACY_MAX_VCPUS";
    VCPU_INFO_BYTES: usize = 64 => "sizeof(struct vcpu_info)";
    VCPU_INFO_UPCALL_MASK: usize = 1 => "offsetof(struct vcpu_info, evtchn_upcall_mask)";
});

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct StartInfo {
    pub magic: [u8; 32],
    pub nr_pages: u64,
    pub shared_info: u64,
    pub flags: u32,
    pub pad1: u32,
    pub store_mfn: u64,
    pub store_evtchn: u32,
    pub pad2: u32,
    pub console_mfn: u64,
    pub console_evtchn: u32,
    pub pad3: u32,
    pub pt_base: u64,
    pub nr_pt_frames: u64,
    pub mfn_list: u64,
    pub mod_start: u64,
    pub mod_len: u64,
    pub cmd_line: [u8; MAX_GUEST_CMDLINE],
    pub first_p2m_pfn: u64,
    pub nr_p2m_frames: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct UserRegs {
    /// r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx.
    pub r15: [u64; 13],
    pub rsi: u64,
    pub rdi: u64,
    pub error_code: u32,
    pub entry_vector: u32,
    pub rip: u64,
    pub cs: u16,
    pub pad0: u16,
    pub saved_upcall_mask: u8,
    pub pad1: [u8; 3],
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u16,
    pub pad2: [u16; 3],
    pub es: u16,
    pub pad3: [u16; 3],
    pub ds: u16,
    pub pad4: [u16; 3],
    pub fs: u16,
    pub pad5: [u16; 3],
    pub gs: u16,
    pub pad6: [u16; 3],
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct VcpuGuestContext {
    pub fpu_ctxt: [u8; 512],
    pub flags: u64,
    pub user_regs: UserRegs,
    /// 256 `struct trap_info` of 16 bytes.
    pub trap_ctxt: [[u64; 2]; 256],
    pub ldt_base: u64,
    pub ldt_ents: u64,
    pub gdt_frames: [u64; 16],
    pub gdt_ents: u64,
    pub kernel_ss: u64,
    pub kernel_sp: u64,
    pub ctrlreg: [u64; 8],
    pub debugreg: [u64; 8],
    pub event_callback_eip: u64,
    pub failsafe_callback_eip: u64,
    pub syscall_callback_eip: u64,
    pub vm_assist: u64,
    pub fs_base: u64,
    pub gs_base_kernel: u64,
    pub gs_base_user: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct MmuextOp {
    pub cmd: u32,
    pub pad: u32,
    pub mfn: u64,
    pub arg2: u64,
}

layouts!(LAYOUTS {
    StartInfo = "struct start_info", 1168, {
        magic @ 0, nr_pages @ 32, shared_info @ 40, flags @ 48, pad1 @ 52 as "", store_mfn @ 56,
        store_evtchn @ 64, pad2 @ 68 as "", console_mfn @ 72 as "console.domU.mfn",
        console_evtchn @ 80 as "console.domU.evtchn", pad3 @ 84 as "", pt_base @ 88,
        nr_pt_frames @ 96, mfn_list @ 104, mod_start @ 112, mod_len @ 120, cmd_line @ 128,
        first_p2m_pfn @ 1152, nr_p2m_frames @ 1160,
    };
    UserRegs = "struct cpu_user_regs", 200, {
        r15 @ 0, rsi @ 104, rdi @ 112, error_code @ 120, entry_vector @ 124, rip @ 128, cs @ 136,
        pad0 @ 138 as "_pad0", saved_upcall_mask @ 140, pad1 @ 141 as "_pad1", rflags @ 144,
        rsp @ 152, ss @ 160, pad2 @ 162 as "_pad2", es @ 168, pad3 @ 170 as "_pad3", ds @ 176,
        pad4 @ 178 as "_pad4", fs @ 184, pad5 @ 186 as "_pad5", gs @ 192, pad6 @ 194 as "_pad6",
    };
    VcpuGuestContext = "struct vcpu_guest_context", 5168, {
        fpu_ctxt @ 0, flags @ 512, user_regs @ 520, trap_ctxt @ 720, ldt_base @ 4816,
        ldt_ents @ 4824, gdt_frames @ 4832, gdt_ents @ 4960, kernel_ss @ 4968, kernel_sp @ 4976,
        ctrlreg @ 4984, debugreg @ 5048, event_callback_eip @ 5112, failsafe_callback_eip @ 5120,
        syscall_callback_eip @ 5128, vm_assist @ 5136, fs_base @ 5144, gs_base_kernel @ 5152,
        gs_base_user @ 5160,
    };
    MmuextOp = "struct mmuext_op", 24, {
        cmd @ 0, pad @ 4 as "", mfn @ 8 as "arg1.mfn", arg2 @ 16,
    };
});
