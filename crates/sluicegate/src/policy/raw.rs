//! The policy file's shape, as it stands in the file: the one place that says which fields there are.
//!
//! The doc comments are what a user reads in an editor, by the JSON Schema; they are written for them.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::uri::Authority;
use http::{HeaderName, Method};
use ipnet::IpNet;

use super::checked::{
    ALLOW_MAX, Align, ClaimName, ClientAuth, CostBy, CostSource, EncodedSlash, Enforce, ForwardedHeader, KEY_PARTS_MAX,
    KeysFrom, MethodOverride, OnMissingKey, OnStoreLoss, OnSuccess, Pointer, STORE_SERVERS_MAX, Sensitivity,
    SettleSource, Sharing, Spelling, StoreUrl, TlsVersion,
};
use super::key::KeyItem;
use super::scalar::{
    AddressOrOff, AlgorithmWord, CountWord, Day, ExpressionText, FailureSign, FilePath, HostPattern, LimitText, Name,
    OverflowText, Party, PathPattern, Percent, Prose, Size, SizeOrUnbounded, Span, SpanOrOff, TokenAlgorithm, Truth,
    Username, Variable, Version, Whole,
};
use super::shape::{List, Named, OneOrMany, shape};

shape! {
    /// A policy of Sluicegate: who may send how much to what.
    PolicyFields {
        /// The version of this format; there is one.
        required version: Version,
        /// The reverse proxy. Leave it out where another program passes the requests on.
        optional gateway: GatewayFields,
        /// The listener for metrics and health.
        optional admin: AdminFields,
        /// What this node remembers, and where.
        optional state: StateFields,
        /// How callers are told apart.
        optional identity: IdentityFields,
        /// Which spellings of a path are one.
        optional paths: PathsFields,
        /// Named classes of requests. A gateway with one upstream and no routes passes everything to it.
        optional routes: List<RouteFields, 0, ROUTES_MAX>,
        /// Requests that pass without a limit, and are counted by themselves; the first entry whose condition holds has them.
        optional allow: List<AllowFields, 0, ALLOW_MAX>,
        /// The limits. All that apply to a request are charged together, and it passes only if all agree.
        optional rules: List<RuleFields, 0, RULES_IN_POLICY_MAX>,
    }
    not offered yet {
        "service": "leave it out; the gateway, the tower layer and the library are the doors there are",
    }
}

/// Routes in one policy. Ten times the largest published API description we know.
const ROUTES_MAX: usize = 10_000;

/// Rules in one policy: more than one for each route, and well below what a rule's 16-bit number can tell apart.
const RULES_IN_POLICY_MAX: usize = 20_000;

shape! {
    /// The reverse proxy's listeners, upstreams, deadlines and caps.
    GatewayFields {
        /// Where clients connect: an address with port, or a list of them.
        required listen: OneOrMany<ListenFields, 1, LISTENERS_MAX>,
        /// Worker threads; one for each core unless said.
        optional threads: Whole<1, THREADS_MAX>,
        /// Servers that requests are passed on to, by name.
        required upstreams: Named<UpstreamFields, UPSTREAMS_MAX>,
        /// How long each step of a request may take.
        optional deadlines: DeadlinesFields,
        /// How much one request, or all clients together, may hold.
        optional caps: CapsFields,
        /// A header, beginning with `x-`, in which every response names the rules in shadow mode that apply to it, and what each would have said; for the time in which a rule is tried.
        optional shadow_header: HeaderName,
        /// Whether `X-HTTP-Method-Override` and its like make a POST another method, or are taken out alone.
        optional method_override: MethodOverride = "strip",
    }
}

/// Every listener has a socket in every thread.
const LISTENERS_MAX: usize = 64;

/// Above the cores of any machine sold today; each thread has an event loop and connection pools of its own.
const THREADS_MAX: u64 = 1_024;

/// Upstreams in one policy, and servers in one upstream: every thread keeps connections to each.
const UPSTREAMS_MAX: usize = 1_000;

