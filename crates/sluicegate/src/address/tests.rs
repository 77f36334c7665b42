//! Tables for each rule about clients' addresses, and properties over made-up chains.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{ELEMENTS_MAX, FIELD_BYTES_MAX, cut, find, network, plain};
use crate::policy::checked::{ForwardedHeader, Identity};

fn identity(forwarded_header: ForwardedHeader) -> Identity {
    let trusted = ["10.0.0.0/8", "2001:db8:ffff::/48"];
    Identity {
        trusted_proxies: trusted.map(|network| network.parse().expect("a network")).to_vec(),
        forwarded_header,
        ..Identity::default()
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value that HTTP can carry");
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

#[track_caller]
fn check_with(header: ForwardedHeader, peer: &str, lines: &[(&'static str, &str)], client: &str) {
    let found = find(&identity(header), Some(ip(peer)), &headers(lines));
    assert_eq!(found, Some(ip(client)), "peer {peer}, {lines:?}");
}

#[track_caller]
fn check_xff(peer: &str, value: &str, client: &str) {
    check_with(
        ForwardedHeader::XForwardedFor,
        peer,
        &[("x-forwarded-for", value)],
        client,
    );
}

#[track_caller]
fn check_forwarded(value: &str, client: &str) {
    check_with(ForwardedHeader::Forwarded, "10.0.0.1", &[("forwarded", value)], client);
}

// C1
#[test]
fn nobody_is_believed_unless_the_policy_trusts_them() {
    let lines = [
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
    ];
    for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
        check_with(header, "198.51.100.1", &lines, "198.51.100.1");
        let nobody = Identity {
            forwarded_header: header,
            ..Identity::default()
        };
        assert_eq!(
            find(&nobody, Some(ip("10.0.0.1")), &headers(&lines)),
            Some(ip("10.0.0.1"))
        );
    }
}

// C1
#[test]
fn a_peer_without_an_address_has_none_whatever_it_sends() {
    let lines = headers(&[("x-forwarded-for", "203.0.113.9")]);
    assert_eq!(find(&identity(ForwardedHeader::XForwardedFor), None, &lines), None);
}

// C2
#[test]
fn the_first_untrusted_address_from_the_right_is_the_client() {
    check_xff("10.0.0.1", "203.0.113.9", "203.0.113.9");
    check_xff("10.0.0.1", "198.51.100.7, 203.0.113.9", "203.0.113.9");
    check_xff(
        "10.0.0.1",
        "198.51.100.7, 203.0.113.9, 10.0.0.2, 10.0.0.3",
        "203.0.113.9",
    );
    check_xff(
        "10.0.0.1",
        "198.51.100.7, 10.9.9.9, 203.0.113.9, 10.0.0.2",
        "203.0.113.9",
    );
}

// C2
#[test]
fn where_all_are_trusted_the_leftmost_is_the_client() {
    check_xff("10.0.0.1", "10.0.0.4, 10.0.0.3, 10.0.0.2", "10.0.0.4");
    check_xff("10.0.0.1", "", "10.0.0.1");
    check_with(ForwardedHeader::XForwardedFor, "10.0.0.1", &[], "10.0.0.1");
}

// C3
#[test]
fn several_lines_are_one_list_and_empty_elements_are_skipped() {
    let lines = [
        ("x-forwarded-for", "198.51.100.7, 203.0.113.9"),
        ("x-forwarded-for", "10.0.0.3"),
        ("x-forwarded-for", ""),
    ];
    check_with(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines, "203.0.113.9");
    check_xff("10.0.0.1", ", ,203.0.113.9 ,\t, 10.0.0.2,,", "203.0.113.9");
    let lines = [
        ("forwarded", "for=203.0.113.9"),
        ("forwarded", "for=10.0.0.3;by=10.0.0.1"),
    ];
    check_with(ForwardedHeader::Forwarded, "10.0.0.1", &lines, "203.0.113.9");
}

// C3
#[test]
fn what_cannot_be_read_stops_the_walk_at_the_hop_that_vouched() {
    for garbage in [
        "garbage",
        "203.0.113.9 198.51.100.7",
        "203.0.113.9;x",
        "\"203.0.113.9\"",
        "\u{fffd}",
        "-",
        "300.1.1.1",
    ] {
        check_xff("10.0.0.1", &format!("203.0.113.9, {garbage}, 10.0.0.2"), "10.0.0.2");
        check_xff("10.0.0.1", garbage, "10.0.0.1");
    }
}

// C4
#[test]
fn forwarded_elements_are_read_as_rfc_7239_writes_them() {
    for (value, client) in [
        ("for=192.0.2.60", "192.0.2.60"),
        ("For=192.0.2.60;Proto=http;BY=203.0.113.43", "192.0.2.60"),
        ("proto=http;for=192.0.2.60", "192.0.2.60"),
        ("for=\"192.0.2.60:4711\"", "192.0.2.60"),
        ("for=\"192.0.2.60:_port\"", "192.0.2.60"),
        ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
        ("for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
        ("for=\"[2001:db8:cafe::17\\]\"", "2001:db8:cafe::17"),
        ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
        ("for=192.0.2.43;ext=\"a, b; c=\\\"d\\\"\"", "192.0.2.43"),
        (";;for=192.0.2.43; ;", "192.0.2.43"),
        ("for=192.0.2.43 ; proto=https", "192.0.2.43"),
    ] {
        check_forwarded(value, client);
    }
}

// C4
#[test]
fn names_that_are_no_addresses_and_broken_elements_stop_the_walk() {
    for value in [
        "for=unknown",
        "for=_gazonk",
        "for=\"_gazonk:80\"",
        "by=203.0.113.43",
        "for=192.0.2.1;for=192.0.2.2",
        "for=192.0.2.1;proto=http;PROTO=https",
        "for=[2001:db8::1]",
        "for=2001:db8::1",
        "for=\"2001:db8::1\"",
        "for=192.0.2.1:80",
        "for=\"192.0.2.1\"x",
        "for =192.0.2.1",
        "for= 192.0.2.1",
        "for=",
        "for",
        "=192.0.2.1",
        "for=\"192.0.2.1",
        "for=\"192.0.2.1\\\"",
        "for=192.0.2.1 proto=http",
        "for=192.0.2.1;p\u{e9}=x",
        "for=\"\"",
        "a=1;b=1;c=1;d=1;e=1;f=1;g=1;h=1;i=1;j=1;k=1;l=1;m=1;n=1;o=1;p=1;for=192.0.2.1",
    ] {
        check_forwarded(value, "10.0.0.1");
        check_forwarded(&format!("for=198.51.100.7, {value}, for=10.0.0.2"), "10.0.0.2");
    }
}

// C4
#[test]
fn an_open_quote_on_the_left_does_not_hide_what_a_proxy_wrote_on_the_right() {
    check_forwarded("for=\"198.51.100.7, for=203.0.113.9", "203.0.113.9");
    check_forwarded("x=\"\\, for=203.0.113.9, for=10.0.0.2", "203.0.113.9");
}

// C4
#[test]
fn only_the_header_that_the_policy_names_is_read() {
    let lines = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=198.51.100.7")];
    check_with(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines, "203.0.113.9");
    check_with(ForwardedHeader::Forwarded, "10.0.0.1", &lines, "198.51.100.7");
    let others = [
        "x-real-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-client-ip",
        "x-original-forwarded-for",
        "x_forwarded_for",
    ];
    for name in others {
        check_with(
            ForwardedHeader::XForwardedFor,
            "10.0.0.1",
            &[(name, "203.0.113.9")],
            "10.0.0.1",
        );
    }
}

// C5
#[test]
fn ports_are_dropped_and_other_spellings_of_addresses_are_none() {
    for (element, client) in [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
    ] {
        check_xff("10.0.0.1", element, client);
    }
    for element in [
        "0177.0.0.1",
        "1.2.3",
        "1.2.3.4.5",
        "16909060",
        "0x1.2.3.4",
        "1.2.3.04",
        "1.2.3.4:",
        "1.2.3.4:x",
        "1.2.3.4:123456",
        "1.2.3.4:-1",
        "fe80::1%eth0",
        "[fe80::1%25eth0]",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]4711",
        "[1.2.3.4]",
        "[[::1]]",
        "::1::",
        "1.2.3.4/32",
        "localhost",
        "１.2.3.4",
    ] {
        check_xff("10.0.0.1", element, "10.0.0.1");
    }
}

// T10
#[test]
fn a_network_is_cut_where_the_key_says() {
    let identity = identity(ForwardedHeader::XForwardedFor);
    let of = |address: &str, bits| network(ip(address), bits, &identity);
    assert_eq!(of("2001:db8:1:2::3", 48), of("2001:db8:1:ffff::", 48));
    assert_ne!(of("2001:db8:1:2::3", 48), of("2001:db8:2:2::3", 48));
    assert_eq!(of("2001:db8:1:2::3", 56), of("2001:db8:1:ff::", 56));
    assert_ne!(of("2001:db8:1:2::3", 128), of("2001:db8:1:2::4", 128));
    // An IPv4 address is a client of its own under each of them, in any clothes.
    for bits in [16, 48, 128] {
        for address in ["192.0.2.1", "::ffff:192.0.2.1", "64:ff9b::c000:201", "fe80::1", "::1"] {
            assert_eq!(of(address, bits), cut(ip(address), &identity), "{address}");
        }
    }
}

// C6
#[test]
fn every_spelling_of_one_ipv4_address_is_one_client() {
    let identity = identity(ForwardedHeader::XForwardedFor);
    let key = cut(ip("192.0.2.1"), &identity);
    assert_eq!(key.as_bytes(), [192, 0, 2, 1]);
    for spelling in [
        "::ffff:192.0.2.1",
        "::ffff:c000:201",
        "64:ff9b::c000:201",
        "64:ff9b::192.0.2.1",
    ] {
        assert_eq!(cut(ip(spelling), &identity), key, "{spelling}");
        check_xff("10.0.0.1", spelling, "192.0.2.1");
        check_with(ForwardedHeader::XForwardedFor, spelling, &[], "192.0.2.1");
    }
    // A trusted proxy is one in any spelling, too.
    check_xff("::ffff:10.0.0.1", "203.0.113.9, 64:ff9b::10.0.0.2", "203.0.113.9");
    // These are addresses of their own.
    for other in ["::192.0.2.1", "64:ff9b:1::c000:201", "2002:c000:201::"] {
        assert_eq!(plain(ip(other)), ip(other));
    }
}

// C6
#[test]
fn one_network_is_one_client_and_links_and_loopback_stay_whole() {
    let mut identity = identity(ForwardedHeader::XForwardedFor);
    let same = |a: &str, b: &str, identity: &Identity| cut(ip(a), identity) == cut(ip(b), identity);
    assert!(same("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", &identity));
    assert!(!same("2001:db8:0:1::1", "2001:db8:0:2::1", &identity));
    assert!(!same("192.0.2.1", "192.0.2.2", &identity));
    assert!(!same("fe80::1", "fe80::2", &identity));
    assert!(!same("::1", "::", &identity));
    identity.v6_prefix = 48;
    identity.v4_prefix = 24;
    assert!(same("2001:db8:0:1::1", "2001:db8:0:ffff::1", &identity));
    assert!(!same("2001:db8:0:1::1", "2001:db8:1:1::1", &identity));
    assert!(same("192.0.2.1", "192.0.2.255", &identity));
    assert!(!same("192.0.2.1", "192.0.3.1", &identity));
    identity.v6_prefix = 128;
    assert!(!same("2001:db8::1", "2001:db8::2", &identity));
}

// C7
#[test]
fn a_longer_chain_than_is_looked_at_stops_the_walk() {
    let chain = |hops: usize| {
        let hops = (0..hops).map(|hop| format!(", 10.0.1.{hop}"));
        format!("203.0.113.9{}", hops.collect::<String>())
    };
    check_xff("10.0.0.1", &chain(ELEMENTS_MAX - 1), "203.0.113.9");
    check_xff("10.0.0.1", &chain(ELEMENTS_MAX), "10.0.1.0");
    check_xff("10.0.0.1", &chain(ELEMENTS_MAX + 1), "10.0.1.1");
}

// C7
#[test]
fn a_longer_field_than_is_looked_at_stops_the_walk() {
    let padded = |blanks: usize| format!("203.0.113.9,{}10.0.0.2", " ".repeat(blanks));
    let fits = FIELD_BYTES_MAX - "203.0.113.9,10.0.0.2".len();
    check_xff("10.0.0.1", &padded(fits), "203.0.113.9");
    check_xff("10.0.0.1", &padded(fits + 1), "10.0.0.2");
    // An address that the bound cuts is not read as the shorter address that is left of it.
    check_xff("10.0.0.1", &padded(fits + 2), "10.0.0.2");
    let (long, short) = (" ".repeat(FIELD_BYTES_MAX), "10.0.0.2");
    let lines = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", long.as_str()),
        ("x-forwarded-for", short),
    ];
    check_with(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines, "10.0.0.2");
}

/// Any address, an own proxy's as often as not.
fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 3]>().prop_map(|[b, c, d]| IpAddr::from([10, b, c, d])),
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u16; 8]>().prop_map(IpAddr::from),
        any::<u64>().prop_map(|low| IpAddr::from((0x2001_0db8_ffff_u128 << 80 | u128::from(low)).to_be_bytes())),
    ]
}

