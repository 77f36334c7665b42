//! Bodies as clients send them, and as they should not: in tables, cut into pieces everywhere.

use sluicegate::Cost;
use sluicegate::body::{
    BodyReader, DEPTH_MAX, Media, Pointer, Pointers, ReadFault, ResponseReader, Value, ValueFault, Values, cost_of,
};

fn pointers(texts: &[&str]) -> Pointers {
    let pointers = texts.iter().map(|text| Pointer::parse(text).expect(text));
    Pointers::new(pointers).expect("not too many")
}

/// Reads a body in the pieces given, strictly.
fn read<'b>(pointers: &Pointers, pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Values, ReadFault> {
    let mut reader = BodyReader::new(Media::Json, pointers, u64::MAX)?;
    for piece in pieces {
        reader.feed(piece)?;
    }
    reader.finish()
}

/// As [`read`], for what can be had.
fn read_response<'b>(pointers: &Pointers, pieces: impl IntoIterator<Item = &'b [u8]>) -> Values {
    let mut reader = ResponseReader::new(Media::Json, pointers).expect("it is JSON");
    for piece in pieces {
        reader.feed(piece);
    }
    reader.finish()
}

/// Values as words, since their own `Debug` form hides what clients wrote.
fn words(values: &Values) -> Vec<String> {
    let word = |value| match value {
        None => "-".to_owned(),
        Some(Value::Number(text)) => format!("number {text}"),
        Some(Value::String(text)) => format!("string {text}"),
        Some(Value::Field(text)) => format!("field {text}"),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Container) => "container".to_owned(),
    };
    (0..values.len()).map(|place| word(values.get(place))).collect()
}