shape! {
    /// A listening address.
    ListenFields short for address {
        /// Address and port; port 0 asks the system for a free one.
        required address: SocketAddr,
        /// TLS on this address, and nothing but TLS; plain HTTP unless said.
        optional tls: TlsFields,
        /// Whether every connection begins with a header of the PROXY protocol, version 1 or 2, and comes from one of `trusted_proxies`.
        optional proxy_protocol: Truth = "false",
        /// Whether HTTP/2 is spoken with clients that ask for it, beside HTTP/1.1.
        optional http2: Truth = "true",
    }
}

shape! {
    /// TLS on a listening address.
    TlsFields {
        /// File of the certificate (PEM), behind it those that lead to its authority.
        required certificate: FilePath,
        /// File of its private key (PEM), which not everybody may be able to read.
        required private_key: FilePath,
        /// Further certificates. A client gets the one for the name that it asks for, and the first where there is none.
        optional more: OneOrMany<CertificateFields, 1, CERTIFICATES_MAX>,
        /// File of the authorities (PEM) that clients' certificates must go back to; clients are not asked for one unless said.
        optional client_ca: FilePath,
        /// Whether a client without a certificate is turned away (require) or served all the same (request).
        optional client_auth: ClientAuth = "require",
        /// The lowest version that is spoken.
        optional min_version: TlsVersion = "tls1.2",
    }
}

shape! {
    /// A certificate beside the first.
    CertificateFields {
        /// File of the certificate (PEM), behind it those that lead to its authority.
        required certificate: FilePath,
        /// File of its private key (PEM), which not everybody may be able to read.
        required private_key: FilePath,
    }
}

/// Certificates beside a listener's first: what one team runs behind one address. They are held in memory.
const CERTIFICATES_MAX: usize = 1_000;

shape! {
    /// Servers that answer the same requests.
    UpstreamFields {
        /// `host:port`, or a list of them.
        required servers: OneOrMany<ServerFields, 1, UPSTREAMS_MAX>,
    }
    not offered yet {
        "health_check": "leave it out; a server that refuses connections is passed over",
        "tls": "leave it out; servers are spoken to in plain HTTP/1.1",
    }
}

shape! {
    /// One server.
    ServerFields short for address {
        /// Host and port; a name is resolved when a connection is made.
        required address: Authority,
        /// Its share of requests beside its siblings'.
        optional weight: Whole<1, 1_000> = "1",
    }
}

shape! {
    /// How long each step of a request may take.
    DeadlinesFields {
        /// From a connection's first byte, or the end of the last response, to the end of a request's head.
        optional request_head: Span<100, 300_000> = "10s",
        /// Between two reads of a request's body.
        optional request_body_idle: Span<100, 3_600_000> = "30s",
        /// For the connection to an upstream server.
        optional connect: Span<10, 60_000> = "2s",
        /// From the request sent to the upstream's response head.
        optional response_head: Span<100, 3_600_000> = "60s",
        /// Between two reads of a response's body from the upstream.
        optional response_body_idle: Span<100, 3_600_000> = "60s",
        /// How long a client may take no bytes of a response.
        optional write_stall: Span<100, 3_600_000> = "30s",
        /// How long a client's connection may wait for its next request.
        optional keep_alive: Span<100, 3_600_000> = "75s",
        /// How long an upgraded connection, such as a WebSocket's, may carry nothing in either direction.
        optional upgraded_idle: Span<100, 86_400_000> = "5min",
        /// How long an unused connection to an upstream server is kept.
        optional upstream_idle: Span<100, 3_600_000> = "4s",
        /// How long a graceful stop waits for requests under way; 0s does not wait.
        optional drain: Span<0, 3_600_000> = "25s",
    }
}

