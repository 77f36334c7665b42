//! The script and the model come to the same, whatever is asked and whatever somebody has written into the store.
//!
//! The script that runs here differs from the product's in two lines: its clock is told by the test, and what it writes does
//! not expire, since the test's clock is not the server's.

mod draw;
mod tracked;

use std::error::Error;

use draw::Draw;
use sluicegate_core::sharing::EPOCH_UNIX_US;
use sluicegate_redis::script::{self, Generation, Header, Said};
use sluicegate_state::store::Item;
use sluicegate_testkit::redis::{Client, RedisServer, Reply};
use tracked::{Tracked, numbers, unit_of_demand};

/// How often all 128 keys are asked about: 131 072 inputs.
const ROUNDS: usize = 1_024;

/// How far apart the two may be, in units.
const TOLERANCE: f64 = 1e-6;

#[test]
fn script_and_model_agree_on_a_hundred_thousand_inputs_of_every_kind() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let mut world = World::new(&server, 0x51_0C_E6_A7_E0)?;
    for round in 0..ROUNDS {
        world.step().map_err(|found| format!("round {round}: {found}"))?;
    }
    let Tally {
        inputs,
        granted,
        taken,
        damaged,
        healed,
        settled,
        moved,
        cleared,
        locked,
    } = world.tally;
    assert!(inputs >= 100_000, "{inputs}");
    // A search that never reached what it is for would prove nothing.
    for (what, count) in [
        ("grants", granted),
        ("takes", taken),
        ("damage", damaged),
        ("healing", healed),
        ("settling", settled),
        ("moving", moved),
        ("clearing", cleared),
        ("locks", locked),
    ] {
        assert!(count >= 1_000, "only {count} of {what} among {inputs}");
    }
    Ok(())
}

/// The server, the model beside it, and what nodes would remember.
struct World {
    client: Client,
    sha: String,
    draw: Draw,
    now: f64,
    keys: Vec<Tracked>,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    inputs: usize,
    granted: usize,
    taken: usize,
    damaged: usize,
    healed: usize,
    settled: usize,
    moved: usize,
    cleared: usize,
    locked: usize,
}

impl World {
    fn new(server: &RedisServer, seed: u64) -> Result<Self, Box<dyn Error>> {
        let told = script::EXCHANGE.replace(
            "local time = call('TIME')",
            "local time = redis.call('LRANGE', 'sg:test', 0, 1)",
        );
        let text = told.replace(
            "call('PSETEX', keys[i], life, kept[i - 1])",
            "call('SET', keys[i], kept[i - 1])",
        );
        assert!(
            told != script::EXCHANGE && text != told,
            "the lines to replace are there"
        );
        let mut client = server.client()?;
        let sha = client.command(&["SCRIPT", "LOAD", &text])?.text().ok_or("no sha")?;
        let mut draw = Draw(seed);
        let keys = (0..128).map(|number| Tracked::new(number, &mut draw)).collect();
        Ok(Self {
            client,
            sha,
            draw,
            now: 9e13,
            keys,
            tally: Tally::default(),
        })
    }

    /// A few calls about every key once, in any order, and what the store holds afterwards.
    fn step(&mut self) -> Result<(), Box<dyn Error>> {
        self.advance()?;
        self.damage()?;
        for at in (1..self.keys.len()).rev() {
            let other = self.draw.below(at + 1);
            self.keys.swap(at, other);
        }
        let now = self.now;
        let items: Vec<Item> = self.keys.iter_mut().map(|key| key.ask(now, &mut self.draw)).collect();
        let mut answers = Vec::new();
        let mut rest = &items[..];
        while !rest.is_empty() {
            // Of all lengths: one key, a few, all.
            let most = [1, 3, 20, rest.len()][self.draw.below(4)];
            let (some, others) = rest.split_at(most.min(rest.len()));
            rest = others;
            let said = self.call(some)?;
            let Said::Done {
                now: shown,
                answers: of_some,
                ..
            } = said
            else {
                return Err(format!("{said:?}").into());
            };
            assert!((shown - now).abs() < 1e-9, "the clock that was told: {shown} for {now}");
            answers.extend(of_some);
        }
        for (key, answer) in self.keys.iter_mut().zip(&answers) {
            key.compare(answer, now, &mut self.tally)
                .map_err(|found| format!("{found}\n{:?}\n{:?}", key.item, key.kept))?;
        }
        self.compare_kept()
    }

