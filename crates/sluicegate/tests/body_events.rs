//! Usage at the end of a response: event streams as they come, beside a second reader that is simple and holds all.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value as Document;
use sluicegate::body::{Media, Pointer, Pointers, ResponseReader, Value};

const POINTERS: [&str; 2] = ["/usage/total", "/n"];

/// What was found at [`POINTERS`], as text.
fn read<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> [Option<String>; 2] {
    let pointers = POINTERS.map(|text| Pointer::parse(text).expect(text));
    let pointers = Pointers::new(pointers).expect("two are not too many");
    let mut reader = ResponseReader::new(Media::EventStream, &pointers).expect("responses are event streams");
    for piece in pieces {
        reader.feed(piece);
    }
    let values = reader.finish();
    [0, 1].map(|place| {
        values.get(place).map(|value| match value {
            Value::Number(text) => text.to_owned(),
            Value::String(text) => format!("{text:?}"),
            other => format!("{other:?}"),
        })
    })
}

/// Reads the stream whole, byte by byte, and cut at every place.
#[track_caller]
fn check(stream: &str, expected: [Option<&str>; 2]) {
    let expected = expected.map(|text| text.map(str::to_owned));
    let stream = stream.as_bytes();
    assert_eq!(read(stream.chunks(1)), expected, "byte by byte");
    for cut in 0..=stream.len() {
        let (first, second) = stream.split_at(cut);
        assert_eq!(read([first, second]), expected, "cut at {cut}");
    }
}

#[test]
fn the_last_event_with_a_value_counts_whatever_follows() {
    check(
        "data: {\"n\":1,\"usage\":null}\n\ndata: {\"n\":2,\"usage\":{\"total\":93}}\n\ndata: [DONE]\n\n",
        [Some("93"), Some("2")],
    );
    check(
        "event: message_start\ndata: {\"usage\":{\"total\":10}}\n\nevent: ping\ndata: {}\n\ndata: {\"n\":7}\n\n",
        [Some("10"), Some("7")],
    );
    check(
        "data: {\"usage\":{\"total\":1}}\n\ndata: {\"usage\":{\"total\":null}}\n\n",
        [Some("1"), None],
    );
    check("", [None, None]);
    check(": nothing but comments\n\n:\n\n", [None, None]);
}

#[test]
fn lines_end_in_each_of_three_ways_and_a_mark_may_stand_in_front() {
    for end in ["\n", "\r", "\r\n"] {
        let stream =
            format!("data: {{\"n\":1}}{end}{end}:{end}data:{{\"usage\":{end}data: {{\"total\":2}}}}{end}{end}");
        check(&stream, [Some("2"), Some("1")]);
        check(&format!("\u{feff}{stream}"), [Some("2"), Some("1")]);
    }
    check("data: {\"n\":1}\r\r\n", [None, Some("1")]);
    // A second mark, and one in a later line, is part of a field's name that nobody knows.
    check("\u{feff}\u{feff}data: {\"n\":1}\n\n", [None, None]);
    check("data: {\"n\":1}\n\n\u{feff}data: {\"n\":2}\n\n", [None, Some("1")]);
}

#[test]
fn only_lines_of_data_count_and_lose_one_blank() {
    check(
        "datas: {\"n\":1}\n\ndat: {\"n\":1}\n\nData: {\"n\":1}\n\n data: {\"n\":1}\n\n",
        [None, None],
    );
    check(
        "id: 1\nretry: 5\ndata:{\"n\":\nevent: x\ndata:  \"a\"}\n\n",
        [None, Some("\"a\"")],
    );
    check("data\ndata: {\"n\":1}\ndata\ndata:\n\n", [None, Some("1")]);
    // The line feed between two lines is part of the text, and no text of JSON may hold one.
    check("data: {\"n\":\"a\ndata: b\"}\n\n", [None, None]);
    check("data: 1\ndata: 2\n\ndata: {\"n\":1\ndata: 2}\n\n", [None, None]);
}

