//! Pools: domains that are booted ahead of their app.

pub(crate) mod fit;
pub(crate) mod pooled;
pub(crate) mod pools;

pub use pools::{drain_pools, empty_pools, fill_pools, list_pools, pool_shape, set_pool};
