//! Quotas of users, clients and addresses, as the metadata log has them (KIP-546). How they are kept to is in [`crate::quotas`].

use std::collections::BTreeMap;

use super::image::MetadataImage;
use crate::wire::metadata_records::ClientQuotaRecord;

/// The kind of entity that is a user.
pub const USER: &str = "user";
/// The kind of entity that is a client, by the name it gives itself.
pub const CLIENT_ID: &str = "client-id";
/// The kind of entity that is the address of a client.
pub const IP: &str = "ip";

/// Whom quotas are for: kinds of entities and a name of each, `None` for all that have no quota of their own.
pub type QuotaEntity = BTreeMap<String, Option<String>>;
/// Limits by name.
pub type Quotas = BTreeMap<String, f64>;

impl MetadataImage {
    /// Every entity with quotas, and these.
    pub fn quotas(&self) -> impl Iterator<Item = (&QuotaEntity, &Quotas)> {
        self.quotas.iter()
    }

    /// The quotas of one entity; `None` when it has none.
    pub fn quotas_of(&self, entity: &QuotaEntity) -> Option<&Quotas> {
        self.quotas.get(entity)
    }

    /// The quotas of addresses.
    pub fn quotas_of_addresses(&self) -> impl Iterator<Item = (&QuotaEntity, &Quotas)> {
        let first = QuotaEntity::from([(IP.to_owned(), None)]);
        let from = self.quotas.iter_from(&first);
        from.take_while(|(entity, _)| entity.contains_key(IP))
    }

    /// Tells one state of all quotas from another while the broker runs; 0 when there are none.
    pub fn quotas_epoch(&self) -> u64 {
        match self.quotas.is_empty() {
            true => 0,
            false => self.quota_changes,
        }
    }

    pub(super) fn set_quota(&mut self, record: ClientQuotaRecord) {
        let of = |data: crate::wire::metadata_records::EntityData| (data.entity_type, data.entity_name);
        let entity: QuotaEntity = record.entity.into_iter().map(of).collect();
        let mut quotas = self.quotas.get(&entity).cloned().unwrap_or_default();
        match record.remove {
            true => quotas.remove(&record.key),
            false => quotas.insert(record.key, record.value),
        };
        self.quota_changes += 1;
        match quotas.is_empty() {
            true => self.quotas.remove(&entity),
            false => self.quotas.insert(entity, quotas),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::controller::testing::image;
    use crate::metadata::records::Record;
    use crate::wire::metadata_records::EntityData;

    fn quota(user: Option<&str>, key: &str, value: Option<f64>) -> Record {
        let entity = EntityData {
            entity_type: USER.to_owned(),
            entity_name: user.map(str::to_owned),
        };
        let record = ClientQuotaRecord {
            entity: vec![entity],
            key: key.to_owned(),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
        };
        record.into()
    }

    #[test]
    fn quotas_are_set_changed_and_removed() {
        let records = [
            quota(Some("a"), "producer_byte_rate", Some(5.0)),
            quota(None, "producer_byte_rate", Some(7.0)),
            quota(Some("a"), "producer_byte_rate", Some(6.0)),
            quota(Some("a"), "request_percentage", Some(1.5)),
            quota(None, "producer_byte_rate", None),
            quota(None, "producer_byte_rate", None),
        ];
        let image = image(&records);
        let entity = QuotaEntity::from([(USER.to_owned(), Some("a".to_owned()))]);
        let all: Vec<_> = image.quotas().collect();
        let quotas = Quotas::from([
            ("producer_byte_rate".to_owned(), 6.0),
            ("request_percentage".to_owned(), 1.5),
        ]);
        assert_eq!(all, [(&entity, &quotas)]);
        assert_eq!(image.quotas_of(&entity), Some(&quotas));
        assert!(image.unserved().is_empty());
    }
}