shape! {
    /// How much one request, or all clients together, may hold.
    CapsFields {
        /// Size of a request's head; a larger one is answered with 431.
        optional head_bytes: Size<8_192, 1_048_576> = "16KiB",
        /// Header lines of a request; more are answered with 431.
        optional headers: Whole<16, 1_000> = "100",
        /// Size of a request's body; a larger one is answered with 413. Bodies are passed on as they come, never stored.
        optional body_bytes: SizeOrUnbounded = "unbounded",
        /// Client connections open at once; more wait in the listen queue.
        optional connections: Whole<1, 1_000_000> = "8192",
        /// Unused connections kept for each upstream server and thread; 0 keeps none.
        optional idle_per_server: Whole<0, 10_000> = "64",
    }
}

shape! {
    /// The listener for metrics and health.
    AdminFields {
        /// A loopback address with port, or `off`.
        optional listen: AddressOrOff = "127.0.0.1:9900",
    }
    not offered yet {
        "token": "leave it out; the listener answers this machine alone",
        "tls": "leave it out; the listener answers this machine alone",
    }
}

shape! {
    /// What this node remembers, and where.
    StateFields {
        /// Hard bound of what is remembered of clients, in bytes; 25 to 50 bytes for each key, by its algorithm.
        optional memory: Size<MEMORY_MIN, MEMORY_MAX> = "256MiB",
        /// How the memory is divided; by what the rules need unless said.
        optional split: SplitFields,
        /// Folder for the installation secret and the snapshot, seen from the policy file's folder; left out, both end with the process.
        optional directory: PathBuf,
        /// File of the installation secret, 64 hexadecimal digits, the same on all nodes that share limits; unless said one is made for this node alone.
        optional secret_file: FilePath,
        /// The same from the environment, as in `${SLUICEGATE_SECRET}`.
        optional secret: Variable,
        /// What limits are shared by with other nodes; left out, each node keeps limits of its own.
        optional share: ShareFields,
        /// How often what is remembered is written to the folder, so that a restart forgets little; or `off`.
        optional snapshot_every: SpanOrOff<1_000, 3_600_000> = "10s",
        /// Most requests that wait in leaky buckets at once, over all rules; one more is refused.
        optional waiting: Whole<1, 1_000_000> = "10000",
    }
}

/// Below 1 MiB a rule's share of the table would be a few hundred keys, and its overflow the rule.
const MEMORY_MIN: u64 = 1 << 20;

/// 1 TiB: above the memory of any node we know, so that more is a slip of the hand.
const MEMORY_MAX: u64 = 1 << 40;

shape! {
    /// How the memory is divided, in percent; the parts make 100%.
    SplitFields {
        /// For cells of 16 bytes: token buckets, leaky buckets and permits.
        required small: Percent,
        /// For cells of 32 bytes: windows, logs, and token buckets that settle, count failures or lock.
        required wide: Percent,
        /// For the entries of sliding logs.
        required logs: Percent,
        /// For the leases of shared limits.
        optional leases: Percent = "0%",
    }
}

shape! {
    /// What limits are shared by with other nodes: Redis or Valkey.
    ShareFields short for redis {
        /// `redis://HOST:PORT`, or a list of independent servers, each of which has a part of the keys; `rediss://` for TLS.
        optional redis: OneOrMany<StoreUrl, 1, STORE_SERVERS_MAX>,
        /// Some nodes of a Redis Cluster; the others are found through them.
        optional redis_cluster: OneOrMany<StoreUrl, 1, STORE_SERVERS_MAX>,
        /// A server with replicas that sentinels watch.
        optional sentinel: SentinelFields,
        /// How many nodes can see one key; as many as run unless said.
        optional fanout: Whole<1, FANOUT_MAX>,
        /// Whose password it is; the user `default` unless said.
        optional username: Username,
        /// File of the password, for all servers whose URL has none.
        optional password_file: FilePath,
        /// The same from the environment, as in `${REDIS_PASSWORD}`.
        optional password: Variable,
        /// File of the certificates (PEM) that the servers' must go back to; the public authorities unless said.
        optional ca_file: FilePath,
        /// File of the certificate (PEM) that this node shows; none unless said.
        optional client_cert: FilePath,
        /// File of its private key (PEM).
        optional client_key: FilePath,
    }
}

