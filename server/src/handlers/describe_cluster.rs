//! DescribeCluster: the cluster's id and its one broker, which is the controller too.

use super::context::{CLUSTER_OPERATIONS, Context};
use crate::wire::ErrorCode;
use crate::wire::describe_cluster::*;

/// Brokers are asked for, not controllers (KIP-919).
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Describes the cluster.
pub fn handle(ctx: &Context<'_>, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let refused = |code: ErrorCode, message: &str| DescribeClusterResponse {
        error_code: code.into(),
        error_message: Some(message.to_owned()),
        ..Default::default()
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message = "The request was sent to an endpoint of the wrong type: this is a broker's.";
            return refused(ErrorCode::MismatchedEndpointType, message);
        }
        _ => return refused(ErrorCode::UnsupportedEndpointType, "Unsupported endpoint type."),
    }
    let me = DescribeClusterBroker {
        broker_id: ctx.node.id,
        host: ctx.node.host.clone(),
        port: i32::from(ctx.node.port),
        rack: ctx.node.rack.clone(),
        is_fenced: false,
    };
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: ctx.node.cluster_id.clone(),
        controller_id: ctx.node.id,
        brokers: vec![me],
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => i32::MIN,
        },
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;

    #[test]
    fn one_broker_is_the_cluster() {
        let world = World::new(&[], &[]);
        let mut request = DescribeClusterRequest::default();
        let response = handle(&world.context(), &request);
        let broker = &response.brokers[0];
        assert_eq!(
            (broker.broker_id, broker.host.as_str(), broker.port),
            (1, "h", 9092)
        );
        assert_eq!(
            (response.cluster_id.as_str(), response.controller_id),
            ("cluster", 1)
        );
        assert_eq!(response.cluster_authorized_operations, i32::MIN);
        request.include_cluster_authorized_operations = true;
        assert_eq!(
            handle(&world.context(), &request).cluster_authorized_operations,
            8096
        );
        for (endpoint_type, want) in [(2, 114), (3, 115)] {
            request.endpoint_type = endpoint_type;
            assert_eq!(handle(&world.context(), &request).error_code, want);
        }
    }
}
