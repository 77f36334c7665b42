//! A limiter without a file: rules written in code, checked like those of a file.

use std::fmt::{self, Display};
use std::time::Duration;

use sluicegate_core::Secret;
use sluicegate_core::algorithm::{Algorithm, Align};
use sluicegate_core::sharing::OnStoreLoss;
use sluicegate_state::{AnyClock, SystemClock};

use super::{Limiter, LimiterError};
use crate::policy::checked::{OnSuccess, Sharing};
use crate::policy::document::{self, Value};
use crate::policy::{Fault, Faults};
use crate::secret::{self, SecretError};

impl Limiter {
    /// Begins a limiter without a policy file.
    ///
    /// ```
    /// use sluicegate::{Limiter, Rule};
    /// use std::time::Duration;
    ///
    /// let limiter = Limiter::builder()
    ///     .limit("emails", "10/h")
    ///     .rule(Rule::named("passwords").limit("5 per 15min").count_failures().lock(Duration::from_secs(900)))
    ///     .rule(Rule::named("streams").permits(20))
    ///     .build()?;
    /// assert!(limiter.check("emails", "alice")?.passes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> Builder {
        Builder {
            rules: Vec::new(),
            memory: None,
            waiting: None,
            clock: None,
            secret: None,
            is_shared: false,
        }
    }
}

/// A limiter in the making. What is not said is as in a policy file that does not say it; see `docs/policy.md`.
#[derive(Debug, Clone)]
#[must_use = "a limiter is made by `build`"]
pub struct Builder {
    rules: Vec<Rule>,
    memory: Option<usize>,
    waiting: Option<usize>,
    clock: Option<AnyClock>,
    secret: Option<Secret>,
    is_shared: bool,
}

impl Builder {
    /// Adds a token bucket for programs to ask: `limit` as in `10/h`, `3 per 15min` or `5/s burst 10`.
    pub fn limit(self, name: impl Into<String>, limit: impl Display) -> Self {
        self.rule(Rule::named(name).limit(limit))
    }

    /// Adds a rule.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// The hard bound of what is remembered of keys, in bytes, 1 MiB to 1 TiB; 256 MiB unless said. A key takes 16 to 32 of
    /// them, and memory that no key needed yet is not touched.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Most requests that wait in leaky buckets at once, over all rules; one more is refused. 10 000 unless said. Counts those that
    /// [`Limiter::decide`] and [`Limiter::check_all`] let wait.
    pub fn waiting(mut self, most: usize) -> Self {
        self.waiting = Some(most);
        self
    }

    /// The clock; the machine's unless said.
    pub fn clock(mut self, clock: impl Into<AnyClock>) -> Self {
        self.clock = Some(clock.into());
        self
    }

    /// The secret that keys are hashed under; one made for this process alone unless said. Another process, or this one after
    /// a restart, then enforces a rule's share of keys ([`Rule::enforce`]) for other keys.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// That rules share their limits with other nodes, each as its [`Rule::sharing`] says, by the store that `Limiter::share` is then given.
    /// All nodes need one [`secret`](Self::secret): only under it do they mean one key by one name.
    pub fn shared(mut self) -> Self {
        self.is_shared = true;
        self
    }

    /// Checks all rules and makes the limiter.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the rules, named by rule and field; if limits are to be shared without a secret; or if memory or
    /// randomness cannot be had.
    pub fn build(self) -> Result<Limiter, BuildError> {
        if self.is_shared && self.secret.is_none() {
            return Err(BuildError::SharedWithoutSecret);
        }
        let names = self.rules.iter().map(|rule| rule.name.clone()).collect();
        let (policy, _warnings) = document::read(Value::Map(self.fields()))
            .map_err(|faults| BuildError::Rules(RuleFaults { faults, names }))?;
        let secret = match self.secret {
            Some(secret) => secret,
            None => secret::generate()?,
        };
        let clock = self.clock.unwrap_or_else(|| SystemClock::new().into());
        Ok(Limiter::new(&policy, &secret, clock)?)
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        let mut state = Vec::new();
        if let Some(bytes) = self.memory {
            state.push(("memory", Value::Plain(format!("{bytes}B"))));
        }
        if let Some(most) = self.waiting {
            state.push(("waiting", plain(most)));
        }
        if self.is_shared {
            // Where the store is and which secret they share, a program says in its own way; the policy only has to know that it does.
            let elsewhere = Value::Plain("redis://program.invalid:6379".to_owned());
            state.push(("share", Value::Map(vec![("redis", elsewhere)])));
            state.push(("secret_file", Value::Plain("program".to_owned())));
        }
        let rules = self.rules.iter().map(Rule::value).collect();
        vec![
            ("version", plain(1)),
            ("state", Value::Map(state)),
            ("rules", Value::List(rules)),
        ]
    }
}

