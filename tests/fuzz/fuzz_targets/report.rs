//! What a guest writes into xenstore: its report, its image's start set, and the orders that it
//! reads there itself.
#![no_main]

use contract::{Orders, Report, StartSet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &str| {
    if let Ok(report) = Report::parse(json) {
        let again = Report::parse(&report.render()).expect("a report that was read is one");
        assert_eq!(again, report);
    }
    if let Ok(set) = StartSet::parse(json) {
        let again = StartSet::parse(&set.render(usize::MAX)).expect("a set that was read is one");
        assert_eq!(again, set);
    }
    if let Ok(orders) = Orders::parse(json) {
        let again = Orders::parse(&orders.render()).expect("orders that were read are such");
        assert_eq!(again, orders);
    }
});
