//! Our codec against two others: Apache Kafka's own classes, and the crate kafka-protocol.
//!
//! `golden/kafka-4.3.1.txt` holds every served message in every version as Kafka encodes it, once with its
//! defaults and once with all fields set; `golden/Golden.java` wrote it. `golden/metadata-log.txt` is the
//! metadata log of Kafka's first start, keys and values. kafka-protocol re-reads and re-writes what we write,
//! for those messages and for random changes of them. It allocates whatever count it reads, so it never sees
//! bytes that we did not write.

use std::collections::{BTreeSet, HashMap};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use proptest::prelude::*;
use ringlog::wire::api::{self, ApiKey, Request, Visitor};
use ringlog::wire::consumer_protocol;
use ringlog::wire::control_records::{self, ControlRecord};
use ringlog::wire::group_records::{self, GroupRecord};
use ringlog::wire::metadata_records::{self, MetadataRecord};
use ringlog::wire::transaction_records;
use ringlog::wire::{Decoder, Message, WireError};

/// Versions that kafka-protocol 0.18 lacks; Kafka's own bytes cover them.
const MISSING: &[(ApiKey, i16)] = &[
    (ApiKey::ListOffsets, 11),
    (ApiKey::OffsetCommit, 10),
    (ApiKey::OffsetFetch, 10),
    (ApiKey::DescribeLogDirs, 5),
    (ApiKey::WriteTxnMarkers, 2),
];

/// How the records of `__consumer_offsets` begin, whole: key and value, with the record's type in the place of a version.
const GROUP_RECORDS: &str = "Coordinator";

/// One line of the golden file.
#[derive(Clone, Debug)]
struct Golden {
    name: &'static str,
    version: i16,
    bytes: Bytes,
}

fn unhex(hex: &str) -> Bytes {
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a hex digit") as u8;
    hex.trim_matches('-')
        .as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

fn golden() -> Vec<Golden> {
    let whole = |line: &Golden| line.name.starts_with(GROUP_RECORDS);
    all_golden().into_iter().filter(|line| !whole(line)).collect()
}

fn all_golden() -> Vec<Golden> {
    let parse = |line: &'static str| {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("name, version and bytes");
        Golden {
            name: word(),
            version: word().parse().expect("a version"),
            bytes: unhex(word()),
        }
    };
    include_str!("../golden/kafka-4.3.1.txt")
        .lines()
        .map(parse)
        .collect()
}

/// Decodes and encodes; the bytes written and those left unread.
type Recode = fn(&Bytes, i16) -> Result<(Bytes, usize), WireError>;

fn recode<M: Message>(bytes: &Bytes, version: i16) -> Result<(Bytes, usize), WireError> {
    let mut from = Decoder::new(bytes);
    let message = M::decode_as(&mut from, version)?;
    let mut out = Vec::new();
    message.encode_as(&mut out, version);
    Ok((out.into(), from.remaining()))
}

#[derive(Clone, Copy)]
struct Codec {
    recode: Recode,
    /// The request's key, and whether this is its request.
    api: Option<(ApiKey, bool)>,
    versions: (i16, i16),
}

