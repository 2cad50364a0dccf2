//! DescribeTransactions and ListTransactions (KIP-664, KIP-994, KIP-1152).

use std::collections::HashSet;

use crate::expression;
use crate::wire::ErrorCode;
use crate::wire::describe_transactions::{TopicData, TransactionState as Described};
use crate::wire::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse, TransactionState as Listed,
};

use super::state::TxnState;
use super::transaction::Transaction;
use super::{Coordinator, Ctx};

impl<T> Coordinator<T> {
    /// DescribeTransactions of one id.
    pub(super) fn describe(&self, transactional_id: String) -> Described {
        let transaction = self.transactions.get(transactional_id.as_str());
        let Some(transaction) = transaction else {
            let error = match transactional_id.is_empty() {
                true => ErrorCode::InvalidRequest,
                false => ErrorCode::TransactionalIdNotFound,
            };
            return Described {
                error_code: error.code(),
                transactional_id,
                ..Default::default()
            };
        };
        let topics = transaction.partitions.iter();
        Described {
            error_code: ErrorCode::None.code(),
            transactional_id,
            transaction_state: transaction.state.name().to_owned(),
            transaction_timeout_ms: transaction.timeout_ms,
            transaction_start_time_ms: transaction.start_ms,
            producer_id: transaction.producer_id,
            producer_epoch: transaction.producer_epoch,
            topics: topics
                .map(|(topic, partitions)| TopicData {
                    topic: topic.clone(),
                    partitions: partitions.iter().copied().collect(),
                })
                .collect(),
        }
    }

    /// ListTransactions. What is listed passes all filters that are given. One of a duration lets all ids pass that have begun nothing, as in Kafka.
    pub(super) fn list(&self, ctx: &Ctx<'_>, request: ListTransactionsRequest) -> ListTransactionsResponse {
        let pattern = request.transactional_id_pattern.unwrap_or_default();
        let pattern = match pattern.as_str() {
            "" => None,
            pattern => match expression::compile(pattern) {
                Ok(pattern) => Some(pattern),
                Err(_) => {
                    return ListTransactionsResponse {
                        error_code: ErrorCode::InvalidRegularExpression.code(),
                        ..Default::default()
                    };
                }
            },
        };
        let states: HashSet<&str> = request.state_filters.iter().map(String::as_str).collect();
        let producers: HashSet<i64> = request.producer_id_filters.into_iter().collect();
        let duration_ms = request.duration_filter;
        let wanted = |id: &str, transaction: &Transaction| {
            let age_ms = ctx.wall_ms.saturating_sub(transaction.start_ms);
            (states.is_empty() || states.contains(transaction.state.name()))
                && (producers.is_empty() || producers.contains(&transaction.producer_id))
                && (duration_ms < 0 || age_ms > duration_ms)
                && pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
        };
        let all = self.transactions.iter();
        let listed = all.filter(|(id, transaction)| wanted(id, transaction));
        ListTransactionsResponse {
            unknown_state_filters: unknown_states(&request.state_filters),
            transaction_states: listed
                .map(|(id, transaction)| Listed {
                    transactional_id: id.to_string(),
                    producer_id: transaction.producer_id,
                    transaction_state: transaction.state.name().to_owned(),
                })
                .collect(),
            ..Default::default()
        }
    }
}
/// The names among these that no state of a transaction has.
pub fn unknown_states(names: &[String]) -> Vec<String> {
    let unknown = names.iter().filter(|name| !TxnState::is_name(name));
    unknown.cloned().collect()
}
