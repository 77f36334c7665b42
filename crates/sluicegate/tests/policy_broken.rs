//! Broken policy files, each by another cause: what is said of it, where, and what is to be done.

use sluicegate::policy::{FAULTS_MAX, FILE_BYTES_MAX, Fault, Policy};

/// One file with one fault.
struct Case {
    cause: &'static str,
    text: String,
    line: u32,
    column: u32,
    place: &'static str,
    /// A part of what is said to be wrong.
    problem: &'static str,
    /// A part of what is said to be done.
    remedy: &'static str,
}

fn case(
    cause: &'static str,
    text: impl Into<String>,
    found: (u32, u32, &'static str),
    said: (&'static str, &'static str),
) -> Case {
    let ((line, column, place), (problem, remedy)) = (found, said);
    Case {
        cause,
        text: text.into(),
        line,
        column,
        place,
        problem,
        remedy,
    }
}

/// A file whose only rule has the given line in the place of the one that begins alike.
fn rule(line: &str) -> String {
    rule_of(&[line])
}

/// The same with several lines: name, key and limit stand on lines 3 to 5, the others from line 6 on.
fn rule_of(lines: &[&str]) -> String {
    let mut fields = vec!["name: per-client", "key: ip", "limit: 100/min"];
    for line in lines {
        let name = line.split(':').next().unwrap_or_default();
        match fields.iter_mut().find(|field| field.split(':').next() == Some(name)) {
            Some(field) => *field = line,
            None => fields.push(line),
        }
    }
    format!("version: 1\nrules:\n  - {}\n", fields.join("\n    "))
}

/// A file with two rules of one bucket; `first` and `second` are what each has beside name, key, limit and bucket.
fn bucket(first: &str, second: &str) -> String {
    let rule = |name, fields| format!("  - {{ name: {name}, bucket: all, {fields} }}\n");
    format!(
        "version: 1\nroutes: [{{ name: r, path: /r }}]\nrules:\n{}{}",
        rule("a", first),
        rule("b", second)
    )
}

/// A file whose state shares limits; `share` is the store, and `fields` what its only rule has beside name and key.
fn shared(share: &str, fields: &str) -> String {
    format!(
        "version: 1\nstate:\n  secret_file: secret\n  share: {share}\nrules:\n  - {{ name: a, key: ip, {fields} }}\n"
    )
}

/// The same on a hundred nodes.
fn on_a_hundred(fields: &str) -> String {
    shared("{ redis: \"redis://a:6379\", fanout: 100 }", fields)
}

/// A file with a sound rule whose state shares limits by `share`.
fn store(share: &str) -> String {
    shared(share, "limit: 100/s")
}

/// A gateway with one upstream, and more lines below it.
fn gateway(more: &str) -> String {
    format!(
        "version: 1\ngateway:\n  listen: 0.0.0.0:8080\n  upstreams:\n    api: {{ servers: \"127.0.0.1:9001\" }}\n{more}"
    )
}

/// A gateway whose listener speaks TLS by these fields.
fn tls(fields: &str) -> String {
    gateway("").replace("0.0.0.0:8080", &format!("{{ address: 0.0.0.0:443, tls: {fields} }}"))
}

/// A gateway with two upstreams, and more lines below it.
fn two_upstreams(more: &str) -> String {
    gateway(&format!("    web: {{ servers: \"127.0.0.1:9002\" }}\n{more}"))
}

#[rustfmt::skip] // One case, two lines: what is written, and what is said of it.
#[allow(clippy::too_many_lines, reason = "a table is as long as it is")]
fn cases() -> Vec<Case> {
    let seventeen = (0..17).map(|number| format!("  - {{ name: r{number}, key: ip, limit: 1/s }}\n"));
    let seventeen = seventeen.collect::<Vec<_>>().concat();
    let holds: Vec<_> = (0..5).map(|number| format!("  - {{ name: r{number}, key: ip, limit: 9, algorithm: concurrency }}\n")).collect();
    let members: Vec<_> = (0..5).map(|number| format!("  - {{ name: r{number}, key: body./m{number}, limit: 9/s, routes: r }}\n")).collect();
    let many_routes: Vec<_> = (0..257).map(|number| format!("  - {{ name: r{number}, path: /r{number} }}\n")).collect();
    let bursts: Vec<_> = (1..=257).map(|burst| format!("  - {{ name: r{burst}, bucket: all, key: ip, limit: 1/s burst {burst}, routes: r{} }}\n", burst - 1)).collect();
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n\
                b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n\
                c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n\
                d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n\
                e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n\
                f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]\n";
    vec![
        // The text.
        case("an empty file", "",
            (1, 1, ""), ("says nothing", "begin with `version: 1`")),
        case("a file of comments", "# to do\n",
            (1, 1, ""), ("says nothing", "begin with `version: 1`")),
        case("a list as the whole", "- version: 1\n",
            (1, 1, ""), ("a list stands here", "write a map with the fields version")),
        case("a tab as indentation", "version: 1\nrules:\n\t- name: a\n",
            (3, 2, ""), ("a tab", "indent with spaces")),
        case("indentation that fits nothing", "version: 1\nrules:\n  - name: a\n   key: ip\n",
            (4, 4, ""), ("not YAML", "check the indentation")),
        case("an open bracket", "version: 1\nrules: [\n",
            (2, 8, ""), ("unclosed bracket", "check the indentation")),
        case("a field given twice", "version: 1\nrules: []\nrules: []\n",
            (3, 1, ""), ("`rules` is given twice", "remove one")),
        case("a second document", "version: 1\n---\nversion: 1\n",
            (3, 1, ""), ("second document", "one document")),
        case("a reference to nothing", "version: 1\nrules: *rules\n",
            (2, 8, ""), ("no `&name` names", "put `&name` before")),
        case("a reference to itself", "version: 1\nrules: &r [*r]\n",
            (2, 12, ""), ("part of", "ends before")),
        case("a merge key", "version: 1\n<<: { rules: [] }\n",
            (2, 1, ""), ("merge keys", "write the fields out")),
        case("a tag", "version: 1\nadmin: !on { listen: off }\n",
            (2, 12, ""), ("tag !on", "remove it")),
        case("a list as a field's name", "version: 1\n? [a]\n: b\n",
            (2, 3, ""), ("name of a field", "a colon and a value")),
        case("references that unfold to millions", bomb,
            (5, 36, ""), ("unfolds to more", "refer to fewer values")),
        case("lists in lists without end", format!("version: 1\nrules: {}", "[".repeat(1_000)),
            (2, 32, ""), ("deep in each other", "nest less")),
        case("a file beyond all measure", format!("version: 1\n#{}", "x".repeat(FILE_BYTES_MAX)),
            (1, 1, ""), ("more than 1048576 bytes", "is it a policy?")),
        // Fields as such.
        case("no version", "rules: []\n",
            (1, 1, ""), ("`version` is missing", "add `version:` with 1")),
        case("another version", "version: 2\n",
            (1, 10, "version"), ("\"2\" is no version", "write version: 1")),
        case("an unknown field with a near name", "version: 1\nrule: []\n",
            (2, 1, "rule"), ("no field \"rule\"", "did you mean `rules`?")),
        case("an unknown field with a far name", "version: 1\nthrottle: []\n",
            (2, 1, "throttle"), ("no field \"throttle\"", "version, gateway, admin")),
        case("a field of a later version", "version: 1\nservice: {}\n",
            (2, 1, "service"), ("not offered yet", "leave it out")),
        case("a field said elsewhere", rule("shadow: true"),
            (6, 5, "rules[0].shadow"), ("no field \"shadow\"", "write enforce: 0%")),
        case("a field without a value", "version: 1\nrules:\n",
            (2, 1, "rules"), ("has no value", "write a list")),
        case("a map for a list", "version: 1\nrules: { name: a }\n",
            (2, 8, "rules"), ("a map stands here", "write a list")),
        case("a text for a map", "version: 1\nstate: 64MiB\n",
            (2, 8, "state"), ("\"64MiB\" stands here", "a map with the fields memory")),
        case("a number for a text", rule("name: 404"),
            (3, 11, "rules[0].name"), ("404 is a number", "\"404\"")),
        case("a truth value for a text", rule("owner: true"),
            (6, 12, "rules[0].owner"), ("true is a truth value", "put it in quotes")),
        case("a text for a number", gateway("  threads: \"2\"\n"),
            (6, 12, "gateway.threads"), ("is a text", "without quotes")),
        case("a number with a leading zero", gateway("  threads: 010\n"),
            (6, 12, "gateway.threads"), ("\"010\" is not a whole number", "plain digits")),
        case("a number with an underscore", gateway("  threads: 1_0\n"),
            (6, 12, "gateway.threads"), ("\"1_0\" is not a whole number", "plain digits")),
        case("a number below its range", gateway("  threads: 0\n"),
            (6, 12, "gateway.threads"), ("below the least, 1", "from 1 to 1024")),
        case("a number above its range", gateway("  threads: 4096\n"),
            (6, 12, "gateway.threads"), ("above the most, 1024", "from 1 to 1024")),
        // The gateway.
        case("no upstreams", "version: 1\ngateway:\n  listen: 0.0.0.0:8080\n",
            (3, 3, "gateway"), ("`upstreams` is missing", "add `upstreams:`")),
        case("an empty list", "version: 1\ngateway:\n  listen: []\n  upstreams: { api: { servers: \"a:1\" } }\n",
            (3, 11, "gateway.listen"), ("list is empty", "add")),
        case("an address without a port", "version: 1\nadmin: { listen: 127.0.0.1 }\n",
            (2, 18, "admin.listen"), ("no address with a port", "127.0.0.1:8080")),
        case("a name for an address", "version: 1\nadmin: { listen: \"localhost:9900\" }\n",
            (2, 18, "admin.listen"), ("no address", "write 127.0.0.1:9900")),
        case("a port alone", "version: 1\nadmin: { listen: 9900 }\n",
            (2, 18, "admin.listen"), ("\"9900\" is no address", "127.0.0.1:9900 for this machine")),
        case("an admin listener for everybody", "version: 1\nadmin: { listen: 0.0.0.0:9900 }\n",
            (2, 18, "admin.listen"), ("no token guards it", "write 127.0.0.1:9900")),
        case("a listener on the admin's address", gateway("admin: { listen: 0.0.0.0:8080 }\n").replace("0.0.0.0", "127.0.0.1"),
            (3, 11, "gateway.listen"), ("metrics and health", "choose another port")),
        case("an address listed twice", gateway("").replace("0.0.0.0:8080", "[0.0.0.0:80, 0.0.0.0:80]"),
            (3, 24, "gateway.listen[1]"), ("listed twice", "remove one")),
        case("TLS without a key", tls("{ certificate: c.pem }"),
            (3, 40, "gateway.listen.tls"), ("private_key", "add `private_key:`")),
        case("clients that nobody judges", tls("{ certificate: c.pem, private_key: k.pem, client_auth: request }"),
            (3, 82, "gateway.listen.tls.client_auth"), ("by whom a client's certificate is judged", "add `client_ca`")),
        case("a certificate twice", tls("{ certificate: c.pem, private_key: k.pem, more: { certificate: c.pem, private_key: l.pem } }"),
            (3, 103, "gateway.listen.tls.more.certificate"), ("is listed twice", "remove one")),
        case("a version of TLS that is broken", tls("{ certificate: c.pem, private_key: k.pem, min_version: tls1.1 }"),
            (3, 95, "gateway.listen.tls.min_version"), ("not known here", "tls1.2")),
        case("a URL for a server", gateway("").replace("127.0.0.1:9001", "http://a:1/"),
            (5, 21, "gateway.upstreams.api.servers"), ("has a scheme", "write a:1")),
        case("TLS to a server", gateway("").replace("127.0.0.1:9001", "https://a:1"),
            (5, 21, "gateway.upstreams.api.servers"), ("TLS", "plain HTTP/1.1")),
        case("a server without a port", gateway("").replace("127.0.0.1:9001", "users.internal"),
            (5, 21, "gateway.upstreams.api.servers"), ("has no port", "users.internal:80")),
        case("a server listed twice", gateway("").replace("\"127.0.0.1:9001\"", "[\"a:1\", \"a:1\"]"),
            (5, 29, "gateway.upstreams.api.servers[1]"), ("listed twice", "weight: 2")),
        case("a gateway before itself", gateway("").replace("9001", "8080"),
            (5, 21, "gateway.upstreams.api.servers"), ("is this gateway itself", "name the server")),
        case("an upstream's name that no header can carry", gateway("").replace("api:", "äpi:"),
            (5, 5, "gateway.upstreams.äpi"), ("has the character 'ä'", "ASCII")),
        case("a deadline without a unit", gateway("  deadlines: { connect: 5 }\n"),
            (6, 25, "gateway.deadlines.connect"), ("has no unit", "use ms, s, min or h")),
        case("a deadline in days", gateway("  deadlines: { drain: 1d }\n"),
            (6, 23, "gateway.deadlines.drain"), ("has no known unit", "use ms, s, min or h")),
        case("a deadline that is none", gateway("  deadlines: { connect: 0s }\n"),
            (6, 25, "gateway.deadlines.connect"), ("below the least, 10ms", "write 10ms or more")),
        case("a deadline beyond its range", gateway("  deadlines: { request_head: 1h }\n"),
            (6, 30, "gateway.deadlines.request_head"), ("above the most, 5min", "write 5min or less")),
        case("a size without a unit", "version: 1\nstate: { memory: 1000000 }\n",
            (2, 18, "state.memory"), ("has no unit", "use B, KiB, MiB")),
        case("a size with an unknown unit", "version: 1\nstate: { memory: 64MB/s }\n",
            (2, 18, "state.memory"), ("no known unit", "use B, KiB, MiB")),
        case("too little memory", "version: 1\nstate: { memory: 64KiB }\n",
            (2, 18, "state.memory"), ("below the least, 1MiB", "1MiB or more")),
        case("too much memory", "version: 1\nstate: { memory: 99999999GiB }\n",
            (2, 18, "state.memory"), ("above the most, 1024GiB", "1024GiB or less")),
        case("a directory without a name", "version: 1\nstate: { directory: \"\" }\n",
            (2, 21, "state.directory"), ("is no path", "./state")),
        // Identity.
        case("headers of proxies of whom none is trusted", "version: 1\ngateway:\n  listen: { address: 0.0.0.0:1, proxy_protocol: true }\n  upstreams: { a: { servers: a:1 } }\n",
            (3, 49, "gateway.listen.proxy_protocol"), ("none is trusted", "trusted_proxies")),
        case("a key by more bits than there are", "version: 1\nrules: [{ name: a, key: ip/129, limit: 1/s }]\n",
            (2, 25, "rules[0].key"), ("no prefix", "ip/16 to ip/128")),
        case("a route that no request has", "version: 1\nroutes: [{ name: a, path: /a/./b }]\n",
            (2, 27, "routes[0].path"), ("no request has", "leave out")),
        case("a route with a slash at the end", "version: 1\nroutes: [{ name: a, path: /a/ }]\n",
            (2, 27, "routes[0].path"), ("no request has", "leave out")),
        case("a route with an escape that is none", "version: 1\nroutes: [{ name: a, path: \"/{x}/%6cogin\" }]\n",
            (2, 27, "routes[0].path"), ("no request has", "write /{x}/login")),
        case("a route with an escaped slash", "version: 1\nroutes: [{ name: a, path: /a%2Fb }]\n",
            (2, 27, "routes[0].path"), ("written as an escape", "without it")),
        case("a spelling of another name", "version: 1\npaths: { trailing_slash: remove }\n",
            (2, 26, "paths.trailing_slash"), ("not known here", "strip or keep")),
        case("a network that is none", "version: 1\nidentity: { trusted_proxies: [10.0.0.0/33] }\n",
            (2, 31, "identity.trusted_proxies[0]"), ("is no network", "10.0.0.0/8")),
        case("a network with bits beyond its prefix", "version: 1\nidentity: { trusted_proxies: [10.1.2.3/8] }\n",
            (2, 31, "identity.trusted_proxies[0]"), ("beyond /8", "write 10.0.0.0/8")),
        case("a network of everybody", "version: 1\nidentity: { trusted_proxies: [0.0.0.0/0] }\n",
            (2, 31, "identity.trusted_proxies[0]"), ("every address", "own networks")),
        case("an IPv4 network in IPv6 clothes", "version: 1\nidentity: { trusted_proxies: [\"::ffff:10.0.0.0/104\"] }\n",
            (2, 31, "identity.trusted_proxies[0]"), ("IPv6 clothes", "write 10.0.0.0/8")),
        case("an unknown header", "version: 1\nidentity: { forwarded_header: x-real-ip }\n",
            (2, 31, "identity.forwarded_header"), ("not known here", "x-forwarded-for or forwarded")),
        // Routes.
        case("two routes of one name", "version: 1\nroutes:\n  - { name: a, path: /a }\n  - { name: a, path: /b }\n",
            (4, 13, "routes[1].name"), ("also the name of routes[0]", "a name of its own")),
        case("a route without a path", "version: 1\nroutes:\n  - name: a\n",
            (3, 5, "routes[0]"), ("`path` is missing", "add `path:`")),
        case("a path without its slash", "version: 1\nroutes: [{ name: a, path: items }]\n",
            (2, 27, "routes[0].path"), ("does not begin with /", "write /items")),
        case("a path with a query", "version: 1\nroutes: [{ name: a, path: \"/a?b=c\" }]\n",
            (2, 27, "routes[0].path"), ("query", "the path alone")),
        case("a path with a letter that does not travel", "version: 1\nroutes: [{ name: a, path: /ä }]\n",
            (2, 27, "routes[0].path"), ("the character 'ä'", "percent-encoded")),
        case("a star without a name", "version: 1\nroutes: [{ name: a, path: \"/a/*\" }]\n",
            (2, 27, "routes[0].path"), ("bare star", "{*name}")),
        case("the rest in the midst", "version: 1\nroutes: [{ name: a, path: \"/{*a}/b\" }]\n",
            (2, 27, "routes[0].path"), ("{*a} before its end", "last segment")),
        case("half a segment as a parameter", "version: 1\nroutes: [{ name: a, path: \"/v{n}\" }]\n",
            (2, 27, "routes[0].path"), ("brace inside a segment", "whole segment")),
        case("a parameter without a name", "version: 1\nroutes: [{ name: a, path: \"/{}\" }]\n",
            (2, 27, "routes[0].path"), ("parameter without a plain name", "as in {id}")),
        case("a method in small letters", "version: 1\nroutes: [{ name: a, path: /, methods: get }]\n",
            (2, 39, "routes[0].methods"), ("in capitals", "write GET")),
        case("a method that is none", "version: 1\nroutes: [{ name: a, path: /, methods: \"GET POST\" }]\n",
            (2, 39, "routes[0].methods"), ("is no method", "GET or POST")),
        case("every method by a star", "version: 1\nroutes: [{ name: a, path: /, methods: \"*\" }]\n",
            (2, 39, "routes[0].methods"), ("is no method", "leave `methods` out")),
        case("a method listed twice", "version: 1\nroutes: [{ name: a, path: /, methods: [GET, GET] }]\n",
            (2, 45, "routes[0].methods[1]"), ("listed twice", "remove one")),
        case("a host with a port", "version: 1\nroutes: [{ name: a, path: /, hosts: \"a.example:443\" }]\n",
            (2, 37, "routes[0].hosts"), ("has a port", "the host alone")),
        case("a host that is a URL", "version: 1\nroutes: [{ name: a, path: /, hosts: \"https://a.example\" }]\n",
            (2, 37, "routes[0].hosts"), ("more than a host", "the host alone")),
        case("a host with a star inside", "version: 1\nroutes: [{ name: a, path: /, hosts: a.*.example }]\n",
            (2, 37, "routes[0].hosts"), ("is no host", "*.example.com")),
        case("a host not in ASCII", "version: 1\nroutes: [{ name: a, path: /, hosts: bücher.example }]\n",
            (2, 37, "routes[0].hosts"), ("not in ASCII", "xn--")),
        case("a route that an earlier one hides", "version: 1\nroutes:\n  - { name: a, path: \"/{id}\", methods: [GET] }\n  - { name: b, path: \"/{name}\", methods: [PUT, GET] }\n",
            (4, 5, "routes[1]"), ("\"a\" takes in the same GET requests", "differ")),
        case("a parameter beside the rest", "version: 1\nroutes:\n  - { name: a, path: \"/x/{id}\" }\n  - { name: b, path: \"/x/{*rest}\" }\n",
            (4, 5, "routes[1]"), ("cannot stand beside", "literal segment")),
        case("a parameter of HEAD beside GET's rest", "version: 1\nroutes:\n  - { name: a, methods: HEAD, path: \"/a/{x}\" }\n  - { name: b, methods: GET, path: \"/a/{*y}\" }\n",
            (4, 5, "routes[1]"), ("cannot stand beside", "literal segment")),
        case("several upstreams and no routes", two_upstreams(""),
            (1, 1, "routes"), ("2 upstreams and no routes", "add `routes:`")),
        case("several upstreams and a route to none", two_upstreams("routes:\n  - { name: a, path: /a }\n"),
            (8, 5, "routes[0]"), ("`upstream` is missing", "api, web")),
        case("an unknown upstream", two_upstreams("routes:\n  - { name: a, path: /a, upstream: wbe }\n"),
            (8, 36, "routes[0].upstream"), ("no upstream \"wbe\"", "did you mean `web`?")),
        case("an upstream without a gateway", "version: 1\nroutes: [{ name: a, path: /, upstream: api }]\n",
            (2, 40, "routes[0].upstream"), ("no gateway", "add `gateway:`")),
        // Rules.
        case("two rules of one name", "version: 1\nrules:\n  - { name: a, key: ip, limit: 1/s }\n  - { name: a, key: ip, limit: 2/s }\n",
            (4, 13, "rules[1].name"), ("also the name of rules[0]", "a name of its own")),
        case("a rule without a key", "version: 1\nrules:\n  - name: a\n    limit: 1/s\n",
            (3, 5, "rules[0]"), ("`key` is missing", "ip/BITS, route, sensitivity, method")),
        case("a name with a line feed", rule("name: \"a\\nb\""),
            (3, 11, "rules[0].name"), ("the character '\\n'", "header fields")),
        case("a name without end", rule(&format!("name: {}", "n".repeat(65))),
            (3, 11, "rules[0].name"), ("has 65 characters", "at most 64")),
        case("an empty name", rule("name: \"\""),
            (3, 11, "rules[0].name"), ("is empty", "give it a name")),
        case("a limit in fortnights", rule("limit: 5/fortnight"),
            (5, 12, "rules[0].limit"), ("\"5/fortnight\" is not a limit", "use ms, s, min")),
        case("a limit of zero", rule("limit: 0/s"),
            (5, 12, "rules[0].limit"), ("a limit of zero", "the least count is 1")),
        case("a limit without a period", rule("limit: 100"),
            (5, 12, "rules[0].limit"), ("the period is missing", "100/min")),
        case("a limit per minute or month", rule("limit: 5/m"),
            (5, 12, "rules[0].limit"), ("minutes or months", "write min")),
        case("a burst of zero", rule("limit: 5/s burst 0"),
            (5, 12, "rules[0].limit"), ("a burst of zero", "the least burst is 1")),
        case("limits by tier", rule("limit: { free: 1/s }"),
            (5, 12, "rules[0].limit"), ("a map stands here", "a limit such as")),
        case("an unknown attribute", rule("key: adress"),
            (4, 10, "rules[0].key"), ("no attribute", "use client, tenant")),
        case("an attribute of a later version", rule("key: [ip, asn]"),
            (4, 15, "rules[0].key[1]"), ("not offered yet", "use client, tenant")),
        case("a claim without a name", rule("key: claim."),
            (4, 10, "rules[0].key"), ("names no claim", "as in claim.scope")),
        case("a header that cannot be", "version: 1\nidentity: { api_keys: { file: k, header: \"a b\" } }\nrules: []\n",
            (2, 42, "identity.api_keys.header"), ("no header's name", "x-api-key")),
        case("an attribute listed twice", rule("key: [header.a, header.A]"),
            (4, 21, "rules[0].key[1]"), ("listed twice", "remove one")),
        case("a program's key beside a request's", rule("key: [ip, program]"),
            (4, 10, "rules[0].key"), ("stands for the whole key", "write key: program")),
        case("a program's rule on a route", "version: 1\nroutes: [{ name: r, path: /r }]\nrules: [{ name: a, key: program, limit: 1/s, routes: r }]\n",
            (3, 46, "rules[0].routes"), ("this rule applies to none", "give the rule another key")),
        case("a key that no program can leave out", rule_of(&["key: program", "on_missing_key: refuse"]),
            (6, 5, "rules[0].on_missing_key"), ("this rule applies to none", "remove the field")),
        case("a failure that no response tells a program", rule_of(&["key: program", "count: failures", "failed_when: 401"]),
            (7, 5, "rules[0].failed_when"), ("this rule applies to none", "remove the field")),
        case("a cost that no request tells a program", rule_of(&["key: program", "cost: header.x-cost"]),
            (6, 11, "rules[0].cost"), ("no request passes here", "settle: program")),
        case("a settlement that no response tells a program", rule_of(&["key: program", "cost: { reserve: 1, settle: response./n }"]),
            (6, 11, "rules[0].cost"), ("no request passes here", "settle: program")),
        case("a settlement by a program that is not asked for", rule("cost: { reserve: 1, settle: program }"),
            (6, 11, "rules[0].cost"), ("no program asks", "write key: program")),
        case("a header without a name", rule("key: header."),
            (4, 10, "rules[0].key"), ("names no header", "header.x-api-key")),
        case("a key of nine parts", rule("key: [ip, route, method, host, header.a, header.b, header.c, header.d, header.e]"),
            (4, 10, "rules[0].key"), ("9 entries", "keep it to 8")),
        case("an unknown route", "version: 1\nroutes: [{ name: login, path: / }]\nrules: [{ name: a, key: ip, limit: 1/s, routes: [logn] }]\n",
            (3, 50, "rules[0].routes[0]"), ("no route \"logn\"", "did you mean `login`?")),
        case("a route where there are none", rule("routes: login"),
            (6, 13, "rules[0].routes"), ("no route \"login\"", "add `routes:`")),
        case("a rule for no routes", rule("routes: []"),
            (6, 13, "rules[0].routes"), ("list is empty", "leave the field out")),
        case("an unknown algorithm", rule("algorithm: tokenbucket"),
            (6, 16, "rules[0].algorithm"), ("not known here", "did you mean `token_bucket`?")),
        case("an unknown stand-in for a key", rule("on_missing_key: allow"),
            (6, 21, "rules[0].on_missing_key"), ("not known here", "ip or shared or refuse or skip")),
        // Algorithms, and what each asks for.
        case("permits with a period", rule("algorithm: concurrency"),
            (5, 12, "rules[0].limit"), ("\"100/min\" has a period", "limit: 100")),
        case("a number of permits in quotes", rule_of(&["limit: \"20\"", "algorithm: concurrency"]),
            (5, 12, "rules[0].limit"), ("\"20\" is a text", "without quotes")),
        case("no permits", rule_of(&["limit: 0", "algorithm: concurrency"]),
            (5, 12, "rules[0].limit"), ("a limit of zero", "the least count is 1")),
        case("more permits than sockets in the world", rule_of(&["limit: 2000M", "algorithm: concurrency"]),
            (5, 12, "rules[0].limit"), ("above the most, 1000000000", "from 1 to 1000000000")),
        case("a burst of a window", rule_of(&["limit: 100/min burst 20", "algorithm: sliding_window"]),
            (5, 12, "rules[0].limit"), ("has a burst", "leave the burst out: all 100")),
        case("a burst of a log, the same as its count", rule_of(&["limit: 5/s burst 5", "algorithm: sliding_log"]),
            (5, 12, "rules[0].limit"), ("has a burst", "leave the burst out")),
        case("a log too long", rule_of(&["limit: 1001/h", "algorithm: sliding_log"]),
            (5, 12, "rules[0].limit"), ("remember 1001 requests", "at most 1000, or algorithm: sliding_window")),
        case("a wait without a queue", rule("max_wait: 2s"),
            (6, 5, "rules[0].max_wait"), ("only a leaky bucket", "write algorithm: leaky_bucket")),
        case("a wait of a minute and more", rule_of(&["algorithm: leaky_bucket", "max_wait: 2min"]),
            (7, 15, "rules[0].max_wait"), ("above the most, 1min", "1min or less")),
        case("free units without a queue", rule_of(&["algorithm: fixed_window", "free: 3"]),
            (7, 5, "rules[0].free"), ("only a leaky bucket delays", "remove the field")),
        case("a whole burst that is free", rule_of(&["limit: 5/s burst 10", "algorithm: leaky_bucket", "free: 10"]),
            (7, 11, "rules[0].free"), ("the whole burst of 10", "fewer than the burst")),
        case("an alignment of nothing", rule_of(&["algorithm: sliding_window", "align: epoch"]),
            (7, 5, "rules[0].align"), ("only fixed windows", "write algorithm: fixed_window")),
        case("an unknown alignment", rule_of(&["algorithm: fixed_window", "align: midnight"]),
            (7, 12, "rules[0].align"), ("not known here", "epoch or first_hit")),
        case("an overflow of permits with a period", rule_of(&["limit: 20", "algorithm: concurrency", "overflow: 5/s"]),
            (7, 15, "rules[0].overflow"), ("has a period", "limit: 5")),
        case("an overflow without a period", rule("overflow: 1000"),
            (6, 15, "rules[0].overflow"), ("the period is missing", "100/min")),
        case("an overflow of a window with a burst", rule_of(&["algorithm: fixed_window", "overflow: 1000/min burst 5"]),
            (7, 15, "rules[0].overflow"), ("has a burst", "leave the burst out")),
        // Members of bodies.
        case("a member without its slash", rule("key: body.user.name"),
            (4, 10, "rules[0].key"), ("begins with a slash", "write body./user/name")),
        case("a member with an escape that is none", rule("key: body./a~2b"),
            (4, 10, "rules[0].key"), ("not an escape", "~0 for a tilde")),
        case("a member deeper than any", rule(&format!("key: body.{}", "/a".repeat(17))),
            (4, 10, "rules[0].key"), ("deeper than 16 levels", "nearer to the root")),
        case("no member", rule("key: body."),
            (4, 10, "rules[0].key"), ("names no member", "body./username")),
        case("a member in a map without its slash", rule("key: { body: username, trim: true }"),
            (4, 18, "rules[0].key.body"), ("begins with a slash", "write /username")),
        case("a member's unknown treatment", rule("key: { body: /username, uppercase: true }"),
            (4, 29, "rules[0].key.uppercase"), ("no field \"uppercase\"", "did you mean `lowercase`?")),
        case("a treatment that is no truth value", rule("key: { body: /username, trim: yes }"),
            (4, 35, "rules[0].key.trim"), ("neither true nor false", "write true or false")),
        case("a truth value in quotes", rule("key: { body: /username, trim: \"true\" }"),
            (4, 35, "rules[0].key.trim"), ("is a text", "without quotes")),
        case("a member of two treatments", rule("key: [body./a, { body: /a, trim: true }]"),
            (4, 20, "rules[0].key[1]"), ("listed twice", "remove one")),
        // Costs.
        case("a cost that is none", rule("cost: five"),
            (6, 11, "rules[0].cost"), ("\"five\" is no cost", "a whole number, header.NAME")),
        case("a cost below zero", rule("cost: -1"),
            (6, 11, "rules[0].cost"), ("\"-1\" is no cost", "a whole number")),
        case("a cost with a fraction", rule("cost: 1.5"),
            (6, 11, "rules[0].cost"), ("\"1.5\" is no cost", "a whole number")),
        case("a cost of 2⁶⁴", rule("cost: 18446744073709551616"),
            (6, 11, "rules[0].cost"), ("above the most", "whole number")),
        case("a cost of a header without a name", rule("cost: header."),
            (6, 11, "rules[0].cost"), ("names no header", "header.x-cost")),
        case("a cost of the response, reserved", rule("cost: response./usage"),
            (6, 11, "rules[0].cost"), ("not known when the request comes", "settle: response./usage/total_tokens")),
        case("a cost of nothing", rule("cost: 0"),
            (6, 11, "rules[0].cost"), ("let every request pass", "reserve: 0, settle")),
        case("a cost above the burst", rule_of(&["limit: 5/s burst 3", "cost: 4"]),
            (6, 11, "rules[0].cost"), ("never passes: at most 3 do", "3 or less")),
        case("a default above the burst", rule("cost: { reserve: header.x-cost, default: 101 }"),
            (6, 46, "rules[0].cost.default"), ("never passes", "100 or less")),
        case("a default above what may be claimed", rule("cost: { reserve: header.x-cost, default: 50, max: 20 }"),
            (6, 46, "rules[0].cost.default"), ("more than the most", "raise `max`")),
        case("a default of a fixed cost", rule("cost: { reserve: 5, default: 1 }"),
            (6, 25, "rules[0].cost.default"), ("every request costs 5", "remove the field")),
        case("the most of nothing", rule("cost: { reserve: header.x-cost, max: 0 }"),
            (6, 42, "rules[0].cost.max"), ("below the least, 1", "from 1 to")),
        case("a map of costs without what is reserved", rule("cost: { default: 5 }"),
            (6, 11, "rules[0].cost"), ("`reserve` is missing", "a number, header.NAME")),
        case("a settlement by the request", rule("cost: { reserve: 1, settle: body./n }"),
            (6, 33, "rules[0].cost.settle"), ("no place in a response", "response./MEMBER")),
        case("a settlement in a queue", rule_of(&["algorithm: leaky_bucket", "cost: { reserve: 1, settle: response./n }"]),
            (7, 33, "rules[0].cost.settle"), ("left the queue", "use token_bucket")),
        case("a settlement in a log", rule_of(&["algorithm: sliding_log", "cost: { reserve: 1, settle: response./n }"]),
            (7, 33, "rules[0].cost.settle"), ("a log keeps", "use token_bucket")),
        case("a claim of permits", rule_of(&["limit: 20", "algorithm: concurrency", "cost: header.x-cost"]),
            (7, 11, "rules[0].cost"), ("no measure of what is under way", "number of permits")),
        case("permits that are put right", rule_of(&["limit: 20", "algorithm: concurrency", "cost: { reserve: 1, settle: response./n }"]),
            (7, 33, "rules[0].cost.settle"), ("given back in any case", "use token_bucket")),
        // Failures, steps and penalties.
        case("an unknown count", rule("count: errors"),
            (6, 12, "rules[0].count"), ("not known here", "requests or failures")),
        case("failures of permits", rule_of(&["limit: 20", "algorithm: concurrency", "count: failures"]),
            (7, 12, "rules[0].count"), ("given back in any case", "use token_bucket")),
        case("failures in a queue", rule_of(&["algorithm: leaky_bucket", "count: failures"]),
            (7, 12, "rules[0].count"), ("left the queue", "use token_bucket")),
        case("failures that are settled too", rule_of(&["count: failures", "cost: { reserve: 1, settle: response./n }"]),
            (7, 33, "rules[0].cost.settle"), ("whether it failed already says", "remove `settle`")),
        case("signs of failure where every request counts", rule("failed_when: 401"),
            (6, 5, "rules[0].failed_when"), ("every request counts", "write count: failures")),
        case("the fruits of success where every request counts", rule("on_success: clear"),
            (6, 5, "rules[0].on_success"), ("every request counts", "write count: failures")),
        case("an unknown fruit of success", rule_of(&["count: failures", "on_success: forget"]),
            (7, 17, "rules[0].on_success"), ("not known here", "return or clear")),
        case("a server's failure", rule_of(&["count: failures", "failed_when: 503"]),
            (7, 18, "rules[0].failed_when"), ("the server failed", "leave it out")),
        case("a status that is none", rule_of(&["count: failures", "failed_when: 999"]),
            (7, 18, "rules[0].failed_when"), ("no status", "from 200 to 499")),
        case("a class of statuses", rule_of(&["count: failures", "failed_when: 4xx"]),
            (7, 18, "rules[0].failed_when"), ("no place in a response", "response./MEMBER")),
        case("a status in quotes", rule_of(&["count: failures", "failed_when: \"401\""]),
            (7, 18, "rules[0].failed_when"), ("is a text", "without quotes")),
        case("a sign of failure in the request", rule_of(&["count: failures", "failed_when: [401, header.x-failed]"]),
            (7, 24, "rules[0].failed_when[1]"), ("no place in a response", "response.header.NAME")),
        case("a sign of failure listed twice", rule_of(&["count: failures", "failed_when: [401, 403, 401]"]),
            (7, 29, "rules[0].failed_when[2]"), ("listed twice", "remove one")),
        case("a step that says nothing", rule("exceed: {}"),
            (6, 13, "rules[0].exceed"), ("says nothing", "{lock: 15min}")),
        case("a step of a later version", rule("exceed: { challenge: pow, lock: 15min }"),
            (6, 15, "rules[0].exceed.challenge"), ("not offered yet", "a lock is the step there is")),
        case("two locks", rule("exceed: [{ lock: 1min }, { lock: 15min }]"),
            (6, 30, "rules[0].exceed[1]"), ("never reached", "the longer")),
        case("a lock for a blink", rule("exceed: { lock: 1ms }"),
            (6, 21, "rules[0].exceed.lock"), ("below the least, 1s", "1s or more")),
        case("a lock for ever", rule("exceed: { lock: 9999h }"),
            (6, 21, "rules[0].exceed.lock"), ("above the most, 720h", "720h or less")),
        case("a lock of a window", rule_of(&["algorithm: sliding_window", "exceed: { lock: 1min }"]),
            (7, 13, "rules[0].exceed"), ("only a token bucket can be locked", "algorithm: token_bucket")),
        case("a lock of permits", rule_of(&["limit: 20", "algorithm: concurrency", "exceed: { lock: 1min }"]),
            (7, 13, "rules[0].exceed"), ("only a token bucket can be locked", "leave `exceed` out")),
        case("a penalty in permits", rule_of(&["limit: 20", "algorithm: concurrency", "charge_refused: true"]),
            (7, 21, "rules[0].charge_refused"), ("holds nothing", "remove the field")),
        case("a penalty in failures", rule_of(&["count: failures", "charge_refused: true"]),
            (7, 21, "rules[0].charge_refused"), ("has not failed", "count requests")),
        // Shared buckets.
        case("a bucket without a name", rule("bucket: \"\""),
            (6, 13, "rules[0].bucket"), ("is empty", "give it a name")),
        case("the bucket of a rule that shares none", bucket("key: ip, limit: 1/s", "key: ip, limit: 1/s").replace("bucket: all, key: ip, limit: 1/s }\n  - { name: b, bucket: all", "key: ip, limit: 1/s }\n  - { name: b, bucket: a"),
            (5, 24, "rules[1].bucket"), ("\"a\" is also the name of rules[0]", "write `bucket: a` there too")),
        case("a bucket of two keys", bucket("key: ip, limit: 1/s", "key: host, limit: 1/s"),
            (5, 34, "rules[1].key"), ("the key differs from that of rules[0]", "all rules of one bucket")),
        case("a bucket of two rates", bucket("key: ip, limit: 60/min", "key: ip, limit: 1/s"),
            (5, 45, "rules[1].limit"), ("the rate differs", "all rules of one bucket")),
        case("a bucket of two algorithms", bucket("key: ip, limit: 1/s", "key: ip, limit: 1/s, algorithm: fixed_window"),
            (5, 61, "rules[1].algorithm"), ("the algorithm differs", "all rules of one bucket")),
        case("a bucket of two alignments", bucket("key: ip, limit: 1/s, algorithm: fixed_window", "key: ip, limit: 1/s, algorithm: fixed_window, align: first_hit"),
            (5, 61, "rules[1].algorithm"), ("the algorithm differs from that of rules[0]", "all rules")),
        case("a bucket with two stand-ins", bucket("key: host, limit: 1/s", "key: host, limit: 1/s, on_missing_key: refuse"),
            (5, 68, "rules[1].on_missing_key"), ("`on_missing_key` differs", "all rules")),
        case("a bucket half in shadow", bucket("key: ip, limit: 1/s", "key: ip, limit: 1/s, enforce: 0%"),
            (5, 59, "rules[1].enforce"), ("`enforce` differs", "all rules")),
        case("a bucket of two overflows", bucket("key: ip, limit: 1/s", "key: ip, limit: 1/s, overflow: closed"),
            (5, 60, "rules[1].overflow"), ("`overflow` differs", "all rules")),
        case("a bucket of failures and requests", bucket("key: ip, limit: 1/s", "key: ip, limit: 1/s, count: failures"),
            (5, 57, "rules[1].count"), ("`count` differs", "all rules")),
        case("a bucket that one rule locks", bucket("key: ip, limit: 1/s", "key: ip, limit: 1/s, exceed: { lock: 1min }"),
            (5, 58, "rules[1].exceed"), ("`exceed` differs", "all rules")),
        case("a bucket that one rule charges for refusals", bucket("key: ip, limit: 1/s", "key: ip, limit: 1/s, charge_refused: true"),
            (5, 5, "rules[1]"), ("`charge_refused` differs", "all rules")),
        case("more bursts of one bucket than can be told apart", format!("version: 1\nroutes:\n{}rules:\n{}", many_routes.concat(), bursts.concat()),
            (517, 27, "rules[256].bucket"), ("more than 256 bursts", "buckets of their own")),
        case("two costs of one bucket for one request", bucket("key: ip, limit: 9/s, routes: r", "key: ip, limit: 9/s, cost: 5"),
            (5, 56, "rules[1].cost"), ("the cost differs from that of rules[0]", "let the costs agree")),
        // State.
        case("parts that make less than all", "version: 1\nstate: { split: { small: 50%, wide: 30%, logs: 10% } }\n",
            (2, 17, "state.split"), ("the parts make 90%", "100% together")),
        case("a part that is missing", "version: 1\nstate: { split: { small: 50%, wide: 50% } }\n",
            (2, 17, "state.split"), ("`logs` is missing", "add `logs:`")),
        case("a part without its sign", "version: 1\nstate: { split: { small: 50, wide: 50%, logs: 0% } }\n",
            (2, 26, "state.split.small"), ("is not a share", "from 0% to 100%")),
        case("no memory for what a rule needs", "version: 1\nstate: { split: { small: 90%, wide: 0%, logs: 10% } }\nrules: [{ name: a, key: ip, limit: 1/s, algorithm: fixed_window }]\n",
            (2, 17, "state.split"), ("`wide` has no memory", "give `wide` a share")),
        // What limits are shared by.
        case("sharing under no secret", "version: 1\nstate: { share: \"redis://a:6379\" }\n",
            (2, 17, "state.share"), ("only under the same secret, and none is given", "secret_file: ./secret")),
        case("two secrets", "version: 1\nstate: { secret_file: s, secret: \"${S}\" }\n",
            (2, 10, "state.secret_file"), ("in the environment already", "remove one")),
        case("a secret in plain text", "version: 1\nstate: { secret: hunter2 }\n",
            (2, 18, "state.secret"), ("what stands here is no variable", "write ${NAME}")),
        case("a secret's file without a name", "version: 1\nstate: { secret_file: run/ }\n",
            (2, 23, "state.secret_file"), ("\"run/\" is no file", "write a path")),
        case("no store", store("{ fanout: 3 }"),
            (4, 10, "state.share"), ("no store is named", "add `redis: redis://HOST:PORT`")),
        case("two stores", store("{ redis: \"redis://a:1\", redis_cluster: \"redis://b:1\" }"),
            (4, 34, "state.share.redis_cluster"), ("a store already, `redis`", "a list in `redis`")),
        case("a store that is a list of none", store("{ redis: [] }"),
            (4, 19, "state.share.redis"), ("the list is empty", "add a server")),
        case("a list for a store", store("[\"redis://a:1\", \"redis://b:1\"]"),
            (4, 10, "state.share"), ("a list stands here", "write a map")),
        case("more servers than anyone has", store(&format!("{{ redis: [{}] }}", (1..=33).map(|port| format!("\"redis://a:{port}\"")).collect::<Vec<_>>().join(", "))),
            (4, 19, "state.share.redis"), ("the list has 33 entries", "keep it to 32")),
        case("a server twice", store("{ redis: [\"redis://a:1\", \"rediss://A:1/0\"] }"),
            (4, 35, "state.share.redis[1]"), ("rediss://a:1 is listed twice", "remove one")),
        case("a server without a scheme", store("localhost:6379"),
            (4, 10, "state.share"), ("has no scheme", "write redis://localhost:6379")),
        case("a server by another protocol", store("http://a:80"),
            (4, 10, "state.share"), ("a scheme that is not known", "redis://HOST:PORT")),
        case("a server by a socket", store("unix:///run/redis.sock"),
            (4, 10, "state.share"), ("a socket of this machine", "write redis://")),
        case("a store without a port", store("redis://a"),
            (4, 10, "state.share"), ("has no port", "redis://a:6379")),
        case("a server of IPv6 without a port", store("redis://[::1]"),
            (4, 10, "state.share"), ("\"redis://[::1]\" has no port", "redis://[::1]:6379")),
        case("a server of IPv6 without brackets", store("redis://::1:6379"),
            (4, 10, "state.share"), ("without brackets", "redis://[::1]:6379")),
        case("a server of no address", store("\"redis://[::g]:1\""),
            (4, 10, "state.share"), ("is no address", "redis://[::1]:6379")),
        case("a server of port 0", store("redis://a:0"),
            (4, 10, "state.share"), ("has no port that can be", "from 1 to 65535")),
        case("a server of no host", store("rediss://"),
            (4, 10, "state.share"), ("names no host", "rediss://HOST:PORT")),
        case("a server of two words", store("redis://a b:1"),
            (4, 10, "state.share"), ("is no server", "redis://HOST:PORT")),
        case("a database by name", store("redis://a:1/users"),
            (4, 10, "state.share"), ("other than a database's number", "redis://127.0.0.1:6379/2")),
        case("a password in plain text", store("redis://gate:hunter2@a:1"),
            (4, 10, "state.share"), ("\"redis://gate:***@a:1\" has a password in plain text", "`password_file`")),
        case("a password in plain text, of its own", store("{ redis: \"redis://a:1\", password: hunter2 }"),
            (4, 44, "state.share.password"), ("what stands here is no variable", "`password_file`")),
        case("a user without a password", store("redis://gate@a:1"),
            (4, 10, "state.share"), ("a user name and no password", "`password_file`")),
        case("a user's name with a sign", store("\"redis://ga%74e:${P}@a:1\""),
            (4, 10, "state.share"), ("'%' in its user name", "`username`")),
        case("a user's name with a blank", store("{ redis: \"redis://a:1\", username: a b, password_file: p }"),
            (4, 44, "state.share.username"), ("is no name that a server knows", "without blanks")),
        case("a user alone", store("{ redis: \"redis://a:1\", username: gate }"),
            (4, 44, "state.share.username"), ("no password beside it", "add `password_file`")),
        case("two passwords", store("{ redis: \"redis://127.0.0.1:1\", password_file: p, password: \"${P}\" }"),
            (4, 42, "state.share.password_file"), ("in the environment already", "remove one of the two")),
        case("a password beside the one for all", store("{ redis: \"rediss://:${P}@a:1\", password_file: p }"),
            (4, 19, "state.share.redis"), ("has a password of its own", "remove one")),
        case("a database of a cluster", store("{ redis_cluster: \"redis://a:1/2\" }"),
            (4, 27, "state.share.redis_cluster"), ("a cluster has no database 2", "leave the number out")),
        case("a cluster half in TLS", store("{ redis_cluster: [\"redis://a:1\", \"rediss://b:1\"] }"),
            (4, 43, "state.share.redis_cluster[1]"), ("asked in another way than the first", "rediss:// for all")),
        case("sentinels of nobody", store("{ sentinel: { servers: \"redis://a:1\" } }"),
            (4, 22, "state.share.sentinel"), ("`master` is missing", "add `master:`")),
        case("a database of a sentinel", store("{ sentinel: { servers: \"redis://a:1/2\", master: m } }"),
            (4, 33, "state.share.sentinel.servers"), ("a sentinel has no database 2", "leave the number out")),
        case("certificates for nobody", store("{ redis: \"redis://a:1\", ca_file: ca.pem }"),
            (4, 34, "state.share.ca_file"), ("no server is spoken to over TLS", "write rediss://")),
        case("a certificate without its key", store("{ redis: \"rediss://a:1\", client_cert: c.pem }"),
            (4, 48, "state.share.client_cert"), ("of no use without the other half", "add `client_key`")),
        case("a key without its certificate", store("{ redis: \"rediss://a:1\", client_key: k.pem }"),
            (4, 47, "state.share.client_key"), ("of no use without the other half", "add `client_cert`")),
        case("no node at all", store("{ redis: \"redis://a:1\", fanout: 0 }"),
            (4, 42, "state.share.fanout"), ("below the least, 1", "from 1 to 100000")),
        case("no memory for leases", "version: 1\nstate: { secret_file: s, share: \"redis://a:1\", split: { small: 80%, wide: 10%, logs: 10% } }\nrules: [{ name: a, key: ip, limit: 1/s }]\n",
            (2, 55, "state.split"), ("`leases` has no memory", "give `leases` a share")),
        // How a rule shares.
        case("sharing by nothing", rule("sharing: leased"),
            (6, 14, "rules[0].sharing"), ("\"leased\" needs a store", "add `state.share`")),
        case("a word for sharing that is none", rule("sharing: exakt"),
            (6, 14, "rules[0].sharing"), ("not known here", "did you mean `exact`?")),
        case("nodes without a store", rule("fanout: 4"),
            (6, 5, "rules[0].fanout"), ("no store by which nodes would share", "sharing: local to divide")),
        case("the loss of no store", rule("on_store_loss: closed"),
            (6, 5, "rules[0].on_store_loss"), ("no store that could be lost", "add `state.share`")),
        case("the loss of a store that is not asked", shared("redis://a:1", "limit: 9/s, sharing: local, on_store_loss: closed"),
            (6, 53, "rules[0].on_store_loss"), ("loses nothing with the store", "sharing: auto")),
        case("a bucket shared in two ways", bucket("key: ip, limit: 1/s", "key: ip, limit: 1/s, sharing: local"),
            (5, 59, "rules[1].sharing"), ("`sharing` differs", "all rules")),
        case("a bucket on two numbers of nodes", bucket("key: ip, limit: 4/s, sharing: local, fanout: 2", "key: ip, limit: 4/s, sharing: local, fanout: 4"),
            (5, 74, "rules[1].fanout"), ("`fanout` differs", "all rules")),
        case("a bucket that is lost in two ways", bucket("key: ip, limit: 1/s", "key: ip, limit: 1/s, on_store_loss: closed").replace("routes:", "state: { secret_file: s, share: \"redis://a:1\" }\nroutes:"),
            (6, 65, "rules[1].on_store_loss"), ("`on_store_loss` differs", "all rules")),
        case("less than nothing for each node", rule_of(&["limit: 5/min", "sharing: local", "fanout: 6"]),
            (7, 13, "rules[0].fanout"), ("of \"5/min\" nothing is left for each of 6 nodes", "write fewer nodes")),
        case("an overflow with nothing for each node", rule_of(&["sharing: local", "fanout: 6", "overflow: 5/min"]),
            (7, 13, "rules[0].fanout"), ("of \"5/min\" nothing is left", "raise the limit")),
        case("a cost above a node's part", rule_of(&["limit: 60/min", "sharing: local", "fanout: 6", "cost: 11"]),
            (8, 11, "rules[0].cost"), ("at most 10 do at once", "write 10 or less")),
        case("a limit faster than a store counts", shared("redis://a:1", "limit: 10000001/s"),
            (6, 32, "rules[0].limit"), ("more than the 10000000 a second", "sharing: local")),
        case("windows from anybody's first hit", shared("redis://a:1", "limit: 9/s, algorithm: fixed_window, align: first_hit, rationale: x, sharing: leased"),
            (6, 103, "rules[0].sharing"), ("cannot be shared yet: a window from the first hit", "align: epoch")),
        case("a log on many nodes", shared("redis://a:1", "limit: 9/s, algorithm: sliding_log, sharing: leased"),
            (6, 70, "rules[0].sharing"), ("cannot be shared yet: a sliding log", "algorithm: sliding_window")),
        case("a log divided by nobody's word", shared("redis://a:1", "limit: 9/s, algorithm: sliding_log, fanout: 3"),
            (6, 69, "rules[0].fanout"), ("cannot be shared yet: a sliding log", "with `fanout` to divide")),
        case("permits by every request", shared("redis://a:1", "limit: 9, algorithm: concurrency, sharing: exact"),
            (6, 68, "rules[0].sharing"), ("\"exact\" does not go with permits", "write leased, or local")),
        case("more on trust than there is", on_a_hundred("limit: 5/min, sharing: hybrid"),
            (6, 48, "rules[0].sharing"), ("100·1 = 100 tokens pass beyond 5", "write leased or auto")),
        case("a cost above what is given on trust", on_a_hundred("limit: 2000/s, cost: 3, sharing: hybrid"),
            (6, 46, "rules[0].cost"), ("each may spend 2 unasked, and a request takes 3", "waits for as many")),
        case("snapshots without a folder", "version: 1\nstate: { snapshot_every: 10s }\n",
            (2, 26, "state.snapshot_every"), ("no folder to write to", "add `directory: ./state`")),
        case("snapshots without end", "version: 1\nstate: { directory: s, snapshot_every: 10ms }\n",
            (2, 40, "state.snapshot_every"), ("below the least, 1s", "1s or more")),
        case("nobody may wait", "version: 1\nstate: { waiting: 0 }\n",
            (2, 19, "state.waiting"), ("below the least, 1", "from 1 to 1000000")),
        case("bodies of any size for keys", "version: 1\nidentity: { body_bytes: 10MiB }\n",
            (2, 25, "identity.body_bytes"), ("above the most, 1MiB", "1MiB or less")),
        case("an upgraded connection that is idle for days", gateway("  deadlines: { upgraded_idle: 25h }\n"),
            (6, 31, "gateway.deadlines.upgraded_idle"), ("above the most, 24h", "24h or less")),
        case("a share without its sign", rule("enforce: 10"),
            (6, 14, "rules[0].enforce"), ("is not a share", "0% is shadow mode")),
        case("a share above all", rule("enforce: 101%"),
            (6, 14, "rules[0].enforce"), ("above 100%", "from 0% to 100%")),
        case("a share with a fraction", rule("enforce: 0.5%"),
            (6, 14, "rules[0].enforce"), ("not a whole share", "from 0% to 100%")),
        case("a share of one key", rule("key: []").replace("limit:", "enforce: 10%\n    limit:"),
            (5, 14, "rules[0].enforce"), ("all requests share one key", "write 0% or 100%")),
        case("an overflow that is none", rule("overflow: open"),
            (6, 15, "rules[0].overflow"), ("is not a limit", "write a whole number")),
        case("a day in no calendar", rule("review_by: 2027-02-29"),
            (6, 16, "rules[0].review_by"), ("in no calendar", "a day that exists")),
        case("a day in another order", rule("review_by: 01.02.2027"),
            (6, 16, "rules[0].review_by"), ("is not a day", "YYYY-MM-DD")),
        case("more rules than one request may hold something of", format!("version: 1\nrules:\n{}", holds.concat()),
            (7, 5, "rules[4]"), ("meet 5 rules that hold something", "at most 4")),
        case("more members than one body is read for", format!("version: 1\nroutes: [{{ name: r, path: /r }}]\nrules:\n{}", members.concat()),
            (8, 5, "rules[4]"), ("5 members are read of the body of requests of the route \"r\"", "at most 4 different members")),
        case("more members than one response is read for", rule_of(&["count: failures", "failed_when: [response./a, response./b, response./c, response./d, response./e]"]),
            (3, 5, "rules[0]"), ("5 members are read of the body of the response", "at most 4 different members")),
        case("more rules than one request may meet", format!("version: 1\nrules:\n{seventeen}"),
            (19, 5, "rules[16]"), ("meet 17 rules", "at most 16")),
    ]
}

