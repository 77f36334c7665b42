//! Every target over its kept inputs, and over a bounded number of their mutations from a fixed seed.

use std::{io, thread};

use sluicegate_fuzz::mutation::Mutator;
use sluicegate_fuzz::{TARGETS, Target, corpus};

/// Mutations for each target: some seconds without optimisation. `./x soak` looks for longer.
const MUTATIONS: u32 = 20_000;

#[track_caller]
fn check(name: &str) -> io::Result<()> {
    let target = TARGETS
        .iter()
        .find(|target| target.name == name)
        .expect("the name of a target");
    let inputs = corpus(target)?;
    assert!(!inputs.is_empty(), "{name} has no kept inputs");
    for (path, input) in &inputs {
        run(target, &path.display().to_string(), input);
    }
    let inputs: Vec<_> = inputs.into_iter().map(|(_, bytes)| bytes).collect();
    let mut mutator = Mutator::new(1, &inputs, target.dictionary);
    for number in 0..MUTATIONS {
        run(target, &format!("mutation {number}"), &mutator.input());
    }
    Ok(())
}

/// Runs the target, and names the input if that panics.
fn run(target: &Target, name: &str, input: &[u8]) {
    struct Guard<'a>(&'a str, &'a [u8]);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                println!("failed for {}: b\"{}\"", self.0, self.1.escape_ascii());
            }
        }
    }
    let _guard = Guard(name, input);
    (target.run)(input);
}

#[test]
fn what_a_client_writes_never_moves_the_address_that_a_proxy_saw() -> io::Result<()> {
    check("address")
}

#[test]
fn any_text_is_an_expression_that_answers_any_request_or_has_a_fault_that_can_be_read() -> io::Result<()> {
    check("condition")
}

#[test]
fn where_the_gate_sees_a_request_end_hyper_sees_it_end() -> io::Result<()> {
    check("framing")
}

#[test]
fn a_clients_first_message_reads_the_same_in_whatever_pieces_it_comes() -> io::Result<()> {
    check("hello")
}

#[test]
fn members_of_json_are_found_or_refused_as_a_reader_of_the_whole_document_would() -> io::Result<()> {
    check("json")
}

#[test]
fn the_last_values_of_an_event_stream_are_those_of_a_reader_that_holds_it() -> io::Result<()> {
    check("events")
}

#[test]
fn fields_of_a_form_are_found_or_refused_as_a_reader_of_the_whole_form_would() -> io::Result<()> {
    check("form")
}

#[test]
fn any_text_is_a_file_of_keys_that_finds_each_or_has_faults_that_show_no_key() -> io::Result<()> {
    check("keys")
}

#[test]
fn any_bytes_are_a_token_that_says_what_it_has_to_or_nobodys() -> io::Result<()> {
    check("token")
}

#[test]
fn a_limit_survives_being_written_and_read_and_its_faults_point_into_the_text() -> io::Result<()> {
    check("limit")
}

#[test]
fn a_path_has_one_form_and_no_way_around_it() -> io::Result<()> {
    check("path")
}

#[test]
fn any_text_is_a_policy_or_has_faults_that_can_be_found_read_and_shown() -> io::Result<()> {
    check("policy")
}

#[test]
fn a_proxys_header_is_read_alike_however_it_is_cut() -> io::Result<()> {
    check("proxy")
}

#[test]
fn any_bytes_are_a_snapshot_that_reads_alike_once_written_again_or_are_refused() -> io::Result<()> {
    check("snapshot")
}

#[test]
fn any_bytes_are_an_answer_of_the_store_in_numbers_that_can_be_or_none() -> io::Result<()> {
    check("store")
}

/// A target that is only in the list would be built and never run.
#[test]
fn every_target_has_a_test_here_and_a_binary() {
    for target in TARGETS {
        let call = format!("check(\"{}\")", target.name);
        assert!(include_str!("corpus.rs").contains(&call), "no test calls {call}");
        let binary = format!("name = \"{}\"", target.name);
        assert!(
            include_str!("../Cargo.toml").contains(&binary),
            "no binary with {binary}"
        );
    }
}
