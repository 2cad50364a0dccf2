//! Kafka's arithmetic, in tables.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addresses;
use super::meters::Meters;
use super::mutations::Mutations;
use super::precedence::{self, Entity};
use super::sliding::{Measured, SlidingRate};
use super::tokens::TokenBucket;
use super::tracked::{MAX_RATES, Tracked};
use super::{ANONYMOUS, QuotaKind, Windows};
use crate::metadata::controller::testing::image;
use crate::metadata::records::Record;
use crate::wire::ErrorCode;
use crate::wire::metadata_records::{ClientQuotaRecord, EntityData};

/// Windows of a second, as many as that.
fn seconds(count: u32) -> Windows {
    Windows::new(count, 1)
}

fn limit(entity: &[(&str, Option<&str>)], key: &str, value: f64) -> Record {
    let data = |(kind, name): &(&str, Option<&str>)| EntityData {
        entity_type: (*kind).to_owned(),
        entity_name: name.map(str::to_owned),
    };
    let record = ClientQuotaRecord {
        entity: entity.iter().map(data).collect(),
        key: key.to_owned(),
        value,
        remove: false,
    };
    record.into()
}

fn removal(entity: &[(&str, Option<&str>)], key: &str) -> Record {
    let Record::ClientQuota(set) = limit(entity, key, 0.0) else {
        unreachable!("made above");
    };
    ClientQuotaRecord { remove: true, ..set }.into()
}

/// What Kafka's `Rate` with 11 windows says of the same events: how much by when, then what is measured when.
#[test]
fn a_rate_is_measured_over_the_windows_that_overlap_the_last_ones() {
    /// When, and how much.
    type Events<'a> = &'a [(u64, u64)];
    let every_second: Vec<(u64, u64)> = (0..30).map(|second| (second * 1000, 100)).collect();
    let full: Vec<(u64, u64)> = (0..300).map(|tenth| (tenth * 100, 10)).collect();
    let cases: &[(Events<'_>, u64, u64, u64)] = &[
        // At the very beginning ten windows are taken as over.
        (&[(0, 500)], 0, 500, 10_000),
        (&[(0, 500)], 300, 500, 10_300),
        (&[(0, 500), (900, 100)], 950, 600, 10_950),
        (&[(0, 500), (2500, 100)], 2600, 600, 10_600),
        // Once the last event is as old as all windows, nothing is left of it.
        (&[(0, 500)], 10_999, 500, 10_999),
        (&[(0, 500)], 11_000, 0, 10_000),
        // Its window counts as long as one event in it is young enough.
        (&[(0, 500), (999, 1)], 11_500, 501, 11_500),
        (&[(0, 500), (999, 1)], 11_999, 0, 10_000),
        (&every_second, 29_000, 1100, 10_000),
        (&every_second, 29_500, 1100, 10_500),
        (&full, 29_950, 1100, 10_950),
    ];
    for (events, now_ms, sum, elapsed_ms) in cases {
        let rate = SlidingRate::new(seconds(11), 0);
        events.iter().for_each(|(at, amount)| rate.add(*at, *amount));
        let want = Measured {
            sum: *sum,
            elapsed_ms: *elapsed_ms,
        };
        assert_eq!(rate.measure(*now_ms), want, "{events:?} at {now_ms}");
    }
}

#[test]
fn the_throttle_time_brings_the_rate_down_to_the_limit() {
    for (sum, elapsed_ms, per_second, want) in [
        (1000, 10_000, 100.0, 0),
        (1001, 10_000, 100.0, 10),
        (2000, 10_000, 100.0, 10_000),
        (2000, 10_500, 100.0, 9500),
        (1, 1, 1.0, 999),
        (u64::from(u32::MAX), 10_000, 1e-9, i32::MAX as u32),
    ] {
        let measured = Measured { sum, elapsed_ms };
        assert_eq!(
            measured.throttle_ms(per_second),
            want,
            "{measured:?} {per_second}"
        );
        // After that time, with nothing more, it is at the limit.
        if want > 0 && want < i32::MAX as u32 {
            let later = Measured {
                sum,
                elapsed_ms: elapsed_ms + u64::from(want),
            };
            assert!(later.throttle_ms(per_second) <= 1);
        }
    }
}

#[test]
fn a_window_from_long_ago_does_not_count() {
    let rate = SlidingRate::new(seconds(2), 5000);
    rate.add(5000, 7);
    rate.add(8000, 1);
    assert_eq!(
        rate.measure(8000).sum,
        1,
        "the slot is the same, the window is not"
    );
    rate.take_back(8000, 1);
    assert_eq!(rate.measure(8000).sum, 0);
    rate.take_back(9500, 5);
    rate.add(9500, 2);
    assert_eq!(rate.measure(9500).sum, 2, "nothing was there to take back");
    // A core whose clock is behind, even behind the beginning.
    rate.add(4000, 3);
    assert_eq!(rate.measure(9500).sum, 2);
}

#[test]
fn what_several_threads_count_is_all_there() {
    const THREADS: u64 = 4;
    const EACH: u64 = 20_000;
    // More windows than the events last: none of them is left out.
    let rate = Arc::new(SlidingRate::new(seconds(50), 0));
    let count = |thread: u64| {
        let rate = rate.clone();
        move || (0..EACH).for_each(|n| rate.add(n + thread, 1))
    };
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| std::thread::spawn(count(thread)))
        .collect();
    for thread in threads {
        thread.join().expect("ended");
    }
    assert_eq!(rate.measure(EACH).sum, THREADS * EACH);
}

