//! What is said at start of settings that are taken and mean something else than whoever set them may think.

use super::broker::Endpoint;

/// The listener that `--listen` speaks of.
const LISTENER: &str = "PLAINTEXT";

/// Puts the address of `--listen` over what the file says of listeners. The line to be said when that takes advertised addresses with it: the file's
/// go with the file's listeners, and what was set beside `--listen` goes with that.
///
/// # Errors
/// It is no address; what one looks like.
pub fn listen(
    pairs: &mut Vec<(String, String)>,
    address: &str,
    sets: &[String],
) -> Result<Option<String>, String> {
    let listener = format!("{LISTENER}://{address}");
    if Endpoint::parse(&listener).is_none() {
        return Err(match address.parse::<u16>() {
            Ok(port) => format!(
                "--listen {address}: expected HOST:PORT; write --listen 127.0.0.1:{port} for clients on this machine, or --listen 0.0.0.0:{port} for every interface"
            ),
            Err(_) => format!("--listen {address}: expected HOST:PORT, for example 127.0.0.1:9092"),
        });
    }
    pairs.push(("listeners".to_owned(), listener));
    let name = "advertised.listeners";
    let is_set = |set: &String| set.split_once('=').is_some_and(|(key, _)| key.trim() == name);
    if sets.iter().any(is_set) {
        return Ok(None);
    }
    let of_file = pairs.iter().rfind(|(key, _)| key == name);
    let notice = of_file.filter(|(_, value)| !value.trim().is_empty()).map(|(_, value)| {
        format!(
            "--listen replaces the file's listeners, and with them {name}={value}: clients are told {address}, unless --set {name}=... says otherwise"
        )
    });
    pairs.retain(|(key, _)| key != name);
    Ok(notice)
}

/// The line to be said of more cores than there are processors.
pub fn more_cores(cores: usize, processors: usize) -> Option<String> {
    (cores > processors).then(|| {
        format!(
            "{cores} cores are asked for (--cores, ringlog.cores) and this process may run on {processors} processors: \
             cores that share one wait for each other"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Origin};
    use super::*;

    #[test]
    fn an_address_without_host_says_what_to_write() {
        for (address, parts) in [
            ("9092", &["--listen 127.0.0.1:9092", "--listen 0.0.0.0:9092"][..]),
            ("nowhere", &["expected HOST:PORT, for example 127.0.0.1:9092"]),
            ("99999", &["expected HOST:PORT"]),
            ("a:1,b:2", &["expected HOST:PORT"]),
            ("", &["expected HOST:PORT"]),
        ] {
            let said = listen(&mut Vec::new(), address, &[]).expect_err(address);
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }

    #[test]
    fn a_file_s_advertised_addresses_do_not_go_in_silence() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("server.properties");
        let text = "listeners=PLAINTEXT://:9092\nadvertised.listeners=PLAINTEXT://broker.example.org:9092\n";
        std::fs::write(&path, text).expect("written");
        let load = |sets: &[String]| {
            let origin = Origin {
                file: Some(&path),
                sets,
                listen: Some("127.0.0.1:9192"),
                ..Origin::default()
            };
            Config::load(&origin).expect("valid")
        };
        let config = load(&[]);
        assert_eq!(config.listeners[0].advertised_host, "127.0.0.1");
        let said = config.notices.join("\n");
        assert!(
            said.contains("advertised.listeners=PLAINTEXT://broker.example.org:9092")
                && said.contains("clients are told 127.0.0.1:9192"),
            "{said}"
        );
        let config = load(&["advertised.listeners = PLAINTEXT://other:1".to_owned()]);
        assert_eq!(config.listeners[0].advertised_host, "other");
        assert!(
            config
                .notices
                .iter()
                .all(|notice| !notice.contains("advertised.listeners")),
            "{:?}",
            config.notices
        );
    }

    #[test]
    fn more_cores_than_processors_are_worth_a_line() {
        assert_eq!((more_cores(2, 2), more_cores(1, 2)), (None, None));
        let said = more_cores(64, 2).expect("said");
        assert!(
            said.contains("64 cores") && said.contains("2 processors"),
            "{said}"
        );
        let asked = vec![("ringlog.cores".to_owned(), "1024".to_owned())];
        let config = Config::from_pairs(asked).expect("valid");
        assert!(config.notices.iter().any(|notice| notice.contains("1024 cores")));
    }
}