shape! {
    /// A server with replicas that sentinels watch.
    SentinelFields short for servers {
        /// The sentinels, as `redis://HOST:PORT`.
        required servers: OneOrMany<StoreUrl, 1, STORE_SERVERS_MAX>,
        /// What the sentinels call the server.
        required master: Username,
    }
}

/// Nodes that can see one key: well above the two thousand up to which sharing was simulated.
const FANOUT_MAX: u64 = 100_000;

shape! {
    /// How callers are told apart: by their address, and by what they show that can be verified.
    IdentityFields {
        /// Networks and addresses whose forwarded header is believed; empty believes nobody.
        optional trusted_proxies: OneOrMany<IpNet, 0, TRUSTED_PROXIES_MAX>,
        /// The one header that is read from a trusted proxy; the other is ignored.
        optional forwarded_header: ForwardedHeader = "x-forwarded-for",
        /// Bits of an address that make one client.
        optional address_prefix: AddressPrefixFields,
        /// Most of a request's body that is read for keys and costs; where a rule needs it, a larger one is answered with 413.
        optional body_bytes: Size<1_024, 1_048_576> = "64KiB",
        /// The keys that callers are known by.
        optional api_keys: ApiKeysFields,
        /// Tokens that callers are known by.
        optional jwt: JwtFields,
        /// The header in which a trusted proxy says what kind of program its client is (JA4); none is read unless said.
        optional ja4_header: HeaderName,
    }
}

shape! {
    /// API keys: where a caller shows one, and which there are.
    ApiKeysFields short for file {
        /// The header that holds the key; in `authorization` behind the word `Bearer`.
        optional header: HeaderName = "x-api-key",
        /// The file that the keys' hashes are in, written by `sluicegate keys`, seen from the policy file's folder.
        required file: FilePath,
    }
}

shape! {
    /// Tokens (JWT): who issues them, and what of them is believed.
    JwtFields {
        /// The keys that tokens are signed by, a JSON Web Key Set: a file, seen from the policy file's folder, or `https://…`.
        required jwks: KeysFrom,
        /// Who must have issued a token, as in its claim `iss`.
        required issuer: Party,
        /// Whom a token must be meant for, as in its claim `aud`.
        required audience: Party,
        /// By which algorithms a token may be signed; RS256 and ES256 unless said.
        optional algorithms: OneOrMany<TokenAlgorithm, 1, 9>,
        /// The claim that names the user.
        optional user: ClaimName = "sub",
        /// The claim that names the tenant; none unless said.
        optional tenant: ClaimName,
        /// The claim that names the tier; none unless said.
        optional tier: ClaimName,
        /// The header that holds the token; in `authorization` behind the word `Bearer`.
        optional header: HeaderName = "authorization",
    }
}

/// Networks in `trusted_proxies`; they are looked through one by one, for each hop of a request. The largest published
/// list of a content network has about two hundred.
const TRUSTED_PROXIES_MAX: usize = 256;

shape! {
    /// Bits of an address that make one client.
    AddressPrefixFields {
        /// Of an IPv4 address.
        optional v4: Whole<8, 32> = "32",
        /// Of an IPv6 address; one customer usually has 64 bits, often 56 or 48.
        optional v6: Whole<32, 128> = "64",
    }
}

shape! {
    /// Which spellings of a path are one: it is routed, counted and passed on in one form.
    PathsFields {
        /// Whether slashes in a row are one.
        optional merge_slashes: Truth = "true",
        /// Whether a slash at the end makes another path.
        optional trailing_slash: Spelling = "strip",
        /// Whether `;name=value` behind a segment makes another path.
        optional matrix_params: Spelling = "strip",
        /// What becomes of a request with `%2F` or `%5C` in its path: `refuse` answers it with 400.
        optional encoded_slash: EncodedSlash = "refuse",
    }
}

