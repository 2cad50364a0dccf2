//! DescribeClientQuotas and AlterClientQuotas (KIP-546).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::context::Context;
use crate::metadata::controller::{MAX_RECORDS, Outcome, Refusal, quotas};
use crate::metadata::quotas::{CLIENT_ID, IP, QuotaEntity, Quotas, USER};
use crate::metadata::records::Record;
use crate::wire::ErrorCode;
use crate::wire::{alter_client_quotas as alter, describe_client_quotas as describe};

/// The name given must be the entity's.
const MATCH_EXACT: i8 = 0;
/// The entity must be the default of its kind.
const MATCH_DEFAULT: i8 = 1;
/// Any name, and the default too.
const MATCH_SPECIFIED: i8 = 2;

/// What an entity has to have to be described.
#[derive(Default)]
struct Filter<'a> {
    /// Kinds with the name asked for, `None` for the default.
    exact: BTreeMap<&'a str, Option<&'a str>>,
    /// Kinds with any name.
    any: BTreeSet<&'a str>,
}

impl<'a> Filter<'a> {
    fn of(components: &'a [describe::ComponentData]) -> Result<Filter<'a>, Refusal> {
        let mut filter = Filter::default();
        for component in components {
            filter.add(component)?;
        }
        if filter.names(IP) && (filter.names(USER) || filter.names(CLIENT_ID)) {
            return refused(
                "Invalid entity filter component combination. IP filter component should not be used with user or clientId \
                 filter component.",
            );
        }
        Ok(filter)
    }

    fn names(&self, kind: &str) -> bool {
        self.exact.contains_key(kind) || self.any.contains(kind)
    }

    fn add(&mut self, component: &'a describe::ComponentData) -> Result<(), Refusal> {
        let kind = component.entity_type.as_str();
        if kind.is_empty() {
            return refused("Invalid empty entity type.");
        }
        if self.names(kind) {
            return refused(format!(
                "Entity type {kind} cannot appear more than once in the filter."
            ));
        }
        if ![USER, CLIENT_ID, IP].contains(&kind) {
            let message = format!("Unsupported entity type {kind}");
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
        }
        let name = component.r#match.as_deref();
        match component.match_type {
            MATCH_EXACT if name.is_none() => {
                return refused("Request specified MATCH_TYPE_EXACT, but set match string to null.");
            }
            MATCH_DEFAULT if name.is_some() => {
                return refused("Request specified MATCH_TYPE_DEFAULT, but also specified a match string.");
            }
            MATCH_SPECIFIED if name.is_some() => {
                return refused("Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.");
            }
            MATCH_EXACT | MATCH_DEFAULT => {
                self.exact.insert(kind, name);
            }
            MATCH_SPECIFIED => {
                self.any.insert(kind);
            }
            other => return refused(format!("Unknown match type {other}")),
        }
        Ok(())
    }

    /// Whether the entity has all that is asked for; if strict, nothing else.
    fn matches(&self, entity: &QuotaEntity, strict: bool) -> bool {
        let exact = |(kind, name): (&&str, &Option<&str>)| {
            entity.get(*kind).is_some_and(|own| own.as_deref() == *name)
        };
        (!strict || entity.len() == self.exact.len() + self.any.len())
            && self.exact.iter().all(exact)
            && self.any.iter().all(|kind| entity.contains_key(*kind))
    }
}

fn refused<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorCode::InvalidRequest, message))
}

/// DescribeClientQuotas.
pub fn describe(
    ctx: &Context<'_>,
    request: &describe::DescribeClientQuotasRequest,
) -> describe::DescribeClientQuotasResponse {
    match Filter::of(&request.components) {
        Ok(filter) => {
            let all = ctx.image.quotas();
            let wanted = all.filter(|(entity, _)| filter.matches(entity, request.strict));
            describe::DescribeClientQuotasResponse {
                entries: Some(wanted.map(entry).collect()),
                ..Default::default()
            }
        }
        Err(refusal) => describe::DescribeClientQuotasResponse {
            error_code: refusal.code.into(),
            error_message: Some(refusal.message),
            entries: None,
            ..Default::default()
        },
    }
}

fn entry((entity, quotas): (&QuotaEntity, &Quotas)) -> describe::EntryData {
    let name = |(kind, name): (&String, &Option<String>)| describe::EntityData {
        entity_type: kind.clone(),
        entity_name: name.clone(),
    };
    let value = |(key, value): (&String, &f64)| describe::ValueData {
        key: key.clone(),
        value: *value,
    };
    describe::EntryData {
        entity: entity.iter().map(name).collect(),
        values: quotas.iter().map(value).collect(),
    }
}

