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
fn host_names_are_a_list_without_ports() {
    assert_eq!(served(&[], &[]).admin_hosts, ["localhost"]);
    let environment = [("TALLYD_ADMIN_HOST", "tally.example, tally_1")];
    let names = served(&[], &environment).admin_hosts;
    assert_eq!(names, ["tally.example", "tally_1"]);
    assert_eq!(served(&["--admin-host", "*"], &[]).admin_hosts, ["*"]);
    for (given, name) in [
        ("a:80", "a:80"),
        ("a,,b", ""),
        ("http://a", "http://a"),
        ("a b", "a b"),
    ] {
        let message = format!(
            "--admin-host: invalid host name '{name}': expected names without a port, separated by commas, or '*'"
        );
        assert_eq!(parsed(&["--admin-host", given], &[]), Err(message));
    }
}

#[test]
fn what_is_wrong_is_named_with_flag_value_and_limit() {
    for (arguments, message) in [
        (
            &["--window", "0s"][..],
            "--window: 0s is too short, at least 1ms is required",
        ),
        (
            &["--sync", "2days"],
            "--sync: 2days is too long, at most 86400s is allowed",
        ),
        (
            &["--retain", "10s"],
            "--retain: 10s is shorter than the window, 60s",
        ),
        (
            &["--workers", "0"],
            "--workers: '0' is no whole number from 1 to 256",
        ),
        (
            &["--front", "x"],
            "--front: 'x' is no front, there are: pool, tiny-http",
        ),
        (
            &["--listen", "8080"],
            "--listen: '8080' is no address, HOST:PORT is required",
        ),
        (
            &["--listen", "a:70000"],
            "--listen: 'a:70000' is no address, HOST:PORT is required",
        ),
        (
            &["--operator", "8081"],
            "--operator: '8081' is no address, HOST:PORT is required",
        ),
        (
            &["--stamp", "boot"],
            "--stamp: 'boot' is none of these: read, kernel",
        ),
        (
            &["--stamp", "kernel", "--front", "tiny-http"],
            "--stamp: only the pool front has kernel stamps",
        ),
        (&["--data", ""], "--data: a directory must have a name"),
        (&["--window"], "--window: a value is missing: DURATION"),
        (&["--window=1s", "--window=2s"], "--window: given twice"),
        (
            &["--colour", "red"],
            "--colour: no such flag; tallyd --help lists them",
        ),
        (&["-x"], "-x: no such flag; tallyd --help lists them"),
        (&["frob"], "frob: no such command; tallyd --help says more"),
        (
            &["completions"],
            "tallyd completions: a shell is missing, there are: bash, zsh, fish",
        ),
        (
            &["completions", "csh"],
            "csh: no completions for it, there are: bash, zsh, fish",
        ),
        (&["man", "1"], "1: tallyd man takes no more"),
    ] {
        assert_eq!(parsed(arguments, &[]), Err(message.to_owned()));
    }
    let wrong = parsed(&[], &[("TALLYD_SYNC", "1us")]);
    let message = "TALLYD_SYNC: 1us is too short, at least 1ms is required";
    assert_eq!(wrong, Err(message.to_owned()));
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