shape! {
    /// A named class of requests.
    RouteFields {
        /// By which rules, metrics and logs call it.
        required name: Name,
        /// Methods that belong; every one unless said. GET takes in HEAD.
        optional methods: OneOrMany<Method, 1, METHODS_MAX>,
        /// Hosts that belong, `*.example.com` for every name below; every one unless said.
        optional hosts: OneOrMany<HostPattern, 1, HOSTS_MAX>,
        /// Literal segments, `{name}` for one segment, a last `{*name}` for the rest.
        required path: PathPattern,
        /// Where the gateway passes it on; may be left out where there is one upstream.
        optional upstream: Name,
        /// How much harm too many requests of it do: `low`, `normal`, `costly` or `critical`; `normal` unless said. Conditions, keys and costs can ask for it.
        optional sensitivity: Sensitivity,
        /// What a reader should know.
        optional description: Prose,
    }
    not offered yet {
        "when": "leave it out; a route is told by methods, hosts and path",
    }
}

shape! {
    /// Requests that pass without a limit.
    AllowFields {
        /// What metrics and logs call it.
        required name: Name,
        /// A condition in CEL, as in `in_network(ip, "10.1.0.0/16")`; it cannot ask for the body.
        required when: ExpressionText,
        /// What a reader should know.
        optional description: Prose,
    }
}

/// Methods of one route; the registry has about forty, of which an API uses a handful.
const METHODS_MAX: usize = 40;

/// Hosts of one route.
const HOSTS_MAX: usize = 100;

shape! {
    /// One limit and whom it applies to.
    RuleFields {
        /// What clients, metrics and logs call it.
        required name: Name,
        /// What is counted apart: `client` (the verified key, else the user, else the address), `tenant`, `user`, `tier`, `claim.NAME`, `ip`, `ip/BITS`, `route`, `method`, `host`, `header.NAME`, `body./MEMBER`, or a list that makes one key together; `[]` counts all requests in one; `program` is for a program that asks by the library.
        required key: OneOrMany<KeyItem, 0, KEY_PARTS_MAX>,
        /// How much may pass, as in `100/min`, `10 per 15min`, `5/s burst 10`; a bare count for concurrency.
        required limit: LimitText,
        /// Routes it applies to; every request unless said, also one that no route takes in.
        optional routes: OneOrMany<Name, 1, ROUTES_MAX>,
        /// A condition in CEL, as in `method == "POST"`: the rule applies to requests for which it holds, and to those for which it has no value.
        optional when: ExpressionText,
        /// How the limit is kept.
        optional algorithm: AlgorithmWord = "token_bucket",
        /// The longest that a request waits in a leaky bucket; one that would wait longer is refused.
        optional max_wait: Span<1, 60_000> = "1s",
        /// Units of a leaky bucket's burst that pass without a wait.
        optional free: Whole<0, { u64::MAX }> = "0",
        /// Where fixed windows begin: at whole multiples of their length in UTC, or at a key's first request.
        optional align: Align = "epoch",
        /// A name for the bucket, so that several rules can draw from one; each rule has its own unless said.
        optional bucket: Name,
        /// What a request takes from the limit: a number, `header.NAME`, `body./MEMBER`, or a map that also says costs by class, an expression, or how it is put right.
        optional cost: CostFields = "1",
        /// Which requests count: every one, or those that failed.
        optional count: CountWord = "requests",
        /// How a failure is told: statuses, `response./MEMBER`, `response.header.NAME`; any one of them is enough. 401 and 403 unless said.
        optional failed_when: OneOrMany<FailureSign, 1, FAILURE_SIGNS_MAX>,
        /// What a success gives back: its own reservation, or everything (clear). Clear unless said where the key is made of body members alone.
        optional on_success: OnSuccess,
        /// What follows when the limit is used up, beside refusals.
        optional exceed: OneOrMany<StepFields, 1, STEPS_MAX>,
        /// Whether a request that another rule refuses stays charged here, as a penalty.
        optional charge_refused: Truth = "false",
        /// What stands in for a part of the key that a request does not have.
        optional on_missing_key: OnMissingKey = "ip",
        /// For which share of the keys a refusal counts; 0% is shadow mode: evaluated and reported only.
        optional enforce: Enforce = "100%",
        /// What keys that find no room share: a limit, or `closed`, which refuses them. Ten times the rule's limit unless said.
        optional overflow: OverflowText,
        /// How the limit is shared with other nodes.
        optional sharing: Sharing = "auto",
        /// How many nodes can see one key; with `sharing: local`, by how many the limit is divided.
        optional fanout: Whole<1, FANOUT_MAX>,
        /// What is answered while the store cannot: by the node's last share, a refusal, or everything passes.
        optional on_store_loss: OnStoreLoss = "local",
        /// What a reader should know.
        optional description: Prose,
        /// Why the limit is what it is.
        optional rationale: Prose,
        /// Who answers for it.
        optional owner: Prose,
        /// When it should be looked at again, as YYYY-MM-DD.
        optional review_by: Day,
    }
    said elsewhere {
        "burst": "write it in the limit, as in limit: 5/s burst 10",
        "per": "write it in the limit, as in limit: 10 per 15min",
        "shadow": "write enforce: 0%",
    }
}