#[test]
fn tokens_let_a_burst_through_and_then_nothing_until_they_are_back() {
    let (windows, per_second) = (seconds(10), 2.0);
    let mut bucket = TokenBucket::new(per_second, windows, 0);
    for (now_ms, wanted, throttle_ms) in [
        (0, 15.0, 0),
        (0, 15.0, 0),
        // 10 too many have been taken.
        (0, 1.0, 5000),
        (4000, 1.0, 1000),
        (5000, 0.0, 0),
        // Never more than all windows hold.
        (100_000, 21.0, 0),
        (100_000, 1.0, 500),
    ] {
        let said = bucket.throttle_ms(per_second, windows, now_ms);
        assert_eq!(said, throttle_ms, "{wanted} at {now_ms}");
        if said == 0 {
            bucket.take(wanted, per_second, windows, now_ms);
        }
    }
}

#[test]
fn the_most_specific_quota_holds() {
    const KEY: &str = "producer_byte_rate";
    let (user, client) = (Some(ANONYMOUS), Some("c"));
    // From the weakest to the strongest, each with who shares it: the user, the client id.
    type Level<'a> = (&'a [(&'a str, Option<&'a str>)], (&'a str, &'a str));
    let levels: &[Level<'_>] = &[
        (&[("client-id", None)], ("", "c")),
        (&[("client-id", client)], ("", "c")),
        (&[("user", None)], (ANONYMOUS, "")),
        (&[("user", None), ("client-id", None)], (ANONYMOUS, "c")),
        (&[("user", None), ("client-id", client)], (ANONYMOUS, "c")),
        (&[("user", user)], (ANONYMOUS, "")),
        (&[("user", user), ("client-id", None)], (ANONYMOUS, "c")),
        (&[("user", user), ("client-id", client)], (ANONYMOUS, "c")),
    ];
    let mut log = vec![
        limit(&[("user", Some("another"))], KEY, 99.0),
        limit(&[("client-id", Some("other"))], KEY, 98.0),
        limit(
            &[("user", user), ("client-id", client)],
            "consumer_byte_rate",
            97.0,
        ),
    ];
    let found = |log: &[Record], client_id: &str| {
        precedence::find(&image(log), QuotaKind::Produce, ANONYMOUS, client_id)
    };
    assert_eq!(found(&log, "c"), None);
    for (value, (entity, (user, client_id))) in (1..).zip(levels) {
        let value = f64::from(value);
        log.push(limit(entity, KEY, value));
        let shared = Entity::Client {
            user: (*user).to_owned(),
            client_id: (*client_id).to_owned(),
        };
        assert_eq!(found(&log, "c"), Some((shared, value)), "{entity:?}");
    }
    let of_user = Entity::Client {
        user: ANONYMOUS.to_owned(),
        client_id: String::new(),
    };
    assert_eq!(found(&log, ""), Some((of_user, 6.0)), "a client without a name");
    assert_eq!(found(&log[..5], ""), None);
}

