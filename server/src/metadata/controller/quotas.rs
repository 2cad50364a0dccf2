//! Changing quotas of users, clients and addresses (KIP-546). The rules and the sentences are those of Kafka's `ClientQuotaControlManager`, but
//! for two: a limit must be a number, and an address is an address, since the controller does not ask a name server.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Refusal, View};
use crate::metadata::quotas::{CLIENT_ID, IP, QuotaEntity, Quotas, USER};
use crate::metadata::records::Record;
use crate::wire::ErrorCode;
use crate::wire::metadata_records::{ClientQuotaRecord, EntityData};

/// What the values of a limit may be, beside greater than 0.
#[derive(Clone, Copy, PartialEq)]
enum Limit {
    /// Whole, and at most this, which Kafka calls by this name.
    Whole(f64, &'static str),
    /// Anything.
    Any,
}

const LONG: Limit = Limit::Whole(i64::MAX as f64, "a LONG");
const INT: Limit = Limit::Whole(i32::MAX as f64, "an INT");

/// The limits of users and clients.
const CLIENT_LIMITS: &[(&str, Limit)] = &[
    ("consumer_byte_rate", LONG),
    ("controller_mutation_rate", Limit::Any),
    ("producer_byte_rate", LONG),
    ("request_percentage", Limit::Any),
];
/// The limits of addresses.
const IP_LIMITS: &[(&str, Limit)] = &[("connection_creation_rate", INT)];

/// Decides about the quotas of one entity: each limit named gets the value, or goes away. What has its value already is not written again.
///
/// # Errors
/// INVALID_REQUEST.
pub fn alter(
    view: View<'_>,
    entity: &QuotaEntity,
    changes: &BTreeMap<&str, Option<f64>>,
) -> Result<Vec<Record>, Refusal> {
    check_entity(entity)?;
    let limits = limits_of(entity)?;
    let none = Quotas::new();
    let now = view.image.quotas_of(entity).unwrap_or(&none);
    let mut records = Vec::with_capacity(changes.len());
    for (key, value) in changes {
        if let Some(value) = value {
            check_limit(limits, key, *value)?;
        }
        if now.get(*key) != value.as_ref() {
            records.push(record(entity, key, *value));
        }
    }
    Ok(records)
}

fn record(entity: &QuotaEntity, key: &str, value: Option<f64>) -> Record {
    let data = |(kind, name): (&String, &Option<String>)| EntityData {
        entity_type: kind.clone(),
        entity_name: name.clone(),
    };
    let record = ClientQuotaRecord {
        entity: entity.iter().map(data).collect(),
        key: key.to_owned(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    };
    record.into()
}

fn refused<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorCode::InvalidRequest, message))
}

fn check_entity(entity: &QuotaEntity) -> Result<(), Refusal> {
    for (kind, name) in entity {
        if ![USER, CLIENT_ID, IP].contains(&kind.as_str()) {
            return refused(format!("Unhandled client quota entity type: {kind}"));
        }
        if name.as_deref() == Some("") {
            return refused(format!("Empty {kind} not supported"));
        }
    }
    match entity.is_empty() {
        true => refused("Invalid empty client quota entity"),
        false => Ok(()),
    }
}

fn limits_of(entity: &QuotaEntity) -> Result<&'static [(&'static str, Limit)], Refusal> {
    match entity.get(IP) {
        None => Ok(CLIENT_LIMITS),
        // Kafka's sentence lacks this blank.
        Some(_) if entity.len() > 1 => {
            refused("Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId")
        }
        Some(Some(address)) if address.parse::<IpAddr>().is_err() => {
            refused(format!("{address} is not a valid IP or resolvable host."))
        }
        Some(_) => Ok(IP_LIMITS),
    }
}

