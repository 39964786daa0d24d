//! The ACPI tables of a PVH domain: only those that a kernel needs to find its vcpus.
//!
//! RSDP -> XSDT -> FADT (hardware-reduced: without the timers, ports and interrupts of old PCs) with an empty DSDT, and
//! MADT with one local APIC for each vcpu. Layouts: ACPI specification 6.2, section 5.2.

/// Where the tables are in the guest, as with Xen's tools: above all low RAM.
pub(super) const ADDRESS: u64 = 0xFC00_0000;
/// Xen gives vcpu `n` the local APIC number `2 * n`, and a PVH domain at most 128 vcpus.
pub(super) const MAX_VCPUS: u32 = 128;

const LAPIC_ADDRESS: u32 = 0xFEE0_0000;
const HEADER_BYTES: usize = 36;
const RSDP_BYTES: usize = 36;
const FADT_BYTES: usize = 268;
const OEM: &[u8; 6] = b"launch";

/// FADT, offset and value: no VGA, no CMOS clock, no keyboard controller.
const BOOT_ARCHITECTURE: (usize, u16) = (109, 1 << 2 | 1 << 5);
/// FADT, offset and value: WBINVD works, hardware-reduced.
const FLAGS: (usize, u32) = (112, 1 << 0 | 1 << 20);
/// FADT, offset of the DSDT's 64-bit address.
const X_DSDT: usize = 140;

/// The tables for `vcpus` vcpus, to be placed at [`ADDRESS`]; the RSDP is first.
pub(super) fn tables(vcpus: u32) -> Vec<u8> {
    let xsdt_bytes = HEADER_BYTES + 2 * 8;
    let xsdt_at = RSDP_BYTES.next_multiple_of(16);
    let fadt_at = (xsdt_at + xsdt_bytes).next_multiple_of(16);
    let dsdt_at = (fadt_at + FADT_BYTES).next_multiple_of(16);
    let madt_at = (dsdt_at + HEADER_BYTES).next_multiple_of(16);

    let mut all = rsdp(address(xsdt_at));
    let pointers = [address(fadt_at), address(madt_at)].map(u64::to_le_bytes).concat();
    place(&mut all, xsdt_at, &table(*b"XSDT", 1, &pointers));
    place(&mut all, fadt_at, &fadt(address(dsdt_at)));
    // Revision 2: 64-bit integers in AML. The table has no AML.
    place(&mut all, dsdt_at, &table(*b"DSDT", 2, &[]));
    place(&mut all, madt_at, &madt(vcpus));
    all
}

fn address(offset: usize) -> u64 {
    ADDRESS + offset as u64
}

fn place(all: &mut Vec<u8>, offset: usize, table: &[u8]) {
    all.resize(offset, 0);
    all.extend_from_slice(table);
}

fn rsdp(xsdt: u64) -> Vec<u8> {
    let mut bytes = b"RSD PTR ".to_vec();
    bytes.push(0);
    bytes.extend_from_slice(OEM);
    bytes.push(2);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&36u32.to_le_bytes());
    bytes.extend_from_slice(&xsdt.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes[8] = checksum(&bytes[..20]);
    bytes[32] = checksum(&bytes);
    bytes
}

fn fadt(dsdt: u64) -> Vec<u8> {
    let mut body = vec![0; FADT_BYTES - HEADER_BYTES];
    let mut set = |offset: usize, value: &[u8]| {
        let start = offset - HEADER_BYTES;
        body[start..start + value.len()].copy_from_slice(value);
    };
    set(BOOT_ARCHITECTURE.0, &BOOT_ARCHITECTURE.1.to_le_bytes());
    set(FLAGS.0, &FLAGS.1.to_le_bytes());
    set(X_DSDT, &dsdt.to_le_bytes());
    // Revision 5 is the first with hardware-reduced ACPI.
    table(*b"FACP", 5, &body)
}

fn madt(vcpus: u32) -> Vec<u8> {
    let mut body = LAPIC_ADDRESS.to_le_bytes().to_vec();
    body.extend_from_slice(&[0; 4]);
    for vcpu in 0..vcpus.min(MAX_VCPUS) {
        let number = u8::try_from(vcpu).unwrap_or(u8::MAX);
        // Type 0, 8 bytes, processor, APIC, enabled.
        body.extend_from_slice(&[0, 8, number, number * 2, 1, 0, 0, 0]);
    }
    table(*b"APIC", 2, &body)
}

fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = signature.to_vec();
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.push(revision);
    bytes.push(0);
    bytes.extend_from_slice(OEM);
    bytes.extend_from_slice(b"guest\0\0\0");
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(b"LNCH");
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes[9] = checksum(&bytes);
    bytes
}

/// The byte that makes the sum of all bytes zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(all: &[u8], address: u64) -> &[u8] {
        &all[usize::try_from(address - ADDRESS).unwrap()..]
    }

    fn pointer(bytes: &[u8]) -> u64 {
        u64::from_le_bytes(bytes[..8].try_into().unwrap())
    }

    fn checked(bytes: &[u8]) -> &[u8] {
        let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
        assert_eq!(checksum(&bytes[..length]), 0, "checksum of {:?}", &bytes[..4]);
        &bytes[..length]
    }

    #[test]
    fn every_table_is_reached_from_the_rsdp_and_sums_to_zero() {
        let all = tables(3);
        assert_eq!((checksum(&all[..20]), checksum(&all[..36])), (0, 0));
        let xsdt = checked(at(&all, pointer(&all[24..])));
        let fadt = checked(at(&all, pointer(&xsdt[36..])));
        let madt = checked(at(&all, pointer(&xsdt[44..])));
        let dsdt = checked(at(&all, pointer(&fadt[140..])));
        assert_eq!(
            (&xsdt[..4], &fadt[..4], &dsdt[..4], &madt[..4]),
            (&b"XSDT"[..], &b"FACP"[..], &b"DSDT"[..], &b"APIC"[..])
        );
        assert_eq!(fadt.len(), FADT_BYTES);
    }

    #[test]
    fn each_vcpu_has_a_local_apic_of_twice_its_number() {
        let all = tables(128);
        let madt = &all[all.len() - 128 * 8..];
        for (number, entry) in (0u8..).zip(madt.chunks(8)) {
            assert_eq!(entry, [0, 8, number, number * 2, 1, 0, 0, 0]);
        }
    }
}
