//! What holds for every message: no bytes make the decoder panic, and what it accepts it can write and read again.

use bytes::Bytes;
use proptest::prelude::*;

use super::api::Request;
use super::primitives::Decoder;
use super::schema::{Message, versions};

/// Calls a generic function with every served request.
macro_rules! for_each_request {
    ($function:ident $arguments:tt) => {
        $function::<$crate::wire::produce::ProduceRequest>$arguments;
        $function::<$crate::wire::fetch::FetchRequest>$arguments;
        $function::<$crate::wire::list_offsets::ListOffsetsRequest>$arguments;
        $function::<$crate::wire::metadata::MetadataRequest>$arguments;
        $function::<$crate::wire::find_coordinator::FindCoordinatorRequest>$arguments;
        $function::<$crate::wire::api_versions::ApiVersionsRequest>$arguments;
        $function::<$crate::wire::create_topics::CreateTopicsRequest>$arguments;
        $function::<$crate::wire::delete_topics::DeleteTopicsRequest>$arguments;
        $function::<$crate::wire::delete_records::DeleteRecordsRequest>$arguments;
        $function::<$crate::wire::init_producer_id::InitProducerIdRequest>$arguments;
        $function::<$crate::wire::offset_for_leader_epoch::OffsetForLeaderEpochRequest>$arguments;
        $function::<$crate::wire::describe_configs::DescribeConfigsRequest>$arguments;
        $function::<$crate::wire::alter_configs::AlterConfigsRequest>$arguments;
        $function::<$crate::wire::describe_log_dirs::DescribeLogDirsRequest>$arguments;
        $function::<$crate::wire::create_partitions::CreatePartitionsRequest>$arguments;
        $function::<$crate::wire::elect_leaders::ElectLeadersRequest>$arguments;
        $function::<$crate::wire::incremental_alter_configs::IncrementalAlterConfigsRequest>$arguments;
        $function::<$crate::wire::describe_cluster::DescribeClusterRequest>$arguments;
        $function::<$crate::wire::describe_topic_partitions::DescribeTopicPartitionsRequest>$arguments;
    };
}
pub(crate) use for_each_request;

/// Decodes anything without a panic; what decodes is written and read again unchanged.
fn survive<M: Message>(bytes: &Bytes) {
    for version in versions::<M>() {
        let Ok(message) = M::decode_as(&mut Decoder::new(bytes), version) else { continue };
        let mut out = Vec::new();
        message.encode_as(&mut out, version);
        let out = Bytes::from(out);
        let mut from = Decoder::new(&out);
        let again = M::decode_as(&mut from, version);
        // A float may be no number, which equals nothing: what is written is compared instead.
        let mut twice = Vec::new();
        again.unwrap_or_default().encode_as(&mut twice, version);
        assert_eq!((out.as_ref(), from.remaining()), (twice.as_ref(), 0), "{} v{version}", M::NAME);
    }
}

/// Small numbers are frequent in real messages: lengths, counts, tags. Random bytes alone rarely get far.
fn bytes() -> impl Strategy<Value = Bytes> {
    let byte = prop_oneof![4 => Just(0u8), 4 => 1u8..4, 1 => Just(0xff), 2 => any::<u8>()];
    proptest::collection::vec(byte, 0..400).prop_map(Bytes::from)
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in bytes()) {
        fn both<R: Request>(bytes: &Bytes) {
            survive::<R>(bytes);
            survive::<R::Response>(bytes);
        }
        for_each_request!(both(&bytes));
    }
}
