//! CRC-32C, as the superblock carries it.

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// CRC-32C (Castagnoli) of `data` from the seed ~0, without the usual final inversion: that is how
/// `erofs_superblock_csum_verify` in Linux calls `crc32c`.
pub(super) fn crc32c(data: &[u8]) -> u32 {
    // Three kilobytes once per disk; a table would be more code than it saves.
    data.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL } else { sum >> 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_value_of_crc_32c_comes_out() {
        assert_eq!(!super::crc32c(b"123456789"), 0xe306_9283);
    }
}