/// Why no limiter was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The rules, or what is said beside them, cannot be used.
    #[error(transparent)]
    Rules(RuleFaults),
    /// Limits are to be shared, and there is no secret that other nodes could have.
    #[error("nodes that share limits need one secret: give it by `Builder::secret`")]
    SharedWithoutSecret,
    /// There is no secret.
    #[error("no secret could be made for the limiter")]
    Secret(#[from] SecretError),
    /// The limiter cannot be made of them.
    #[error("the limiter cannot be made")]
    Limiter(#[from] LimiterError),
}

/// Everything that is wrong with rules that a program made: at least one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFaults {
    faults: Faults,
    names: Vec<String>,
}

impl RuleFaults {
    /// The faults. They name places as a policy file has them, such as `rules[0].limit`; their lines have no meaning.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.faults.iter()
    }
}

impl<'f> IntoIterator for &'f RuleFaults {
    type Item = &'f Fault;
    type IntoIter = std::slice::Iter<'f, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One line a fault: `rule "emails": limit: "10/fortnight" is not a limit: …; use …`.
impl Display for RuleFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match self.in_rule(&fault.place) {
                Some((name, "")) => write!(f, "rule {name:?}")?,
                Some((name, field)) => write!(f, "rule {name:?}: {field}")?,
                None => f.write_str(&fault.place)?,
            }
            write!(f, ": {}; {}", fault.problem, fault.remedy)?;
        }
        if self.faults.omitted() > 0 {
            write!(f, "\nand {} more", self.faults.omitted())?;
        }
        Ok(())
    }
}

impl std::error::Error for RuleFaults {}

impl RuleFaults {
    /// The rule's name and the field, of a place such as `rules[0].limit`.
    fn in_rule<'p>(&'p self, place: &'p str) -> Option<(&'p str, &'p str)> {
        let (index, field) = place.strip_prefix("rules[")?.split_once(']')?;
        let name = self.names.get(index.parse::<usize>().ok()?)?;
        Some((name, field.strip_prefix('.').unwrap_or(field)))
    }
}