    /// Mostly a little on, now and then far, and sometimes back.
    fn advance(&mut self) -> Result<(), Box<dyn Error>> {
        let step = match self.draw.below(20) {
            0 => -self.draw.up_to(3e6),
            1 => self.draw.up_to(4e9),
            2..6 => self.draw.up_to(2e6),
            6..8 => 0.0,
            _ => self.draw.up_to(2e5),
        };
        self.now = (self.now + step).floor();
        let unix = self.now + EPOCH_UNIX_US;
        let seconds = (unix / 1e6).floor();
        let micros = unix - seconds * 1e6;
        self.client.command(&["DEL", "sg:test"])?;
        self.client
            .command(&["RPUSH", "sg:test", &seconds.to_string(), &micros.to_string()])?;
        Ok(())
    }

    /// Somebody writes something into a few keys.
    fn damage(&mut self) -> Result<(), Box<dyn Error>> {
        for _ in 0..3 {
            let at = self.draw.below(self.keys.len());
            let bytes = self.draw.nonsense(self.now);
            let key = &mut self.keys[at];
            let name = name_of(&key.item);
            if self.draw.below(5) == 0 {
                self.client.command(&[&b"DEL"[..], &name])?;
                self.client.command(&[&b"RPUSH"[..], &name, b"foreign"])?;
                key.find(b"foreign");
            } else {
                self.client.command(&[&b"SET"[..], &name, &bytes])?;
                key.find(&bytes);
            }
        }
        Ok(())
    }

    fn call(&mut self, items: &[Item]) -> Result<Said, Box<dyn Error>> {
        let header = Header {
            expected: None,
            fresh: Generation::new(7).ok_or("a generation")?,
            deadline: 0.0,
            estimate: 0.0,
            prolong: false,
        };
        let mut words: Vec<Vec<u8>> = vec![
            b"EVALSHA".into(),
            self.sha.clone().into(),
            (items.len() + 1).to_string().into(),
            b"sg:generation".into(),
        ];
        words.extend(items.iter().map(name_of));
        words.push(header.to_bytes().to_vec());
        words.push(script::records(items)?);
        let reply = self.client.command(&words)?;
        let pieces = match reply.elements() {
            [] => reply.bytes().map(<[u8]>::to_vec),
            pieces => pieces
                .iter()
                .map(Reply::bytes)
                .collect::<Option<Vec<_>>>()
                .map(|pieces| pieces.concat()),
        };
        script::read(&pieces.ok_or("no bytes")?, items).ok_or_else(|| "unreadable".into())
    }

    fn compare_kept(&mut self) -> Result<(), Box<dyn Error>> {
        let mut words = vec![b"MGET".to_vec()];
        words.extend(self.keys.iter().map(|key| name_of(&key.item)));
        let reply = self.client.command(&words)?;
        for (key, value) in self.keys.iter().zip(reply.elements()) {
            let value = value.bytes().ok_or("a key that is not kept")?;
            let numbers = numbers(value);
            let model = key.kept.numbers();
            let demand = key.kept.place_of_demand();
            let is_near = |at: usize, one: f64, other: f64| {
                let unit = if demand == Some(at) {
                    unit_of_demand(one)
                } else {
                    key.scale()
                };
                (one - other).abs() <= TOLERANCE * unit
            };
            let mut pairs = numbers.iter().zip(&model).enumerate();
            let is_same = numbers.len() == model.len() && pairs.all(|(at, (one, other))| is_near(at, *one, *other));
            if !is_same {
                return Err(format!(
                    "kept {numbers:?}, the model keeps {model:?}, of {:?}",
                    key.item.question
                )
                .into());
            }
        }
        Ok(())
    }
}

fn name_of(item: &Item) -> Vec<u8> {
    [b"sg:{7f}:", &item.key.hash[..]].concat()
}
