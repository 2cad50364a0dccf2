//! The sink as a client sees it: over a socket, with requests and answers of kafka-protocol, which is not the code under test
//! where the sink reads and writes by hand.

mod admin;
mod client;
mod faults;
mod fetch;
mod hostile;
mod produce;