fn faults(text: &str) -> Vec<Fault> {
    Policy::parse("policy.yaml", text)
        .expect_err("the file is broken")
        .iter()
        .cloned()
        .collect()
}

#[test]
fn each_broken_file_is_refused_for_its_one_cause_with_place_and_remedy() {
    let mut wrong = String::new();
    for case in cases() {
        let faults = faults(&case.text);
        let is_told = |fault: &Fault| {
            (fault.line, fault.column, fault.place.as_str()) == (case.line, case.column, case.place)
                && fault.problem.contains(case.problem)
                && fault.remedy.contains(case.remedy)
        };
        if faults.len() != 1 || !is_told(&faults[0]) {
            let told = faults.iter().map(|fault| format!("{fault}\n{}", fault.excerpt()));
            let told = told.collect::<Vec<_>>().concat();
            wrong.push_str(case.cause);
            wrong.push_str(":\n");
            wrong.push_str(&told);
        }
    }
    assert!(wrong.is_empty(), "told otherwise than the table says:\n\n{wrong}");
}

#[test]
fn there_are_at_least_forty_causes_and_no_two_are_told_alike() {
    let cases = cases();
    let mut causes: Vec<_> = cases.iter().map(|case| case.cause).collect();
    causes.sort_unstable();
    causes.dedup();
    assert_eq!(causes.len(), cases.len());
    assert!(causes.len() >= 40, "{}", causes.len());
}

