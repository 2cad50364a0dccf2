//! DescribeClientQuotas: quotas of users, clients and addresses (KIP-546).

use crate::wire::schema::schema;

schema! {
    message DescribeClientQuotasRequest 0-1 flexible 1+ {
        components: Vec<ComponentData>, 0+;
        strict: bool, 0+;
    }

    part ComponentData {
        entity_type: String, 0+;
        match_type: i8, 0+;
        r#match: Option<String>, 0+;
    }

    message DescribeClientQuotasResponse 0-1 flexible 1+ {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
        entries: Option<Vec<EntryData>>, 0+;
    }

    part EntryData {
        entity: Vec<EntityData>, 0+;
        values: Vec<ValueData>, 0+;
    }

    part EntityData {
        entity_type: String, 0+;
        entity_name: Option<String>, 0+;
    }

    part ValueData {
        key: String, 0+;
        value: f64, 0+;
    }
}
