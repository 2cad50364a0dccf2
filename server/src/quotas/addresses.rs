//! How many connections an address may open a second (KIP-612).

use std::net::IpAddr;

use super::QuotaKind;
use super::meters::Meter;
use super::precedence::Entity;
use super::tracked::Tracked;
use crate::metadata::image::MetadataImage;
use crate::metadata::quotas::{IP, QuotaEntity};

/// Counts a new connection from an address. `Some`: it is one too many, is not counted, and its client has to wait so long, in milliseconds.
pub fn admit(image: &MetadataImage, tracked: &Tracked, address: IpAddr, now_ms: u64) -> Option<u32> {
    let address = address.to_canonical();
    let meter = Meter {
        per_second: limit_of(image, address)?,
        rate: tracked.rate(QuotaKind::Connection, Entity::Address(address), now_ms),
    };
    meter.rate.add(now_ms, 1);
    let throttle_ms = meter.bounded_throttle_ms(now_ms);
    if throttle_ms == 0 {
        return None;
    }
    meter.rate.take_back(now_ms, 1);
    Some(throttle_ms)
}

/// The limit of an address: its own, or that of all that have none.
fn limit_of(image: &MetadataImage, address: IpAddr) -> Option<f64> {
    if image.quotas_epoch() == 0 {
        return None;
    }
    let set_for = |name: Option<String>| {
        let entity = QuotaEntity::from([(IP.to_owned(), name)]);
        image
            .quotas_of(&entity)?
            .get(QuotaKind::Connection.key())
            .copied()
    };
    // An address can be written in several ways; the usual one is found at once.
    set_for(Some(address.to_string()))
        .or_else(|| written_otherwise(image, address))
        .or_else(|| set_for(None))
}

fn written_otherwise(image: &MetadataImage, address: IpAddr) -> Option<f64> {
    let is_same = |name: &str| {
        name.parse()
            .is_ok_and(|parsed: IpAddr| parsed.to_canonical() == address)
    };
    let of_address = |entity: &QuotaEntity| matches!(entity.get(IP), Some(Some(name)) if is_same(name));
    let (_, quotas) = image
        .quotas_of_addresses()
        .find(|(entity, _)| of_address(entity))?;
    quotas.get(QuotaKind::Connection.key()).copied()
}