/// The rule told the other way round, from the left and with allocation.
fn model(identity: &Identity, peer: IpAddr, chain: &[IpAddr]) -> IpAddr {
    let is_trusted = |address: &IpAddr| identity.trusted_proxies.iter().any(|network| network.contains(address));
    let path: Vec<IpAddr> = chain.iter().copied().chain([peer]).map(plain).collect();
    path.iter()
        .copied()
        .rfind(|address| !is_trusted(address))
        .unwrap_or(path[0])
}

fn written_as(address: IpAddr, header: ForwardedHeader, form: u8) -> String {
    match (header, address, form % 3) {
        (ForwardedHeader::XForwardedFor, address, 0) => address.to_string(),
        (ForwardedHeader::XForwardedFor, IpAddr::V4(v4), _) => format!("{v4}:80"),
        (ForwardedHeader::XForwardedFor, IpAddr::V6(v6), 1) => format!("[{v6}]"),
        (ForwardedHeader::XForwardedFor, IpAddr::V6(v6), _) => format!("[{v6}]:443"),
        (ForwardedHeader::Forwarded, IpAddr::V4(v4), 0) => format!("for={v4}"),
        (ForwardedHeader::Forwarded, IpAddr::V4(v4), _) => format!("proto=https;FOR=\"{v4}:80\""),
        (ForwardedHeader::Forwarded, IpAddr::V6(v6), 0) => format!("for=\"[{v6}]\""),
        (ForwardedHeader::Forwarded, IpAddr::V6(v6), _) => format!("by=\"a,\\\"b\";For=\"[{v6}]:443\""),
    }
}