/// A rule that a program makes. Unless it is given another [`key`](Self::key) it is for programs to ask, by [`Limiter::check`] and
/// its like, and requests that pass a door do not meet it.
///
/// Each method says what the field of the same meaning says in a policy file, and [`Builder::build`] finds what is wrong with it.
/// Said twice, the last counts.
#[derive(Debug, Clone)]
#[must_use = "a rule has no effect before a builder has it"]
pub struct Rule {
    name: String,
    fields: Vec<(&'static str, Value)>,
    exceed: Vec<Value>,
}

impl Rule {
    /// A rule of that name: printable ASCII, at most 64 bytes. It needs a limit, by [`Self::limit`] or [`Self::permits`].
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            fields: Vec::new(),
            exceed: Vec::new(),
        }
        .with("key", Value::Plain("program".to_owned()))
    }

    /// How much may pass, as in `10/h`, `3 per 15min`, `5/s burst 10`; a [`Limit`](crate::Limit) will do too.
    pub fn limit(self, limit: impl Display) -> Self {
        self.with("limit", Value::Plain(limit.to_string()))
    }

    /// So many at once for each key, however long each takes; see [`Limiter::acquire`].
    pub fn permits(self, most: u64) -> Self {
        self.algorithm(Algorithm::Concurrency).limit(most)
    }

    /// How the limit is kept; in a token bucket unless said.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.fields
            .retain(|(name, _)| !matches!(*name, "max_wait" | "free" | "align"));
        let this = self.with("algorithm", Value::Plain(algorithm.as_str().to_owned()));
        match algorithm {
            Algorithm::LeakyBucket { max_wait, free } => {
                this.with("max_wait", span(max_wait)).with("free", plain(free))
            }
            Algorithm::FixedWindow { align: Align::FirstHit } => {
                this.with("align", Value::Plain("first_hit".to_owned()))
            }
            _ => this,
        }
    }

    /// That what is charged is put right later by [`Limiter::reserve`]: what was estimated too high is then given back in full. Costs
    /// 32 bytes a key instead of 16 in a token bucket.
    pub fn settles(self) -> Self {
        self.with(
            "cost",
            Value::Map(vec![
                ("reserve", plain(1)),
                ("settle", Value::Plain("program".to_owned())),
            ]),
        )
    }

    /// That only failures count; see [`Limiter::attempt`].
    pub fn count_failures(self) -> Self {
        self.with("count", Value::Plain("failures".to_owned()))
    }

    /// What a success gives back, of a rule that counts failures: its own attempt unless said. [`OnSuccess::Clear`] is for keys that are
    /// an account, whose owner has then come; never for what many share.
    pub fn on_success(self, on_success: OnSuccess) -> Self {
        let word = match on_success {
            OnSuccess::Return => "return",
            OnSuccess::Clear => "clear",
        };
        self.with("on_success", Value::Plain(word.to_owned()))
    }

    /// Locks a key for so long, 1 s to 30 days, once its limit is used up.
    pub fn lock(mut self, length: Duration) -> Self {
        self.exceed.push(Value::Map(vec![("lock", span(length))]));
        self
    }

    /// That a charge which another rule of the same question refuses stays here all the same, as a penalty.
    pub fn charge_refused(self) -> Self {
        self.with("charge_refused", plain(true))
    }

    /// The bucket that this rule draws from together with others of the same rate; one of its own unless said.
    pub fn bucket(self, name: impl Into<String>) -> Self {
        self.with("bucket", Value::Text(name.into()))
    }

    /// For how many percent of its keys a refusal counts; for the others the rule is evaluated and reported only. 100 unless said; 0
    /// is shadow mode.
    pub fn enforce(self, percent: u8) -> Self {
        self.with("enforce", Value::Plain(format!("{percent}%")))
    }

    /// What keys share that find no room: a limit, or `closed`, which refuses them. Ten times the rule's limit unless said.
    pub fn overflow(self, overflow: impl Display) -> Self {
        self.with("overflow", Value::Plain(overflow.to_string()))
    }

    /// How the limit is held by several nodes, where the limiter is [`shared`](Builder::shared); `Sharing::Auto` unless said.
    pub fn sharing(self, sharing: Sharing) -> Self {
        self.with("sharing", Value::Plain(sharing.as_str().to_owned()))
    }

    /// How many nodes can see one key, 1 to 100 000; as many as live unless said.
    pub fn fanout(self, nodes: u32) -> Self {
        self.with("fanout", plain(nodes))
    }

    /// What is answered while the store is away; by the node's share unless said.
    pub fn on_store_loss(self, policy: OnStoreLoss) -> Self {
        self.with("on_store_loss", Value::Plain(policy.as_str().to_owned()))
    }

    /// What of a request is counted apart (`ip`, `route`, `method`, `host`, `header.NAME`, `body./MEMBER`), for a rule that requests
    /// meet at a door; none of them counts all requests in one.
    pub fn key<T: Into<String>>(self, parts: impl IntoIterator<Item = T>) -> Self {
        let parts = parts.into_iter().map(|part| Value::Plain(part.into())).collect();
        self.with("key", Value::List(parts))
    }

    fn with(mut self, field: &'static str, value: Value) -> Self {
        self.fields.retain(|(name, _)| *name != field);
        self.fields.push((field, value));
        self
    }

    fn value(&self) -> Value {
        let mut fields = vec![("name", Value::Text(self.name.clone()))];
        fields.extend(self.fields.iter().cloned());
        if !self.exceed.is_empty() {
            fields.push(("exceed", Value::List(self.exceed.clone())));
        }
        Value::Map(fields)
    }
}

fn plain(value: impl Display) -> Value {
    Value::Plain(value.to_string())
}

/// A length of time as a file writes it, in whole milliseconds; any other is written as it is, and found to be none.
fn span(length: Duration) -> Value {
    let is_whole = length.subsec_nanos().is_multiple_of(1_000_000);
    Value::Plain(if is_whole {
        format!("{}ms", length.as_millis())
    } else {
        format!("{length:?}")
    })
}
