//! The disk's blocks.

/// Bytes of a block.
pub(super) const BLOCK_BYTES: u64 = 4096;

/// Blocks that `bytes` need.
pub(super) fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES)
}