/// Reads the body whole, byte by byte, and in two pieces cut at every place: the answer is always the same.
#[track_caller]
fn check(texts: &[&str], body: impl AsRef<[u8]>, expected: Result<&[&str], ReadFault>) {
    let (pointers, body) = (pointers(texts), body.as_ref());
    let expected = expected.map(|values| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
    let shown = String::from_utf8_lossy(body);
    let found = read(&pointers, [body]).map(|values| words(&values));
    assert_eq!(found, expected, "{shown}");
    let found = read(&pointers, body.chunks(1)).map(|values| words(&values));
    assert_eq!(found, expected, "{shown} byte by byte");
    for cut in 0..=body.len() {
        let (first, second) = body.split_at(cut);
        let found = read(&pointers, [first, second]).map(|values| words(&values));
        assert_eq!(found, expected, "{shown} cut at {cut}");
    }
}

#[test]
fn a_value_is_found_where_its_pointer_says() {
    let body = r#" {"a": {"b": [10, {"c": "x"}, [true]], "": null}, "m~n": 1, "s/l": 2, "0": -0.5e+3} "#;
    check(
        &["/a/b/0", "/a/b/1/c", "/a/b/2/0"],
        body,
        Ok(&["number 10", "string x", "true"]),
    );
    check(
        &["/a/", "/m~0n", "/s~1l", "/0"],
        body,
        Ok(&["null", "number 1", "number 2", "number -0.5e+3"]),
    );
    check(
        &["/a", "/a/b", "/a/b/1"],
        body,
        Ok(&["container", "container", "container"]),
    );
    check(
        &["/b", "/a/b/3", "/a/b/-", "/a/b/00", "/a/b/c"],
        body,
        Ok(&["-", "-", "-", "-", "-"]),
    );
    check(
        &["/A", "/a/b/0/c", "/m", "/m~0nn", "/0/0"],
        body,
        Ok(&["-", "-", "-", "-", "-"]),
    );
    check(&[], body, Ok(&[]));
}

#[test]
fn one_pass_finds_a_member_for_everyone_who_asks() {
    let body = r#"{"a": {"b": {"c": 1}}}"#;
    check(
        &["/a/b/c", "/a", "/a/b/c", "/a/b"],
        body,
        Ok(&["number 1", "container", "number 1", "container"]),
    );
    let array = "[[1,2],[3,[4]],5]";
    check(
        &["/0/1", "/1/1/0", "/2", "/1/0", "/0/0", "/1", "/3", "/0/2"],
        array,
        Ok(&[
            "number 2",
            "number 4",
            "number 5",
            "number 3",
            "number 1",
            "container",
            "-",
            "-",
        ]),
    );
}

#[test]
fn names_and_values_are_compared_and_kept_unescaped() {
    check(
        &["/max_tokens", "/é😀"],
        r#"{"\u006dax\u005ftokens": "\ud83d\ude00\n\"\\\/\b\f\r\t\u0000é", "\u00E9\uD83D\uDE00": "😀"}"#,
        Ok(&["string 😀\n\"\\/\u{8}\u{c}\r\t\0é", "string 😀"]),
    );
    check(
        &["/a\"b", "/a\\b"],
        r#"{"a\"b": 1, "a\\b": 2}"#,
        Ok(&["number 1", "number 2"]),
    );
}

#[test]
fn a_pointer_stops_at_what_it_names_and_not_below_it() {
    // An object of the same shape at another place, and one inside the member itself.
    check(
        &["/a/b"],
        r#"{"x": {"a": {"b": 1}}, "a": {"a": {"b": 2}}, "b": 3}"#,
        Ok(&["-"]),
    );
    check(&["/1/a"], r#"[{"a": 1}, {"b": {"a": 2}}, {"a": 3}]"#, Ok(&["-"]));
    check(&["/a"], r#"[{"a": 1}]"#, Ok(&["-"]));
    check(&["/a"], r#""a""#, Ok(&["-"]));
    check(&["/a"], "17", Ok(&["-"]));
}

#[test]
fn a_second_member_on_the_way_to_a_pointer_is_a_fault_in_every_spelling() {
    for body in [
        r#"{"a": 1, "a": 1}"#,
        r#"{"a": {"b": 1}, "x": 0, "a": 2}"#,
        r#"{"a": {"b": 1, "b": 2}}"#,
        r#"{"a": {"b": 1}, "\u0061": {"b": 2}}"#,
        r#"{"a": null, "a": {"b": 2}}"#,
        r#"{"a": [], "a": {"#,
    ] {
        check(&["/a/b"], body, Err(ReadFault::Duplicate));
        check(&["/x", "/a/b"], body, Err(ReadFault::Duplicate));
    }
}

#[test]
fn a_second_member_elsewhere_goes_unnoticed() {
    check(
        &["/a/b"],
        r#"{"x": 1, "x": 2, "a": {"c": 1, "c": 2, "b": 3}}"#,
        Ok(&["number 3"]),
    );
    check(
        &["/a/b"],
        r#"{"x": {"a": 1, "a": 2}, "a": {"b": {"a": 1, "a": 1}}}"#,
        Ok(&["container"]),
    );
    check(&["/1/a"], r#"[{"a": 1, "a": 2}, {"a": 3}]"#, Ok(&["number 3"]));
}

/// Each stops at the first byte that cannot stand there.
#[test]
fn what_is_not_in_the_grammar_is_a_fault_that_says_where() {
    for (body, at) in [
        ("\u{feff}{}", 0),
        ("nul1", 3),
        ("True", 0),
        ("NaN", 0),
        ("Infinity", 0),
        ("'a'", 0),
        ("{} {}", 3),
        ("{}x", 2),
        ("1 2", 2),
        ("[1,]", 3),
        ("[,1]", 1),
        ("[1 2]", 3),
        ("[1}", 2),
        ("{\"a\":1]", 6),
        ("{\"a\":1,}", 7),
        ("{\"a\"}", 4),
        ("{\"a\" 1}", 5),
        ("{\"a\":}", 5),
        ("{\"a\"::1}", 5),
        ("{a:1}", 1),
        ("{1:1}", 1),
        ("{\"a\":1 \"b\":2}", 7),
        ("]", 0),
        ("01", 1),
        ("-x", 1),
        ("+1", 0),
        (".5", 0),
        ("1.x", 2),
        ("1e+x", 3),
        ("0x10", 1),
        ("[-]", 2),
        ("\"\n\"", 1),
        ("\"\0\"", 1),
        ("\"\\x\"", 2),
        ("\"\\u12g4\"", 5),
        ("\"\\ud800\"", 7),
        ("\"\\ud800\\n\"", 8),
        ("\"\\udc00\"", 6),
        ("\"\\ud800\\ud800\"", 12),
        ("/**/1", 0),
        ("1//", 1),
        ("\u{a0}1", 0),
        ("\u{c}1", 0),
    ] {
        check(&["/a"], body, Err(ReadFault::Malformed { at }));
        check(&["/x"], body, Err(ReadFault::Malformed { at }));
    }
}

#[test]
fn text_that_is_not_utf8_is_a_fault_in_names_and_values_asked_for_or_not() {
    for (bytes, at) in [
        (&b"\xff"[..], 0),
        (b"\x80", 0),
        (b"\xc0\xaf", 0),
        (b"\xe0\x80\x80", 1),
        (b"\xed\xa0\x80", 1),
        (b"\xf4\x90\x80\x80", 1),
        (b"\xf5", 0),
        (b"\xe2\x82", 2),
        (b"\xe2\x82\\n", 2),
        (b"long enough for a word \xc3\x28", 24),
    ] {
        let value = [b"{\"a\":\"", bytes, b"\"}"].concat();
        let name = [b"{\"", bytes, b"\":1}"].concat();
        for pointer in ["/a", "/b"] {
            check(&[pointer], &value, Err(ReadFault::Malformed { at: at + 6 }));
            check(&[pointer], &name, Err(ReadFault::Malformed { at: at + 2 }));
        }
    }
}

#[test]
fn a_body_cut_off_anywhere_is_a_fault_of_a_request_and_what_is_whole_counts_of_a_response() {
    let body = r#"{"x": [1, "é\ud83d\ude00\n"], "u": {"n": 1234, "s": "alice"}, "t": true, "c": {}} "#;
    let pointers = pointers(&["/u/n", "/u/s", "/t", "/c"]);
    let whole = words(&read(&pointers, [body.as_bytes()]).expect("it is well-formed"));
    assert_eq!(whole, ["number 1234", "string alice", "true", "container"]);
    // The bytes that end each of the values.
    let ends = ["1234,", "\"alice\"", "true", "{}"].map(|end| body.find(end).expect("it stands there") + end.len());
    for cut in 0..body.len() - 1 {
        let begun = &body.as_bytes()[..cut];
        assert_eq!(
            read(&pointers, begun.chunks(3)).map(|_| ()),
            Err(ReadFault::CutOff),
            "cut at {cut}"
        );
        let found = words(&read_response(&pointers, begun.chunks(3)));
        for (place, found) in found.iter().enumerate() {
            // A container counts from its first bracket on.
            let end = ends[place] - usize::from(place == 3);
            let expected = if cut >= end { &whole[place] } else { "-" };
            assert_eq!(found, expected, "cut at {cut}");
        }
    }
    check(&["/a"], "", Err(ReadFault::CutOff));
    check(&["/a"], " \n", Err(ReadFault::CutOff));
}

#[test]
fn a_response_keeps_what_stood_before_its_fault() {
    let pointers = pointers(&["/a", "/b"]);
    for body in [
        r#"{"a": 1, "b": 2x"#,
        r#"{"a": 1, "a": 3, "b": 2}"#,
        r#"{"a": 1, oops, "b": 2}"#,
    ] {
        let found = read_response(&pointers, body.as_bytes().chunks(4));
        assert_eq!(words(&found), ["number 1", "-"], "{body}");
    }
}

/// What a login answers in an error longer than any value that is kept must not pass for a success.
#[test]
fn a_response_says_whether_what_was_not_found_is_not_there() {
    let pointers = pointers(&["/error"]);
    let is_whole = |media, body: &str| {
        let mut reader = ResponseReader::new(media, &pointers).expect("a response's kind");
        body.as_bytes().chunks(5).for_each(|piece| reader.feed(piece));
        let is_whole = reader.is_whole();
        (is_whole, words(&reader.finish()).concat())
    };
    let long = format!("{{\"error\":\"{}\"}}", "x".repeat(Value::BYTES_MAX + 1));
    let deep = format!("{{\"x\":{}", "[".repeat(DEPTH_MAX));
    let twice = "{\"error\":null,\"error\":1}";
    for body in ["{\"error\":\"no\"}", "{}", " 17", "[1, {}] \n"] {
        assert!(is_whole(Media::Json, body).0, "{body}");
    }
    for body in ["", "{", "{\"x\":1,", "no", "{}}", "-", &long, &deep, twice] {
        assert!(!is_whole(Media::Json, body).0, "{body}");
    }
    let event = |data: &str| format!("data: {data}\n\n");
    for stream in [
        String::new(),
        event("{}"),
        event("[DONE]"),
        event("{") + ": \n\n",
        event("{}") + "event: x\n",
    ] {
        assert_eq!(
            is_whole(Media::EventStream, &stream),
            (true, "-".to_owned()),
            "{stream}"
        );
    }
    for missed in [&long, &deep, twice] {
        let stream = event("{}") + &event(missed) + &event("{}");
        assert_eq!(
            is_whole(Media::EventStream, &stream),
            (false, "-".to_owned()),
            "{stream}"
        );
    }
    for stream in ["data: {}", "data: {}\n", "data", "dat", "data: {}\n\ndata: {\"a\""] {
        assert!(!is_whole(Media::EventStream, stream).0, "{stream}");
    }
}

#[test]
fn nesting_has_a_bound_and_reaches_it() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let deepest_pointer = "/a".repeat(Pointer::DEPTH_MAX);
    check(&["/a"], nested(DEPTH_MAX), Ok(&["-"]));
    check(&["/a"], nested(DEPTH_MAX + 1), Err(ReadFault::TooDeep));
    check(&[&deepest_pointer], objects(DEPTH_MAX), Ok(&["container"]));
    check(&[&deepest_pointer], objects(Pointer::DEPTH_MAX), Ok(&["number 1"]));
    check(&[&deepest_pointer], objects(DEPTH_MAX + 1), Err(ReadFault::TooDeep));
}

#[test]
fn ten_mebibytes_of_brackets_end_at_the_bound_in_constant_memory() {
    let pointers = pointers(&["/0/0/0", "/a"]);
    for unit in ["[", "{\"a\":", "[{\"a\":"] {
        let body = unit.repeat((10 << 20) / unit.len());
        let counted = allocation_counter::measure(|| {
            let mut reader = BodyReader::new(Media::Json, &pointers, u64::MAX).expect("it is JSON");
            let mut pieces = body.as_bytes().chunks(1024);
            assert_eq!(
                pieces.next().map(|piece| reader.feed(piece)),
                Some(Err(ReadFault::TooDeep)),
                "in the first kibibyte of {unit}"
            );
            // Whoever feeds on all the same gets the same answer, and no work is done.
            assert!(pieces.all(|piece| reader.feed(piece) == Err(ReadFault::TooDeep)));
            assert_eq!(reader.finish().map(|_| ()), Err(ReadFault::TooDeep));
        });
        assert!(counted.bytes_max < 16 * 1024, "{} bytes", counted.bytes_max);
    }
}

#[test]
fn a_value_asked_for_has_a_bound_and_others_do_not() {
    let text = |length| "x".repeat(length);
    let digits = |length| "1".repeat(length);
    let pointers = pointers(&["/a"]);
    let read = |body: String, piece| read(&pointers, body.as_bytes().chunks(piece)).map(|values| words(&values));
    for piece in [1, 7, 1000, 1 << 20] {
        let longest = text(Value::BYTES_MAX);
        assert_eq!(
            read(format!("{{\"a\":\"{longest}\"}}"), piece),
            Ok(vec![format!("string {longest}")])
        );
        assert_eq!(read(format!("{{\"a\":\"{longest}é"), piece), Err(ReadFault::TooLong));
        assert_eq!(read(format!("{{\"a\":\"{longest}\\n"), piece), Err(ReadFault::TooLong));
        let longest = digits(Value::BYTES_MAX);
        assert_eq!(
            read(format!("{{\"a\":{longest}}}"), piece),
            Ok(vec![format!("number {longest}")])
        );
        assert_eq!(read(format!("{{\"a\":{longest}1"), piece), Err(ReadFault::TooLong));
        // The value is too long before the byte comes that is no text.
        let wrong = [text(Value::BYTES_MAX + 1).as_bytes(), b"\xff"].concat();
        let body = [b"{\"a\":\"", wrong.as_slice()].concat();
        let mut reader = BodyReader::new(Media::Json, &pointers, u64::MAX).expect("it is JSON");
        let found = body.chunks(piece).try_for_each(|piece| reader.feed(piece));
        assert_eq!(found, Err(ReadFault::TooLong));
        // Names and values that nobody asked for.
        let others = format!(
            "{{\"{}\":\"{}\",\"b\":[{}],\"a\":1}}",
            text(100_000),
            text(100_000),
            digits(100_000)
        );
        assert_eq!(read(others, piece), Ok(vec!["number 1".to_owned()]));
    }
}

#[test]
fn a_body_has_the_bound_that_its_reader_was_given() {
    let pointers = pointers(&["/a"]);
    let body = br#"{"a": "alice"}"#;
    let length = body.len() as u64;
    let read = |body: &[u8], bytes_max, piece| {
        let mut reader = BodyReader::new(Media::Json, &pointers, bytes_max)?;
        let fed = body.chunks(piece).try_for_each(|piece| reader.feed(piece));
        let found = reader.finish().map(|values| words(&values));
        // What is too large stays so, whatever stands in the part that was read.
        assert!(fed.is_ok() || found.as_ref().err() == fed.as_ref().err());
        fed.and(found)
    };
    for piece in 1..=body.len() {
        assert_eq!(read(body, length, piece), Ok(vec!["string alice".to_owned()]));
        let too_large = |bytes_max| Err(ReadFault::TooLarge { bytes_max });
        assert_eq!(read(body, length - 1, piece), too_large(length - 1));
        assert_eq!(read(b"{}  ", 2, piece), too_large(2));
        assert_eq!(read(body, 0, piece), too_large(0));
        assert_eq!(read(b"{x}  ", 3, piece), Err(ReadFault::Malformed { at: 1 }));
    }
    let mut reader = BodyReader::new(Media::Form, &pointers, 3).expect("it is a form");
    assert_eq!(reader.feed(b"a=1"), Ok(()));
    assert_eq!(reader.feed(b"&"), Err(ReadFault::TooLarge { bytes_max: 3 }));
    assert_eq!(reader.feed(b""), Err(ReadFault::TooLarge { bytes_max: 3 }));
}

#[test]
fn reading_allocates_nothing_and_a_reader_little() {
    let most = (0..Pointers::MAX).map(|place| Pointer::parse(&format!("/a/{place}/b")).expect("a pointer"));
    let pointers = Pointers::new(most).expect("not too many");
    let element = format!("{{\"b\":\"{}\",\"c\":[1.5e3,null,\"\\u00e9\"]}}", "é".repeat(500));
    let json = format!("{{\"a\":[{}]}}", vec![element; 20].join(","));
    let events = format!("data: {json}\n\n:\ndata: [DONE]\n\n").repeat(3);
    let form = "user=alice&a%20b=c+d&".repeat(100);
    for (media, body) in [(Media::Json, &json), (Media::Form, &form)] {
        let mut reader = None;
        let made = allocation_counter::measure(|| {
            reader = BodyReader::new(media, &pointers, u64::MAX).ok();
        });
        assert!(made.bytes_total < 16 * 1024, "{} bytes", made.bytes_total);
        let mut reader = reader.expect("requests are of this kind");
        let fed = allocation_counter::measure(|| {
            assert!(body.as_bytes().chunks(100).all(|piece| reader.feed(piece).is_ok()));
        });
        assert_eq!(fed.count_total, 0, "{media:?}");
        assert!(reader.finish().is_ok());
    }
    for (media, body) in [(Media::Json, &json), (Media::EventStream, &events)] {
        let mut reader = ResponseReader::new(media, &pointers).expect("responses are of this kind");
        let fed = allocation_counter::measure(|| body.as_bytes().chunks(100).for_each(|piece| reader.feed(piece)));
        assert_eq!(fed.count_total, 0, "{media:?}");
        let values = reader.finish();
        assert!((0..Pointers::MAX).all(|place| matches!(values.get(place), Some(Value::String(_)))));
    }
}

#[test]
fn a_cost_in_a_body_is_whole_units_or_refused() {
    let cost = |text: &str| {
        let values = read(&pointers(&["/c"]), [format!("{{\"c\":{text}}}").as_bytes()]).expect(text);
        cost_of(values.get(0).expect(text)).map(Cost::units)
    };
    assert_eq!(cost("0"), Ok(0));
    assert_eq!(cost("8000"), Ok(8000));
    assert_eq!(cost("9223372036854775808"), Ok(1 << 63));
    assert_eq!(cost("18446744073709551615"), Ok(u64::MAX));
    for text in [
        "-1",
        "-0",
        "1.5",
        "1.0",
        "1e3",
        "1e309",
        "18446744073709551616",
        "\"5\"",
        "\"NaN\"",
        "true",
        "null",
    ] {
        assert_eq!(cost(text), Err(ValueFault::NotUnits), "{text}");
    }
    for text in ["[5]", "{}"] {
        assert_eq!(cost(text), Err(ValueFault::Container), "{text}");
    }
    for text in ["+5", "0x10", "NaN", "Infinity", "٣", "05", "5k", ""] {
        let body = format!("{{\"c\":{text}}}");
        let found = read(&pointers(&["/c"]), [body.as_bytes()]);
        assert!(matches!(found, Err(ReadFault::Malformed { .. })), "{text}");
    }
}

#[test]
fn a_fault_has_a_status_and_repeats_nothing_of_the_body() {
    for (fault, status) in [
        (ReadFault::Malformed { at: 7 }, 400),
        (ReadFault::CutOff, 400),
        (ReadFault::Duplicate, 400),
        (ReadFault::TooDeep, 400),
        (ReadFault::TooLong, 400),
        (ReadFault::TooLarge { bytes_max: 10 }, 413),
        (ReadFault::Unsupported, 415),
    ] {
        assert_eq!(fault.status().as_u16(), status, "{fault}");
        assert!(!fault.to_string().is_empty());
    }
    let reader = BodyReader::new(Media::Json, &pointers(&["/a"]), u64::MAX).map(|mut reader| {
        let _ = reader.feed(br#"{"a": "alice", secret"#);
        format!("{reader:?}")
    });
    assert!(!reader.expect("it is JSON").contains("alice"));
}

#[test]
fn no_request_is_an_event_stream_and_no_response_a_form() {
    let pointers = pointers(&["/a"]);
    let request = BodyReader::new(Media::EventStream, &pointers, u64::MAX);
    assert_eq!(request.map(|_| ()).err(), Some(ReadFault::Unsupported));
    let response = ResponseReader::new(Media::Form, &pointers);
    assert_eq!(response.map(|_| ()).err(), Some(ReadFault::Unsupported));
}