#[test]
fn an_event_that_is_no_json_is_passed_over_as_a_whole() {
    for wrong in [
        "{\"n\":2} x",
        "{\"n\":2",
        "{\"n\":2,\"n\":3}",
        "{\"n\":2,}",
        "hello",
        "{\"n\":\"\u{1}\"}",
    ] {
        check(
            &format!("data: {{\"n\":1}}\n\ndata: {wrong}\n\ndata: {{}}\n\n"),
            [None, Some("1")],
        );
    }
    let deep = "[".repeat(1000);
    check(&format!("data: {deep}\n\ndata: {{\"n\":1}}\n\n"), [None, Some("1")]);
    let bytes = b"data: {\"n\":1}\n\ndata: {\"n\":2,\"x\":\"\xff\"}\n\n";
    assert_eq!(read([bytes.as_slice()]), [None, Some("1".to_owned())]);
}

#[test]
fn a_stream_that_was_cut_off_counts_as_far_as_its_values_are_whole() {
    let stream = "data: {\"n\":1}\n\ndata: {\"n\":23,\"usage\":{\"total\":45}}\n\n";
    // A number is whole once something follows it.
    let [first, n, total] = ["1}", "23,", "45}"].map(|end| stream.find(end).expect("it stands there") + end.len());
    for cut in 0..=stream.len() {
        let found = read([&stream.as_bytes()[..cut]]);
        let expected_n = match cut {
            _ if cut >= n => Some("23"),
            _ if cut >= first => Some("1"),
            _ => None,
        };
        let expected_total = (cut >= total).then_some("45");
        assert_eq!(
            found,
            [expected_total, expected_n].map(|text| text.map(str::to_owned)),
            "cut at {cut}"
        );
    }
}

/// Lines and events as the standard words them, over the whole stream: WHATWG HTML, section 9.2.6.
fn reference(stream: &[u8]) -> [Option<String>; 2] {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut lines = vec![Vec::new()];
    let mut bytes = stream.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' => {
                bytes.next_if(|next| **next == b'\n');
                lines.push(Vec::new());
            }
            b'\n' => lines.push(Vec::new()),
            byte => lines.last_mut().expect("there is one").push(*byte),
        }
    }
    // What follows the last end of a line is no line.
    lines.pop();

    let mut found = [None, None];
    let mut data = Vec::new();
    for line in lines {
        if line.is_empty() {
            // The last line feed is not part of the data.
            data.pop();
            if let Ok(document) = serde_json::from_slice::<Document>(&std::mem::take(&mut data)) {
                for (found, pointer) in found.iter_mut().zip(POINTERS) {
                    if let Some(value) = document.pointer(pointer).filter(|value| !value.is_null()) {
                        *found = Some(value.to_string());
                    }
                }
            }
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        if line.starts_with(b"data") && colon == 4 {
            data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            data.push(b'\n');
        }
    }
    found
}

/// What streams are made of. No two members of one name: those the reader passes over, and serde_json does not.
const FRAGMENTS: &[&str] = &[
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "data: {\"usage\":{\"total\":1}}\n\n",
    "data: {\"usage\":{\"total\":-2.5}}\r\n\r\n",
    "data:{\"n\":3,\"usage\":null}\n\n",
    "data: {\"n\":null}\r\r",
    "data: [DONE]\n\n",
    "data: ",
    "data:",
    "data",
    "dat",
    "a",
    ":",
    " ",
    "{\"n\":4}",
    "{\"n\":",
    "\"x\"",
    "5",
    "}",
    "event: message\n",
    "id: 1\r",
    ": comment",
    "\u{feff}",
    "é",
];

proptest! {
    #[test]
    fn a_stream_is_read_as_a_reader_that_holds_it_all_would_read_it(
        fragments in vec(select(FRAGMENTS), 0..24),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        // The end of a stream is read more generously than the standard has it; here every event ends.
        let stream = fragments.concat() + "\n\n";
        let stream = stream.as_bytes();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let expected = reference(stream);
        prop_assert_eq!(read(cuts.windows(2).map(|ends| &stream[ends[0]..ends[1]])), expected.clone());
        prop_assert_eq!(read(stream.chunks(1)), expected);
    }
}