#[derive(Default)]
struct Codecs(HashMap<&'static str, Codec>);

impl Codecs {
    fn add<M: Message>(&mut self, api: Option<(ApiKey, bool)>) {
        let codec = Codec {
            recode: recode::<M>,
            api,
            versions: (M::MIN_VERSION, M::MAX_VERSION),
        };
        self.0.insert(M::NAME, codec);
    }
}

impl Visitor for Codecs {
    fn request<R: Request>(&mut self) {
        // Kafka knows nothing of our own.
        if R::KEY.is_private() {
            return;
        }
        self.add::<R>(Some((R::KEY, true)));
        self.add::<R::Response>(Some((R::KEY, false)));
    }
}

fn codecs() -> HashMap<&'static str, Codec> {
    macro_rules! records {
        ($codecs:ident $($record:path,)*) => { $( $codecs.add::<$record>(None); )* };
    }
    let mut codecs = Codecs::default();
    api::visit(&mut codecs);
    records! { codecs
        metadata_records::RegisterBrokerRecord,
        metadata_records::UnregisterBrokerRecord,
        metadata_records::TopicRecord,
        metadata_records::PartitionRecord,
        metadata_records::ConfigRecord,
        metadata_records::PartitionChangeRecord,
        metadata_records::FenceBrokerRecord,
        metadata_records::UnfenceBrokerRecord,
        metadata_records::RemoveTopicRecord,
        metadata_records::DelegationTokenRecord,
        metadata_records::UserScramCredentialRecord,
        metadata_records::FeatureLevelRecord,
        metadata_records::ClientQuotaRecord,
        metadata_records::ProducerIdsRecord,
        metadata_records::BrokerRegistrationChangeRecord,
        metadata_records::AccessControlEntryRecord,
        metadata_records::RemoveAccessControlEntryRecord,
        metadata_records::NoOpRecord,
        metadata_records::ZkMigrationStateRecord,
        metadata_records::RemoveUserScramCredentialRecord,
        metadata_records::BeginTransactionRecord,
        metadata_records::EndTransactionRecord,
        metadata_records::AbortTransactionRecord,
        metadata_records::RemoveDelegationTokenRecord,
        metadata_records::RegisterControllerRecord,
        metadata_records::ClearElrRecord,
        control_records::LeaderChangeMessage,
        control_records::SnapshotHeaderRecord,
        control_records::SnapshotFooterRecord,
        control_records::KRaftVersionRecord,
        control_records::VotersRecord,
        consumer_protocol::ConsumerProtocolSubscription,
        consumer_protocol::ConsumerProtocolAssignment,
        transaction_records::TransactionLogKey,
        transaction_records::TransactionLogValue,
        group_records::OffsetCommitKey,
        group_records::OffsetCommitValue,
        group_records::GroupMetadataKey,
        group_records::GroupMetadataValue,
        group_records::ConsumerGroupMetadataKey,
        group_records::ConsumerGroupMetadataValue,
        group_records::ConsumerGroupPartitionMetadataKey,
        group_records::ConsumerGroupPartitionMetadataValue,
        group_records::ConsumerGroupMemberMetadataKey,
        group_records::ConsumerGroupMemberMetadataValue,
        group_records::ConsumerGroupTargetAssignmentMetadataKey,
        group_records::ConsumerGroupTargetAssignmentMetadataValue,
        group_records::ConsumerGroupTargetAssignmentMemberKey,
        group_records::ConsumerGroupTargetAssignmentMemberValue,
        group_records::ConsumerGroupCurrentMemberAssignmentKey,
        group_records::ConsumerGroupCurrentMemberAssignmentValue,
        group_records::ConsumerGroupRegularExpressionKey,
        group_records::ConsumerGroupRegularExpressionValue,
    }
    codecs.0
}

/// What kafka-protocol makes of our bytes.
fn through_theirs(api: ApiKey, request: bool, version: i16, ours: &Bytes) -> Result<Bytes, String> {
    let key = theirs::ApiKey::try_from(api as i16).map_err(|()| format!("no {api}"))?;
    let mut bytes = ours.clone();
    let mut out = BytesMut::new();
    let recoded = if request {
        theirs::RequestKind::decode(key, &mut bytes, version).and_then(|kind| kind.encode(&mut out, version))
    } else {
        theirs::ResponseKind::decode(key, &mut bytes, version).and_then(|kind| kind.encode(&mut out, version))
    };
    recoded.map_err(|error| error.to_string())?;
    if bytes.is_empty() {
        Ok(out.freeze())
    } else {
        Err(format!("{} bytes unread", bytes.len()))
    }
}

/// Where ours and kafka-protocol differ about bytes we wrote.
fn disagreement(codec: &Codec, version: i16, ours: &Bytes) -> Option<String> {
    let (api, request) = codec.api?;
    if MISSING.contains(&(api, version)) {
        return None;
    }
    match through_theirs(api, request, version, ours) {
        Ok(theirs) if theirs == ours => None,
        Ok(theirs) => Some(format!(
            "{api} v{version}\n ours   {ours:02x?}\n theirs {theirs:02x?}"
        )),
        Err(error) => Some(format!("{api} v{version}: {error}\n ours {ours:02x?}")),
    }
}

#[test]
fn every_message_and_version_is_covered() {
    let lines = golden();
    for (name, codec) in codecs() {
        let covered: BTreeSet<i16> = lines
            .iter()
            .filter(|line| line.name == name)
            .map(|line| line.version)
            .collect();
        let (min, max) = codec.versions;
        assert_eq!(covered, (min..=max).collect(), "{name}");
    }
}