/// Signs of failure in one rule: the statuses of a range that one would list, and a few members and headers.
const FAILURE_SIGNS_MAX: usize = 16;

/// Steps in one rule. There is one kind so far, and it may stand once.
const STEPS_MAX: usize = 4;

shape! {
    /// What a request takes from the limit.
    CostFields short for reserve {
        /// What is taken on the way in: a number, `header.NAME`, or `body./MEMBER`. Instead of it stand `by` or `expression`.
        optional reserve: CostSource,
        /// What `values` names the costs by.
        optional by: CostBy,
        /// The cost of each class, by the names of routes, or by `low`, `normal`, `costly` and `critical`; one that is not there costs `default`.
        optional values: Named<Whole<1, { u64::MAX }>, ROUTES_MAX>,
        /// What it costs as an expression in CEL, as in `int(query.limit) / 10 + 1`; one without a value, or below zero, is answered with 400.
        optional expression: ExpressionText,
        /// Units of a request that does not have the attribute.
        optional default: Whole<0, { u64::MAX }> = "1",
        /// A larger claim is cut down to so many units; unless said it is taken as it is.
        optional max: Whole<1, { u64::MAX }>,
        /// Where the response tells the true cost, `response./MEMBER` or `response.header.NAME`, or that the program does which asks by the library (`program`); unless said, what was reserved is the cost.
        optional settle: SettleSource,
    }
}

shape! {
    /// One thing that follows when a limit is used up.
    StepFields {
        /// Refuses the key for so long, from the unit that used the limit up.
        optional lock: Span<1_000, LOCK_MAX_MS>,
    }
    not offered yet {
        "tighten": "leave it out; a lock is the step there is, as in {lock: 15min}",
        "challenge": "leave it out; a lock is the step there is, as in {lock: 15min}",
        "block": "leave it out; a lock is the step there is, as in {lock: 15min}",
    }
}

/// The longest lock, 30 days: a longer one is a decision about a person, which a counter should not take.
const LOCK_MAX_MS: u64 = 30 * 24 * 3_600_000;

shape! {
    /// A member of the request's body as a part of the key.
    KeyMemberFields {
        /// Which member, as a JSON pointer such as `/username`.
        required body: Pointer,
        /// Whether blanks around the value are taken away.
        optional trim: Truth = "false",
        /// Whether the value is put into lower case.
        optional lowercase: Truth = "false",
    }
}
