//! The script and the model come to the same, whatever is asked and whatever somebody has written into the store.
//!
//! The script that runs here differs from the product's in two lines: its clock is told by the test, and what it writes does
//! not expire, since the test's clock is not the server's.

use std::collections::HashMap;
use std::error::Error;

use sluicegate_core::sharing::{Ask, EPOCH_UNIX_US, Heal, Kind, Reply, Settled, Terms, exchange, permits, windows};
use sluicegate_redis::script::{self, Generation, Header, Said};
use sluicegate_state::store::{Answer, Item, Question, StoreKey};
use sluicegate_testkit::redis::{Client, RedisServer};

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
    } = world.tally;
    assert!(inputs >= 100_000, "{inputs}");
    // A search that never reached what it is for would prove nothing.
    for (what, count) in [
        ("grants", granted),
        ("takes", taken),
        ("damage", damaged),
        ("healing", healed),
        ("settling", settled),
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
}

/// A key, its limit, what the model keeps of it, and the leases that nodes hold of it.
struct Tracked {
    item: Item,
    kept: Kept,
    /// What was written into the store is not even of the right form.
    is_foreign: bool,
    /// Unspent units by epoch, with those that are long over.
    held: HashMap<u64, f64>,
    last: Option<Reply>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kept {
    Bucket(Option<exchange::Kept>),
    Window(Option<windows::Kept>),
    Permits(Vec<permits::Part>),
}

impl World {
    fn new(server: &RedisServer, seed: u64) -> Result<Self, Box<dyn Error>> {
        let told = script::EXCHANGE.replace(
            "local time = call('TIME')",
            "local time = redis.call('LRANGE', 'sg:test', 0, 1)",
        );
        let text = told.replace(
            "call('SET', keys[i], values[i], 'PX', life)",
            "call('SET', keys[i], values[i])",
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
        let bytes = reply.bytes().ok_or("no bytes")?;
        script::read(bytes, items).ok_or_else(|| "unreadable".into())
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

impl Tracked {
    fn new(number: u8, draw: &mut Draw) -> Self {
        const LIMITS: &[&str] = &[
            "1/s",
            "5/min",
            "100/s burst 200",
            "7/min burst 50",
            "50000/s burst 100000",
            "1000000/s",
            "10/day",
            "333/h burst 1000",
        ];
        let limit = LIMITS[draw.below(LIMITS.len())].parse().expect("a limit");
        let overdraft = [0.0, 1.0, 20.0][draw.below(3)];
        let units = |kind| Question::Units {
            terms: Terms::new(kind, &limit, overdraft),
            ask: Ask::default(),
        };
        let (question, kept) = match number % 8 {
            0..4 => (units(Kind::Bucket), Kept::Bucket(None)),
            4 | 5 => (units(Kind::SlidingWindow), Kept::Window(None)),
            6 => (units(Kind::FixedWindow), Kept::Window(None)),
            _ => (Question::Permits(permits::Ask::default()), Kept::Permits(Vec::new())),
        };
        Self {
            item: Item {
                key: StoreKey {
                    shard: number,
                    hash: [number; 16],
                },
                question,
            },
            kept,
            is_foreign: false,
            held: HashMap::new(),
            last: None,
        }
    }

    /// What a write by somebody else leaves for the model to find.
    fn find(&mut self, bytes: &[u8]) {
        let numbers = numbers(bytes);
        let words = |count: usize| (bytes.len() == count * 8).then_some(&numbers[..]);
        self.is_foreign = match &mut self.kept {
            Kept::Bucket(kept) => {
                *kept = words(6).map(|numbers| exchange::Kept {
                    tat: numbers[0],
                    demand: numbers[1],
                    demand_at: numbers[2],
                    current: numbers[3],
                    previous: numbers[4],
                    epoch_ends_at: numbers[5],
                });
                kept.is_none()
            }
            Kept::Window(kept) => {
                *kept = words(5).map(|numbers| windows::Kept {
                    window: numbers[0],
                    current: numbers[1],
                    previous: numbers[2],
                    demand: numbers[3],
                    demand_at: numbers[4],
                });
                kept.is_none()
            }
            Kept::Permits(parts) => {
                parts.clear();
                if bytes.len().is_multiple_of(24) {
                    parts.extend(numbers.chunks_exact(3).map(|part| permits::Part {
                        node: part[0],
                        permits: part[1],
                        ends_at: part[2],
                    }));
                }
                !bytes.len().is_multiple_of(24)
            }
        };
    }

    /// What some node asks next: mostly what an honest one would, sometimes anything.
    fn ask(&mut self, now: f64, draw: &mut Draw) -> Item {
        match &mut self.item.question {
            Question::Permits(ask) => {
                *ask = permits::Ask {
                    node: 1.0 + draw.up_to(40.0).floor(),
                    in_use: draw.up_to(4.0).floor(),
                    target: draw.up_to(20.0).floor(),
                    limit: 100.0,
                    ttl: 1e6 + draw.up_to(1e6).floor(),
                    learning: draw.below(8) == 0,
                };
            }
            Question::Units { terms, ask } => {
                let scale = terms.burst;
                let mut some = |of: usize, most: f64| {
                    if draw.below(of) == 0 { draw.up_to(most) } else { 0.0 }
                };
                *ask = Ask {
                    pay: some(4, scale / 10.0).floor(),
                    take: some(3, scale / 5.0).ceil(),
                    want: some(2, scale / 2.0),
                    refund: some(8, 3.0).floor(),
                    demand: some(2, scale).floor(),
                    own: some(2, scale),
                    chance: some(1, 1.0),
                    ..Ask::default()
                };
                let mut epochs: Vec<u64> = self.held.keys().copied().collect();
                epochs.sort_unstable();
                for settled in &mut ask.settled {
                    if epochs.is_empty() || draw.below(2) == 0 {
                        continue;
                    }
                    let bits = epochs[draw.below(epochs.len())];
                    let held = self.held.get(&bits).copied().unwrap_or_default();
                    let spent = draw.up_to(held).floor();
                    *settled = Settled {
                        epoch: f64::from_bits(bits),
                        spent,
                        returned: draw.up_to(held - spent).floor(),
                    };
                    self.held.insert(bits, held - settled.spent - settled.returned);
                }
                if draw.below(6) == 0 {
                    ask.heal = Some(Heal {
                        seen: self.last.map_or(now, |last| last.seen) + draw.up_to(2.0).floor(),
                        seen_epoch: self.last.map_or(0.0, |last| last.epoch),
                        held: draw.up_to(scale / 4.0).floor(),
                    });
                }
                if self.held.len() > 8 {
                    self.held.clear();
                }
            }
        }
        self.item
    }

    /// What the model says to the same, and whether that is what the script said.
    fn compare(&mut self, answer: &Answer, now: f64, tally: &mut Tally) -> Result<(), String> {
        tally.inputs += 1;
        let is_foreign = std::mem::take(&mut self.is_foreign);
        match (&self.item.question, &mut self.kept, answer) {
            (Question::Permits(ask), Kept::Permits(parts), Answer::Permits(said)) => {
                let (mut model, _) = permits::exchange(parts, ask, now);
                model.damaged |= is_foreign;
                tally.damaged += usize::from(said.damaged);
                if model == *said {
                    Ok(())
                } else {
                    Err(format!("permits: {said:?}, the model says {model:?}"))
                }
            }
            (Question::Units { terms, ask }, kept, Answer::Units(said)) => {
                let mut model = match kept {
                    Kept::Bucket(kept) => {
                        let (next, reply, _) = exchange::bucket(*kept, terms, ask, now);
                        *kept = Some(next);
                        reply
                    }
                    Kept::Window(kept) => {
                        let (next, reply, _) = windows::exchange(*kept, terms, ask, now);
                        *kept = Some(next);
                        reply
                    }
                    Kept::Permits(_) => return Err("kinds are mixed up".into()),
                };
                model.damaged |= is_foreign;
                tally.damaged += usize::from(said.damaged);
                tally.granted += usize::from(said.granted > 0.0);
                tally.taken += usize::from(said.taken > 0.0);
                tally.healed += usize::from(ask.heal.is_some());
                tally.settled += usize::from(ask.settled.iter().any(|settled| settled.epoch > 0.0));
                *self.held.entry(said.epoch.to_bits()).or_default() += said.granted;
                self.last = Some(*said);
                if is_same(&model, said, terms) {
                    Ok(())
                } else {
                    Err(format!("units: {said:?}, the model says {model:?}"))
                }
            }
            _ => Err("kinds are mixed up".into()),
        }
    }

    /// What one unit is in the numbers of what is kept: of a bucket a time, of anything else itself.
    fn scale(&self) -> f64 {
        match &self.item.question {
            Question::Units { terms, .. } if terms.kind == Kind::Bucket => terms.interval.min(1.0),
            _ => 1.0,
        }
    }
}

impl Kept {
    fn place_of_demand(&self) -> Option<usize> {
        match self {
            Self::Bucket(_) => Some(1),
            Self::Window(_) => Some(3),
            Self::Permits(_) => None,
        }
    }

    fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Bucket(kept) => kept.map_or_else(Vec::new, |kept| {
                vec![
                    kept.tat,
                    kept.demand,
                    kept.demand_at,
                    kept.current,
                    kept.previous,
                    kept.epoch_ends_at,
                ]
            }),
            Self::Window(kept) => kept.map_or_else(Vec::new, |kept| {
                vec![kept.window, kept.current, kept.previous, kept.demand, kept.demand_at]
            }),
            Self::Permits(parts) => parts
                .iter()
                .flat_map(|part| [part.node, part.permits, part.ends_at])
                .collect(),
        }
    }
}

/// Somebody may have written a demand of ten thousand million. The two exponentials differ in the last digit, which is then a
/// millionth of a request.
fn unit_of_demand(demand: f64) -> f64 {
    (demand / 1e6).max(1.0)
}

fn is_same(model: &Reply, said: &Reply, terms: &Terms) -> bool {
    let near = |one: f64, other: f64, unit: f64| (one - other).abs() <= TOLERANCE * unit;
    let span = terms.interval;
    near(model.taken, said.taken, 1.0)
        && near(model.granted, said.granted, 1.0)
        && near(model.epoch, said.epoch, 1.0)
        && near(model.valid_for, said.valid_for, span)
        && near(model.available, said.available, 1.0)
        && near(model.ready_after, said.ready_after, span)
        && near(
            model.rate * terms.theta,
            said.rate * terms.theta,
            unit_of_demand(model.rate * terms.theta),
        )
        && near(model.share, said.share, 1.0)
        && near(model.seen, said.seen, span.min(1.0))
        && model.damaged == said.damaged
}

fn name_of(item: &Item) -> Vec<u8> {
    [b"sg:{7f}:", &item.key.hash[..]].concat()
}

fn numbers(bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks_exact(8)
        .map(|bytes| f64::from_le_bytes(bytes.try_into().expect("eight bytes")))
        .collect()
}

/// A seeded generator: splitmix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    #[expect(clippy::cast_possible_truncation, reason = "below `most`")]
    fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    fn up_to(&mut self, most: f64) -> f64 {
        most * ((self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// What nobody of ours would write: mostly of a right length, with numbers that cannot be.
    fn nonsense(&mut self, now: f64) -> Vec<u8> {
        let count = [5, 6, 3, 9, 12][self.below(5)];
        let odd = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -1.0,
            -0.0,
            0.0,
            1.0,
            1e10,
            1e18,
            1e300,
            f64::MAX,
            f64::MIN_POSITIVE,
            now,
            now + 1e6,
            now * 2.0,
        ];
        let mut bytes: Vec<u8> = (0..count)
            .flat_map(|_| {
                let number = if self.below(3) == 0 {
                    odd[self.below(odd.len())]
                } else {
                    self.up_to(1e4)
                };
                number.to_le_bytes()
            })
            .collect();
        if self.below(6) == 0 {
            bytes.truncate(self.below(bytes.len() + 1));
        }
        bytes
    }
}
