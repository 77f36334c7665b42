//! Random documents, and random damage to them: read as serde_json reads them.
//!
//! Differences, all wanted: serde_json refuses numbers beyond `f64` (we keep their text), nests to 127 where we nest to 128,
//! and takes the last of two members of one name (we refuse those that a pointer leads to).

use std::fmt::Write as _;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Number, Value as Document};
use sluicegate::body::{BodyReader, Media, Pointer, Pointers, ReadFault, Value, Values};

/// Few enough that pointers often lead somewhere, and all that is special in a pointer or a string.
const NAMES: &[&str] = &[
    "a", "b", "ab", "", "0", "1", "01", "~", "/", "~1", "é", "😀", "\"", "\\", "\n", "a name",
];

fn documents() -> impl Strategy<Value = Document> {
    let scalar = prop_oneof![
        Just(Document::Null),
        any::<bool>().prop_map(Document::Bool),
        any::<i64>().prop_map(Document::from),
        any::<u64>().prop_map(Document::from),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Document::Null, Document::Number)),
        any::<String>().prop_map(Document::String),
        select(NAMES).prop_map(Document::from),
    ];
    scalar.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Document::Array),
            btree_map(select(NAMES).prop_map(str::to_owned), inner, 0..6)
                .prop_map(|members| Document::Object(members.into_iter().collect())),
        ]
    })
}

fn pointer_texts() -> impl Strategy<Value = Vec<String>> {
    let token = select(NAMES).prop_map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1")));
    vec(vec(token, 1..5).prop_map(|tokens| tokens.concat()), 0..=Pointers::MAX)
}

/// One of the many ways to write a document: blanks and escapes as `style` has it, a bit for each choice.
fn written(document: &Document, style: &[u8]) -> String {
    let mut writer = Writer {
        text: String::new(),
        style: style.iter().cycle(),
    };
    writer.value(document);
    writer.text
}

struct Writer<'s> {
    text: String,
    style: std::iter::Cycle<std::slice::Iter<'s, u8>>,
}

impl Writer<'_> {
    fn choice(&mut self) -> u8 {
        self.style.next().copied().unwrap_or_default()
    }

    fn blank(&mut self) {
        let blanks = ["", "", "", " ", "\n", "\t\r\n  "];
        let choice = usize::from(self.choice());
        self.text += blanks[choice % blanks.len()];
    }

    fn value(&mut self, document: &Document) {
        self.blank();
        match document {
            Document::String(text) => self.string(text),
            Document::Array(elements) => {
                self.text.push('[');
                for (number, element) in elements.iter().enumerate() {
                    self.text += if number == 0 { "" } else { "," };
                    self.value(element);
                }
                self.blank();
                self.text.push(']');
            }
            Document::Object(members) => {
                self.text.push('{');
                for (number, (name, member)) in members.iter().enumerate() {
                    self.text += if number == 0 { "" } else { "," };
                    self.blank();
                    self.string(name);
                    self.blank();
                    self.text.push(':');
                    self.value(member);
                }
                self.blank();
                self.text.push('}');
            }
            scalar => self.text += &scalar.to_string(),
        }
        self.blank();
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for letter in text.chars() {
            if self.choice().is_multiple_of(4) {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    write!(self.text, "\\u{unit:04x}").expect("a String takes all");
                }
            } else if matches!(letter, '"' | '\\') {
                self.text.extend(['\\', letter]);
            } else if letter < ' ' {
                write!(self.text, "\\u{:04X}", u32::from(letter)).expect("a String takes all");
            } else {
                self.text.push(letter);
            }
        }
        self.text.push('"');
    }
}

fn read<'b>(pointers: &Pointers, pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Values, ReadFault> {
    let mut reader = BodyReader::new(Media::Json, pointers, u64::MAX)?;
    for piece in pieces {
        reader.feed(piece)?;
    }
    reader.finish()
}