#[test]
fn kafkas_bytes_come_back_unchanged() {
    let codecs = codecs();
    for line in golden() {
        let recoded = (codecs[line.name].recode)(&line.bytes, line.version);
        assert_eq!(recoded, Ok((line.bytes, 0)), "{} v{}", line.name, line.version);
    }
}

#[test]
fn kafka_protocol_reads_and_writes_the_same() {
    let codecs = codecs();
    let differences: Vec<String> = golden()
        .iter()
        .filter_map(|line| disagreement(&codecs[line.name], line.version, &line.bytes))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn the_log_of_kafkas_first_start_replays() {
    let mut records = 0;
    for line in include_str!("../golden/metadata-log.txt").lines() {
        let (key, value) = line.split_once(' ').expect("key and value");
        let (key, value) = (unhex(key), unhex(value));
        let mut out = Vec::new();
        if key.is_empty() {
            let version = i16::from(value[2]);
            MetadataRecord::decode(&value)
                .expect("a metadata record")
                .encode(&mut out, version);
        } else {
            let record = ControlRecord::decode(&key, &value).expect("a control record");
            assert_eq!(key, record.key()[..]);
            record.encode(&mut out);
        }
        assert_eq!(out, value, "{line}");
        records += 1;
    }
    assert!(records > 10);
}

#[test]
fn the_records_of_groups_are_kafkas() {
    let lines: Vec<Golden> = all_golden()
        .into_iter()
        .filter(|line| line.name.starts_with(GROUP_RECORDS))
        .collect();
    let mut served = 0;
    for pair in lines.chunks(2) {
        let [key, value] = pair else {
            panic!("a key and a value")
        };
        assert_eq!(
            (key.name, value.name, key.version),
            ("CoordinatorKey", "CoordinatorValue", value.version)
        );
        let record = GroupRecord::decode(&key.bytes, Some(&value.bytes)).expect("a record");
        let gone = GroupRecord::decode(&key.bytes, None).expect("a tombstone");
        if record == GroupRecord::Other(key.version) {
            assert_eq!(gone, record);
            continue;
        }
        // The oldest type is read, and written as the one that took its place.
        let is_oldest = key.version == 0;
        let expected = match is_oldest {
            true => [&[0, 1], &key.bytes[2..]].concat(),
            false => key.bytes.to_vec(),
        };
        assert_eq!(gone.encode(), (expected.clone(), None), "type {}", key.version);
        let (key_bytes, value_bytes) = record.encode();
        assert_eq!(key_bytes, expected, "type {}", key.version);
        assert!(
            is_oldest || value_bytes.as_deref() == Some(&value.bytes[..]),
            "type {}",
            key.version
        );
        served += 1;
    }
    assert_eq!((served, lines.len()), (10, 2 * 22));
}

/// A golden line with a few bytes changed, inserted or cut off.
fn mutated() -> impl Strategy<Value = Golden> {
    let lines = golden();
    let byte = prop_oneof![3 => 0u8..4, 1 => Just(0xff), 3 => any::<u8>()];
    let edit = (any::<proptest::sample::Index>(), byte, 0..10u8);
    (
        proptest::sample::select(lines),
        proptest::collection::vec(edit, 1..6),
    )
        .prop_map(|(mut line, edits)| {
            let mut bytes = line.bytes.to_vec();
            for (index, byte, kind) in edits {
                let position = index.index(bytes.len() + 1);
                match kind {
                    0 => bytes.insert(position, byte),
                    1 => bytes.truncate(position),
                    _ if position < bytes.len() => bytes[position] = byte,
                    _ => {}
                }
            }
            line.bytes = bytes.into();
            line
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Changed messages are refused, or read the same by both. In no version do they panic.
    #[test]
    fn changed_messages_are_refused_or_agreed_on(line in mutated()) {
        let codecs = codecs();
        let codec = &codecs[line.name];
        for version in codec.versions.0..=codec.versions.1 {
            let Ok((ours, _)) = (codec.recode)(&line.bytes, version) else { continue };
            prop_assert_eq!((codec.recode)(&ours, version), Ok((ours.clone(), 0)));
            let difference = disagreement(codec, version, &ours);
            prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
        }
    }
}
