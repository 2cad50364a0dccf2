//! What one core does about clients that bring or ask for more than it can hold: who is read from, who is served, who has to wait, and
//! who is given up. Pure but for [`connections`], which all cores share.
//!
//! | what clients make a core hold | its limit | beyond it |
//! |---|---|---|
//! | requests received and not answered | `ringlog.core.max.in.flight.bytes`, and the one largest request | [`crowd`]: sockets are not read from |
//! | the same of one connection | `ringlog.connection.max.in.flight.bytes`, `.requests` | its socket is not read from |
//! | requests that wait for an earlier one of their connection | `queued.max.requests` | sockets of those are not read from |
//! | answers not taken, their records | the engine's part of `ringlog.memory` | when others have waited for it, who takes nothing is closed |
//! | answers not taken, all else | `ringlog.core.max.unsent.bytes` | [`unsent`]: fetches are not started, then nothing but produces |
//! | fetches that wait for data | `ringlog.core.max.parked.fetches` | [`parked_fetches`]: the oldest is answered |
//! | connections | `max.connections`, `max.connections.per.ip` | [`connections`]: one more is closed |
//!
//! Who is not read from sees it by TCP alone: its window closes. Nobody is starved: who was paused is resumed in the order of the pauses
//! ([`mod@line`]), and unfinished requests go on in the order of their age ([`favour`]).

pub mod connections;
pub mod crowd;
pub mod favour;
pub mod line;
pub mod parked_fetches;
pub mod unsent;