/// AlterClientQuotas: about every entity by itself, all its changes or none. Named again, an entity keeps what it was given the first time,
/// and the client is told of the second; so it is when a limit is named twice, which changes nothing.
pub fn alter(
    ctx: &Context<'_>,
    request: &alter::AlterClientQuotasRequest,
) -> Outcome<alter::AlterClientQuotasResponse> {
    let mut outcome = Outcome::unchanged(alter::AlterClientQuotasResponse::default());
    let mut seen = HashSet::new();
    let mut repeated = HashSet::new();
    let mut rows: Vec<(QuotaEntity, Result<(), Refusal>)> = Vec::new();
    for wanted in &request.entries {
        let own = |data: &alter::EntityData| (data.entity_type.clone(), data.entity_name.clone());
        let entity: QuotaEntity = wanted.entity.iter().map(own).collect();
        if !seen.insert(entity.clone()) {
            repeated.insert(entity);
            continue;
        }
        let decided = decide(ctx, &entity, &wanted.ops, outcome.records.len());
        let told = decided.map(|records| outcome.records.extend(records));
        rows.push((entity, told));
    }
    let told = |(entity, result): (QuotaEntity, Result<(), Refusal>)| {
        let result = match repeated.contains(&entity) {
            true => Err(twice(&entity)),
            false => result,
        };
        row(entity, result)
    };
    outcome.response.entries = rows.into_iter().map(told).collect();
    if request.validate_only {
        outcome.records.clear();
    }
    outcome
}

fn decide(
    ctx: &Context<'_>,
    entity: &QuotaEntity,
    ops: &[alter::OpData],
    so_far: usize,
) -> Result<Vec<Record>, Refusal> {
    let mut changes = BTreeMap::new();
    for op in ops {
        let value = (!op.remove).then_some(op.value);
        if changes.insert(op.key.as_str(), value).is_some() {
            return Err(twice(entity));
        }
    }
    let records = quotas::alter(ctx.view(), entity, &changes)?;
    if so_far + records.len() > MAX_RECORDS {
        let message = format!("at most {MAX_RECORDS} quotas can be changed in one request");
        return Err(Refusal::new(ErrorCode::PolicyViolation, message));
    }
    Ok(records)
}

/// Kafka says the same of an entity named twice and of a limit named twice.
fn twice(entity: &QuotaEntity) -> Refusal {
    // In the order of Kafka's own map.
    let ordered = [IP, CLIENT_ID, USER]
        .into_iter()
        .filter_map(|kind| Some((kind, entity.get(kind)?)));
    let known: Vec<_> = ordered
        .map(|(kind, name)| format!("{kind}={}", name.as_deref().unwrap_or("null")))
        .collect();
    let message = format!(
        "Ignoring duplicate entity ClientQuotaEntity(entries={{{}}})",
        known.join(", ")
    );
    Refusal::new(ErrorCode::InvalidRequest, message)
}

