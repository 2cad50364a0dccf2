//! What a topic takes on its brokers' disks, as they tell it.

use kafka_protocol::messages::DescribeLogDirsRequest;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;

use super::admin::topic_name;
use super::connection::{Connection, check};
use super::topic::Topic;
use crate::error::Error;

/// Bytes of all partitions together.
///
/// # Errors
/// A broker's, by name.
pub async fn size_bytes(topic: &Topic) -> Result<u64, Error> {
    let mut bytes = 0;
    for (leader, partitions) in topic.by_leader() {
        let mut connection = Connection::open(leader).await?;
        let asked = DescribableLogDirTopic::default()
            .with_topic(topic_name(&topic.name))
            .with_partitions(partitions);
        let request = DescribeLogDirsRequest::default().with_topics(Some(vec![asked]));
        let (answer, _) = connection.call(&request, 4).await?;
        for result in &answer.results {
            check("DescribeLogDirs", result.error_code, None)?;
            let partitions = result.topics.iter().flat_map(|topic| &topic.partitions);
            bytes += partitions
                .map(|partition| partition.partition_size.max(0) as u64)
                .sum::<u64>();
        }
    }
    Ok(bytes)
}
