//! Whether a broker answers: one hand-made ApiVersions request, which every Kafka-wire broker understands before anything else.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long one attempt waits for each of connection and answer.
const ATTEMPT: Duration = Duration::from_secs(1);
const CORRELATION: i32 = 0x7269_6e67;
/// Answers to this request have a few hundred bytes.
const MAX_ANSWER_BYTES: i32 = 1 << 20;

/// Asks once. False when nobody is there, the answer does not come within a second, or is no answer to the question.
pub fn answers(address: SocketAddr) -> bool {
    ask(address).unwrap_or(false)
}

fn ask(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, ATTEMPT)?;
    // a connection to a free port of the range for outgoing connections may end up connected to itself
    if stream.local_addr()? == stream.peer_addr()? {
        return Ok(false);
    }
    stream.set_read_timeout(Some(ATTEMPT))?;
    stream.set_write_timeout(Some(ATTEMPT))?;
    stream.write_all(&request())?;
    let mut head = [0; 10];
    stream.read_exact(&mut head)?;
    let [l0, l1, l2, l3, c0, c1, c2, c3, error @ ..] = head;
    let length = i32::from_be_bytes([l0, l1, l2, l3]);
    let correlation = i32::from_be_bytes([c0, c1, c2, c3]);
    Ok((6..=MAX_ANSWER_BYTES).contains(&length) && correlation == CORRELATION && error == [0, 0])
}

/// `length i32 | api key 18 i16 | version 0 i16 | correlation i32 | client id: length i16, text`
fn request() -> Vec<u8> {
    let client = b"ringlog-bench";
    let mut frame = Vec::new();
    frame.extend((10 + client.len() as i32).to_be_bytes());
    frame.extend(18i16.to_be_bytes());
    frame.extend(0i16.to_be_bytes());
    frame.extend(CORRELATION.to_be_bytes());
    frame.extend((client.len() as i16).to_be_bytes());
    frame.extend(client);
    frame
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Serves one connection: reads a whole request, and writes what `answer` makes of it.
    pub fn serve_one(listener: &TcpListener, answer: impl Fn(&[u8]) -> Vec<u8>) -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request)?;
        stream.write_all(&answer(&request))
    }

    /// A right answer: no error, no versions.
    pub fn right_answer(request: &[u8]) -> Vec<u8> {
        let mut answer = vec![0, 0, 0, 10];
        answer.extend(&request[4..8]);
        answer.extend([0; 6]);
        answer
    }

    fn asked(answer: impl Fn(&[u8]) -> Vec<u8> + Send) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| serve_one(&listener, answer));
            answers(address)
        })
    }

    #[test]
    fn a_broker_is_one_that_answers_the_question() {
        assert!(asked(right_answer));
        let with = |at: usize, byte: u8| {
            move |request: &[u8]| {
                let mut answer = right_answer(request);
                answer[at] = byte;
                answer
            }
        };
        assert!(!asked(with(0, 0xff)), "a negative length");
        assert!(!asked(with(0, 0x7f)), "two gigabytes");
        assert!(!asked(with(4, 1)), "another correlation");
        assert!(!asked(with(9, 35)), "an error");
        assert!(!asked(|_| Vec::new()), "closed");
        assert!(!asked(|_| b"HTTP/1.1 400 Bad Request\r\n".to_vec()));
    }

    #[test]
    fn the_request_is_whole() {
        let frame = request();
        assert_eq!(frame[..4], (frame.len() as i32 - 4).to_be_bytes());
        assert_eq!(frame[4..8], [0, 18, 0, 0]);
    }

    #[test]
    fn nobody_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(!answers(address));
    }
}
