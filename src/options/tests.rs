//! The command line, from words to options or to an error that says what is wrong.
//!
//! Owns no server. Must not know what options do. Invariant: messages are compared whole.

use super::*;
use crate::stamp::SECOND_NS;

fn parsed(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Command, String> {
    let found = |name: &str| {
        environment
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, value)| value.into())
    };
    parse(arguments.iter().map(OsString::from), found).map_err(|error| error.to_string())
}

fn served(arguments: &[&str], environment: &[(&str, &str)]) -> Options {
    match parsed(arguments, environment) {
        Ok(Command::Serve(options)) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_defaults_can_be_served() {
    let options = served(&[], &[]);
    assert_eq!(options.listen, "127.0.0.1:8080");
    assert_eq!(options.operator.as_deref(), Some("127.0.0.1:8081"));
    assert_eq!(
        (options.window_ns, options.retain_ns),
        (60 * SECOND_NS, 60 * SECOND_NS)
    );
    assert_eq!(
        options.sync,
        SyncPolicy::Every {
            period_ns: SECOND_NS
        }
    );
    assert_eq!((options.workers, options.front), (1, front::Kind::Pool));
    assert_eq!(options.limits, Limits::DEFAULT);
}

#[test]
fn a_flag_goes_before_its_variable_and_the_variable_before_the_default() {
    let environment = [("TALLYD_WINDOW", "5s"), ("TALLYD_WORKERS", "2")];
    let options = served(&["--window", "7s"], &environment);
    assert_eq!((options.window_ns, options.workers), (7 * SECOND_NS, 2));
}

#[test]
fn retention_follows_the_window_unless_given() {
    assert_eq!(served(&["--window=5s"], &[]).retain_ns, 5 * SECOND_NS);
    assert_eq!(
        served(&["--window=5s", "--retain=1h"], &[]).retain_ns,
        3600 * SECOND_NS
    );
}

#[test]
fn host_names_are_a_list() {
    assert_eq!(served(&[], &[]).admin_hosts, ["localhost"]);
    let environment = [("TALLYD_ADMIN_HOST", "tally.example, tally_1")];
    let names = served(&[], &environment).admin_hosts;
    assert_eq!(names, ["tally.example", "tally_1"]);
    assert_eq!(served(&["--admin-host", "*"], &[]).admin_hosts, ["*"]);
}

/// Every flag with a limit: a value below, the smallest, the largest, and a value above; and what is wrong with
/// the first and the last.
const LIMITS: [(&str, [&str; 4], [&str; 2]); 12] = [
    ("window", ["999us", "1ms", "366days", "31622400001ms"], LONG),
    ("retain", ["999us", "60s", "366days", "31622400001ms"], LONG),
    ("sync", ["999us", "1ms", "1day", "86400001ms"], DAY),
    (
        "workers",
        ["0", "1", "256", "257"],
        [
            "'0' is no whole number from 1 to 256",
            "'257' is no whole number from 1 to 256",
        ],
    ),
    (
        "connections",
        ["0", "1", "1000000", "1000001"],
        [
            "'0' is no whole number from 1 to 1000000",
            "'1000001' is no whole number from 1 to 1000000",
        ],
    ),
    (
        "head-bytes",
        ["255", "256", "65536", "65537"],
        [
            "'255' is no whole number from 256 to 65536",
            "'65537' is no whole number from 256 to 65536",
        ],
    ),
    (
        "headers",
        ["0", "1", "256", "257"],
        [
            "'0' is no whole number from 1 to 256",
            "'257' is no whole number from 1 to 256",
        ],
    ),
    (
        "body-bytes",
        ["-1", "0", "1099511627776", "1099511627777"],
        [
            "'-1' is no whole number from 0 to 1099511627776",
            "'1099511627777' is no whole number from 0 to 1099511627776",
        ],
    ),
    ("head-time", ["9999us", "10ms", "1day", "86400001ms"], TIME),
    ("idle-time", ["9999us", "10ms", "1day", "86400001ms"], TIME),
    ("write-time", ["9999us", "10ms", "1day", "86400001ms"], TIME),
    (
        "pass-hits",
        ["0", "1", "4096", "4097"],
        [
            "'0' is no whole number from 1 to 4096",
            "'4097' is no whole number from 1 to 4096",
        ],
    ),
];
const LONG: [&str; 2] = [
    "999us is too short, at least 1ms is required",
    "31622400001ms is too long, at most 31622400s is allowed",
];
const DAY: [&str; 2] = [
    "999us is too short, at least 1ms is required",
    "86400001ms is too long, at most 86400s is allowed",
];
const TIME: [&str; 2] = [
    "9999us is too short, at least 10ms is required",
    "86400001ms is too long, at most 86400s is allowed",
];

#[test]
fn every_limit_of_a_flag_is_kept_to_the_last_unit() {
    for (flag, [below, smallest, largest, above], wrong) in LIMITS {
        for (value, cause) in [(below, wrong[0]), (above, wrong[1])] {
            let message = format!("--{flag}: {cause}");
            assert_eq!(parsed(&[&format!("--{flag}={value}")], &[]), Err(message));
            let message = format!("{}: {cause}", variable(flag));
            assert_eq!(parsed(&[], &[(&variable(flag), value)]), Err(message));
        }
        let [smallest, largest] = [smallest, largest].map(|value| {
            // As long as it is kept, history is no shorter than the window.
            let mut arguments = vec![format!("--{flag}={value}")];
            if flag == "window" && value == largest {
                arguments.push("--retain=366days".to_owned());
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            served(&arguments, &[])
        });
        assert_ne!(smallest, largest, "--{flag}");
    }
}

#[test]
fn every_flag_with_a_limit_has_its_row() {
    let is_limited = |flag: &&Flag| {
        matches!(
            flag.takes,
            Takes::Span(..) | Takes::Sync(..) | Takes::Number(..)
        )
    };
    let limited: Vec<&str> = FLAGS
        .iter()
        .filter(is_limited)
        .map(|flag| flag.name)
        .collect();
    assert_eq!(LIMITS.map(|(flag, ..)| flag).to_vec(), limited);
}

#[test]
fn every_value_goes_into_the_option_of_its_flag() {
    type Field = fn(&Options) -> u64;
    let rows: [(&str, Field); 11] = [
        ("--window=7s", |it| it.window_ns),
        ("--retain=70s", |it| it.retain_ns),
        ("--workers=7", |it| it.workers as u64),
        ("--connections=700", |it| it.limits.connections_max as u64),
        ("--head-bytes=700", |it| it.limits.head_bytes_max as u64),
        ("--headers=7", |it| it.limits.headers_max as u64),
        ("--body-bytes=7", |it| it.limits.body_bytes_max),
        ("--head-time=7s", |it| it.limits.head_ns_max),
        ("--idle-time=7s", |it| it.limits.idle_ns_max),
        ("--write-time=7s", |it| it.limits.write_ns_max),
        ("--pass-hits=7", |it| it.limits.pass_hits_max as u64),
    ];
    for (argument, _) in rows {
        let (options, default) = (served(&[argument], &[]), served(&[], &[]));
        let (flag, value) = argument.split_once('=').expect("a value");
        let (number, unit) = match value.strip_suffix('s') {
            Some(seconds) => (seconds, SECOND_NS),
            None => (value, 1),
        };
        let value = number.parse::<u64>().expect("a number") * unit;
        for (other, field) in rows {
            // A longer window takes the history with it.
            let follows = flag == "--window" && other.starts_with("--retain");
            let expected = match other == argument || follows {
                true => value,
                false => field(&default),
            };
            assert_eq!(field(&options), expected, "{argument}, seen at {other}");
        }
    }
}

#[test]
fn an_empty_variable_is_unset() {
    for flag in &FLAGS {
        assert_eq!(
            served(&[], &[(&*variable(flag.name), "")]),
            served(&[], &[])
        );
    }
    let environment = [("TALLYD_WINDOW", ""), ("TALLYD_DATA", "")];
    for command in ["count", "plot", "dump", "verify", "clock"] {
        let found = parsed(&[command], &environment);
        assert_eq!(found, parsed(&[command], &[]));
        assert!(found.is_ok(), "{command}");
    }
}

#[test]
fn an_unknown_variable_is_reported_with_the_one_that_was_probably_meant() {
    let warned = |names: &[&str]| {
        let environment = names.iter().map(|name| (name.into(), "x".into()));
        unknown_variables(environment.collect::<Vec<_>>())
    };
    for (name, meant) in [
        ("TALLYD_WIDNOW", "TALLYD_WINDOW"),
        ("TALLYD_WINDOWS", "TALLYD_WINDOW"),
        ("TALLYD_window", "TALLYD_WINDOW"),
        ("TALLYD_HEADBYTES", "TALLYD_HEAD_BYTES"),
        ("TALLYD_HEAD-BYTES", "TALLYD_HEAD_BYTES"),
        ("TALLYD_RETIAN", "TALLYD_RETAIN"),
        ("TALLYD_SYCN", "TALLYD_SYNC"),
        ("TALLYD_LISEN", "TALLYD_LISTEN"),
    ] {
        let message = format!("{name}: ignored, no such variable; did you mean {meant}?");
        assert_eq!(warned(&[name]), [message]);
    }
    for name in ["TALLYD_COLOUR", "TALLYD_", "TALLYD_X", "TALLYD_PORT"] {
        let message = format!("{name}: ignored, no such variable; tallyd --help lists them");
        assert_eq!(warned(&[name]), [message]);
    }
    let known: Vec<String> = FLAGS.iter().map(|flag| variable(flag.name)).collect();
    let known: Vec<&str> = known.iter().map(|name| &**name).collect();
    assert_eq!(warned(&known), [""; 0]);
    let others = ["TALLYD", "MY_TALLYD_WIDNOW", "PATH", "TALLYD_TEST_SEED"];
    assert_eq!(warned(&others), [""; 0]);
}

#[test]
fn an_empty_unknown_variable_and_those_that_kubernetes_sets_are_not_reported() {
    let environment = [
        ("TALLYD_WIDNOW", ""),
        ("TALLYD_SERVICE_HOST", "10.0.0.1"),
        ("TALLYD_SERVICE_PORT_HTTP", "8080"),
        ("TALLYD_PORT", "tcp://10.0.0.1:8080"),
        ("TALLYD_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
    ];
    let environment = environment.map(|(name, value)| (name.into(), value.into()));
    assert_eq!(unknown_variables(environment), [""; 0]);
}

#[test]
fn help_names_every_flag_with_its_variable_and_default() {
    let Ok(Command::Print(help)) = parsed(&["--help"], &[]) else {
        panic!("no help")
    };
    for flag in &FLAGS {
        for part in [flag.name, flag.default, &*variable(flag.name)] {
            assert!(help.contains(part), "{part}");
        }
    }
}