fn made(texts: &[String]) -> Pointers {
    let pointers = texts.iter().map(|text| Pointer::parse(text).expect(text));
    Pointers::new(pointers).expect("not too many")
}

/// Whether what was found is what the document holds there.
fn agrees(found: Option<Value<'_>>, expected: Option<&Document>) -> bool {
    match (found, expected) {
        (None, None) | (Some(Value::Null), Some(Document::Null)) => true,
        (Some(Value::Bool(found)), Some(Document::Bool(expected))) => found == *expected,
        (Some(Value::String(found)), Some(Document::String(expected))) => found == expected,
        (Some(Value::Number(found)), Some(Document::Number(expected))) => {
            serde_json::from_str::<Number>(found).is_ok_and(|found| found == *expected)
        }
        (Some(Value::Container), Some(expected)) => expected.is_object() || expected.is_array(),
        _ => false,
    }
}

fn check_found(values: &Values, texts: &[String], document: &Document) {
    assert_eq!(values.len(), texts.len());
    for (place, text) in texts.iter().enumerate() {
        let expected = document.pointer(text);
        // Random strings may be longer than what is kept, but then the reader says so.
        assert!(agrees(values.get(place), expected), "{text} is not {expected:?}");
    }
}

/// Cuts a body where the indexes say.
fn pieces<'b>(body: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
    cuts.extend([0, body.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| &body[ends[0]..ends[1]]).collect()
}

/// Below this a document is cut at every place.
const SMALL: usize = 300;

proptest! {
    #[test]
    fn a_document_holds_what_serde_json_finds_in_it_however_it_is_written_and_cut(
        document in documents(),
        texts in pointer_texts(),
        style in vec(any::<u8>(), 1..40),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let text = written(&document, &style);
        let body = text.as_bytes();
        // The text is read again: not every float that a program can make is read as it was written.
        let document: Document = serde_json::from_str(&text).expect("it was written by the grammar");
        let pointers = made(&texts);
        let mut ways = vec![pieces(body, &cuts), body.chunks(1).collect()];
        if body.len() <= SMALL {
            ways.extend((0..=body.len()).map(|cut| vec![&body[..cut], &body[cut..]]));
        }
        for way in ways {
            check_found(&read(&pointers, way).expect("it is well-formed"), &texts, &document);
        }
    }

    #[test]
    fn a_damaged_document_is_accepted_exactly_if_serde_json_accepts_it(
        document in documents(),
        texts in pointer_texts(),
        style in vec(any::<u8>(), 1..40),
        damages in vec((any::<Index>(), 0..3_u8, select(DAMAGE)), 1..4),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let mut body = written(&document, &style).into_bytes();
        for (place, kind, byte) in damages {
            let at = place.index(body.len() + 1);
            match kind {
                0 => body.insert(at, byte),
                1 if at < body.len() => body[at] = byte,
                _ if at < body.len() => drop(body.remove(at)),
                _ => {}
            }
        }
        let pointers = made(&texts);
        let found = read(&pointers, [body.as_slice()]).map_err(Some);
        let again = read(&pointers, pieces(&body, &cuts)).map_err(Some);
        prop_assert_eq!(found.as_ref().err(), again.as_ref().err(), "the fault depends on the pieces");
        match (found, serde_json::from_slice::<Document>(&body)) {
            (Ok(values), Ok(document)) => check_found(&values, &texts, &document),
            (Err(Some(ReadFault::Duplicate)), _) | (Err(_), Err(_)) => {}
            (Ok(_), Err(error)) => {
                prop_assert!(error.to_string().starts_with("number out of range"), "accepted: {error}");
            }
            (Err(fault), Ok(_)) => prop_assert!(false, "refused: {fault:?}"),
        }
    }
}

/// What documents are made of, and what they are not.
const DAMAGE: &[u8] = b"{}[]:,\"\\ \n\x00\x1f/u0dD8eE.+-19tfn\x80\xbf\xc3\xed\xf0\xff";
