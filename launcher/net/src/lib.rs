//! Bridge, addresses and published ports.
