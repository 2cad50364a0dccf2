//! Ids, properties and the clean-stop file: what Kafka wrote reads, what nobody wrote is refused.

use super::*;
use proptest::prelude::*;

#[test]
fn ids_are_url_safe_base64() {
    let mut metadata = ZERO_UUID;
    metadata[15] = 1;
    assert_eq!(encode_uuid(metadata), "AAAAAAAAAAAAAAAAAAAAAQ");
    assert_eq!(encode_uuid([255; 16]), "_____________________w");
    assert_eq!(parse_uuid("AAAAAAAAAAAAAAAAAAAAAQ=="), Some(metadata));
    for wrong in [
        "",
        "AAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAA+",
        "AAAAAAAAAAAAAAAAAAAAAAA",
        "ÄAAAAAAAAAAAAAAAAAAAA",
    ] {
        assert_eq!(parse_uuid(wrong), None, "{wrong}");
    }
}

#[test]
fn partition_metadata_text_form() {
    let text = "version: 0\ntopic_id: zup6RdlmQKOBDOg_1C1AjQ";
    let id = parse_partition_metadata(text).unwrap();
    assert_eq!(encode_partition_metadata(id), text);
    assert_eq!(parse_partition_metadata(&format!("{text}\n")), Ok(id));
    let table = [
        ("", 1),
        ("version:0\n", 1),
        ("version: -1\ntopic_id: zup6RdlmQKOBDOg_1C1AjQ", 1),
        ("version: 0\n", 2),
        ("version: 0\ntopic_id: x\n", 2),
        ("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA\n", 2),
    ];
    for (text, line) in table {
        assert_eq!(
            parse_partition_metadata(text).map_err(|e| e.line),
            Err(line),
            "{text:?}"
        );
    }
}

#[test]
fn meta_properties_as_kafka_writes_them() {
    let text = "#\n#Sat Nov 21 07:32:34 UTC 2026\nnode.id=1\ndirectory.id=wwYBbLDFTKqUFKr0T6uuew\nversion=1\ncluster.id=OR9EUIJCSUe4j-6iGx2LfA\n";
    let meta = MetaProperties::parse(text).unwrap();
    assert_eq!(
        (meta.cluster_id.as_str(), meta.node_id),
        ("OR9EUIJCSUe4j-6iGx2LfA", 1)
    );
    assert_eq!(
        meta.directory_id.map(encode_uuid).as_deref(),
        Some("wwYBbLDFTKqUFKr0T6uuew")
    );
    assert!(meta.other.is_empty());
    assert_eq!(MetaProperties::parse(&meta.encode()), Ok(meta));
}

#[test]
fn unknown_keys_and_odd_values_survive() {
    let meta = MetaProperties {
        cluster_id: " my:cluster=#1! \\ é\u{1F600}".to_owned(),
        node_id: 7,
        directory_id: None,
        other: vec![
            ("some key:".to_owned(), "tab\tline\nend ".to_owned()),
            ("empty".to_owned(), String::new()),
        ],
    };
    assert!(meta.encode().is_ascii());
    assert_eq!(MetaProperties::parse(&meta.encode()), Ok(meta));
}

#[test]
fn properties_syntax() {
    let text =
        "! comment\n\n  a = 1\nb:2\nc 3\nd\\ e\\=:4\nf = x\\\n    y\\\\\ng\nh = \\u0041\\q\n# end \\\ni=\\\n";
    let read: Vec<_> = parse_properties(text)
        .unwrap()
        .into_iter()
        .map(|p| (p.line, p.key, p.value))
        .collect();
    let expected = [
        (3, "a", "1"),
        (4, "b", "2"),
        (5, "c", "3"),
        (6, "d e=", "4"),
        (7, "f", "xy\\"),
        (9, "g", ""),
        (10, "h", "Aq"),
        (12, "i", ""),
    ];
    let read: Vec<_> = read
        .iter()
        .map(|(line, key, value)| (*line, key.as_str(), value.as_str()))
        .collect();
    assert_eq!(read, expected);
    assert_eq!(parse_properties("a=1\nb=\\u12\n").unwrap_err().line, 2);
    assert_eq!(parse_properties("a=1\n\na=2\n").unwrap_err().line, 3);
}

#[test]
fn incomplete_meta_properties_are_refused() {
    let table = [
        ("", "version is missing", 0),
        (
            "version=0\nbroker.id=1\n",
            "version \"0\" is not known, only 1",
            1,
        ),
        ("version=1\nnode.id=1\n", "cluster.id is missing", 0),
        ("version=1\ncluster.id=x\n", "node.id is missing", 0),
        (
            "version=1\ncluster.id=x\nnode.id=-1\n",
            "node.id is not a number from 0 on",
            3,
        ),
        (
            "version=1\ncluster.id=x\nnode.id=1\ndirectory.id=x\n",
            "directory.id is not an id",
            4,
        ),
    ];
    for (text, reason, line) in table {
        assert_eq!(
            MetaProperties::parse(text),
            Err(CheckpointError {
                line,
                reason: reason.to_owned()
            })
        );
    }
}

#[test]
fn clean_shutdown_text_form() {
    assert_eq!(encode_clean_shutdown(13), "{\"version\":0,\"brokerEpoch\":13}");
    let table = [
        ("{\"version\":0,\"brokerEpoch\":13}", Some(13)),
        (" { \"brokerEpoch\" : -1 , \"other\" : \"x\" }\n", Some(-1)),
        ("{\"version\":0}", None),
        ("{\"brokerEpoch\":null}", None),
        ("", None),
        ("}{", None),
    ];
    for (text, epoch) in table {
        assert_eq!(parse_clean_shutdown(text), epoch, "{text:?}");
    }
}

proptest! {
    #[test]
    fn ids_read_back(id in any::<[u8; 16]>()) {
        prop_assert_eq!(parse_uuid(&encode_uuid(id)), Some(id));
    }

    #[test]
    fn properties_read_back(cluster_id in "\\PC{0,20}", key in "[^\r\n]{1,10}", value in any::<String>()) {
        let other = vec![(format!("x{key}"), value)];
        let meta = MetaProperties { cluster_id, node_id: 0, directory_id: Some([9; 16]), other };
        prop_assert_eq!(MetaProperties::parse(&meta.encode()), Ok(meta));
    }

    #[test]
    fn never_panics(text in "[a=:#!\\\\u0 \t\r\n\\PC]{0,60}") {
        let _ = (parse_properties(&text), MetaProperties::parse(&text), parse_partition_metadata(&text));
        let _ = (parse_uuid(&text), parse_clean_shutdown(&text));
        let _ = parse_clean_shutdown(&format!("{{{text}}}"));
        let _ = parse_partition_metadata(&format!("version: {text}"));
    }
}
