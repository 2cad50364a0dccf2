//! AlterClientQuotas: set and remove quotas of users, clients and addresses (KIP-546).

use crate::wire::schema::schema;

schema! {
    message AlterClientQuotasRequest 0-1 flexible 1+ {
        entries: Vec<EntryData>, 0+;
        validate_only: bool, 0+;
    }

    part EntryData {
        entity: Vec<EntityData>, 0+;
        ops: Vec<OpData>, 0+;
    }

    part EntityData {
        entity_type: String, 0+;
        entity_name: Option<String>, 0+;
    }

    part OpData {
        key: String, 0+;
        value: f64, 0+;
        remove: bool, 0+;
    }

    message AlterClientQuotasResponse 0-1 flexible 1+ {
        throttle_time_ms: i32, 0+;
        entries: Vec<EntryDataResult>, 0+;
    }

    part EntryDataResult {
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
        entity: Vec<EntityData>, 0+;
    }
}
