//! The hash of topics is Kafka's: these numbers are what Apache Kafka 4.3.1 computes.

use super::world::World;
use crate::groups::consumer::metadata_hash::of_group;

const TOPICS: [(&str, i32); 3] = [("empty", 0), ("orders", 40), ("t", 3)];

#[test]
fn the_hash_is_kafkas_with_and_without_racks() {
    let mut world = World::new(&TOPICS);
    let names = ["empty", "missing", "orders", "t"].map(str::to_owned);
    assert_eq!(of_group(names.iter(), world.image()), -5_532_399_810_213_019_980);
    world.add_broker("r-1");
    assert_eq!(of_group(names.iter(), world.image()), -3_089_693_094_150_531_702);
    assert_eq!(of_group(names[1..2].iter(), world.image()), 0);
}