proptest! {
    #[test]
    fn any_chain_of_addresses_gives_what_the_model_gives(
        peer in addresses(),
        chain in prop::collection::vec((addresses(), any::<u8>(), any::<bool>()), 0..ELEMENTS_MAX),
        is_forwarded in any::<bool>(),
    ) {
        let header = if is_forwarded { ForwardedHeader::Forwarded } else { ForwardedHeader::XForwardedFor };
        let name = if is_forwarded { "forwarded" } else { "x-forwarded-for" };
        let mut lines: Vec<String> = vec![String::new()];
        for (address, form, begins_line) in &chain {
            if *begins_line {
                lines.push(String::new());
            }
            let line = lines.last_mut().expect("there is a line");
            if !line.is_empty() {
                line.push_str(", ");
            }
            line.push_str(&written_as(*address, header, *form));
        }
        let lines: Vec<(&'static str, &str)> = lines.iter().map(|line| (name, line.as_str())).collect();
        let identity = identity(header);
        let chain: Vec<IpAddr> = chain.iter().map(|(address, ..)| *address).collect();
        prop_assert_eq!(find(&identity, Some(peer), &headers(&lines)), Some(model(&identity, peer, &chain)));
    }

    #[test]
    fn garbage_neither_takes_the_key_away_nor_hides_what_a_proxy_wrote_behind_it(
        garbage in prop::collection::vec(prop::sample::select(
            b"0123456789abcdef.:,;= \t\"\\[]%_forFOR\xe9\xff-\x21".as_slice()), 0..200),
        client in any::<[u8; 4]>(),
        is_forwarded in any::<bool>(),
    ) {
        let header = if is_forwarded { ForwardedHeader::Forwarded } else { ForwardedHeader::XForwardedFor };
        let name = if is_forwarded { "forwarded" } else { "x-forwarded-for" };
        let identity = identity(header);
        let peer = ip("10.0.0.1");
        let mut map = HeaderMap::new();
        map.append(name, HeaderValue::from_bytes(&garbage).expect("no control bytes among them"));
        prop_assert!(find(&identity, Some(peer), &map).is_some());

        // What a trusted proxy puts behind the garbage is what counts.
        let client = IpAddr::from(client);
        prop_assume!(!identity.trusted_proxies.iter().any(|network| network.contains(&client)));
        let mut value = garbage;
        value.extend_from_slice(format!(", {}", written_as(client, header, 0)).as_bytes());
        let mut map = HeaderMap::new();
        map.append(name, HeaderValue::from_bytes(&value).expect("no control bytes among them"));
        prop_assert_eq!(find(&identity, Some(peer), &map), Some(client));
    }

    #[test]
    fn a_key_keeps_the_prefix_and_nothing_else(bits in any::<u128>(), low in any::<u128>(), prefix in 32_u8..=128) {
        let identity = Identity { v6_prefix: prefix, ..Identity::default() };
        let mask = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
        let (a, b) = (IpAddr::from(bits.to_be_bytes()), IpAddr::from(((bits & !mask) | (low & mask)).to_be_bytes()));
        let is_plain = |address: IpAddr| address.is_ipv6() && plain(address) == address;
        let whole = |address: IpAddr| matches!(address, IpAddr::V6(v6) if super::stays_whole(v6));
        prop_assume!(is_plain(a) && is_plain(b) && !whole(a) && !whole(b));
        prop_assert_eq!(cut(a, &identity), cut(b, &identity));
        prop_assert_eq!(cut(a, &identity).as_bytes().len(), 16);
    }
}