#[test]
fn every_fault_of_a_file_is_told_in_the_order_of_its_lines() {
    let text = "\
version: 2
gateway:
  listen: 8080
  upstreams:
    api: { servers: [\"127.0.0.1:9001\", \"127.0.0.1\"] }
    web: { servers: \"127.0.0.1:9002\", healthcheck: /healthz }
admin: { listen: 0.0.0.0:9900 }
state: { memory: 12KB }
routes:
  - { name: login, path: login, upstream: api }
  - { name: rest, path: \"/{*rest}\", upstream: wb }
rules:
  - name: per-client
    key: adress
    limit: 5/fortnight
    routes: [logn, rest]
    enforce: 10
  - { name: per-client, key: [], limit: 0/s, enforce: 50% }
extra: true
";
    let places: Vec<(u32, String)> = faults(text)
        .into_iter()
        .map(|fault| (fault.line, fault.place))
        .collect();
    let expected = [
        (1, "version"),
        (3, "gateway.listen"),
        (5, "gateway.upstreams.api.servers[1]"),
        (6, "gateway.upstreams.web.healthcheck"),
        (7, "admin.listen"),
        (8, "state.memory"),
        (10, "routes[0].path"),
        (11, "routes[1].upstream"),
        (14, "rules[0].key"),
        (15, "rules[0].limit"),
        (16, "rules[0].routes[0]"),
        (17, "rules[0].enforce"),
        (18, "rules[1].name"),
        (18, "rules[1].limit"),
        (18, "rules[1].enforce"),
        (19, "extra"),
    ];
    assert_eq!(places, expected.map(|(line, place)| (line, place.to_owned())));
}

#[test]
fn a_field_given_twice_does_not_hide_the_other_faults() {
    let lines: Vec<u32> = faults("version: 1\nversion: 1\nrulez: []\n")
        .iter()
        .map(|fault| fault.line)
        .collect();
    assert_eq!(lines, [2, 3]);
}

#[test]
fn a_file_of_nothing_but_faults_lists_a_bounded_number_and_counts_the_rest() {
    let fields = (0..5_000).map(|number| format!("field{number}: x\n"));
    let text = fields.collect::<Vec<_>>().concat();
    let faults = Policy::parse("policy.yaml", &text).expect_err("no field is known");
    // Beside the 5 000 unknown fields, `version` is missing.
    assert_eq!((faults.len(), faults.omitted()), (FAULTS_MAX, 5_001 - FAULTS_MAX));
    assert!(faults.to_string().ends_with("and 4801 more"));
}

#[test]
fn a_fault_is_one_line_and_its_excerpt_points_at_the_column() {
    let faults = faults(&rule("limit: 5/fortnight"));
    let fault = faults.first().expect("one fault");
    assert_eq!(
        fault.to_string(),
        "policy.yaml:5:12: rules[0].limit: \"5/fortnight\" is not a limit: no such unit of time in \"fortnight\"; \
         use ms, s, min, h, d or w, or their long names"
    );
    assert_eq!(fault.excerpt(), "5 |     limit: 5/fortnight\n  |            ^\n");
}

#[test]
fn no_message_about_a_file_shows_a_secret_in_it() {
    for text in [
        store("redis://gate:hunter2@a:1"),
        store("\"redis://gate:hunter2@a:1 \""),
        store("{ redis: [\"redis://:hunter2@a:1\", \"redis://a:1\"], fanout: 0 }"),
        store("{ sentinel: \"redis://:hunter2@a:1\" }"),
        store("{ redis: \"redis://a:1\", password: hunter2, fanout: 0 }"),
        store("{ redis: \"redis://a:1\", password: \n      hunter2 }"),
        store("{ redis: redis://:hunter2@a:1 }").replace("version: 1", "version: 1\n\tx"),
        "version: 1\nstate: { secret: hunter2, directory: 5 }\n".to_owned(),
        "version: 1\nstate: { secret: \"${hunter2!}\" }\n".to_owned(),
        "version: 1\nstate: { memory: redis://:hunter2@a:1 }\n".to_owned(),
        "version: 1\nredis://:hunter2@a:1: x\n".to_owned(),
    ] {
        for fault in faults(&text) {
            let told = format!("{fault}\n{}{fault:?}", fault.excerpt());
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}

#[test]
fn a_value_with_control_bytes_is_shown_escaped_and_cut() {
    let long = "x".repeat(500);
    let faults = faults(&rule(&format!("key: \"\\e[31m\\u202e{long}\"")));
    let fault = faults.first().expect("one fault");
    assert!(
        fault.problem.starts_with("\"\\u{1b}[31m\\u{202e}xxx"),
        "{}",
        fault.problem
    );
    assert!(fault.problem.len() < 200, "{}", fault.problem);
}
