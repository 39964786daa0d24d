//! `xen/include/public/hvm/` and `arch-x86/hvm/`: parameters, saved processor state and the
//! start info of PVH and HVM guests.
#![expect(missing_docs, reason = "fields and constants are documented in the header")]

use crate::layout::{constants, layouts};
use zerocopy::{FromBytes, Immutable, IntoBytes};

constants!(CONSTANTS {
    SET_PARAM: u64 = 0 => "HVMOP_set_param";
    GET_PARAM: u64 = 1 => "HVMOP_get_param";

    PARAM_STORE_PFN: u32 = 1 => "HVM_PARAM_STORE_PFN";
    PARAM_STORE_EVTCHN: u32 = 2 => "HVM_PARAM_STORE_EVTCHN";
    PARAM_TIMER_MODE: u32 = 10 => "HVM_PARAM_TIMER_MODE";
    PARAM_IDENT_PT: u32 = 12 => "HVM_PARAM_IDENT_PT";
    PARAM_CONSOLE_PFN: u32 = 17 => "HVM_PARAM_CONSOLE_PFN";
    PARAM_CONSOLE_EVTCHN: u32 = 18 => "HVM_PARAM_CONSOLE_EVTCHN";

    /// Delivers one tick for any number of missed ticks.
    TIMER_MODE_ONE_MISSED_TICK_PENDING: u64 = 3 => "HVMPTM_one_missed_tick_pending";
    TIMER_MODE_NO_DELAY_FOR_MISSED_TICKS: u64 = 1 => "HVMPTM_no_delay_for_missed_ticks";

    SAVE_END: u16 = 0 => "HVM_SAVE_CODE(END)";
    SAVE_HEADER: u16 = 1 => "HVM_SAVE_CODE(HEADER)";
    SAVE_CPU: u16 = 2 => "HVM_SAVE_CODE(CPU)";
    SAVE_MTRR: u16 = 14 => "HVM_SAVE_CODE(MTRR)";

    START_MAGIC: u32 = 0x336e_c578 => "XEN_HVM_START_MAGIC_VALUE";
});

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Param {
    pub domid: u16,
    pub pad: u16,
    pub index: u32,
    pub value: u64,
}

/// The header of each record of saved state.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct SaveDescriptor {
    pub typecode: u16,
    pub instance: u16,
    /// Length of the record, without this descriptor.
    pub length: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct SaveHeader {
    pub magic: u32,
    pub version: u32,
    pub changeset: u64,
    pub cpuid: u32,
    pub gtsc_khz: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Cpu {
    pub fpu_regs: [u8; 512],
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rbp: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
    /// r8 to r15.
    pub r8: [u64; 8],
    pub rip: u64,
    pub rflags: u64,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    /// dr0 to dr3.
    pub dr0: [u64; 4],
    pub dr6: u64,
    pub dr7: u64,
    /// cs, ds, es, fs, gs, ss, tr, ldtr.
    pub cs_sel: [u32; 8],
    pub cs_limit: u32,
    pub ds_limit: u32,
    pub es_limit: u32,
    pub fs_limit: u32,
    pub gs_limit: u32,
    pub ss_limit: u32,
    pub tr_limit: u32,
    pub ldtr_limit: u32,
    pub idtr_limit: u32,
    pub gdtr_limit: u32,
    /// cs, ds, es, fs, gs, ss, tr, ldtr, idtr, gdtr.
    pub cs_base: [u64; 10],
    pub cs_arbytes: u32,
    pub ds_arbytes: u32,
    pub es_arbytes: u32,
    pub fs_arbytes: u32,
    pub gs_arbytes: u32,
    pub ss_arbytes: u32,
    pub tr_arbytes: u32,
    pub ldtr_arbytes: u32,
    /// sysenter cs, esp, eip; shadow_gs; MSR flags, lstar, star, cstar, syscall mask, efer,
    /// tsc_aux; tsc.
    pub sysenter_cs: [u64; 12],
    pub pending_event: u32,
    pub error_code: u32,
    pub flags: u32,
    pub pad0: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct Mtrr {
    pub msr_pat_cr: u64,
    pub msr_mtrr_var: [u64; 16],
    pub msr_mtrr_fixed: [u64; 11],
    pub msr_mtrr_cap: u64,
    pub msr_mtrr_def_type: u64,
}

/// What a PVH kernel finds at the address in `ebx`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct StartInfo {
    pub magic: u32,
    pub version: u32,
    pub flags: u32,
    pub nr_modules: u32,
    pub modlist_paddr: u64,
    pub cmdline_paddr: u64,
    pub rsdp_paddr: u64,
    pub memmap_paddr: u64,
    pub memmap_entries: u32,
    pub reserved: u32,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct ModlistEntry {
    pub paddr: u64,
    pub size: u64,
    pub cmdline_paddr: u64,
    pub reserved: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub struct MemmapEntry {
    pub addr: u64,
    pub size: u64,
    /// The type, as in E820.
    pub kind: u32,
    pub reserved: u32,
}

layouts!(LAYOUTS {
    Param = "struct xen_hvm_param", 16, { domid @ 0, pad @ 2, index @ 4, value @ 8 };
    SaveDescriptor = "struct hvm_save_descriptor", 8, {
        typecode @ 0, instance @ 2, length @ 4,
    };
    SaveHeader = "struct hvm_save_header", 24, {
        magic @ 0, version @ 4, changeset @ 8, cpuid @ 16, gtsc_khz @ 20,
    };
    Cpu = "struct hvm_hw_cpu", 1032, {
        fpu_regs @ 0, rax @ 512, rbx @ 520, rcx @ 528, rdx @ 536, rbp @ 544, rsi @ 552, rdi @ 560,
        rsp @ 568, r8 @ 576, rip @ 640, rflags @ 648, cr0 @ 656, cr2 @ 664, cr3 @ 672, cr4 @ 680,
        dr0 @ 688, dr6 @ 720, dr7 @ 728, cs_sel @ 736, cs_limit @ 768, ds_limit @ 772,
        es_limit @ 776, fs_limit @ 780, gs_limit @ 784, ss_limit @ 788, tr_limit @ 792,
        ldtr_limit @ 796, idtr_limit @ 800, gdtr_limit @ 804, cs_base @ 808, cs_arbytes @ 888,
        ds_arbytes @ 892, es_arbytes @ 896, fs_arbytes @ 900, gs_arbytes @ 904, ss_arbytes @ 908,
        tr_arbytes @ 912, ldtr_arbytes @ 916, sysenter_cs @ 920, pending_event @ 1016,
        error_code @ 1020, flags @ 1024, pad0 @ 1028,
    };
    Mtrr = "struct hvm_hw_mtrr", 240, {
        msr_pat_cr @ 0, msr_mtrr_var @ 8, msr_mtrr_fixed @ 136, msr_mtrr_cap @ 224,
        msr_mtrr_def_type @ 232,
    };
    StartInfo = "struct hvm_start_info", 56, {
        magic @ 0, version @ 4, flags @ 8, nr_modules @ 12, modlist_paddr @ 16, cmdline_paddr @ 24,
        rsdp_paddr @ 32, memmap_paddr @ 40, memmap_entries @ 48, reserved @ 52,
    };
    ModlistEntry = "struct hvm_modlist_entry", 32, {
        paddr @ 0, size @ 8, cmdline_paddr @ 16, reserved @ 24,
    };
    MemmapEntry = "struct hvm_memmap_table_entry", 24, {
        addr @ 0, size @ 8, kind @ 16 as "type", reserved @ 20,
    };
});
