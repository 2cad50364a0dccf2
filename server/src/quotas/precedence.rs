//! Which quota a client has: of all that match, the most specific one (KIP-55).
//!
//! | order | set for | shared by |
//! |---|---|---|
//! | 1 | this user and this client id | connections of both |
//! | 2 | this user, any client id | connections of both |
//! | 3 | this user | connections of the user |
//! | 4 | any user, this client id | connections of both |
//! | 5 | any user, any client id | connections of both |
//! | 6 | any user | connections of the user |
//! | 7 | this client id | connections with the client id |
//! | 8 | any client id | connections with the client id |
//!
//! A client that gives itself no name has none of those that are for client ids.

use super::QuotaKind;
use crate::metadata::image::MetadataImage;
use crate::metadata::quotas::{CLIENT_ID, QuotaEntity, USER};

/// Whose connections share one rate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    /// Those of a user, of a client id, or of both; empty for any.
    Client {
        /// The user.
        user: String,
        /// What its clients call themselves.
        client_id: String,
    },
    /// Those from an address.
    Address(std::net::IpAddr),
}

/// A level of the table: whether the user is this one, any, or of no matter; and the client id.
type Level = (Option<Named>, Option<Named>);

#[derive(Clone, Copy, PartialEq)]
enum Named {
    This,
    Any,
}

const LEVELS: [Level; 8] = [
    (Some(Named::This), Some(Named::This)),
    (Some(Named::This), Some(Named::Any)),
    (Some(Named::This), None),
    (Some(Named::Any), Some(Named::This)),
    (Some(Named::Any), Some(Named::Any)),
    (Some(Named::Any), None),
    (None, Some(Named::This)),
    (None, Some(Named::Any)),
];

/// The limit that holds for a client, and who shares it; `None` when there is none.
pub fn find(image: &MetadataImage, kind: QuotaKind, user: &str, client_id: &str) -> Option<(Entity, f64)> {
    for (of_user, of_client) in LEVELS {
        if of_client.is_some() && client_id.is_empty() {
            continue;
        }
        let mut entity = QuotaEntity::new();
        let mut name = |kind: &str, named: Option<Named>, this: &str| {
            if let Some(named) = named {
                entity.insert(kind.to_owned(), (named == Named::This).then(|| this.to_owned()));
            }
        };
        name(USER, of_user, user);
        name(CLIENT_ID, of_client, client_id);
        if let Some(limit) = image.quotas_of(&entity).and_then(|quotas| quotas.get(kind.key())) {
            let shared =
                |named: Option<Named>, this: &str| named.map(|_| this.to_owned()).unwrap_or_default();
            let entity = Entity::Client {
                user: shared(of_user, user),
                client_id: shared(of_client, client_id),
            };
            return Some((entity, *limit));
        }
    }
    None
}
