//! What the comparisons (`startup-time`, `density`, `throughput`) share: dom0 and what stands in it,
//! containers, one client, statistics, pictures, pages.

pub mod axis;
pub mod bundle;
pub mod command;
pub mod container;
pub mod ground;
pub mod machine;
pub mod output;
pub mod place;
pub mod statistics;
pub mod svg;