#[test]
fn connections_share_a_rate_and_see_quotas_change() {
    let began = Instant::now();
    let tracked = Tracked::new(seconds(11), began);
    assert_eq!(tracked.ms(began + Duration::from_millis(7)), 7);
    let entity: &[(&str, Option<&str>)] = &[("client-id", None)];
    let mut log = vec![limit(entity, "producer_byte_rate", 10.0)];
    let (mut first, mut second, mut other) = (Meters::default(), Meters::default(), Meters::default());
    let limited = image(&log);
    first.update(&limited, &tracked, "a", began);
    second.update(&limited, &tracked, "a", began);
    other.update(&limited, &tracked, "b", began);
    let throttle = |meters: &Meters, amount| {
        let limits = meters.limits().expect("limited");
        assert!(limits.fetch.is_none() && limits.request.is_none() && !limits.mutation);
        limits.produce.as_ref().expect("limited").count(0, amount)
    };
    assert_eq!(throttle(&first, 100), 0);
    assert_eq!(throttle(&second, 100), 10_000, "what the first sent counts");
    assert_eq!(throttle(&other, 100), 0);
    log.push(limit(entity, "producer_byte_rate", 1000.0));
    first.update(&image(&log), &tracked, "a", began);
    assert_eq!(throttle(&first, 100), 0, "raised");
    log.push(removal(entity, "producer_byte_rate"));
    first.update(&image(&log), &tracked, "a", began);
    assert!(first.limits().is_none(), "removed");
    second.update(&limited, &tracked, "c", began);
    assert_eq!(throttle(&second, 100), 0, "another name, another rate");
}

#[test]
fn clients_that_invent_names_fill_no_more_than_the_limit() {
    let tracked = Tracked::new(seconds(2), Instant::now());
    let rate = |n: u64, now_ms| {
        let entity = Entity::Client {
            user: String::new(),
            client_id: n.to_string(),
        };
        tracked.rate(QuotaKind::Produce, entity, now_ms)
    };
    let names = MAX_RATES as u64;
    let all: HashSet<_> = (0..names).map(|n| Arc::as_ptr(&rate(n, n))).collect();
    assert_eq!(all.len(), MAX_RATES);
    // The oldest is used again, and so is not among those that go.
    rate(0, names).add(names, 5);
    rate(names, names);
    assert_eq!(tracked.count(), MAX_RATES - MAX_RATES / 4);
    assert_eq!(rate(0, names).measure(names).sum, 5);
    // As many again at one and the same time.
    (0..2 * names).for_each(|n| drop(rate(names + n, names)));
    assert!(tracked.count() <= MAX_RATES);
}

#[test]
fn changes_of_the_metadata_are_refused_or_made_to_wait() {
    let log = [limit(&[("user", None)], "controller_mutation_rate", 1.0)];
    let image = image(&log);
    for (is_strict, want) in [(true, [0, 89, 89]), (false, [0, 0, 0])] {
        let mut mutations = Mutations::new(seconds(10));
        let codes = want.map(|_| {
            let mut budget = mutations.budget(&image, "c", is_strict, 0);
            let said = budget.spend(15);
            (
                said.map_or_else(|refusal| i16::from(refusal.code), |()| 0),
                budget.throttle_time_ms(),
            )
        });
        assert_eq!(codes.map(|(code, _)| code), want);
        let times = match is_strict {
            true => [0, 5000, 5000],
            false => [5000, 20_000, 35_000],
        };
        assert_eq!(codes.map(|(_, time_ms)| time_ms), times);
    }
    assert_eq!(i16::from(ErrorCode::ThrottlingQuotaExceeded), 89);
    let mut none = Mutations::new(seconds(10));
    let mut budget = none.budget(&self::image(&[]), "c", true, 0);
    assert_eq!(budget.spend(1_000_000), Ok(()));
}

#[test]
fn an_address_has_its_own_limit_or_that_of_all() {
    const KEY: &str = "connection_creation_rate";
    let log = [
        limit(&[("ip", None)], KEY, 1.0),
        limit(&[("ip", Some("0:0:0:0:0:0:0:1"))], KEY, 2.0),
        limit(&[("ip", Some("127.0.0.1"))], KEY, 3.0),
        limit(&[("user", None)], "producer_byte_rate", 1.0),
    ];
    // How many of a hundred at once are let in: what ten windows hold.
    let let_in = |log: &[Record], address: &str| {
        let tracked = Tracked::new(seconds(11), Instant::now());
        let (image, address) = (image(log), address.parse().expect("an address"));
        let times: Vec<_> = (0..100)
            .filter_map(|_| addresses::admit(&image, &tracked, address, 0))
            .collect();
        assert!(times.iter().all(|time_ms| (1..=1000).contains(time_ms)));
        100 - times.len()
    };
    for (address, want) in [
        ("127.0.0.1", 30),
        ("::ffff:127.0.0.1", 30),
        ("::1", 20),
        ("10.0.0.1", 10),
    ] {
        assert_eq!(let_in(&log, address), want, "{address}");
    }
    assert_eq!(let_in(&log[1..], "10.0.0.1"), 100);
    assert_eq!(let_in(&[], "127.0.0.1"), 100);
}