fn check_limit(limits: &[(&str, Limit)], key: &str, value: f64) -> Result<(), Refusal> {
    let Some((_, limit)) = limits.iter().find(|(name, _)| *name == key) else {
        return refused(format!("Invalid configuration key {key}"));
    };
    if value.is_nan() || value <= 0.0 {
        return refused(format!("Quota {key} must be greater than 0"));
    }
    match *limit {
        Limit::Whole(max, kind) if value > max => {
            refused(format!("Proposed value for {key} is too large for {kind}."))
        }
        // As near to a whole number as Kafka asks for.
        Limit::Whole(..) if value.fract() > 1e-6 => refused(format!("{key} cannot be a fractional value.")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{config, image, view};
    use super::*;

    fn entity(pairs: &[(&str, Option<&str>)]) -> QuotaEntity {
        let own = |(kind, name): &(&str, Option<&str>)| ((*kind).to_owned(), name.map(str::to_owned));
        pairs.iter().map(own).collect()
    }

    fn run(log: &[Record], who: &QuotaEntity, key: &str, value: Option<f64>) -> Result<Vec<Record>, String> {
        let (image, config) = (image(log), config(&[]));
        let decided = alter(view(&image, &config), who, &BTreeMap::from([(key, value)]));
        decided.map_err(|refusal| {
            assert_eq!(refusal.code, ErrorCode::InvalidRequest);
            refusal.message
        })
    }

    #[test]
    fn what_cannot_be_is_refused_in_kafkas_words() {
        let user = || entity(&[(USER, Some("u"))]);
        let ip = |address| entity(&[(IP, Some(address))]);
        let rate = "producer_byte_rate";
        for (who, key, value, want) in [
            (entity(&[]), rate, 1.0, "Invalid empty client quota entity"),
            (
                entity(&[("group", None)]),
                rate,
                1.0,
                "Unhandled client quota entity type: group",
            ),
            (
                entity(&[(CLIENT_ID, Some(""))]),
                rate,
                1.0,
                "Empty client-id not supported",
            ),
            (
                entity(&[(IP, None), (USER, None)]),
                rate,
                1.0,
                "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId",
            ),
            (
                ip("no.such.host"),
                rate,
                1.0,
                "no.such.host is not a valid IP or resolvable host.",
            ),
            (
                ip("::1"),
                rate,
                1.0,
                "Invalid configuration key producer_byte_rate",
            ),
            (
                user(),
                "connection_creation_rate",
                1.0,
                "Invalid configuration key connection_creation_rate",
            ),
            (
                user(),
                rate,
                0.0,
                "Quota producer_byte_rate must be greater than 0",
            ),
            (
                user(),
                rate,
                f64::NAN,
                "Quota producer_byte_rate must be greater than 0",
            ),
            (
                user(),
                rate,
                1e19,
                "Proposed value for producer_byte_rate is too large for a LONG.",
            ),
            (
                user(),
                rate,
                1.5,
                "producer_byte_rate cannot be a fractional value.",
            ),
            (
                ip("10.0.0.1"),
                "connection_creation_rate",
                3e9,
                "Proposed value for connection_creation_rate is too large for an INT.",
            ),
        ] {
            assert_eq!(
                run(&[], &who, key, Some(value)),
                Err(want.to_owned()),
                "{who:?} {key}"
            );
        }
    }

    #[test]
    fn only_what_changes_is_written() {
        let who = entity(&[(USER, Some("u")), (CLIENT_ID, None)]);
        let rate = "request_percentage";
        let set = run(&[], &who, rate, Some(12.5)).expect("granted");
        assert_eq!(
            image(&set).quotas_of(&who).and_then(|quotas| quotas.get(rate)),
            Some(&12.5)
        );
        assert_eq!(run(&set, &who, rate, Some(12.5)), Ok(vec![]));
        let gone = run(&set, &who, rate, None).expect("granted");
        assert_eq!(image(&[set, gone].concat()).quotas_of(&who), None);
        assert_eq!(run(&[], &who, rate, None), Ok(vec![]));
        assert_eq!(
            run(&[], &who, "no.such", None),
            Ok(vec![]),
            "as Kafka, which has nothing to remove either"
        );
        let all = entity(&[(IP, None)]);
        assert_eq!(
            run(&[], &all, "connection_creation_rate", Some(1.0)).map(|records| records.len()),
            Ok(1)
        );
    }
}