fn row(entity: QuotaEntity, result: Result<(), Refusal>) -> alter::EntryDataResult {
    let (error_code, error_message) = match result {
        Ok(()) => (ErrorCode::None.into(), None),
        Err(refusal) => (refusal.code.into(), Some(refusal.message)),
    };
    let own = |(entity_type, entity_name)| alter::EntityData {
        entity_type,
        entity_name,
    };
    alter::EntryDataResult {
        error_code,
        error_message,
        entity: entity.into_iter().map(own).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;

    type Pairs<'a> = &'a [(&'a str, Option<&'a str>)];

    fn wish(entity: Pairs<'_>, ops: &[(&str, Option<f64>)]) -> alter::EntryData {
        let name = |(kind, name): &(&str, Option<&str>)| alter::EntityData {
            entity_type: (*kind).into(),
            entity_name: name.map(str::to_owned),
        };
        let op = |(key, value): &(&str, Option<f64>)| alter::OpData {
            key: (*key).into(),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
        };
        alter::EntryData {
            entity: entity.iter().map(name).collect(),
            ops: ops.iter().map(op).collect(),
        }
    }

    fn change(
        log: &[Record],
        entries: Vec<alter::EntryData>,
        validate_only: bool,
    ) -> (Vec<i16>, Vec<Record>) {
        let request = alter::AlterClientQuotasRequest {
            entries,
            validate_only,
        };
        let outcome = alter(&World::new(log, &[]).context(), &request);
        let codes = outcome.response.entries.iter().map(|row| row.error_code);
        (codes.collect(), outcome.records)
    }

    /// The quotas of two users, a client, a user's client and an address.
    fn world() -> World {
        let rate: &[(&str, Option<f64>)] = &[("producer_byte_rate", Some(1000.0))];
        let entries = vec![
            wish(&[(USER, Some("a"))], rate),
            wish(&[(USER, None)], rate),
            wish(&[(CLIENT_ID, Some("c"))], rate),
            wish(&[(USER, Some("a")), (CLIENT_ID, Some("c"))], rate),
            wish(
                &[(IP, Some("10.0.0.1"))],
                &[("connection_creation_rate", Some(5.0))],
            ),
        ];
        let (codes, records) = change(&[], entries, false);
        assert_eq!(codes, [0; 5]);
        World::new(&records, &[])
    }

    fn ask(
        components: &[(&str, i8, Option<&str>)],
        strict: bool,
    ) -> Result<Vec<String>, (i16, Option<Vec<describe::EntryData>>)> {
        let component = |(kind, match_type, name): &(&str, i8, Option<&str>)| describe::ComponentData {
            entity_type: (*kind).into(),
            match_type: *match_type,
            r#match: name.map(str::to_owned),
        };
        let request = describe::DescribeClientQuotasRequest {
            components: components.iter().map(component).collect(),
            strict,
        };
        let response = describe(&world().context(), &request);
        if response.error_code != 0 {
            return Err((response.error_code, response.entries));
        }
        let name = |data: &describe::EntityData| {
            format!(
                "{}:{}",
                data.entity_type,
                data.entity_name.as_deref().unwrap_or("*")
            )
        };
        let told = response.entries.expect("no error");
        Ok(told
            .iter()
            .map(|entry| entry.entity.iter().map(name).collect::<Vec<_>>().join("+"))
            .collect())
    }

    #[test]
    fn entities_are_found_by_kind_and_name() {
        for (components, strict, want) in [
            (
                &[][..],
                false,
                &[
                    "client-id:c",
                    "client-id:c+user:a",
                    "ip:10.0.0.1",
                    "user:*",
                    "user:a",
                ][..],
            ),
            (&[], true, &[]),
            (
                &[(USER, MATCH_EXACT, Some("a"))],
                false,
                &["client-id:c+user:a", "user:a"],
            ),
            (&[(USER, MATCH_EXACT, Some("a"))], true, &["user:a"]),
            (&[(USER, MATCH_DEFAULT, None)], false, &["user:*"]),
            (&[(USER, MATCH_SPECIFIED, None)], true, &["user:*", "user:a"]),
            (
                &[(USER, MATCH_SPECIFIED, None), (CLIENT_ID, MATCH_EXACT, Some("c"))],
                true,
                &["client-id:c+user:a"],
            ),
            (&[(IP, MATCH_SPECIFIED, None)], true, &["ip:10.0.0.1"]),
            (&[(IP, MATCH_EXACT, Some("10.0.0.2"))], true, &[]),
        ] {
            let want = want.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(ask(components, strict), Ok(want), "{components:?} {strict}");
        }
    }

    #[test]
    fn filters_that_make_no_sense_are_refused() {
        for (components, want) in [
            (&[("", MATCH_EXACT, Some("a"))][..], 42),
            (&[("group", MATCH_EXACT, Some("a"))], 35),
            (&[(USER, MATCH_EXACT, None)], 42),
            (&[(USER, MATCH_DEFAULT, Some("a"))], 42),
            (&[(USER, MATCH_SPECIFIED, Some("a"))], 42),
            (&[(USER, 3, None)], 42),
            (&[(USER, MATCH_DEFAULT, None), (USER, MATCH_SPECIFIED, None)], 42),
            (&[(IP, MATCH_DEFAULT, None), (USER, MATCH_SPECIFIED, None)], 42),
        ] {
            assert_eq!(ask(components, false), Err((want, None)), "{components:?}");
        }
    }

    #[test]
    fn every_entity_is_answered_by_itself() {
        let rate = |value| [("producer_byte_rate", Some(value))];
        let entries = vec![
            wish(&[(USER, Some("a"))], &rate(-1.0)),
            wish(&[(USER, Some("b"))], &rate(5.0)),
            wish(&[(USER, Some("c"))], &[rate(1.0), rate(2.0)].concat()),
        ];
        let (codes, records) = change(&[], entries.clone(), false);
        assert_eq!((codes, records.len()), (vec![42, 0, 42], 1));
        assert_eq!(change(&[], entries, true), (vec![42, 0, 42], vec![]));
    }

    #[test]
    fn an_entity_named_twice_keeps_the_first_wish_and_is_told_so() {
        let entity: Pairs<'_> = &[(USER, None), (CLIENT_ID, Some("c"))];
        let rate = |value| wish(entity, &[("producer_byte_rate", Some(value))]);
        let request = alter::AlterClientQuotasRequest {
            entries: vec![rate(5.0), rate(6.0)],
            validate_only: false,
        };
        let outcome = alter(&World::new(&[], &[]).context(), &request);
        let [row] = &outcome.response.entries[..] else {
            panic!("one answer: {outcome:?}");
        };
        let message = "Ignoring duplicate entity ClientQuotaEntity(entries={client-id=c, user=null})";
        assert_eq!(
            (row.error_code, row.error_message.as_deref()),
            (42, Some(message))
        );
        let image = World::new(&outcome.records, &[]).image;
        let values: Vec<_> = image
            .quotas()
            .flat_map(|(_, quotas)| quotas.values().copied())
            .collect();
        assert_eq!(values, [5.0]);
    }
}
