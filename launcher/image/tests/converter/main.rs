//! Layers to guest disks: every rule of merging, every refusal, and other programs as judges.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod attributes;
mod build;
mod corpus;
mod formats;
mod fuzz;
mod host;
mod hostile;
mod judges;
mod limits;
mod merge;
mod model;
mod reader;
mod run;
mod space;
mod umoci;
